/**
 * How much of Redis the logs of this node take, and what is done when Redis is full: all that is kept for replay
 * goes, as the archive has it. Else a Redis that has filled up with what is stored would take nothing any more, and
 * nothing would be trimmed, as that follows what is stored next.
 */
import type { Clock } from "../actors/clock.ts";
import { StoreFailure } from "../actors/codes.ts";
import type { Log } from "../actors/log.ts";

/** Nothing is kept for replay for so long after Redis was full, ms. */
const FULL_MS = 60_000;
/** From one relief to the next, ms: less than a lease, as a full Redis renews none. */
const AGAIN_MS = 1_000;

/** What it needs. */
export interface SpaceOptions {
  /** Bytes of the logs of this node beyond which nothing is kept for replay. */
  readonly replayBytes: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Drops from the logs of this node, and from those of nobody, what is stored. */
  readonly relieve: () => Promise<void>;
}

/** The space of one node's logs. */
export class Space {
  readonly #options: SpaceOptions;
  readonly #bytes = new Map<number, number>();
  #total = 0;
  /** When Redis was full last, and when relief began last, monotonic ms. */
  #fullMs = Number.NEGATIVE_INFINITY;
  #relievedMs = Number.NEGATIVE_INFINITY;
  #relieving = false;

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  /** The logs of a shard of this node have so many bytes; 0 once it is another's. */
  weigh(shard: number, bytes: number): void {
    this.#total += bytes - (this.#bytes.get(shard) ?? 0);
    if (bytes > 0) this.#bytes.set(shard, bytes);
    else this.#bytes.delete(shard);
  }

  /** Whether only unstored entries may stay. */
  get crowded(): boolean {
    return this.#total > this.#options.replayBytes || this.#wasFull;
  }

  get #wasFull(): boolean {
    return this.#options.clock.monotonic() - this.#fullMs < FULL_MS;
  }

  /** A call failed: where that was because Redis is full, room is made. */
  failed(error: unknown): void {
    if (!isFull(error)) return;
    const { clock, log } = this.#options;
    if (!this.#wasFull) log.warn({ err: error }, "redis is full; what is stored is not kept in it for replay");
    this.#fullMs = clock.monotonic();
    if (this.#relieving || this.#fullMs - this.#relievedMs < AGAIN_MS) return;
    this.#relieving = true;
    this.#relievedMs = this.#fullMs;
    this.#options
      .relieve()
      .catch((reason: unknown) => log.debug({ err: reason }, "no room could be made in redis"))
      .finally(() => {
        this.#relieving = false;
      });
  }
}

/** Redis says so of a command that would need memory beyond its `maxmemory`; before 7.0 behind what it says of a script. */
function isFull(error: unknown): boolean {
  const cause = error instanceof StoreFailure ? error.cause : error;
  return cause instanceof Error && /^OOM |-OOM /.test(cause.message);
}
