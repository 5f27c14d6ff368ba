/**
 * Centrifugo 5's JSON protocol: one or more objects in a WebSocket message, a line feed between two. What begins with
 * `{"p` is a push, what begins with `{"i` an answer, `{}` a ping.
 */
import { text } from "../frames.ts";
import { PayloadCounter } from "./payloads.ts";
import type { Wire } from "./wire.ts";

const LINE_FEED = 0x0a;
const FIRST_OF_PUSH = 0x70;
const PING_BYTES = 2;
/** Of an answer, kept to see what it answers; the rest is skipped. */
const ANSWER_CHARACTERS_KEPT = 64;

class CentrifugoCounter extends PayloadCounter {
  #bytes = 0;
  #third = 0;
  #answer = "";

  protected piece(bytes: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to) {
      for (; at < to && this.#bytes < 3 && bytes[at] !== LINE_FEED; at += 1) this.#head(bytes[at] ?? 0);
      const start = at;
      while (at < to && bytes[at] !== LINE_FEED) at += 1;
      if (this.#third !== FIRST_OF_PUSH) this.#keep(bytes, start, at);
      this.#bytes += at - start;
      if (at === to) return;
      this.ended();
      at += 1;
    }
  }

  /** The end of one object. */
  protected ended(): void {
    if (this.#bytes === PING_BYTES) this.calls += 1;
    else if (this.#third === FIRST_OF_PUSH) {
      this.messages += 1;
      this.messageBytes = this.#bytes;
    } else if (this.#bytes > 0) this.#answered();
    this.#bytes = 0;
    this.#third = 0;
    this.#answer = "";
  }

  #head(byte: number): void {
    this.#bytes += 1;
    if (this.#bytes === 3) this.#third = byte;
  }

  #keep(bytes: Uint8Array, from: number, to: number): void {
    const end = Math.min(to, from + ANSWER_CHARACTERS_KEPT - this.#answer.length);
    for (let at = from; at < end; at += 1) this.#answer += String.fromCharCode(bytes[at] ?? 0);
  }

  #answered(): void {
    if (this.#answer.includes('"error":')) this.errors += 1;
    else if (this.#answer.includes('"connect":')) this.connected += 1;
    else {
      this.receipts += 1;
      this.receiptBytes = this.#bytes;
    }
  }
}

/** Channels are rooms. Every command has an id, as its publications have no effect without one. */
export const centrifugo: Wire = {
  path: "/connection/websocket",
  counter: () => new CentrifugoCounter(),
  steps: (room) => [
    { say: text('{"id":1,"connect":{}}') },
    { after: "connected", say: text(JSON.stringify({ id: 2, subscribe: { channel: room } })) },
    { after: "receipts" },
  ],
  message: (room, body) => text(JSON.stringify({ id: 3, publish: { channel: room, data: body } })),
  pong: text("{}"),
};
