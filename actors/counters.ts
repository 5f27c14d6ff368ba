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
