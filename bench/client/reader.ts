/** Reads whole frames on the few connections that are checked in full: contents, order, what an ERROR says. */

/** A STOMP frame as received. The first of repeated headers wins. */
export interface Frame {
  readonly command: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Parses one STOMP frame from the payload of a WebSocket message. Header values stay as they were sent. */
export function parseFrame(payload: string): Frame {
  const headEnd = payload.indexOf("\n\n");
  if (headEnd < 0) throw new Error("a STOMP frame without the blank line after its headers");
  const lines = payload.slice(0, headEnd).split("\n");
  const headers = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    if (!headers.has(name)) headers.set(name, line.slice(colon + 1).replace(/\r$/, ""));
  }
  const command = (lines[0] ?? "").replace(/\r$/, "");
  const end = payload.lastIndexOf("\0");
  return { command, headers, body: payload.slice(headEnd + 2, end < 0 ? undefined : end) };
}

/** Assembles the data messages of one WebSocket stream and hands each payload on. Slow and plain: samples only. */
export class PayloadReader {
  #kept: Buffer = Buffer.alloc(0);
  #parts: Buffer[] = [];
  readonly #deliver: (payload: Buffer) => void;

  /** @param deliver - called with each complete text or binary payload, in order. */
  constructor(deliver: (payload: Buffer) => void) {
    this.#deliver = deliver;
  }

  /** Takes the next bytes of the stream; they are copied. */
  take(bytes: Uint8Array, end: number): void {
    this.#kept = Buffer.concat([this.#kept, bytes.subarray(0, end)]);
    for (;;) {
      const size = this.#next();
      if (size === 0) return;
      this.#kept = this.#kept.subarray(size);
    }
  }

  /** Handles the message at the front; returns its bytes in all, 0 if it is not complete. */
  #next(): number {
    const kept = this.#kept;
    if (kept.length < 2) return 0;
    const short = kept.readUInt8(1) & 0x7f;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (kept.length < header) return 0;
    const length = short < 126 ? short : short === 126 ? kept.readUInt16BE(2) : Number(kept.readBigUInt64BE(2));
    if (kept.length < header + length) return 0;
    const opening = kept.readUInt8(0);
    if ((opening & 0x0f) < 8) {
      this.#parts.push(kept.subarray(header, header + length));
      if ((opening & 0x80) !== 0) {
        this.#deliver(Buffer.concat(this.#parts));
        this.#parts = [];
      }
    }
    return header + length;
  }
}
