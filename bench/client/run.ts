/** Closed-loop load: publishers send in turn, and a window of messages is outstanding at any moment. */
import type { Connection } from "./connection.ts";
import { type Fleet, pause } from "./fleet.ts";
import { sendFrame, text } from "./frames.ts";
import type { Load, Run } from "./messages.ts";
import { Latencies } from "./timing.ts";

const SETTLE_LIMIT_MS = 30_000;

/** A connection that sends, and the times of what it has outstanding, oldest first, in a ring. */
interface Publisher {
  readonly connection: Connection;
  readonly sentAt: Float64Array;
  /** Counter of the connection when the run began. */
  readonly base: number;
  sent: number;
  done: number;
  /** Bytes to write at the end of this turn, and how many messages they are. */
  pending: Uint8Array[];
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
  readonly #body: string;
  /** Where nothing is answered every message of a publisher is the same, and made once. */
  readonly #constant = new Map<Publisher, Uint8Array>();

  constructor(connections: readonly Connection[], run: Run) {
    this.#run = run;
    this.#body = "x".repeat(run.bodyBytes);
    this.#publishers = connections.map((connection) => ({
      connection,
      sentAt: new Float64Array(run.window),
      base: this.#count(connection),
      sent: 0,
      done: 0,
      pending: [],
    }));
    for (const publisher of this.#publishers) {
      publisher.connection.onRead = () => this.#read(publisher);
      const message = sendFrame(publisher.connection.destination, this.#body);
      if (run.until === "returned") this.#constant.set(publisher, text(message));
    }
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
      if (publisher.pending.length === 0) touched.push(publisher);
      publisher.pending.push(this.#message(publisher));
      publisher.sentAt[publisher.sent % this.#run.window] = now;
      publisher.sent += 1;
      this.#sent += 1;
    }
    for (const { connection, pending } of touched) {
      connection.write(pending.length === 1 && pending[0] !== undefined ? pending[0] : Buffer.concat(pending));
      pending.length = 0;
    }
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
    for (const { connection } of this.#publishers) connection.onRead = undefined;
    return this.#sent - this.done;
  }

  /** Messages sent so far, by room. */
  sentByRoom(): Record<string, number> {
    const sent: Record<string, number> = {};
    for (const publisher of this.#publishers) {
      const room = publisher.connection.place.room;
      sent[room] = (sent[room] ?? 0) + publisher.sent;
    }
    return sent;
  }

  #message(publisher: Publisher): Uint8Array {
    const constant = this.#constant.get(publisher);
    if (constant !== undefined) return constant;
    const receipt = String(this.#sent);
    if (publisher.connection.sampled) publisher.connection.receiptsAwaited.push(receipt);
    return text(sendFrame(publisher.connection.destination, this.#body, receipt));
  }

  #count(connection: Connection): number {
    return this.#run.until === "answered" ? connection.counter.receipts : connection.counter.messages;
  }

  #read(publisher: Publisher): void {
    const done = this.#count(publisher.connection) - publisher.base;
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
