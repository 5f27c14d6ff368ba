/** Closed-loop load: publishers send in turn, and a window of messages is outstanding at any moment. */
import type { Connection } from "./connection.ts";
import { type Fleet, pause } from "./fleet.ts";
import type { Load, Run } from "./messages.ts";
import { countOf, Outgoing } from "./outgoing.ts";
import { Latencies } from "./timing.ts";

const SETTLE_LIMIT_MS = 30_000;

/** A connection that sends, and the times of what it has outstanding, oldest first, in a ring. */
interface Publisher {
  readonly out: Outgoing;
  readonly sentAt: Float64Array;
  /** Counter of the connection when the run began. */
  readonly base: number;
  sent: number;
  done: number;
}

/** The messages of a run: whose turn it is, how many are out. */
class Volley {
  readonly latencies = new Latencies();
  done = 0;
  on = true;
  #sent = 0;
  #turn = 0;
  #settled: (() => void) | undefined;
  readonly #publishers: readonly Publisher[];
  readonly #run: Run;

  constructor(connections: readonly Connection[], run: Run) {
    this.#run = run;
    this.#publishers = connections.map((connection) => ({
      out: new Outgoing(connection, run.until, run.bodyBytes),
      sentAt: new Float64Array(run.window),
      base: countOf(connection, run.until),
      sent: 0,
      done: 0,
    }));
    for (const publisher of this.#publishers) publisher.out.connection.onRead = () => this.#read(publisher);
  }

  /** Sends as many as the window leaves room for; what one connection sends leaves in one write. */
  fill(): void {
    const free = this.#run.window - (this.#sent - this.done);
    if (!this.on || free <= 0) return;
    const now = performance.now();
    const touched: Publisher[] = [];
    for (let i = 0; i < free; i += 1) {
      const publisher = this.#publishers[this.#turn];
      if (publisher === undefined) return;
      this.#turn = (this.#turn + 1) % this.#publishers.length;
      if (publisher.out.add(this.#sent)) touched.push(publisher);
      publisher.sentAt[publisher.sent % this.#run.window] = now;
      publisher.sent += 1;
      this.#sent += 1;
    }
    for (const { out } of touched) out.flush();
  }

  /** Sends nothing more and waits for what is out; answers how many never came. */
  async settle(): Promise<number> {
    this.on = false;
    if (this.done < this.#sent) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
        timer = setTimeout(resolve, SETTLE_LIMIT_MS);
      });
      clearTimeout(timer);
    }
    for (const { out } of this.#publishers) out.connection.onRead = undefined;
    return this.#sent - this.done;
  }

  /** Messages sent so far, by room. */
  sentByRoom(): Record<string, number> {
    const sent: Record<string, number> = {};
    for (const publisher of this.#publishers) {
      const { room } = publisher.out.connection.place;
      sent[room] = (sent[room] ?? 0) + publisher.sent;
    }
    return sent;
  }

  #read(publisher: Publisher): void {
    const done = countOf(publisher.out.connection, this.#run.until) - publisher.base;
    if (done === publisher.done) return;
    const now = performance.now();
    this.done += done - publisher.done;
    for (; publisher.done < done; publisher.done += 1) {
      this.latencies.add(now - (publisher.sentAt[publisher.done % this.#run.window] ?? now));
    }
    this.fill();
    if (this.done === this.#sent) this.#settled?.();
  }
}

/**
 * Runs the load; rejects if a connection ends meanwhile. With `until: "returned"` there must be one publisher per room,
 * as the messages of others would be taken for its own.
 */
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
    unanswered,
  };
}
