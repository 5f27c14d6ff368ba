/**
 * A lane of writes that are merged by key: one batch on its way, all that comes meanwhile makes the next.
 *
 * ```
 *   run(a) ─────────► batch 1 on its way ──► settles run(a)
 *   run(b) ─┐
 *   run(c) ─┴─ merged ─ waits for batch 1 ──► batch 2 ──► settles run(b), run(c)
 * ```
 *
 * So no two updates of this process ever meet at one document: a server whose updates are not atomic alone
 * (protocol.md, "Data") keeps the highest revision and the highest marker all the same.
 */
import { StoreFailure } from "../actors/codes.ts";

/** Items waiting beyond this are refused; callers bound their own writes far below. */
const WAITING_MAX = 65_536;

/** How a lane names, merges and writes its items. */
export interface LaneOptions<T> {
  /** What the item is about; no two items of a batch have one key. */
  readonly keyOf: (item: T) => string;
  /** One item with the effect of `earlier`, then `later`. */
  readonly merge: (earlier: T, later: T) => T;
  /** Writes a batch; settles only when nothing of it is on its way any more. */
  readonly write: (items: readonly T[]) => Promise<void>;
}

/** A lane. Bounded: beyond `WAITING_MAX` waiting items a call rejects with `StoreFailure` and does nothing. */
export class MergingLane<T> {
  readonly #options: LaneOptions<T>;
  readonly #waiting = new Map<string, T>();
  /** The batch that takes what waits; undefined while nothing waits. */
  #next: Promise<void> | undefined;
  /** Settles, never rejects, when the batch before has ended. */
  #before: Promise<void> = Promise.resolve();

  constructor(options: LaneOptions<T>) {
    this.#options = options;
  }

  /** Resolves when the items are written; rejects when their batch has failed, in whole or in part. */
  async run(items: readonly T[]): Promise<void> {
    if (items.length === 0) return;
    if (this.#waiting.size + items.length > WAITING_MAX) throw new StoreFailure("Too much waits for the archive.");
    const { keyOf, merge } = this.#options;
    for (const item of items) {
      const key = keyOf(item);
      const earlier = this.#waiting.get(key);
      this.#waiting.set(key, earlier === undefined ? item : merge(earlier, item));
    }
    this.#next ??= this.#follow();
    await this.#next;
  }

  #follow(): Promise<void> {
    const batch = this.#before.then(() => {
      const items = [...this.#waiting.values()];
      this.#waiting.clear();
      this.#next = undefined;
      return this.#options.write(items);
    });
    this.#before = batch.catch(() => undefined);
    return batch;
  }
}
