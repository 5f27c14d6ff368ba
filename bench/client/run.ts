/**
 * Closed-loop load: a window of messages is outstanding at any moment, as evenly over who sends and hears the same as
 * it divides; they send in turn.
 */
import type { Connection } from "./connection.ts";
import { type Fleet, pause } from "./fleet.ts";
import type { Load, Run } from "./messages.ts";
import { countOf, lanesOf, Outgoing } from "./outgoing.ts";
import { Latencies } from "./timing.ts";
import { Turns } from "./turns.ts";

const SETTLE_LIMIT_MS = 30_000;

/** Who sends and hears the same, and the times of what is outstanding, oldest first, in a ring. */
interface Lane {
  /** Its place among the lanes. */
  readonly place: number;
  /** In turn. */
  readonly outs: Outgoing[];
  readonly sentAt: Float64Array;
  /** Counter of its first connection, which hears for all, when the run began. */
  readonly base: number;
  turn: number;
  /** SENDs that were not refused. */
  sent: number;
  done: number;
}

/** The messages of a run: whose turn it is, how many are out. */
class Volley {
  readonly latencies = new Latencies();
  done = 0;
  refused = 0;
  on = true;
  #sent = 0;
  #settled: (() => void) | undefined;
  readonly #lanes: readonly Lane[];
  readonly #turns: Turns;
  readonly #run: Run;

  constructor(connections: readonly Connection[], run: Run) {
    this.#run = run;
    this.#lanes = lanesOf(connections, run.until).map((senders, place) => this.#lane(senders, place));
    this.#turns = new Turns(this.#lanes.length, run.window);
  }

  #lane(senders: readonly Connection[], place: number): Lane {
    const { until, bodyBytes, window } = this.#run;
    const [first] = senders as [Connection];
    const lane: Lane = {
      place,
      outs: senders.map((sender) => new Outgoing(sender, until, bodyBytes)),
      sentAt: new Float64Array(window),
      base: countOf(first, until),
      turn: 0,
      sent: 0,
      done: 0,
    };
    for (const sender of senders) {
      let { refusals } = sender.counter;
      sender.onRead = () => {
        this.#refuse(lane, sender.counter.refusals - refusals);
        refusals = sender.counter.refusals;
        this.#read(lane, countOf(first, until) - lane.base);
      };
    }
    return lane;
  }

  /** Sends as many as the window leaves room for; what one connection sends leaves in one write. */
  fill(): void {
    const free = this.#run.window - this.#out;
    if (!this.on || free <= 0) return;
    const now = performance.now();
    const touched: Outgoing[] = [];
    for (let i = 0; i < free; i += 1) {
      const lane = this.#lanes[this.#turns.next() ?? -1];
      const out = lane?.outs[lane.turn];
      if (lane === undefined || out === undefined) return;
      lane.turn = (lane.turn + 1) % lane.outs.length;
      if (out.add(this.#sent)) touched.push(out);
      lane.sentAt[lane.sent % this.#run.window] = now;
      lane.sent += 1;
      this.#sent += 1;
    }
    for (const out of touched) out.flush();
  }

  /** Sends nothing more and waits for what is out; answers how many never came. */
  async settle(): Promise<number> {
    this.on = false;
    if (this.#out > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
        timer = setTimeout(resolve, SETTLE_LIMIT_MS);
      });
      clearTimeout(timer);
    }
    for (const { outs } of this.#lanes) for (const { connection } of outs) connection.onRead = undefined;
    return this.#out;
  }

  /** Messages sent so far and not refused, by room. */
  sentByRoom(): Record<string, number> {
    const sent: Record<string, number> = {};
    for (const lane of this.#lanes) {
      const room = lane.outs[0]?.connection.place.room ?? "";
      sent[room] = (sent[room] ?? 0) + lane.sent;
    }
    return sent;
  }

  /** Messages that are outstanding. */
  get #out(): number {
    return this.#sent - this.done - this.refused;
  }

  /** A SEND is refused when those before it are too many: it is the newest that will not come back. */
  #refuse(lane: Lane, count: number): void {
    lane.sent -= count;
    this.refused += count;
    for (let i = 0; i < count; i += 1) this.#turns.back(lane.place);
  }

  #read(lane: Lane, done: number): void {
    const now = performance.now();
    this.done += done - lane.done;
    for (; lane.done < done; lane.done += 1) {
      this.latencies.add(now - (lane.sentAt[lane.done % this.#run.window] ?? now));
      this.#turns.back(lane.place);
    }
    this.fill();
    if (this.#out === 0) this.#settled?.();
  }
}

/** Runs the load; rejects if a connection ends meanwhile. */
export async function run(fleet: Fleet, wish: Run): Promise<Load> {
  const volley = new Volley(fleet.connections.slice(0, wish.publishers), wish);
  volley.fill();
  await pause(wish.warmSeconds * 1_000);
  volley.latencies.clear();
  const doneBefore = volley.done;
  const before = fleet.instant(wish.helperPids);
  await pause(wish.seconds * 1_000);
  const after = fleet.instant(wish.helperPids);
  const messages = volley.done - doneBefore;
  const [p50Ms, p99Ms] = [volley.latencies.quantile(0.5), volley.latencies.quantile(0.99)];
  const unanswered = await volley.settle();
  fleet.check();
  return {
    seconds: after.at - before.at,
    messages,
    serverCpuSeconds: after.server - before.server,
    clientCpuSeconds: after.client - before.client,
    p50Ms,
    p99Ms,
    sent: volley.sentByRoom(),
    refused: volley.refused,
    unanswered,
  };
}
