/**
 * Open-loop load: messages are due at an even rate, whatever the server does. Latency counts from the moment a message
 * was due, so that a server that stands still for a while is charged for all that should have been sent meanwhile.
 */
import type { Connection } from "./connection.ts";
import { type Fleet, pause } from "./fleet.ts";
import type { Pace, Paced } from "./messages.ts";
import { countOf, lanesOf, Outgoing } from "./outgoing.ts";
import { Dues, Latencies } from "./timing.ts";

/** A server this far behind is overloaded: nothing more is sent, and what was due is missing. */
const BEHIND_SECONDS_MAX = 10;
/** Of one publisher, at most: half of what a connection of Confab may have waiting by default (1,024). */
const OUTSTANDING_MAX = 512;
/** Of one room, at least; there may be thousands. */
const OUTSTANDING_LEAST = 64;
const SETTLE_LIMIT_MS = 30_000;
const SETTLE_POLL_MS = 10;
/**
 * Timers have steps of 1 ms. Up to this rate the last of them before a message is due are spent polling, which sends
 * it on time; above it that would take the core from the audience, and messages go out with the next timer.
 */
const POLL_RATE_MAX = 250;
const POLL_MS = 2;

/** A connection that sees messages of its lane arrive in the order in which they were due. */
interface Reader {
  readonly connection: Connection;
  readonly base: number;
  done: number;
}

/** Who sends and hears the same: one room, or with answers one publisher. */
interface Lane {
  /** In turn. */
  readonly outs: Outgoing[];
  readonly readers: Reader[];
  /** When the messages that are out were due. */
  readonly dues: Dues;
  turn: number;
}

/** The messages of a run. */
class Pacer {
  readonly latencies = new Latencies();
  readonly lateness = new Latencies();
  refused = 0;
  readonly #wish: Pace;
  readonly #lanes: readonly Lane[];
  readonly #gapMs: number;
  #sent = 0;
  #next = 0;
  #on = true;

  constructor(connections: readonly Connection[], wish: Pace) {
    this.#wish = wish;
    this.#gapMs = 1_000 / wish.rate;
    const gathered = lanesOf(connections.slice(0, wish.publishers), wish.until);
    const share = Math.ceil((wish.rate * BEHIND_SECONDS_MAX) / gathered.length);
    this.#lanes = gathered.map((senders) => {
      const most = Math.min(OUTSTANDING_MAX * senders.length, Math.max(OUTSTANDING_LEAST, share));
      const outs = senders.map((sender) => new Outgoing(sender, wish.until, wish.bodyBytes));
      return { outs, readers: [], dues: new Dues(most), turn: 0 };
    });
    const byRoom = new Map(this.#lanes.map((lane) => [lane.outs[0]?.connection.place.room, lane]));
    for (const [i, connection] of connections.entries()) {
      const lane = wish.until === "returned" ? byRoom.get(connection.place.room) : this.#lanes[i];
      if (lane !== undefined) this.#listen(lane, connection);
    }
  }

  #listen(lane: Lane, connection: Connection): void {
    const reader: Reader = { connection, base: countOf(connection, this.#wish.until), done: 0 };
    lane.readers.push(reader);
    const { counter } = connection;
    let refusals = counter.refusals;
    connection.onRead = () => {
      if (counter.refusals > refusals) {
        // A SEND is refused when those before it are too many: it is the newest that will not come back.
        lane.dues.count -= counter.refusals - refusals;
        this.refused += counter.refusals - refusals;
        refusals = counter.refusals;
      }
      this.#read(lane, reader);
    };
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

  /** Messages sent so far and not refused, by room. */
  sentByRoom(): Record<string, number> {
    const sent: Record<string, number> = {};
    for (const { outs, dues } of this.#lanes) {
      const room = outs[0]?.connection.place.room ?? "";
      sent[room] = (sent[room] ?? 0) + dues.count;
    }
    return sent;
  }

  #turn = (): void => {
    if (!this.#on) return;
    const now = performance.now();
    const touched: Outgoing[] = [];
    while (this.#next <= now && this.#sendOne(now, touched)) this.#next += this.#gapMs;
    for (const out of touched) out.flush();
    if (now - this.#next > BEHIND_SECONDS_MAX * 1_000) this.#on = false;
    const left = this.#next - performance.now();
    // Where the next is due and cannot go, its lane is full: only what is read helps.
    if (this.#wish.rate > POLL_RATE_MAX || this.#next <= now) setTimeout(this.#turn, 1);
    else if (left > POLL_MS) setTimeout(this.#turn, left - POLL_MS);
    else setImmediate(this.#turn);
  };

  /** Sends the next message, if its lane has a place for it. */
  #sendOne(now: number, touched: Outgoing[]): boolean {
    const lane = this.#lanes[this.#sent % this.#lanes.length];
    const out = lane?.outs[lane.turn];
    if (lane === undefined || out === undefined) return false;
    if (lane.readers.some(({ done }) => lane.dues.full(done))) return false;
    lane.turn = (lane.turn + 1) % lane.outs.length;
    lane.dues.add(this.#next);
    this.lateness.add(now - this.#next);
    if (out.add(this.#sent)) touched.push(out);
    this.#sent += 1;
    return true;
  }

  #read(lane: Lane, reader: Reader): void {
    const done = countOf(reader.connection, this.#wish.until) - reader.base;
    if (done === reader.done) return;
    lane.dues.arrived({ from: reader.done, to: done, now: performance.now() }, this.latencies);
    reader.done = done;
  }
}

/** Runs the load; rejects if a connection ends meanwhile. A server that cannot keep up shows in what came back of it. */
export async function pace(fleet: Fleet, wish: Pace): Promise<Paced> {
  const pacer = new Pacer(fleet.connections, wish);
  pacer.start();
  await pause(wish.warmSeconds * 1_000);
  pacer.latencies.clear();
  pacer.lateness.clear();
  const doneBefore = pacer.done();
  const before = fleet.instant(wish.helperPids);
  await pause(wish.seconds * 1_000);
  const after = fleet.instant(wish.helperPids);
  const messages = pacer.done() - doneBefore;
  const [p50Ms, p99Ms, lateP99Ms] = [
    pacer.latencies.quantile(0.5),
    pacer.latencies.quantile(0.99),
    pacer.lateness.quantile(0.99),
  ];
  const unanswered = await pacer.settle();
  fleet.check();
  return {
    seconds: after.at - before.at,
    messages,
    due: wish.rate * (after.at - before.at),
    serverCpuSeconds: after.server - before.server,
    clientCpuSeconds: after.client - before.client,
    p50Ms,
    p99Ms,
    lateP99Ms,
    sent: pacer.sentByRoom(),
    refused: pacer.refused,
    unanswered,
  };
}
