/**
 * Open-loop load: messages are due at an even rate, whatever the server does. Latency counts from the moment a message
 * was due, so that a server that stands still for a while is charged for all that should have been sent meanwhile.
 */
import type { Connection } from "./connection.ts";
import { type Fleet, pause } from "./fleet.ts";
import type { Pace, Paced } from "./messages.ts";
import { countOf, Outgoing } from "./outgoing.ts";
import { Dues, Latencies } from "./timing.ts";

/** A server this far behind is overloaded, and the run has failed. */
const BEHIND_SECONDS_MAX = 10;
/** Of one room; there may be thousands. */
const BEHIND_LEAST = 64;
const SETTLE_LIMIT_MS = 30_000;
const SETTLE_POLL_MS = 10;
/**
 * Timers have steps of 1 ms. Up to this rate the last of them before a message is due are spent polling, which sends
 * it on time; above it that would take the core from the audience, and messages go out with the next timer.
 */
const POLL_RATE_MAX = 250;
const POLL_MS = 2;

/** A connection that sees messages of its room arrive in the order in which they were due. */
interface Reader {
  readonly connection: Connection;
  readonly base: number;
  done: number;
}

/** One room: who sends there, who measures, and when the messages that are out were due. */
interface Lane {
  readonly out: Outgoing;
  readonly readers: Reader[];
  readonly dues: Dues;
}

/** The messages of a run. */
class Pacer {
  readonly latencies = new Latencies();
  readonly lateness = new Latencies();
  sent = 0;
  readonly #wish: Pace;
  readonly #lanes: Lane[];
  readonly #gapMs: number;
  #next = 0;
  #on = true;
  #failure: Error | undefined;

  constructor(connections: readonly Connection[], wish: Pace) {
    this.#wish = wish;
    this.#gapMs = 1_000 / wish.rate;
    const ring = Math.max(BEHIND_LEAST, Math.ceil((wish.rate * BEHIND_SECONDS_MAX) / wish.publishers));
    const publishers = connections.slice(0, wish.publishers);
    this.#lanes = publishers.map((connection) => ({
      out: new Outgoing(connection, wish.until, wish.bodyBytes),
      readers: [],
      dues: new Dues(ring),
    }));
    const byRoom = new Map(this.#lanes.map((lane) => [lane.out.connection.place.room, lane]));
    for (const connection of wish.until === "returned" ? connections : publishers) {
      const lane = byRoom.get(connection.place.room);
      if (lane === undefined) continue;
      const reader: Reader = { connection, base: countOf(connection, wish.until), done: 0 };
      lane.readers.push(reader);
      connection.onRead = () => this.#read(lane, reader);
    }
  }

  /** Begins to send. */
  start(): void {
    this.#next = performance.now();
    this.#turn();
  }

  /** Messages that came back, as a mean over the readers of each room. */
  done(): number {
    return this.#lanes.reduce((sum, { readers }) => {
      return sum + readers.reduce((total, { done }) => total + done, 0) / readers.length;
    }, 0);
  }

  /** Throws when the server fell too far behind. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Sends nothing more and waits for what is out; answers how many never came, over all readers. */
  async settle(): Promise<number> {
    this.#on = false;
    const missing = (): number =>
      this.#lanes.reduce((sum, { dues, readers }) => {
        return sum + readers.reduce((total, { done }) => total + Math.max(0, dues.count - done), 0);
      }, 0);
    const deadline = performance.now() + SETTLE_LIMIT_MS;
    while (missing() > 0 && performance.now() < deadline) await pause(SETTLE_POLL_MS);
    for (const { readers } of this.#lanes) for (const { connection } of readers) connection.onRead = undefined;
    return missing();
  }

  /** Messages sent so far, by room. */
  sentByRoom(): Record<string, number> {
    return Object.fromEntries(this.#lanes.map(({ out, dues }) => [out.connection.place.room, dues.count]));
  }

  #turn = (): void => {
    if (!this.#on) return;
    const now = performance.now();
    const touched: Outgoing[] = [];
    for (; this.#next <= now && this.#on; this.#next += this.#gapMs) {
      const lane = this.#lanes[this.sent % this.#lanes.length];
      if (lane === undefined || this.#behind(lane)) return;
      lane.dues.add(this.#next);
      this.lateness.add(now - this.#next);
      if (lane.out.add(this.sent)) touched.push(lane.out);
      this.sent += 1;
    }
    for (const out of touched) out.flush();
    const left = this.#next - performance.now();
    if (this.#wish.rate > POLL_RATE_MAX) setTimeout(this.#turn, 1);
    else if (left > POLL_MS) setTimeout(this.#turn, left - POLL_MS);
    else setImmediate(this.#turn);
  };

  #behind(lane: Lane): boolean {
    if (!lane.readers.some(({ done }) => lane.dues.full(done))) return false;
    this.#failure = new Error(`the server fell ${BEHIND_SECONDS_MAX} seconds behind in one room`);
    this.#on = false;
    return true;
  }

  #read(lane: Lane, reader: Reader): void {
    const done = countOf(reader.connection, this.#wish.until) - reader.base;
    if (done === reader.done) return;
    lane.dues.arrived({ from: reader.done, to: done, now: performance.now() }, this.latencies);
    reader.done = done;
  }
}

/** Runs the load; rejects if a connection ends meanwhile, or if the server cannot keep up at all. */
export async function pace(fleet: Fleet, wish: Pace): Promise<Paced> {
  const pacer = new Pacer(fleet.connections, wish);
  pacer.start();
  await pause(wish.warmSeconds * 1_000);
  pacer.latencies.clear();
  pacer.lateness.clear();
  const [doneBefore, sentBefore] = [pacer.done(), pacer.sent];
  const before = fleet.instant(wish.helperPids);
  await pause(wish.seconds * 1_000);
  const after = fleet.instant(wish.helperPids);
  const [messages, due] = [pacer.done() - doneBefore, pacer.sent - sentBefore];
  const [p50Ms, p99Ms, lateP99Ms] = [
    pacer.latencies.quantile(0.5),
    pacer.latencies.quantile(0.99),
    pacer.lateness.quantile(0.99),
  ];
  const unanswered = await pacer.settle();
  pacer.check();
  fleet.check();
  return {
    seconds: after.at - before.at,
    messages,
    due,
    serverCpuSeconds: after.server - before.server,
    clientCpuSeconds: after.client - before.client,
    p50Ms,
    p99Ms,
    lateP99Ms,
    sent: pacer.sentByRoom(),
    unanswered,
  };
}
