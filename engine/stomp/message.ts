/** MESSAGE frames: the header lines that all receivers share, and those of one kind of receiver. */
import type { Notice, Signal } from "../../actors/bus.ts";
import { clientMessageId, type Entry, messageId } from "../../actors/entry.ts";
import { assembleFrame, encodeHeaders, escapeHeader } from "./encoder.ts";
import type { Version } from "./frame.ts";

/** How a kind of receiver wants its frames. Receivers that are alike in this share one encoding. */
export interface Dialect {
  readonly subscription: string;
  readonly version: Version;
  /** Whether MESSAGEs must be acknowledged, so that they carry an ack id [STOMP 1.2 ACK]. */
  readonly acked: boolean;
  readonly destination: string;
}

/**
 * Headers that the engine sets, and those of a SEND that concern only that frame: never copied from a SEND. All
 * others are stored (design 3, Headers); `content-type` is too, in a field of its own.
 */
export const RESERVED: ReadonlySet<string> = new Set([
  ...["message-id", "room", "offset", "term", "count", "sender", "sender-name", "timestamp", "event", "ref"],
  ...["client-message-id", "subscription", "ack", "destination", "receipt", "transaction", "ack-level"],
  ...["authorization", "Authorization", "passcode", "content-length", "content-type"],
]);

/** The lines of an entry that all receivers of one version share. */
export function entryLines(entry: Entry, version: Version): string {
  const { room, term, offset } = entry;
  let lines =
    `message-id:${messageId(room, term, offset)}\nroom:${room}\noffset:${offset}\nterm:${term}\n` +
    `count:${entry.count}\nsender:${escapeHeader(entry.sender, version)}\n` +
    `sender-name:${escapeHeader(entry.senderName, version)}\ntimestamp:${entry.at}\nevent:${entry.event}\n`;
  if (entry.ref > 0) lines += `ref:${entry.ref}\n`;
  const id = clientMessageId(entry.key);
  if (id !== undefined) lines += `client-message-id:${escapeHeader(id, version)}\n`;
  if (entry.contentType !== "") lines += `content-type:${escapeHeader(entry.contentType, version)}\n`;
  if (entry.headers.length > 0) lines += encodeHeaders(entry.headers, version);
  return lines;
}

/** How all MESSAGEs of entries to one kind of receiver begin; an ack id still lacks its offset. */
export function entryLead({ subscription, version, acked, destination }: Dialect): string {
  const id = escapeHeader(subscription, version);
  const to = `MESSAGE\nsubscription:${id}\ndestination:${escapeHeader(destination, version)}\n`;
  return acked ? `${to}ack:${id}.` : to;
}

/** The bytes of an entry's MESSAGE for one kind of receiver; `lead` and `shared` as `entryLead` and `entryLines` made them. */
export function entryFrame(entry: Entry, { acked }: Dialect, lead: string, shared: string): Buffer {
  return assembleFrame(acked ? `${lead}${entry.offset}\n${shared}` : lead + shared, entry.body);
}

const encoder = new TextEncoder();
let signalCounter = 0;

/** The bytes of a signal's MESSAGE. */
export function signalFrame(signal: Signal, dialect: Dialect): Buffer {
  signalCounter++;
  const marker = signal.event === "read" || signal.event === "delivered";
  const body = marker ? { user: signal.user, offset: signal.offset } : { user: signal.user, state: signal.state };
  return jsonFrame(
    ["message-id", `signal-${signalCounter}`, "event", signal.event, "room", signal.room, "term", String(signal.term)],
    body,
    dialect,
  );
}

/** The bytes of a notice's MESSAGE. */
export function noticeFrame(notice: Extract<Notice, { kind: "notice" }>, dialect: Dialect): Buffer {
  signalCounter++;
  return jsonFrame(
    ["message-id", `notice-${signalCounter}`, "event", notice.event, "room", notice.room],
    { room: notice.room, by: notice.by },
    dialect,
  );
}

/** A MESSAGE of the engine itself that says something. */
export function controlFrame(headers: readonly string[], dialect: Dialect, body: Uint8Array): Buffer {
  return assembleFrame(controlLines(encodeHeaders(headers, dialect.version), dialect), body);
}

/** A MESSAGE of the engine itself without a body, as text. `lines`: its header lines, escaped. */
export function controlText(lines: string, dialect: Dialect): string {
  return `${controlLines(lines, dialect)}\n\0`;
}

function controlLines(lines: string, { subscription, destination, version }: Dialect): string {
  signalCounter++;
  const to = `subscription:${escapeHeader(subscription, version)}\ndestination:${escapeHeader(destination, version)}\n`;
  return `MESSAGE\n${to}message-id:control-${signalCounter}\n${lines}`;
}

function jsonFrame(headers: readonly string[], body: object, dialect: Dialect): Buffer {
  const own = ["subscription", dialect.subscription, "destination", dialect.destination];
  const lines = encodeHeaders([...own, ...headers, "content-type", "application/json"], dialect.version);
  return assembleFrame(`MESSAGE\n${lines}`, encoder.encode(JSON.stringify(body)));
}
