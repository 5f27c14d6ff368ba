/** What the engine counts on its hot paths: plain fields, copied to Prometheus only when it asks. */

/** A histogram over fixed upper bounds: an increment is one search over a few numbers. */
export class Histogram {
  /** Upper bounds, rising, in the unit of the observed value. */
  readonly bounds: readonly number[];
  /** Observations per bucket, not cumulative; the last is beyond all bounds. */
  readonly buckets: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.buckets = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let at = 0;
    while (at < this.bounds.length && value > (this.bounds[at] as number)) at++;
    this.buckets[at] = (this.buckets[at] as number) + 1;
    this.sum += value;
    this.count++;
  }
}

/** Seconds, from a tenth of a millisecond to ten seconds. */
export const LATENCY_BOUNDS_S: readonly number[] = Object.freeze([
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]);

/** Counts per code word, made on first use; the words come from the bounded table of codes. */
export type PerCode = Map<string, number>;

/** Adds one to a word. */
export function countCode(per: PerCode, word: string): void {
  per.set(word, (per.get(word) ?? 0) + 1);
}

/** The counts of one node. Plain numbers, only ever raised. */
export class Counters {
  /** Messages and other entries given to subscriptions. */
  delivered = 0;
  /** SENDs and REST posts that came in. */
  received = 0;
  /** Receipts sent. */
  receipts = 0;
  /** SENDs forwarded to the owners of their rooms, and those of them that were sent again. */
  forwarded = 0;
  resent = 0;
  /** SENDs of other nodes taken as the owner of their rooms. */
  landed = 0;
  /** Duplicates answered with the first one's receipt. */
  duplicates = 0;
  /** Gaps met by the chain check. */
  gaps = 0;
  /** Resumes that recovered, and that did not. */
  recovered = 0;
  unrecovered = 0;
  /** Entries replayed. */
  replayed = 0;
  /** Connections opened, and closed because they read too slowly. */
  connectionsOpened = 0;
  slowCloses = 0;
  /** ACKs of unknown ids. */
  unknownAcks = 0;
  /** Signals published, and dropped under pressure. */
  signals = 0;
  signalsDropped = 0;
  /** Bytes received from clients. */
  bytesIn = 0;
  /** Refusals and faults by code. */
  readonly refusals: PerCode = new Map();
  /** Closed connections by code. */
  readonly closes: PerCode = new Map();
  /** REST answers by class of their status, and their time in the server, seconds. */
  readonly answers: PerCode = new Map();
  readonly answering = new Histogram(LATENCY_BOUNDS_S);
  /** Handovers given: from the last decision here to the new owner's announcement, seconds. */
  readonly moves = new Histogram(LATENCY_BOUNDS_S);
  /** From the decision to the publish, seconds. */
  readonly delivery = new Histogram(LATENCY_BOUNDS_S);
}

/** Counts a REST answer. */
export function countAnswer(counters: Counters, status: number, ms: number): void {
  countCode(counters.answers, `${Math.floor(status / 100)}xx`);
  counters.answering.observe(ms / 1_000);
}
