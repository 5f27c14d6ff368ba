/** Reads HTTP/1.1 responses of one kept connection: the status, and where each ends. [RFC 9112 6] */

const HEAD_END = "\r\n\r\n";
const HEAD_BYTES_MAX = 16_384;

/** Skips bodies by their `content-length`; hands each response's status on when its last byte is in. */
export class ResponseReader {
  readonly #answered: (status: number) => void;
  #head = "";
  #status = 0;
  /** Bytes of the body still to come; no body is in progress at 0. */
  #skip = 0;

  /** @param answered - called once per response, in order. */
  constructor(answered: (status: number) => void) {
    this.#answered = answered;
  }

  /** Takes the next bytes of the stream; throws on what no kept connection of ours may carry. */
  take(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#skip > 0) {
        const taken = Math.min(this.#skip, bytes.length - at);
        this.#skip -= taken;
        at += taken;
        if (this.#skip === 0) this.#answered(this.#status);
        continue;
      }
      const before = this.#head.length;
      this.#head += bytes.toString("latin1", at);
      const end = this.#head.indexOf(HEAD_END);
      if (end < 0) {
        if (this.#head.length > HEAD_BYTES_MAX) throw new Error("a response has no end to its head");
        return;
      }
      at += end + HEAD_END.length - before;
      this.#begin(this.#head.slice(0, end + 2));
      this.#head = "";
    }
  }

  #begin(head: string): void {
    const status = /^HTTP\/1\.1 (\d{3})/.exec(head)?.[1];
    const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1];
    if (status === undefined || length === undefined) throw new Error(`a response without a length: ${head.trim()}`);
    this.#status = Number(status);
    this.#skip = Number(length);
    if (this.#skip === 0) this.#answered(this.#status);
  }
}
