/**
 * NATS's text protocol inside WebSocket messages, whose borders mean nothing to it: lines that end in CR LF, and after
 * a line `MSG subject sid size` as many bytes of payload and another CR LF.
 */
import { text } from "../frames.ts";
import { PayloadCounter } from "./payloads.ts";
import type { Wire } from "./wire.ts";

const LINE_FEED = 0x0a;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
const FIRST_OF_MSG = 0x4d;
const PAYLOAD_END_BYTES = 2;
/** Of any other line, kept to see what it is. */
const LINE_CHARACTERS_KEPT = 16;

class NatsCounter extends PayloadCounter {
  #first = 0;
  #lineBytes = 0;
  #line = "";
  /** The last number of a MSG line. */
  #number = 0;
  /** Bytes of payload and its end still to skip. */
  #skip = 0;

  protected piece(bytes: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to) {
      if (this.#skip > 0) {
        const taken = Math.min(this.#skip, to - at);
        this.#skip -= taken;
        at += taken;
        if (this.#skip === 0) this.messages += 1;
      } else {
        this.#letter(bytes[at] ?? 0);
        at += 1;
      }
    }
  }

  protected ended(): void {
    // The end of a WebSocket message is the end of nothing here.
  }

  #letter(byte: number): void {
    if (this.#lineBytes === 0) this.#first = byte;
    this.#lineBytes += 1;
    if (byte === LINE_FEED) return this.#ended();
    if (this.#first !== FIRST_OF_MSG) {
      if (this.#line.length < LINE_CHARACTERS_KEPT) this.#line += String.fromCharCode(byte);
    } else if (byte >= ZERO && byte <= NINE) this.#number = this.#number * 10 + byte - ZERO;
    else if (byte === SPACE) this.#number = 0;
  }

  #ended(): void {
    if (this.#first === FIRST_OF_MSG) {
      this.#skip = this.#number + PAYLOAD_END_BYTES;
      this.messageBytes = this.#lineBytes + this.#skip;
    } else if (this.#line.startsWith("PING")) this.calls += 1;
    else if (this.#line.startsWith("PONG")) this.receipts += 1;
    else if (this.#line.startsWith("INFO")) this.greetings += 1;
    else if (this.#line.startsWith("-ERR")) this.errors += 1;
    this.#lineBytes = 0;
    this.#line = "";
    this.#number = 0;
  }
}

/** Subjects are rooms. The PONG to a PING after SUB shows that the subscription stands. */
export const nats: Wire = {
  path: "/",
  counter: () => new NatsCounter(),
  steps: (room) => [
    { after: "greetings", say: text(`CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${room} 1\r\nPING\r\n`) },
    { after: "receipts" },
  ],
  message: (room, body) => text(`PUB ${room} ${Buffer.byteLength(body)}\r\n${body}\r\n`),
  pong: text("PONG\r\n"),
};
