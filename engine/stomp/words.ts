import { Buffer } from "node:buffer";

/**
 * The commands and header names that clients send all the time, found by their bytes, so that no string is made
 * for them. The table is fixed: nothing a client sends is ever added.
 */
const WORDS = [
  ...["CONNECT", "STOMP", "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"],
  ...["CONNECTED", "MESSAGE", "RECEIPT", "ERROR"],
  ...["accept-version", "host", "login", "passcode", "heart-beat", "Authorization", "authorization"],
  ...["destination", "content-length", "content-type", "receipt", "transaction", "id", "ack", "subscription"],
  ...["client-message-id", "ack-level", "message-id", "after-offset", "after-term", "last", "selector"],
  ...["priority", "persistent", "expires", "reply-to", "correlation-id"],
];

const SLOTS = 1024; // a power of two, many times the words, so that none share one

/** One step of the hash of a word: start at 0, once per byte. */
export function hashStep(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}

const slotOf = (hash: number): number => (hash ^ (hash >>> 8)) & (SLOTS - 1);

const slots: (string | undefined)[] = new Array<string | undefined>(SLOTS).fill(undefined);
for (const word of WORDS) {
  const slot = slotOf(Buffer.from(word).reduce(hashStep, 0));
  if (slots[slot] !== undefined) throw new Error(`The words ${slots[slot]} and ${word} share a slot: change slotOf.`);
  slots[slot] = word;
}

/** The word of these ASCII bytes; `hash` is theirs by `hashStep`. Makes a string only for a word not in the table. */
export function wordOf(bytes: Buffer, start: number, end: number, hash: number): string {
  const word = slots[slotOf(hash)];
  if (word === undefined || word.length !== end - start) return bytes.toString("latin1", start, end);
  for (let i = 0; i < word.length; i++) {
    if (word.charCodeAt(i) !== bytes[start + i]) return bytes.toString("latin1", start, end);
  }
  return word;
}
