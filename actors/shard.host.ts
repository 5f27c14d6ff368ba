/** What a shard needs of its node. */
import type { Archive } from "./archive.ts";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Counters } from "./counters.ts";
import type { Leases } from "./leases.ts";
import type { Fanout } from "./link.ts";
import type { Log } from "./log.ts";
import type { Posting } from "./posting.ts";
import type { Shard } from "./shards.ts";

/** What a shard needs of its node. */
export interface ShardHost {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly fanout: Pick<Fanout, "prepare">;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Flush this shard at the end of the turn. */
  flushSoon(shard: Shard): void;
  /** Opens a room again that was closed, if anybody here listens to it. */
  reopen(room: string): void;
  /** Opens a room of which the hot log has entries: what is not stored of it must be. */
  wake(room: string): void;
  /** Gives postings of a room that was closed to its next opening, in order, before anything new. */
  repost(room: string, postings: readonly Posting[]): void;
  /** The shard is owned here under its term, and says so (step 6). */
  owned(shard: Shard): void;
  /** The shard is not owned here any more. */
  yielded(shard: Shard): void;
  /** Runs `work` when few others of its kind run: claims ask every store, and the stores' bounds are theirs. */
  turnstile<T>(work: () => Promise<T>): Promise<T>;
}
