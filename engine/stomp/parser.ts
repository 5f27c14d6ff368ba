import { Buffer, isUtf8 } from "node:buffer";
import { Refusal } from "../../actors/codes.ts";
import type { Frame, Version } from "./frame.ts";
import { hashStep, wordOf } from "./words.ts";

/** The bounds of what a parser accepts and keeps. */
export interface FrameParserOptions {
  /** Longest body, bytes; else `body-too-large`. */
  readonly bodyBytes: number;
  /** Longest header line without its EOL, bytes; else `header-too-long`. */
  readonly headerBytes: number;
  /** Most headers of a frame; else `too-many-headers`. */
  readonly headers: number;
  /** Command line and header lines together, EOLs included, bytes; else `frame-too-large`. */
  readonly overheadBytes: number;
}

const LF = 10;
const CR = 13;
const COLON = 58;

const COMMAND_BYTES = 32; // nearly three times the longest command of STOMP
const HELD_BYTES = 256; // first size of the buffer for a frame that arrives in pieces

// What a byte of a header line means to the scan.
const ENDS = 1; // LF ends the line; NUL may not be in it
const SEPARATES = 2; // the first colon
const RETURNS = 4; // CR, allowed just before LF
const ESCAPES = 8;
const HIGH = 16; // part of a UTF-8 sequence
const KIND = new Uint8Array(256).fill(HIGH, 128);
KIND[0] = ENDS;
KIND[LF] = ENDS;
KIND[COLON] = SEPARATES;
KIND[CR] = RETURNS;
KIND[92] = ESCAPES;

const NOTHING = Buffer.alloc(0);
const NO_HEADERS: string[] = [];

/** The escape sequences of a version [STOMP 1.2 Value Encoding]; 1.1 does not know `\r`, 1.0 knows none. */
function unescaped(text: string, version: Version): string {
  return text.replace(/\\(.?)/gsu, (sequence: string, letter: string) => {
    if (letter === "n") return "\n";
    if (letter === "c") return ":";
    if (letter === "\\") return "\\";
    if (letter === "r" && version === "1.2") return "\r";
    throw new Refusal("bad-escape", `${JSON.stringify(sequence)} is not a sequence of STOMP ${version}.`);
  });
}

/** Where the EOLs that begin at `at` end; `at` if there are none. */
function afterEols(bytes: Buffer, at: number): number {
  let next = at;
  for (;;) {
    if (bytes[next] === LF) next += 1;
    else if (bytes[next] === CR && bytes[next + 1] === LF) next += 2;
    else return next;
  }
}

/**
 * Cuts the bytes of one connection into frames [STOMP 1.2 Augmented BNF]. Bytes may come in any pieces; a frame
 * that lies whole in one piece is read in place, without a copy.
 *
 *     EOL* command EOL (name ":" value EOL)* EOL body NUL      EOL = LF | CR LF
 *     └ life └ held as a partial line ───────┘  └ held, bounded by content-length or bodyBytes
 *
 * Between calls it keeps the headers read so far, and either a partial line or a partial body: never more than
 * `overheadBytes` and `max(headerBytes + 2, bodyBytes)`. What is held grows by doubling up to its bound, so any
 * cutting costs linear time.
 */
export class FrameParser {
  /** Decides the escapes; to be set when CONNECT has settled it. Takes effect from the next frame. */
  version: Version = "1.2";

  readonly #options: FrameParserOptions;
  #stopped = false;
  #command = ""; // empty between frames
  #headers = NO_HEADERS;
  #headBytes = 0;
  #contentLength = -1; // -1: not given
  #inBody = false;
  /** Of the header line in hand: what kinds of bytes are in it, and the hash of its name. */
  #kinds = 0;
  #hash = 0;
  #held: Buffer = NOTHING;
  #heldLength = 0;

  /** The options are kept, not copied: many parsers can share one object. */
  constructor(options: FrameParserOptions) {
    this.#options = options;
  }

  /** Bytes of memory held for a frame that is not complete, headers already decoded not counted. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** The `receipt` header of the frame under way, if it was read: what refuses the frame can name it. */
  get receipt(): string | undefined {
    for (let i = 0; i < this.#headers.length; i += 2) if (this.#headers[i] === "receipt") return this.#headers[i + 1];
    return undefined;
  }

  /**
   * Reads the next bytes. `onFrame` is called for each frame completed by them; the frame's body is a view, valid
   * only until `onFrame` returns. `onHeartbeat` is called once for each run of EOLs between frames.
   * Throws a `Refusal` as soon as the bytes cannot become an acceptable frame: `bad-frame`, `bad-escape`,
   * `header-too-long`, `too-many-headers`, `frame-too-large`, `body-too-large`, `bad-content-length`. After that,
   * after any throw of the callbacks, and after `stop`, the parser is dead and ignores all further bytes.
   * Neither callback may call `push`.
   */
  push(chunk: Uint8Array, onFrame: (frame: Frame) => void, onHeartbeat?: () => void): void {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    try {
      let at = 0;
      while (at < bytes.length && !this.#stopped) {
        if (this.#inBody) at = this.#takeBody(bytes, at, onFrame);
        else if (this.#heldLength > 0) at = this.#resumeLine(bytes, at, onHeartbeat);
        else if (this.#command !== "") at = this.#takeHeader(bytes, at, bytes.length);
        else {
          const start = afterEols(bytes, at);
          if (start > at) onHeartbeat?.();
          at = start < bytes.length ? this.#takeCommand(bytes, start, bytes.length) : start;
        }
      }
    } catch (fault) {
      // The headers stay, for `receipt`.
      const headers = this.#headers;
      this.stop();
      this.#headers = headers;
      throw fault;
    }
  }

  /** Reads no further, also not in the chunk in hand, and lets go of what is held. Meant for use inside `onFrame`. */
  stop(): void {
    this.#stopped = true;
    this.#reset();
  }

  #reset(): void {
    this.#command = "";
    this.#headers = NO_HEADERS;
    this.#headBytes = 0;
    this.#contentLength = -1;
    this.#inBody = false;
    this.#held = NOTHING;
    this.#heldLength = 0;
  }

  /** Reads a command line, returns where it ends; a line that is not complete is held. */
  #takeCommand(bytes: Buffer, at: number, end: number): number {
    let hash = 0;
    let stop = at;
    for (; stop < end; stop++) {
      const byte = bytes[stop] as number;
      if (byte === LF) break;
      // A CR must stand before the LF; when the line is not complete, what follows the CR is not known yet.
      if (byte === CR && (stop + 1 === end || bytes[stop + 1] === LF)) continue;
      if (byte <= 32 || byte >= 127) throw new Refusal("bad-frame", "The command line is not a word.");
      if (stop - at >= COMMAND_BYTES) throw new Refusal("bad-frame", "The command line is too long.");
      hash = hashStep(hash, byte);
    }
    if (stop === end) return this.#holdLine(bytes, at, end);
    this.#headBytes = stop + 1 - at;
    this.#command = wordOf(bytes, at, bytes[stop - 1] === CR ? stop - 1 : stop, hash);
    this.#headers = [];
    return stop + 1;
  }

  /** Reads a header line, or the blank line that ends the head; returns where it ends. A partial one is held. */
  #takeHeader(bytes: Buffer, at: number, end: number): number {
    let colon = at;
    let hash = 0;
    let kinds = 0;
    for (; colon < end; colon++) {
      const byte = bytes[colon] as number;
      const kind = KIND[byte] as number;
      if ((kind & (ENDS | SEPARATES)) !== 0) break;
      kinds |= kind;
      hash = hashStep(hash, byte);
    }
    let stop = colon;
    for (; stop < end; stop++) {
      const kind = KIND[bytes[stop] as number] as number;
      if (kind === ENDS) break;
      kinds |= kind;
    }
    if (stop === end) return this.#holdLine(bytes, at, end);
    if (bytes[stop] !== LF) throw new Refusal("bad-frame", "There is a NUL in the header lines.");
    const last = (kinds & RETURNS) !== 0 && bytes[stop - 1] === CR ? stop - 1 : stop;
    this.#countLine(last - at, stop + 1 - at);
    if ((kinds & RETURNS) !== 0 && bytes.indexOf(CR, at) < last) {
      throw new Refusal("bad-frame", "There is a CR inside a header line.");
    }
    if (last === at) this.#inBody = true;
    else {
      this.#kinds = kinds;
      this.#hash = hash;
      this.#addHeader(bytes, at, colon, last);
    }
    return stop + 1;
  }

  #countLine(lineBytes: number, bytesWithEol: number): void {
    const { headerBytes, overheadBytes } = this.#options;
    if (lineBytes > headerBytes) {
      throw new Refusal("header-too-long", `A header line may have ${headerBytes} bytes.`);
    }
    this.#headBytes += bytesWithEol;
    if (this.#headBytes > overheadBytes) {
      throw new Refusal("frame-too-large", `Command and headers may have ${overheadBytes} bytes together.`);
    }
  }

  #addHeader(bytes: Buffer, at: number, colon: number, last: number): void {
    if (colon >= last) throw new Refusal("bad-frame", "A header line has no colon.");
    if (colon === at) throw new Refusal("bad-frame", "A header has no name.");
    if (this.#headers.length >= 2 * this.#options.headers) {
      throw new Refusal("too-many-headers", `A frame may have ${this.#options.headers} headers.`);
    }
    let name: string;
    let value: string;
    if ((this.#kinds & (HIGH | ESCAPES)) === 0) {
      name = wordOf(bytes, at, colon, this.#hash);
      value = colon + 1 === last ? "" : bytes.toString("latin1", colon + 1, last);
    } else {
      if (!isUtf8(bytes.subarray(at, last))) throw new Refusal("bad-frame", "A header is not UTF-8.");
      name = this.#unescaped(bytes.toString("utf8", at, colon));
      value = this.#unescaped(bytes.toString("utf8", colon + 1, last));
    }
    if (name === "content-length" && this.#contentLength < 0) this.#contentLength = this.#bodyLength(value);
    this.#headers.push(name, value);
  }

  /** Frames that settle the version are not escaped, so that 1.0 can be spoken [STOMP 1.2 Value Encoding]. */
  #unescaped(text: string): string {
    const command = this.#command;
    const raw = this.version === "1.0" || command === "CONNECT" || command === "CONNECTED" || command === "STOMP";
    return raw || !text.includes("\\") ? text : unescaped(text, this.version);
  }

  #bodyLength(value: string): number {
    if (!/^[0-9]+$/.test(value)) throw new Refusal("bad-content-length", "It must be a whole number of bytes.");
    const length = Number(value);
    if (length > this.#options.bodyBytes) this.#refuseBody();
    return length;
  }

  #refuseBody(): never {
    throw new Refusal("body-too-large", `A body may have ${this.#options.bodyBytes} bytes.`);
  }

  /** Keeps the beginning of a line until the rest comes. */
  #holdLine(bytes: Buffer, at: number, end: number): number {
    const { headerBytes, overheadBytes } = this.#options;
    const inCommand = this.#command === "";
    const most = (inCommand ? COMMAND_BYTES : headerBytes) + 1; // the last may be the CR of the EOL
    const length = this.#heldLength + end - at;
    if (length > most) {
      if (inCommand) throw new Refusal("bad-frame", "The command line is too long.");
      throw new Refusal("header-too-long", `A header line may have ${headerBytes} bytes.`);
    }
    if (this.#headBytes + length > overheadBytes) {
      throw new Refusal("frame-too-large", `Command and headers may have ${overheadBytes} bytes together.`);
    }
    this.#hold(bytes, at, end, most + 1);
    return end;
  }

  /** Adds to a held line what belongs to it, and reads it when it is complete. */
  #resumeLine(bytes: Buffer, at: number, onHeartbeat: (() => void) | undefined): number {
    let stop = at;
    while (stop < bytes.length && bytes[stop] !== LF && bytes[stop] !== 0) stop++;
    this.#holdLine(bytes, at, stop);
    const complete = stop < bytes.length;
    const inCommand = this.#command === "";
    // A partial header line is not read again with each piece; a command line is short, and its faults show early.
    if (!complete && !inCommand) return stop;
    if (complete) this.#hold(bytes, stop, stop + 1, this.#heldLength + 1);
    const line = this.#held.subarray(0, this.#heldLength);
    this.#heldLength = 0;
    if (!inCommand) this.#takeHeader(line, 0, line.length);
    else if (line[0] === CR && line[1] === LF) {
      this.#reset();
      onHeartbeat?.();
    } else this.#takeCommand(line, 0, line.length);
    return complete ? stop + 1 : stop;
  }

  /** Reads the body, or as much of it as there is, and hands the frame out when it is complete. */
  #takeBody(bytes: Buffer, at: number, onFrame: (frame: Frame) => void): number {
    const declared = this.#contentLength;
    const stop = declared < 0 ? bytes.indexOf(0, at) : at + declared - this.#heldLength;
    const complete = declared < 0 ? stop >= 0 : stop < bytes.length;
    const end = complete ? stop : bytes.length;
    if (complete && bytes[stop] !== 0) throw new Refusal("bad-content-length", "No NUL follows the body.");
    if (this.#heldLength + end - at > this.#options.bodyBytes) this.#refuseBody();
    if (!complete) {
      this.#hold(bytes, at, end, declared < 0 ? this.#options.bodyBytes : declared);
      return end;
    }
    let body: Buffer;
    if (this.#heldLength === 0) body = stop === at ? NOTHING : bytes.subarray(at, stop);
    else {
      this.#hold(bytes, at, stop, this.#heldLength + stop - at);
      body = this.#held.subarray(0, this.#heldLength);
    }
    const frame: Frame = { command: this.#command, headers: this.#headers, body };
    this.#reset();
    onFrame(frame);
    return stop + 1;
  }

  /** Appends to what is held; the buffer doubles, up to `most` bytes. */
  #hold(bytes: Buffer, at: number, end: number, most: number): void {
    const length = this.#heldLength + end - at;
    if (length > this.#held.length) {
      const size = Math.max(length, Math.min(most, Math.max(HELD_BYTES, 2 * this.#held.length)));
      const grown = Buffer.allocUnsafeSlow(size);
      this.#held.copy(grown, 0, 0, this.#heldLength);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#heldLength, at, end);
    this.#heldLength = length;
  }
}
