/**
 * A response of uWebSockets.js in the shape of node's `ServerResponse`, as far as fastify and its plugins
 * use it. Head and body leave in one corked write; streams leave with back-pressure.
 *
 *     fresh ── write ──▶ streaming ── end ──▶ ended ── all taken ──▶ finished
 *       └───────────────── end ────────────────┘        any ── client gone ──▶ destroyed
 */

import type { HttpResponse } from "uWebSockets.js";
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type { OutgoingHttpHeader, OutgoingHttpHeaders } from "node:http";
import { checkHeader, coded, OWN_HEADERS, statusLine, writeHeader } from "./http.headers.ts";

type Done = (() => void) | null | undefined;

/** How a response differs from others. */
export interface ResponseOptions {
  /** It answers a HEAD. */
  readonly bodiless: boolean;
  /**
   * Whether the connection must stay open though fastify wants it closed: a client that is still sending its
   * request would meet a reset before it has read the answer.
   */
  readonly lingers: () => boolean;
  /** Called once, when uWebSockets.js needs no more of this response. */
  readonly onOver: () => void;
}

/** A response to one request. */
export class BridgeResponse extends EventEmitter {
  statusCode = 200;
  statusMessage = "";
  headersSent = false;
  writableEnded = false;
  writableFinished = false;
  destroyed = false;
  closed = false;
  writable = true;
  readonly shouldKeepAlive = true;
  #uws: HttpResponse | undefined;
  readonly #bodiless: boolean;
  readonly #lingers: () => boolean;
  readonly #onOver: () => void;
  /** Lower-case name → value. */
  readonly #headers: Record<string, OutgoingHttpHeader> = {};
  #headWritten = false;
  /** Bytes of the body when it was announced; else -1, and the body leaves in chunks. */
  #length = -1;
  #closeAfter = false;
  /** Waiting for the socket, oldest first; only for announced lengths, else uWebSockets.js keeps them. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** Bytes handed over of an announced length. */
  #sent = 0;
  #blocked = false;

  constructor(uws: HttpResponse, { bodiless, lingers, onOver }: ResponseOptions) {
    super();
    this.#uws = uws;
    this.#bodiless = bodiless;
    this.#lingers = lingers;
    this.#onOver = onOver;
  }

  get finished(): boolean {
    return this.writableEnded;
  }

  get writableLength(): number {
    return this.#waitingBytes;
  }

  get writableNeedDrain(): boolean {
    return this.#blocked;
  }

  setHeader(name: string, value: OutgoingHttpHeader): this {
    if (this.headersSent) throw coded("ERR_HTTP_HEADERS_SENT", "Cannot set headers after they are sent.");
    checkHeader(name, value);
    this.#headers[name.toLowerCase()] = value;
    return this;
  }

  appendHeader(name: string, value: string | readonly string[]): this {
    const before = this.getHeader(name);
    const list = before === undefined ? [] : Array.isArray(before) ? before : [String(before)];
    return this.setHeader(name, [...list, ...(typeof value === "string" ? [value] : value)]);
  }

  getHeader(name: string): OutgoingHttpHeader | undefined {
    return this.#headers[name.toLowerCase()];
  }

  getHeaders(): OutgoingHttpHeaders {
    return { ...this.#headers };
  }

  getHeaderNames(): string[] {
    return Object.keys(this.#headers);
  }

  hasHeader(name: string): boolean {
    return this.#headers[name.toLowerCase()] !== undefined;
  }

  removeHeader(name: string): void {
    if (this.headersSent) throw coded("ERR_HTTP_HEADERS_SENT", "Cannot remove headers after they are sent.");
    delete this.#headers[name.toLowerCase()];
  }

  /** Fixes status and headers; they leave with the first bytes of the body. */
  writeHead(status: number, ...rest: readonly (string | OutgoingHttpHeaders | undefined)[]): this {
    if (this.headersSent) throw coded("ERR_HTTP_HEADERS_SENT", "Cannot write headers after they are sent.");
    if (!Number.isInteger(status) || status < 200 || status > 999) {
      throw Object.assign(new RangeError("Invalid status code."), { code: "ERR_HTTP_INVALID_STATUS_CODE" });
    }
    for (const given of rest) {
      if (typeof given !== "object") continue;
      for (const name in given) {
        const value = given[name];
        if (value === undefined) continue;
        checkHeader(name, value);
        this.#headers[name.toLowerCase()] = value;
      }
    }
    this.statusCode = status;
    this.headersSent = true;
    return this;
  }

  flushHeaders(): void {
    if (!this.headersSent) this.writeHead(this.statusCode);
  }

  /** Writes a part of the body; false when the caller should wait for `drain`. */
  write(chunk: string | Uint8Array, encoding?: BufferEncoding | Done, done?: Done): boolean {
    const callback = typeof encoding === "function" ? encoding : done;
    const text = typeof encoding === "string" ? encoding : "utf8";
    if (this.writableEnded) throw coded("ERR_STREAM_WRITE_AFTER_END", "write after end");
    if (this.#uws !== undefined) {
      this.flushHeaders();
      this.#cork(() => {
        this.#writeHeadOnce();
        if (!this.#withoutBody() && chunk.length > 0) this.#writePart(chunk, text);
      });
    }
    if (typeof callback === "function") process.nextTick(callback);
    return !this.#blocked && !this.destroyed;
  }

  /** Ends the response, with a last part of the body if there is one. */
  end(chunk?: string | Uint8Array | Done, encoding?: BufferEncoding | Done, done?: Done): this {
    if (this.writableEnded) return this;
    const callback = [chunk, encoding, done].find((one) => typeof one === "function");
    if (typeof callback === "function") this.once("finish", callback);
    const body = typeof chunk === "function" || chunk == null ? undefined : chunk;
    const text = typeof encoding === "string" ? encoding : "utf8";
    this.flushHeaders();
    this.writableEnded = true;
    this.writable = false;
    if (this.#uws === undefined) return this;
    this.#cork(() => {
      if (this.#headWritten) this.#endStream(body, text);
      else this.#endWhole(body, text);
    });
    return this;
  }

  /** Ends the connection at once. */
  destroy(): this {
    const uws = this.#uws;
    if (uws !== undefined) uws.close(); // which calls `lose` by the abort handler
    this.lose();
    return this;
  }

  /** The client went away, or the connection was ended. */
  lose(): void {
    if (this.destroyed || this.writableFinished) return;
    this.#release();
    this.destroyed = true;
    this.writable = false;
    this.#blocked = false;
    this.#close();
  }

  setTimeout(): this {
    return this;
  }

  cork(): void {}

  uncork(): void {}

  #withoutBody(): boolean {
    return this.#bodiless || this.statusCode === 204 || this.statusCode === 304;
  }

  /** Corking joins all writes of a task into one packet; a throw inside would end the process. */
  #cork(task: () => void): void {
    let failure: unknown;
    this.#uws?.cork(() => {
      try {
        task();
      } catch (error) {
        failure = error;
      }
    });
    if (failure !== undefined) throw failure;
  }

  #writeHeadOnce(): void {
    const uws = this.#uws;
    if (this.#headWritten || uws === undefined) return;
    this.#headWritten = true;
    uws.writeStatus(statusLine(this.statusCode));
    const headers = this.#headers;
    for (const name in headers) {
      const value = headers[name] as OutgoingHttpHeader;
      if (OWN_HEADERS.has(name)) {
        if (name === "content-length") this.#length = Number(value);
        else if (name === "connection") this.#connect(uws, String(value).toLowerCase());
      } else if (typeof value === "object") {
        for (const one of value) writeHeader(uws, name, one);
      } else {
        writeHeader(uws, name, String(value));
      }
    }
  }

  /** The option that an `upgrade` needs beside it [RFC 9110 7.8] is the answer's own. */
  #connect(uws: HttpResponse, option: string): void {
    if (option === "upgrade") writeHeader(uws, "connection", option);
    this.#closeAfter = option === "close" && !this.#lingers();
  }

  /** The whole response at once: the common way. */
  #endWhole(body: string | Uint8Array | undefined, encoding: BufferEncoding): void {
    const uws = this.#uws as HttpResponse;
    this.#writeHeadOnce();
    if (this.#withoutBody()) {
      // A HEAD states the length of what GET would send [RFC 9110 9.3.2]; 204 and 304 state none.
      if (this.#bodiless && this.#length >= 0) uws.endWithoutBody(this.#length, this.#closeAfter);
      // Without a length it takes no argument: an undefined one is read as a number.
      else uws.endWithoutBody();
    } else {
      const plain = typeof body === "string" && encoding !== "utf8" ? Buffer.from(body, encoding) : body;
      uws.end(plain, this.#closeAfter);
    }
    this.#finish();
  }

  #writePart(chunk: string | Uint8Array, encoding: BufferEncoding): void {
    const uws = this.#uws as HttpResponse;
    const bytes =
      typeof chunk === "string"
        ? Buffer.from(chunk, encoding)
        : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#length < 0) {
      if (uws.write(bytes) || this.#blocked) return;
      this.#blocked = true;
      uws.onWritable(() => {
        this.#unblock();
        return true;
      });
      return;
    }
    // More than was announced would be taken for the next response.
    const room = this.#length - this.#sent - this.#waitingBytes;
    const part = bytes.byteLength > room ? bytes.subarray(0, room) : bytes;
    if (part.byteLength === 0) return;
    this.#waiting.push(part);
    this.#waitingBytes += part.byteLength;
    if (!this.#blocked) this.#sendWaiting();
  }

  /** Hands over what waits, as far as the socket takes it. Answers whether it took all. */
  #sendWaiting(): boolean {
    const uws = this.#uws as HttpResponse;
    for (let part = this.#waiting[0]; part !== undefined; part = this.#waiting[0]) {
      const before = uws.getWriteOffset();
      const [ok, whole] = uws.tryEnd(part, this.#length);
      if (whole) {
        this.#sent = this.#length;
        this.#waiting = [];
        this.#waitingBytes = 0;
        this.#release();
        if (this.writableEnded) this.#finish();
        return true;
      }
      const taken = ok ? part.byteLength : uws.getWriteOffset() - before;
      this.#sent += taken;
      this.#waitingBytes -= taken;
      if (ok) {
        this.#waiting.shift();
        continue;
      }
      this.#waiting[0] = part.subarray(taken);
      if (!this.#blocked) {
        this.#blocked = true;
        uws.onWritable(() => this.#onWritable());
      }
      return false;
    }
    return true;
  }

  /** The socket takes bytes again. Answers uWebSockets.js whether all were taken. */
  #onWritable(): boolean {
    let took = false;
    try {
      this.#cork(() => {
        took = this.#sendWaiting();
      });
      if (took) {
        if (this.writableEnded && this.#uws !== undefined) this.#endStream(undefined, "utf8");
        this.#unblock();
      }
    } catch {
      // A throw here would end the process; the response cannot be saved.
      this.destroy();
    }
    return took;
  }

  #unblock(): void {
    this.#blocked = false;
    if (this.writableEnded || this.destroyed) return;
    // Later, as a listener that throws inside a uWebSockets.js callback would end the process.
    process.nextTick(() => this.emit("drain"));
  }

  /** Ends a body of which parts have left. */
  #endStream(body: string | Uint8Array | undefined, encoding: BufferEncoding): void {
    if (this.#withoutBody()) {
      this.#endWhole(undefined, encoding);
      return;
    }
    if (body !== undefined && body.length > 0) this.#writePart(body, encoding);
    if (this.writableFinished) return;
    const uws = this.#uws;
    if (uws === undefined) {
      this.#finish(); // all of the announced length was taken before
    } else if (this.#length < 0) {
      uws.end(undefined, this.#closeAfter);
      this.#finish();
    } else if (this.#waitingBytes === 0 && this.#length === 0) {
      uws.end("", this.#closeAfter);
      this.#finish();
    } else if (this.#waitingBytes === 0) {
      this.destroy(); // fewer bytes than announced: only a cut connection tells the client
    }
  }

  #finish(): void {
    this.#release();
    this.writableFinished = true;
    this.#blocked = false;
    // Later, as node does: who called `end` goes on first.
    process.nextTick(finished, this);
  }

  /** Tells listeners that all is over; `finish` only for a response that left whole. */
  #close(): void {
    this.closed = true;
    this.emit("close");
  }

  /** Called by the next tick after the last byte was handed over. */
  announce(): void {
    this.emit("finish");
    this.#close();
  }

  #release(): void {
    if (this.#uws === undefined) return;
    this.#uws = undefined;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#onOver();
  }
}

function finished(response: BridgeResponse): void {
  response.announce();
}
