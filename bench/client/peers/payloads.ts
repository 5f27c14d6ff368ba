/**
 * Walks the WebSocket messages of one stream and hands their payloads on in pieces, as they come: for protocols that
 * put several messages into one WebSocket message, or one into several. Nothing is copied. [RFC 6455 5.2]
 */
import type { Counter } from "./wire.ts";

const FIN = 0x80;
const MASK = 0x80;
const OPCODE = 0x0f;
const BINARY = 0x2;
const PING = 0x9;
const HEADER_BYTES_MAX = 10;

/** The part that all counters of peers share. */
export abstract class PayloadCounter implements Counter {
  messages = 0;
  receipts = 0;
  connected = 0;
  readonly refusals: number = 0;
  errors = 0;
  greetings = 0;
  calls = 0;
  pings = 0;
  messageBytes = 0;
  receiptBytes = 0;

  readonly #header = new Uint8Array(HEADER_BYTES_MAX);
  #headerBytes = 0;
  /** Payload bytes still to come of the WebSocket frame in progress. */
  #left = 0;

  /** Part of a payload: `bytes` from `from` up to, not including, `to`. */
  protected abstract piece(bytes: Uint8Array, from: number, to: number): void;

  /** The end of a text or binary message. */
  protected abstract ended(): void;

  take(bytes: Uint8Array, end: number): void {
    let at = 0;
    while (at < end) {
      if (this.#left === 0) {
        this.#header[this.#headerBytes++] = bytes[at] ?? 0;
        at += 1;
        if (!this.#whole()) continue;
        this.#left = this.#length();
      } else {
        const next = Math.min(end, at + this.#left);
        if (((this.#header[0] ?? 0) & OPCODE) <= BINARY) this.piece(bytes, at, next);
        this.#left -= next - at;
        at = next;
      }
      if (this.#left === 0) this.#finish();
    }
  }

  /** Whether all bytes of a header are in. */
  #whole(): boolean {
    if (this.#headerBytes < 2) return false;
    const second = this.#header[1] ?? 0;
    if ((second & MASK) !== 0) throw new Error("the server masked a WebSocket message, which no server may do");
    return this.#headerBytes === (second < 126 ? 2 : second === 126 ? 4 : HEADER_BYTES_MAX);
  }

  #length(): number {
    const short = this.#header[1] ?? 0;
    if (short < 126) return short;
    let length = 0;
    for (let i = 2; i < this.#headerBytes; i += 1) length = length * 256 + (this.#header[i] ?? 0);
    return length;
  }

  #finish(): void {
    const opening = this.#header[0] ?? 0;
    this.#headerBytes = 0;
    if ((opening & OPCODE) === PING) this.pings += 1;
    if ((opening & OPCODE) <= BINARY && (opening & FIN) !== 0) this.ended();
  }
}
