/** Latencies of one run, in a histogram of fixed size: at most 0.5 % wide steps, nothing allocated per sample. */

const STEP = 1.005;
const LOWEST_MS = 0.01;
const BUCKETS = 3_200;
const LOG_STEP = Math.log(STEP);

/** Collects milliseconds and answers quantiles. */
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
