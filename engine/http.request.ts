/**
 * A request of uWebSockets.js in the shape of node's `IncomingMessage`, as far as fastify and its plugins
 * look at it. A request without a body is a plain emitter that is already over; one with a body is a
 * `Readable` that the bridge feeds.
 */

import type { HttpRequest, HttpResponse } from "uWebSockets.js";
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { Readable } from "node:stream";

/** What was read from a uWebSockets.js request while it was valid. */
export interface RequestHead {
  readonly method: string;
  /** Path and query as sent. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** It states two lengths: whoever reads the other one takes its body for a request [RFC 9112 6.3]. */
  readonly ambiguous: boolean;
  readonly socket: BridgeSocket;
}

/** Headers of which node keeps the first when they are repeated; all others are joined. */
const FIRST_WINS: ReadonlySet<string> = new Set(
  (
    "age authorization content-length content-type etag expires from host if-modified-since if-unmodified-since " +
    "last-modified location max-forwards proxy-authorization referer retry-after server user-agent"
  ).split(" "),
);

const MAPPED = /^(?:0000:){5}ffff:([0-9a-f]{2})([0-9a-f]{2}):([0-9a-f]{2})([0-9a-f]{2})$/;

/** The peer's address as text; an IPv4 address that came over an IPv6 socket in its own form. */
export function addressText(bytes: ArrayBuffer): string {
  const text = Buffer.from(bytes).toString("latin1");
  const parts = MAPPED.exec(text);
  return parts === null
    ? text
    : parts
        .slice(1)
        .map((part) => Number.parseInt(part, 16))
        .join(".");
}

/** The connection as fastify sees it: an address and a way to end it. */
export class BridgeSocket extends EventEmitter {
  /** Whether TLS ends here. */
  readonly encrypted: boolean;
  destroyed = false;
  readonly readable = true;
  readonly writable = true;
  #response: HttpResponse | undefined;
  #address: string | undefined;

  constructor(response: HttpResponse, encrypted: boolean) {
    super();
    this.#response = response;
    this.encrypted = encrypted;
  }

  /** The peer's address; read on first use, as most requests never ask. Undefined once the response is over. */
  get remoteAddress(): string | undefined {
    if (this.#address === undefined && this.#response !== undefined) {
      this.#address = addressText(this.#response.getRemoteAddressAsText());
    }
    return this.#address;
  }

  /** Ends the connection at once. */
  destroy(): this {
    const response = this.#response;
    this.release();
    this.destroyed = true;
    response?.close();
    return this;
  }

  /** The response is over: uWebSockets.js allows no further call on it. */
  release(): void {
    this.#response = undefined;
  }

  setKeepAlive(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }
}

/** Reads all of a request while it is valid, which is only until the handler returns. */
export function readHead(request: HttpRequest, socket: BridgeSocket): RequestHead {
  const headers: IncomingHttpHeaders = {};
  let ambiguous = false;
  request.forEach((name, value) => {
    const before = headers[name];
    if (name === "content-length" && before !== undefined && before !== value) ambiguous = true;
    if (name === "set-cookie") headers[name] = [...(headers[name] ?? []), value];
    else if (before === undefined) headers[name] = value;
    else if (name === "cookie") headers[name] = `${before}; ${value}`;
    else if (!FIRST_WINS.has(name)) headers[name] = `${before}, ${value}`;
  });
  // Undefined, against its types, where the address has no query.
  const query = request.getQuery() as string | undefined;
  const url = !query ? request.getUrl() : `${request.getUrl()}?${query}`;
  return { method: request.getCaseSensitiveMethod(), url, headers, ambiguous, socket };
}

function flat(headers: IncomingHttpHeaders): string[] {
  const list: string[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (Array.isArray(value)) for (const one of value) list.push(name, one);
    else if (value !== undefined) list.push(name, value);
  }
  return list;
}

/** A request without a body. */
export class PlainRequest extends EventEmitter {
  readonly method: string;
  url: string;
  readonly headers: IncomingHttpHeaders;
  readonly socket: BridgeSocket;
  readonly httpVersion = "1.1";
  readonly httpVersionMajor = 1;
  readonly httpVersionMinor = 1;
  readonly complete = true;
  readonly readable = false;
  readonly readableEnded = true;
  aborted = false;
  destroyed = false;
  closed = false;

  constructor(head: RequestHead) {
    super();
    this.method = head.method;
    this.url = head.url;
    this.headers = head.headers;
    this.socket = head.socket;
  }

  get connection(): BridgeSocket {
    return this.socket;
  }

  get rawHeaders(): string[] {
    return flat(this.headers);
  }

  /** Whoever waits for the end of the body is told so. */
  resume(): this {
    if (this.listenerCount("end") > 0) process.nextTick(() => this.emit("end"));
    return this;
  }

  pause(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  unpipe(): this {
    return this;
  }

  pipe<T extends NodeJS.WritableStream>(target: T): T {
    target.end();
    return target;
  }

  /** Ends the connection, as node does. */
  destroy(): this {
    if (!this.destroyed) {
      this.destroyed = true;
      this.socket.destroy();
    }
    return this;
  }

  /** The client went away. */
  lose(): void {
    this.aborted = true;
    this.destroyed = true;
    this.emit("aborted");
    this.over();
  }

  /** Nothing more will come of this request. */
  over(): void {
    if (this.closed) return;
    this.closed = true;
    this.emit("close");
  }
}

/** A request with a body. */
export class BodyRequest extends Readable {
  readonly method: string;
  url: string;
  readonly headers: IncomingHttpHeaders;
  readonly socket: BridgeSocket;
  readonly httpVersion = "1.1";
  readonly httpVersionMajor = 1;
  readonly httpVersionMinor = 1;
  complete = false;
  aborted = false;

  constructor(head: RequestHead) {
    super({ autoDestroy: false, emitClose: true });
    this.method = head.method;
    this.url = head.url;
    this.headers = head.headers;
    this.socket = head.socket;
  }

  get connection(): BridgeSocket {
    return this.socket;
  }

  get rawHeaders(): string[] {
    return flat(this.headers);
  }

  /** What arrives is pushed; its sum is bounded by the bridge. */
  override _read(): void {}

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.complete) this.socket.destroy();
    // An error that nobody listens for would end the process; node's own requests keep it to themselves too.
    callback(this.listenerCount("error") > 0 ? error : null);
  }

  setTimeout(): this {
    return this;
  }

  /** A part of the body came; its bytes are copied, as they are only lent. */
  feed(chunk: ArrayBuffer, last: boolean): void {
    if (this.destroyed) return;
    if (chunk.byteLength > 0) this.push(Buffer.from(chunk.slice(0)));
    if (last) {
      this.complete = true;
      this.push(null);
    }
  }

  /** The client went away. */
  lose(): void {
    this.aborted = true;
    this.emit("aborted");
    this.destroy(
      this.complete ? undefined : Object.assign(new Error("aborted"), { code: "ECONNRESET", statusCode: 400 }),
    );
  }

  /** Nothing more will come of this request. */
  over(): void {
    if (this.destroyed) return;
    // What is still to come of the body is dropped by the bridge; the connection lives on.
    this.complete = true;
    this.destroy();
  }
}
