/** Latencies of one run: when messages were due, and how long they took, both without an allocation per message. */

const STEP = 1.005;
const LOWEST_MS = 0.01;
const BUCKETS = 3_200;
const LOG_STEP = Math.log(STEP);

/** Collects milliseconds in a histogram of fixed size, with steps of at most 0.5 %, and answers quantiles. */
export class Latencies {
  readonly #buckets = new Uint32Array(BUCKETS);
  #count = 0;

  /** Adds one sample. */
  add(ms: number): void {
    const bucket = ms <= LOWEST_MS ? 0 : Math.min(BUCKETS - 1, Math.ceil(Math.log(ms / LOWEST_MS) / LOG_STEP));
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count += 1;
  }

  /** Forgets all samples. */
  clear(): void {
    this.#buckets.fill(0);
    this.#count = 0;
  }

  /** Milliseconds that the share `q` (0 to 1) of samples did not exceed; 0 without samples. */
  quantile(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      seen += this.#buckets[bucket] ?? 0;
      if (seen >= rank) return LOWEST_MS * STEP ** bucket;
    }
    return 0;
  }
}

/** Messages that arrived at one moment, ms, by their numbers: from the first up to before the last. */
export interface Arrival {
  readonly from: number;
  readonly to: number;
  readonly now: number;
}

/**
 * When the messages of a room were due, in a ring. What arrives is timed from when it was due, not from when it was
 * sent: a server that stood still is charged for every message that should have come meanwhile.
 */
export class Dues {
  /** Messages noted so far. */
  count = 0;
  readonly #ring: Float64Array;

  /** @param size - how many may be out at once. */
  constructor(size: number) {
    this.#ring = new Float64Array(size);
  }

  /** Whether one more would overwrite the time of a message that a reader has not seen who has seen `seen`. */
  full(seen: number): boolean {
    return this.count - seen >= this.#ring.length;
  }

  /** Notes the next message as due at this time, ms. */
  add(at: number): void {
    this.#ring[this.count % this.#ring.length] = at;
    this.count += 1;
  }

  /** Adds the latencies of what arrived. */
  arrived({ from, to, now }: Arrival, latencies: Latencies): void {
    for (let i = from; i < to; i += 1) latencies.add(now - (this.#ring[i % this.#ring.length] ?? now));
  }
}
