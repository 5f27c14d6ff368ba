/**
 * The bridge: serves a fastify instance through uWebSockets.js, so that REST, page and WebSocket share one
 * port. Fastify's `inject` would cost two thirds of the throughput; hand-made request and response objects
 * go straight into its router instead.
 *
 *     uWS handler → readHead → fastify.routing(request, response) → one corked write
 */

import type { HttpRequest, HttpResponse, TemplatedApp } from "uWebSockets.js";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import { codeOf } from "../actors/codes.ts";
import { BodyRequest, BridgeSocket, PlainRequest, readHead } from "./http.request.ts";
import { BridgeResponse } from "./http.response.ts";

/** How to serve. */
export interface HttpOptions {
  /** Largest request body, bytes; at least the largest limit of any route, whose own limits answer first. */
  readonly bodyLimit: number;
  /** Bytes of request bodies that may be on their way at once, over all connections; beyond it 503 `busy`. */
  readonly bodiesLimit: number;
  /** Whether TLS ends here. */
  readonly encrypted: boolean;
  /** Told of what should never happen: a throw on the way into fastify. */
  readonly onError: (error: unknown) => void;
}

/** A stated body of up to this many bytes is taken to its end, unread, though its request was refused before. */
const LINGER_BYTES = 16_777_216;

/** What serves. */
export interface HttpFront {
  /** Requests that are not answered yet. */
  readonly open: number;
  /** Bytes of request bodies on their way. */
  readonly bodyBytes: number;
  /** Resolves when every request that is open now or comes before then has been answered. */
  idle(): Promise<void>;
}

/** What the bridge itself answers with. */
type Fault = "busy" | "internal" | "bad-content-length";

const RETRY_S = 1;

/** The problem of a fault, in the same form as REST gives it. */
function problemText(code: Fault): string {
  const { sentence, http, retry } = codeOf(code);
  const pause = retry === "later" ? { retryAfterMs: RETRY_S * 1_000 } : {};
  return JSON.stringify({ type: `/docs/codes#${code}`, title: sentence, status: http, code, ...pause });
}

/** Serves all HTTP of an app that no other route takes. Call before `listen`; the fastify instance must be ready. */
export function serveHttp(app: TemplatedApp, fastify: FastifyInstance, options: HttpOptions): HttpFront {
  const front = new Front(fastify, options);
  app.any("/*", (response, request) => front.serve(response, request));
  return front;
}

class Front implements HttpFront {
  open = 0;
  bodyBytes = 0;
  readonly #route: (request: IncomingMessage, response: ServerResponse) => void;
  readonly #options: HttpOptions;
  #waiting: (() => void)[] = [];

  constructor(fastify: FastifyInstance, options: HttpOptions) {
    this.#route = fastify.routing;
    this.#options = options;
  }

  idle(): Promise<void> {
    if (this.open === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** One request. uWebSockets.js ends the process when this throws or leaves without an abort handler. */
  serve(uws: HttpResponse, raw: HttpRequest): void {
    const exchange = new Exchange(this);
    uws.onAborted(() => {
      try {
        exchange.abort();
      } catch (error) {
        this.#options.onError(error); // of a listener; out of here it would end the process
      }
    });
    try {
      const socket = new BridgeSocket(uws, this.#options.encrypted);
      const head = readHead(raw, socket);
      const { headers, method } = head;
      const stated = headers["content-length"];
      const hasBody = headers["transfer-encoding"] !== undefined || (stated !== undefined && stated !== "0");
      const request = hasBody ? new BodyRequest(head) : new PlainRequest(head);
      const response = new BridgeResponse(uws, {
        bodiless: method === "HEAD",
        lingers: () => !head.ambiguous && !request.complete && Number(stated) <= LINGER_BYTES,
        onOver: () => exchange.over(),
      });
      exchange.begin(request, response);
      if (head.ambiguous) {
        // Later: uWebSockets.js ends a connection that has more for it before the answer, and here it must.
        setImmediate(() => exchange.refuse("bad-content-length"));
        return;
      }
      if (request instanceof BodyRequest && !this.#receive(uws, request, exchange)) return;
      // The shapes are those of node's classes as far as fastify looks; the tests of this file hold it to that.
      this.#route(request as unknown as IncomingMessage, response as unknown as ServerResponse);
    } catch (error) {
      this.#options.onError(error);
      exchange.fail(uws);
    }
  }

  /** Takes the body in. False when there is no room for it and the request was answered so. */
  #receive(uws: HttpResponse, request: BodyRequest, exchange: Exchange): boolean {
    const { bodyLimit, bodiesLimit } = this.#options;
    if (this.bodyBytes >= bodiesLimit) {
      exchange.refuse("busy");
      return false;
    }
    uws.onData((chunk, last) => {
      if (exchange.done) return;
      exchange.received += chunk.byteLength;
      this.bodyBytes += chunk.byteLength;
      try {
        // Routes refuse earlier, with a problem; a body that nobody reads is cut here.
        if (exchange.received > bodyLimit) request.destroy();
        // Many that had begun in time may grow at once.
        else if (this.bodyBytes > bodiesLimit) exchange.refuse("busy");
        else request.feed(chunk, last);
      } catch (error) {
        this.#options.onError(error);
        request.destroy();
      }
    });
    return true;
  }

  /** A request is over. */
  settle(received: number): void {
    this.open--;
    this.bodyBytes -= received;
    if (this.open > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** A request and its response, from the first byte to the last. */
class Exchange {
  /** Bytes of the body received. */
  received = 0;
  done = false;
  readonly #front: Front;
  #request: PlainRequest | BodyRequest | undefined;
  #response: BridgeResponse | undefined;

  constructor(front: Front) {
    this.#front = front;
    front.open++;
  }

  begin(request: PlainRequest | BodyRequest, response: BridgeResponse): void {
    this.#request = request;
    this.#response = response;
  }

  /** The response has left, or can never leave. */
  over(): void {
    if (this.done) return;
    this.done = true;
    this.#request?.socket.release();
    this.#front.settle(this.received);
    if (this.#response?.destroyed !== true) process.nextTick(requestOver, this.#request);
  }

  /** The client went away. */
  abort(): void {
    const request = this.#request;
    this.over();
    if (request !== undefined) {
      request.socket.destroyed = true;
      request.socket.emit("close");
      request.lose();
    }
    this.#response?.lose();
  }

  /** Answers before fastify sees the request. */
  refuse(code: Fault): void {
    const { http, retry } = codeOf(code);
    this.#response?.writeHead(http, {
      "content-type": "application/problem+json",
      "retry-after": retry === "later" ? String(RETRY_S) : undefined,
      connection: "close",
    });
    this.#response?.end(problemText(code));
  }

  /** Something threw on the way in. */
  fail(uws: HttpResponse): void {
    if (this.done) return;
    if (this.#response === undefined || this.#response.headersSent) uws.close();
    else this.refuse("internal");
  }
}

function requestOver(request: PlainRequest | BodyRequest | undefined): void {
  request?.over();
}
