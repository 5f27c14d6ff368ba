/**
 * A small STOMP client over `ws` for tests and drills: it can send anything, wrong things too, and every
 * frame can be waited for. Written from the specification alone, so that it also judges the server's codec.
 */
import WebSocket from "ws";
import { within } from "./harness.ts";

/** A frame of the server. */
export interface StompFrame {
  readonly command: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Whether it came in a binary WebSocket message. */
  readonly binary: boolean;
}

/** How a connection ended. */
export interface Closing {
  readonly code: number;
  readonly reason: string;
}

/** Which frame: `command` and `body` mean themselves, every other name a header; or a predicate. */
export type Match = Readonly<Record<string, string>> | ((frame: StompFrame) => boolean);

/** Headers of a frame to send; the list form allows repeats and keeps the order. */
export type HeadersToSend = Readonly<Record<string, string>> | readonly (readonly [string, string])[];

/** Frames that wait to be asked for, at most; a test that lets more pile up is wrong. */
const INBOX_FRAMES = 200_000;

const ESCAPES: Readonly<Record<string, string>> = { "\\n": "\n", "\\r": "\r", "\\c": ":", "\\\\": "\\" };

function unescaped(text: string, command: string, version: string): string {
  if (version === "1.0" || command === "CONNECTED") return text;
  return text.replace(/\\./g, (pair) => {
    const plain = ESCAPES[pair];
    if (plain === undefined || (pair === "\\r" && version === "1.1")) throw new Error(`bad escape ${pair}`);
    return plain;
  });
}

function escaped(text: string): string {
  return text.replace(/[\\\r\n:]/g, (unit) => ({ "\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c" })[unit] ?? unit);
}

/** The bytes of a frame, headers escaped as in 1.2 (never in CONNECT) [STOMP 1.2 Value Encoding]. */
export function encodeFrame(command: string, headers: HeadersToSend, body: string | Uint8Array = ""): Buffer {
  const pairs = Array.isArray(headers) ? (headers as readonly (readonly [string, string])[]) : Object.entries(headers);
  const raw = command === "CONNECT" || command === "STOMP";
  const lines = pairs.map(([name, value]) => (raw ? `${name}:${value}` : `${escaped(name)}:${escaped(value)}`));
  const head = [command, ...lines, "", ""].join("\n");
  return Buffer.concat([Buffer.from(head), Buffer.from(body as string), Buffer.of(0)]);
}

/** The frames of one whole WebSocket message; throws when it holds anything but whole frames and EOLs. */
export function decodeFrames(bytes: Buffer, binary: boolean, version: string): StompFrame[] {
  const frames: StompFrame[] = [];
  let at = 0;
  for (;;) {
    while (bytes[at] === 10 || bytes[at] === 13) at++;
    if (at >= bytes.length) return frames;
    const headEnd = bytes.indexOf("\n\n", at);
    if (headEnd < 0) throw new Error("The server sent a frame without an end of its headers.");
    const [command = "", ...lines] = bytes.toString("utf8", at, headEnd).split("\n");
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      const name = unescaped(line.slice(0, colon), command, version);
      if (!(name in headers)) headers[name] = unescaped(line.slice(colon + 1), command, version);
    }
    const length = headers["content-length"];
    const start = headEnd + 2;
    const end = length === undefined ? bytes.indexOf(0, start) : start + Number(length);
    if (end < 0 || bytes[end] !== 0) throw new Error(`The server sent a ${command} without its NUL.`);
    frames.push({ command, headers, body: bytes.subarray(start, end), binary });
    at = end + 1;
  }
}

function matches(frame: StompFrame, match: Match): boolean {
  if (typeof match === "function") return match(frame);
  return Object.entries(match).every(([name, value]) => {
    if (name === "command") return frame.command === value;
    if (name === "body") return frame.body.toString() === value;
    return frame.headers[name] === value;
  });
}

interface Waiter {
  readonly match: Match;
  readonly resolve: (frame: StompFrame) => void;
  readonly reject: (error: Error) => void;
}

/** How to open a connection. */
export interface OpenOptions {
  readonly protocols?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Text after the path, `?` included. */
  readonly query?: string;
  /** False: WebSocket pings stay unanswered, as by a dead peer. */
  readonly pong?: boolean;
}

/** A connection whose frames wait in an inbox until a test asks for them. */
export class StompClient {
  readonly socket: WebSocket;
  readonly closed: Promise<Closing>;
  version = "1.2";
  /** WebSocket messages that were nothing but EOLs. */
  heartbeats = 0;
  /** Takes frames away from the inbox when it answers true. */
  onFrame: ((frame: StompFrame) => boolean) | undefined;
  #inbox: StompFrame[] = [];
  #waiters: Waiter[] = [];
  #closing: Closing | undefined;
  #fault: Error | undefined;
  #receipts = 0;

  constructor(wsUrl: string, options: OpenOptions = {}) {
    this.socket = new WebSocket(`${wsUrl}${options.query ?? ""}`, [...(options.protocols ?? [])], {
      headers: { ...options.headers },
      autoPong: options.pong ?? true,
    });
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => {
        this.#closing = { code, reason: reason.toString() };
        resolve(this.#closing);
        this.#failWaiters();
      });
    });
    this.socket.on("error", (error) => {
      this.#fault ??= error;
    });
    this.socket.on("message", (data, binary) => this.#take(data as Buffer, binary));
  }

  /** Opens the WebSocket; no frame is sent. */
  static async open(wsUrl: string, options: OpenOptions = {}): Promise<StompClient> {
    const client = new StompClient(wsUrl, options);
    const open = new Promise<void>((resolve) => client.socket.once("open", () => resolve()));
    await within(Promise.race([open, client.closed]), 10_000, "The WebSocket handshake").catch((error: Error) => {
      client.socket.terminate();
      throw error;
    });
    if (client.#closing) throw client.#fault ?? new Error(`The handshake ended with ${client.#closing.code}.`);
    return client;
  }

  /** Opens the WebSocket and connects with a token (none when undefined); throws the ERROR if refused. */
  static async connected(wsUrl: string, token: string | undefined, options?: OpenOptions): Promise<StompClient> {
    const client = await StompClient.open(wsUrl, options);
    await client.connect(token).catch((error: Error) => {
      client.socket.terminate();
      throw error;
    });
    return client;
  }

  #take(data: Buffer, binary: boolean): void {
    try {
      const frames = decodeFrames(data, binary, this.version);
      if (frames.length === 0) this.heartbeats++;
      for (const frame of frames) this.#deliver(frame);
    } catch (error) {
      this.#fault ??= error as Error;
      this.socket.terminate();
    }
  }

  #deliver(frame: StompFrame): void {
    if (frame.command === "CONNECTED") this.version = frame.headers.version ?? "1.0";
    if (this.onFrame?.(frame)) return;
    const at = this.#waiters.findIndex((waiter) => matches(frame, waiter.match));
    if (at >= 0) this.#waiters.splice(at, 1)[0]?.resolve(frame);
    else if (this.#inbox.push(frame) > INBOX_FRAMES) throw new Error("The inbox of a test client overflowed.");
  }

  #failWaiters(): void {
    const fault = this.#fault?.message ?? "";
    const kept = this.#inbox.map((frame) => `${frame.command} ${JSON.stringify(frame.headers)}`).slice(-3);
    for (const waiter of this.#waiters.splice(0)) {
      const wanted = typeof waiter.match === "function" ? "a frame" : JSON.stringify(waiter.match);
      waiter.reject(
        new Error(`Closed with ${this.#closing?.code} ${fault} before ${wanted}; last: ${kept.join("; ")}`),
      );
    }
  }

  /** The first frame that matches and was not asked for yet; waits for it at most `timeoutMs`. */
  async next(match: Match, timeoutMs = 5_000): Promise<StompFrame> {
    const at = this.#inbox.findIndex((frame) => matches(frame, match));
    if (at >= 0) return this.#inbox.splice(at, 1)[0] as StompFrame;
    if (this.#closing) throw new Error(`Closed with ${this.#closing.code}; no frame ${JSON.stringify(match)} came.`);
    const frame = new Promise<StompFrame>((resolve, reject) => this.#waiters.push({ match, resolve, reject }));
    const waiter = this.#waiters.at(-1);
    try {
      return await within(frame, timeoutMs, `A frame ${typeof match === "function" ? match : JSON.stringify(match)}`);
    } catch (error) {
      // A waiter that gave up must not swallow a later frame.
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      throw error;
    }
  }

  /** Frames that came and were not asked for. Ask after a RECEIPT: what was sent before it has then arrived. */
  waiting(match: Match = {}): StompFrame[] {
    return this.#inbox.filter((frame) => matches(frame, match));
  }

  /** Sends bytes as they are: text unless `binary`. */
  raw(bytes: string | Uint8Array, binary = false): void {
    this.socket.send(bytes, { binary });
  }

  /** Sends one frame, in a text message unless the body is bytes. */
  send(command: string, headers: HeadersToSend = {}, body: string | Uint8Array = ""): void {
    this.socket.send(encodeFrame(command, headers, body), { binary: typeof body !== "string" });
  }

  /** CONNECT, and its CONNECTED; an ERROR is thrown with its code. */
  async connect(token?: string, headers: Readonly<Record<string, string>> = {}): Promise<StompFrame> {
    const passcode = token === undefined ? {} : { passcode: token };
    this.send("CONNECT", { "accept-version": "1.2,1.1,1.0", ...passcode, ...headers });
    const answer = await this.next((frame) => frame.command === "CONNECTED" || frame.command === "ERROR");
    if (answer.command === "ERROR") throw new Error(`CONNECT was refused: ${answer.headers.code}`);
    return answer;
  }

  /** Sends a frame with a receipt and waits for what answers it: RECEIPT, ERROR or a refusal. */
  async ask(
    command: string,
    headers: Readonly<Record<string, string>> = {},
    body: string | Uint8Array = "",
  ): Promise<StompFrame> {
    const receipt = `r${++this.#receipts}`;
    this.send(command, { ...headers, receipt }, body);
    return this.next(
      (frame) => frame.headers["receipt-id"] === receipt || (frame.command === "ERROR" && !frame.headers["receipt-id"]),
      15_000,
    );
  }

  /** The same; throws unless the answer is a RECEIPT. */
  async must(
    command: string,
    headers: Readonly<Record<string, string>> = {},
    body: string | Uint8Array = "",
  ): Promise<StompFrame> {
    const answer = await this.ask(command, headers, body);
    if (answer.command === "RECEIPT") return answer;
    throw new Error(`${command} ${JSON.stringify(headers)} was refused: ${JSON.stringify(answer.headers)}`);
  }

  /** Posts a message to a room and waits until it is stored. */
  async post(
    room: string,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<StompFrame> {
    return this.must("SEND", { destination: `/topic/room.${room}`, ...headers }, body);
  }

  /** Subscribes a room under `id` and waits for the RECEIPT. */
  async subscribe(room: string, id: string, headers: Readonly<Record<string, string>> = {}): Promise<StompFrame> {
    return this.must("SUBSCRIBE", { destination: `/topic/room.${room}`, id, ...headers });
  }

  /** Cuts the connection without a word. */
  async cut(): Promise<void> {
    this.socket.terminate();
    await this.closed;
  }

  /** DISCONNECT with its receipt, then the close. */
  async disconnect(): Promise<Closing> {
    await this.must("DISCONNECT");
    return within(this.closed, 5_000, "The close after DISCONNECT");
  }
}
