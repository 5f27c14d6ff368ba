/**
 * Counts the frames a server sends on one WebSocket without decoding them: reads the length of each WebSocket message,
 * looks at the first byte of its payload and skips the rest. That costs a few nanoseconds a frame, so that the load
 * client stays far from being the limit. [RFC 6455 5.2]
 */

const FIN = 0x80;
const MASK = 0x80;
const OPCODE = 0x0f;
const CONTINUATION = 0x0;
const BINARY = 0x2;
const CLOSE = 0x8;
const PING = 0x9;
/** The longest header of an unmasked message: 2 bytes and an 8-byte length. */
const HEADER_BYTES_MAX = 10;
/** Where Confab's MESSAGE frames have the first character of their subscription: `MESSAGE\nsubscription:` is before it. */
const SUBSCRIPTION_AT = 21;
/** The header, and what is looked at of the payload. */
const HEAD_BYTES_MAX = HEADER_BYTES_MAX + SUBSCRIPTION_AT + 1;

const FIRST_OF_MESSAGE = 0x4d;
const FIRST_OF_RECEIPT = 0x52;
const FIRST_OF_CONNECTED = 0x43;
const FIRST_OF_ERROR = 0x45;
/** `!`, with which the id of a subscription to refusals begins (`REFUSALS` in `frames.ts`). */
const FIRST_OF_REFUSALS = 0x21;

/** What a head of a WebSocket message says: bytes of the header, bytes of the payload. */
interface Head {
  headerBytes: number;
  payloadBytes: number;
}

/**
 * Reads the length fields at `at`; false if they are not complete.
 * @param head - filled with the lengths, so that nothing is allocated per frame.
 */
function readHead(bytes: Uint8Array, at: number, end: number, head: Head): boolean {
  if (end - at < 2) return false;
  const second = bytes[at + 1] ?? 0;
  if ((second & MASK) !== 0) throw new Error("the server masked a WebSocket message, which no server may do");
  const short = second;
  if (short < 126) {
    head.headerBytes = 2;
    head.payloadBytes = short;
    return true;
  }
  if (short === 126) {
    if (end - at < 4) return false;
    head.headerBytes = 4;
    head.payloadBytes = ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
    return true;
  }
  if (end - at < 10) return false;
  let length = 0;
  for (let i = 2; i < 10; i += 1) length = length * 256 + (bytes[at + i] ?? 0);
  head.headerBytes = 10;
  head.payloadBytes = length;
  return true;
}

/** Bytes that must be there of a message before it is known what it is. */
function neededOf({ headerBytes, payloadBytes }: Head): number {
  return headerBytes + Math.min(payloadBytes, SUBSCRIPTION_AT + 1);
}

/** Counts of one connection. Frames are counted when their last byte is in. */
export class FrameCounter {
  /** STOMP MESSAGE frames (payload begins with `M`). */
  messages = 0;
  /** STOMP RECEIPT frames. */
  receipts = 0;
  /** MESSAGE frames that tell of a refused SEND; not counted as messages. */
  refusals = 0;
  /** STOMP CONNECTED frames. */
  connected = 0;
  /** STOMP ERROR frames. */
  errors = 0;
  /** Any other data, heart-beats among it. */
  others = 0;
  /** WebSocket pings, to be answered by who reads. */
  pings = 0;
  /** What peers' protocols have beyond it: greetings, and pings of their own. */
  readonly greetings: number = 0;
  readonly calls: number = 0;
  /** WebSocket closes. */
  closes = 0;
  /** Payload bytes of the last MESSAGE. */
  messageBytes = 0;
  /** Payload bytes of the last RECEIPT. */
  receiptBytes = 0;

  readonly #head: Head = { headerBytes: 0, payloadBytes: 0 };
  /** The start of a message whose head was cut by the end of a read. */
  readonly #held = new Uint8Array(HEAD_BYTES_MAX);
  #heldBytes = 0;
  /** Payload bytes still to skip of the message in progress. */
  #skip = 0;
  #opening = 0;
  #first = 0;
  #subscription = 0;
  #size = 0;

  /**
   * Takes the next bytes of the stream; nothing of them is kept.
   * @param end - how many of the bytes count, as read buffers are shared and longer.
   */
  take(bytes: Uint8Array, end: number): void {
    let at = this.#heldBytes > 0 || this.#skip > 0 ? this.#resume(bytes, end) : 0;
    const head = this.#head;
    while (at < end) {
      if (!readHead(bytes, at, end, head) || at + neededOf(head) > end) {
        this.#hold(bytes, at, end);
        return;
      }
      const payload = at + head.headerBytes;
      this.#begin(bytes, at);
      at = payload + head.payloadBytes;
      if (at <= end) this.#count();
      else this.#skip = at - end;
    }
  }

  /** Goes on with what the last read cut; returns where the next whole message begins. */
  #resume(bytes: Uint8Array, end: number): number {
    if (this.#skip > 0) {
      const taken = Math.min(this.#skip, end);
      this.#skip -= taken;
      if (this.#skip === 0) this.#count();
      return taken;
    }
    const head = this.#head;
    const before = this.#heldBytes;
    const added = Math.min(HEAD_BYTES_MAX - before, end);
    this.#held.set(bytes.subarray(0, added), before);
    const known = before + added;
    if (!readHead(this.#held, 0, known, head) || neededOf(head) > known) {
      this.#heldBytes = known;
      return end;
    }
    this.#heldBytes = 0;
    this.#begin(this.#held, 0);
    const next = head.headerBytes + head.payloadBytes - before;
    if (next <= end) {
      this.#count();
      return next;
    }
    this.#skip = next - end;
    return end;
  }

  #hold(bytes: Uint8Array, at: number, end: number): void {
    this.#held.set(bytes.subarray(at, end), 0);
    this.#heldBytes = end - at;
  }

  /** Notes what a message is whose head has been read. */
  #begin(bytes: Uint8Array, at: number): void {
    const { headerBytes, payloadBytes: size } = this.#head;
    const opening = bytes[at] ?? 0;
    this.#opening = opening;
    const opcode = opening & OPCODE;
    if (opcode === CONTINUATION) {
      this.#size += size;
      return;
    }
    if (opcode >= CLOSE) return;
    const payload = at + headerBytes;
    this.#first = size > 0 ? (bytes[payload] ?? 0) : 0;
    this.#subscription = size > SUBSCRIPTION_AT ? (bytes[payload + SUBSCRIPTION_AT] ?? 0) : 0;
    this.#size = size;
  }

  #count(): void {
    const opcode = this.#opening & OPCODE;
    if (opcode === CLOSE) this.closes += 1;
    else if (opcode === PING) this.pings += 1;
    if (opcode > BINARY || (this.#opening & FIN) === 0) return;
    if (this.#first === FIRST_OF_MESSAGE && this.#subscription === FIRST_OF_REFUSALS) this.refusals += 1;
    else if (this.#first === FIRST_OF_MESSAGE) {
      this.messages += 1;
      this.messageBytes = this.#size;
    } else if (this.#first === FIRST_OF_RECEIPT) {
      this.receipts += 1;
      this.receiptBytes = this.#size;
    } else if (this.#first === FIRST_OF_CONNECTED) this.connected += 1;
    else if (this.#first === FIRST_OF_ERROR) this.errors += 1;
    else this.others += 1;
  }
}
