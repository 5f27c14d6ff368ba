/** One client connection: a raw TCP socket with a hand-written WebSocket and STOMP client on it. */
import { connect, type Socket } from "node:net";
import { FrameCounter } from "./counter.ts";
import { connectFrame, handshake, pong, REFUSALS, SUBSCRIBED, subscribeFrame, text } from "./frames.ts";
import type { Dialect, Replay } from "./messages.ts";
import { StampReader, stamped } from "./peers/stamps.ts";
import type { Counter, Wire } from "./peers/wire.ts";
import { peerWire } from "./peers/wires.ts";
import { type Frame, PayloadReader, parseFrame } from "./reader.ts";

/** Read buffer of all sockets: a read is counted before the next one happens, so one buffer serves them all. */
const READ_BYTES = 262_144;
const shared = Buffer.allocUnsafe(READ_BYTES);
const ERROR_CHARACTERS_SHOWN = 400;

/** What one read of any connection of this process brought, summed since `takeReads` was last called. */
const reads = { count: 0, bytes: 0 };

/** Mean bytes of the reads since the last call; 0 if there were none. */
export function takeReads(): number {
  const mean = reads.count === 0 ? 0 : reads.bytes / reads.count;
  reads.count = 0;
  reads.bytes = 0;
  return mean;
}

/** Who and where a connection is. */
export interface Place {
  readonly port: number;
  readonly dialect: Dialect;
  /** Source address; several of them hold more connections than one has ports for. */
  readonly source: string;
  readonly room: string;
  /** Sent on CONNECT (`stomp` only). */
  readonly token: string;
  /** Read every frame in full, to check order and contents. */
  readonly sampled: boolean;
  /** What to ask for on SUBSCRIBE before going live. */
  readonly replay?: Replay | undefined;
  /** MESSAGE frames that come before it is open. */
  readonly replayed: number;
}

/** STOMP destination of a room. */
function destination(room: string): string {
  return `/topic/room.${room}`;
}

/** A connection that counts what it receives. */
export class Connection {
  readonly counter: Counter;
  readonly place: Place;
  /** Frames of a sampled connection that did not follow the one before. */
  disordered = 0;
  /** Receipt ids of SENDs on a sampled connection, in order, that have not been answered. */
  readonly receiptsAwaited: string[] = [];
  /** Called after each read once the connection is ready. */
  onRead: (() => void) | undefined;
  /** Called once if the connection ends though nobody closed it, or gets an ERROR. */
  onFailure: ((error: Error) => void) | undefined;

  #socket: Socket | undefined;
  #upgraded = false;
  #pings = 0;
  readonly #wire: Wire | undefined;
  #calls = 0;
  #stamp = 0;
  #greeting = "";
  #failed = false;
  #offset = 0;
  #reader: PayloadReader | undefined;
  #stage: (() => void) | undefined;

  constructor(place: Place) {
    this.place = place;
    this.#wire = peerWire(place.dialect);
    this.counter = this.#wire?.counter() ?? new FrameCounter();
    if (place.sampled && this.#wire !== undefined) {
      const stamps = new StampReader();
      this.#reader = new PayloadReader((payload) => {
        stamps.take(payload);
        this.disordered = stamps.disordered;
      });
    }
    if (place.sampled && place.dialect === "stomp") {
      this.#reader = new PayloadReader((payload) => this.#check(payload));
      if (place.replay !== undefined && "offset" in place.replay) this.#offset = place.replay.offset;
    }
  }

  /** STOMP destination of its room. */
  get destination(): string {
    return destination(this.place.room);
  }

  /** Whether its frames are read in full. */
  get sampled(): boolean {
    return this.#reader !== undefined;
  }

  /** Whether it ended though nobody closed it, or got an ERROR. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Bytes read since it was opened. */
  get bytesRead(): number {
    return this.#socket?.bytesRead ?? 0;
  }

  /** Opens, connects, subscribes; settles when the server has answered all of it. */
  open(): Promise<void> {
    const { port, source, room, dialect, token, replay, replayed } = this.place;
    return new Promise((resolve, reject) => {
      this.onFailure = reject;
      const ready = (): void => {
        this.#stage = undefined;
        this.onFailure = undefined;
        resolve();
      };
      const subscribed = (): void => {
        if (this.counter.receipts > 0 && this.counter.messages >= replayed) ready();
      };
      const connected = (): void => {
        if (this.counter.connected === 0) return;
        this.#stage = subscribed;
        this.write(text(subscribeFrame(destination(room), replay)));
      };
      const upgraded = (): void => {
        if (dialect === "bare") return ready();
        if (this.#wire !== undefined) return this.#follow(this.#wire, ready);
        this.#stage = connected;
        this.write(text(connectFrame(token)));
      };
      this.#stage = upgraded;
      this.#socket = connect({
        host: "127.0.0.1",
        port,
        localAddress: source,
        noDelay: true,
        onread: { buffer: shared, callback: (bytes) => this.#take(bytes) },
      });
      this.#socket.on("error", (error) => this.#fail(error));
      this.#socket.on("close", () => this.#fail(new Error("the server closed a connection")));
      this.write(handshake(`127.0.0.1:${port}`, this.#wire?.path ?? (dialect === "bare" ? `/${room}` : "/ws/chat")));
    });
  }

  /** A message to its room in a peer's protocol; nothing where the protocol is none of a peer. */
  peerMessage(body: string): Uint8Array | undefined {
    return this.#wire?.message(this.place.room, stamped(body, this.#stamp++));
  }

  /** Writes bytes that are whole WebSocket messages. */
  write(bytes: Uint8Array): void {
    this.#socket?.write(bytes);
  }

  /** Stops reading: the kernel's buffers fill up, then the server's. */
  pause(): void {
    this.#socket?.pause();
  }

  /** Reads again. */
  resume(): void {
    this.#socket?.resume();
  }

  /** Ends the connection by reset, which leaves no port waiting. */
  close(): void {
    this.#failed = true;
    this.#socket?.resetAndDestroy();
  }

  #fail(error: Error): void {
    if (this.#failed) return;
    this.#failed = true;
    this.onFailure?.(error);
  }

  /** Goes through the steps of a peer's protocol, as far as the server has answered; `ready` after the last. */
  #follow(wire: Wire, ready: () => void): void {
    const steps = [...wire.steps(this.place.room)];
    this.#stage = () => {
      for (let step = steps[0]; step !== undefined; step = steps[0]) {
        if (step.after !== undefined && this.counter[step.after] === 0) return;
        steps.shift();
        if (step.say !== undefined) this.write(step.say);
      }
      ready();
    };
    this.#stage();
  }

  #take(bytes: number): boolean {
    reads.count += 1;
    reads.bytes += bytes;
    let start = 0;
    if (!this.#upgraded) {
      start = this.#greet(bytes);
      if (!this.#upgraded) return true;
    }
    const counter = this.counter;
    const chunk = start === 0 ? shared : shared.subarray(start);
    counter.take(chunk, bytes - start);
    this.#reader?.take(chunk, bytes - start);
    if (counter.errors > 0) {
      const read = chunk.toString("latin1", 0, bytes - start);
      const shown = read.slice(Math.max(0, read.indexOf("ERROR\n"))).slice(0, ERROR_CHARACTERS_SHOWN);
      this.#fail(new Error(`the server sent ${JSON.stringify(shown)}`));
    }
    if (counter.pings > this.#pings) {
      this.#pings = counter.pings;
      this.write(pong());
    }
    if (this.#wire !== undefined && this.counter.calls > this.#calls) {
      this.#calls = this.counter.calls;
      this.write(this.#wire.pong);
    }
    if (this.#stage !== undefined) this.#stage();
    else if (this.onRead !== undefined) this.onRead();
    return true;
  }

  /** Reads the answer to the handshake; returns where WebSocket messages begin. */
  #greet(bytes: number): number {
    const before = this.#greeting.length;
    this.#greeting += shared.toString("latin1", 0, bytes);
    const end = this.#greeting.indexOf("\r\n\r\n");
    if (end < 0) return bytes;
    if (!this.#greeting.startsWith("HTTP/1.1 101")) {
      this.#fail(new Error(`the handshake was answered with ${this.#greeting.slice(0, end)}`));
      return bytes;
    }
    this.#greeting = "";
    this.#upgraded = true;
    return end + 4 - before;
  }

  #check(payload: Buffer): void {
    if (payload.length < 2) return;
    const frame: Frame = parseFrame(payload.toString("utf8"));
    if (frame.command === "RECEIPT") {
      const expected = this.receiptsAwaited.shift() ?? SUBSCRIBED;
      if (frame.headers.get("receipt-id") !== expected) this.disordered += 1;
      return;
    }
    if (frame.command !== "MESSAGE") return;
    if (frame.headers.get("subscription") === REFUSALS) {
      const refused = this.receiptsAwaited.indexOf(frame.headers.get("receipt-id") ?? "");
      if (refused >= 0) this.receiptsAwaited.splice(refused, 1);
      return;
    }
    if (frame.headers.get("event") === "resumed") {
      if (frame.headers.get("recovered") !== "true") this.disordered += 1;
      return;
    }
    const offset = Number(frame.headers.get("offset"));
    const follows = this.#offset === 0 || offset === this.#offset + 1;
    if (!follows || frame.headers.get("subscription") !== "sub-0") this.disordered += 1;
    this.#offset = offset;
  }
}
