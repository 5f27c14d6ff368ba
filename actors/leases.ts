/** The leases port: who owns a shard. Embedded: memory; production: Redis locks. */

/** A held lock: its value tells this holding from every other. */
export interface Lease {
  readonly shard: number;
  readonly value: string;
  /** Monotonic ms until which the holder may act, counted from when the request was sent. */
  readonly untilMs: number;
}

/** At most one holder per shard, as far as the clocks of the backend go; the term of the archive is the fence. */
export interface Leases {
  /** Takes the shard's lock if it is free; undefined when another holds it. */
  acquire(shard: number): Promise<Lease | undefined>;
  /** Renews a held lock; undefined when it is no longer held. */
  renew(lease: Lease): Promise<Lease | undefined>;
  /**
   * Takes over a lock that another holds and has passed on: replaces its value by one of its own, so that the
   * giver can renew or release it no more. Undefined when the lock has not this value (handing over, step 3). Asked
   * again, as its answer was lost, it answers the lock that it took then and still has.
   */
  adopt(shard: number, value: string): Promise<Lease | undefined>;
  /** Gives the lock back if it is still held. */
  release(lease: Lease): Promise<void>;
  close(): Promise<void>;
}
