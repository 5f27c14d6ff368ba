/**
 * Leases as locks in Redis, by redlock on one instance. The lock is the key that `take.lua` checks; the fence
 * is the term (protocol, rules 1 and 2), so a lock that two nodes believe in for a moment harms nothing.
 */
import { readFileSync } from "node:fs";
import { ExecutionError, Lock, Redlock, ResourceLockedError } from "@sesamecare-oss/redlock";
import type { Redis } from "ioredis";
import type { Clock } from "../actors/clock.ts";
import { StoreFailure } from "../actors/codes.ts";
import { LEASE_MS } from "../actors/leases.memory.ts";
import type { Lease, Leases } from "../actors/leases.ts";
import type { Log } from "../actors/log.ts";
import type { RedisConnection } from "./bus.redis.connection.ts";
import type { RedisKeys } from "./bus.redis.keys.ts";
import { passedValues } from "./leases.passed.ts";

/** The holder gives a lease up this long before the lock runs out, ms: design 6. */
const EARLY_MS = 500;

/** A client that knows our script. */
type Scripted = Redis & { confabAdopt(keys: 1, ...args: readonly (string | number)[]): Promise<unknown> };

/** One node's leases. A call that Redis did not answer rejects with StoreFailure. */
export class RedisLeases implements Leases {
  readonly #connection: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #redlock: Redlock;
  readonly #valueOf = passedValues();

  constructor(parts: {
    readonly connection: RedisConnection;
    readonly keys: RedisKeys;
    readonly clock: Clock;
    readonly log: Log;
  }) {
    this.#connection = parts.connection;
    this.#keys = parts.keys;
    this.#clock = parts.clock;
    this.#log = parts.log;
    const { client } = parts.connection;
    const lua = readFileSync(new URL("./redis/adopt.lua", import.meta.url), "utf8");
    client.defineCommand("confabAdopt", { lua });
    // It selects a database by itself: ours.
    this.#redlock = new Redlock([client], { retryCount: 0, db: client.options.db ?? 0 });
  }

  async acquire(shard: number): Promise<Lease | undefined> {
    return this.#lease(shard, () => this.#redlock.acquire([this.#keys.part(shard, "lock")], LEASE_MS).then(lockValue));
  }

  async renew(lease: Lease): Promise<Lease | undefined> {
    return this.#lease(lease.shard, () => this.#redlock.extend(this.#lockOf(lease), LEASE_MS).then(lockValue));
  }

  async adopt(shard: number, value: string): Promise<Lease | undefined> {
    const own = this.#valueOf(value);
    return this.#lease(shard, async () => {
      const client = this.#connection.client as Scripted;
      const taken = await client.confabAdopt(1, this.#keys.part(shard, "lock"), value, own, LEASE_MS);
      return taken === 1 ? own : undefined;
    });
  }

  async release(lease: Lease): Promise<void> {
    try {
      await this.#connection.run(() => this.#redlock.release(this.#lockOf(lease)));
    } catch (error) {
      if (await isAnother(error)) return;
      // It runs out by itself.
      this.#log.warn({ err: error, shard: lease.shard }, "a lock could not be given back");
    }
  }

  /** `ask` answers the value under which the lock is now held for as long as a lease lasts; undefined when it is not. */
  async #lease(shard: number, ask: () => Promise<string | undefined>): Promise<Lease | undefined> {
    let sentMs = 0;
    try {
      const value = await this.#connection.run(() => {
        sentMs = this.#clock.monotonic();
        return ask();
      });
      return value === undefined ? undefined : { shard, value, untilMs: sentMs + LEASE_MS - EARLY_MS };
    } catch (error) {
      if (await isAnother(error)) return undefined;
      throw error instanceof StoreFailure ? error : new StoreFailure("A lock could not be asked for.", error);
    }
  }

  /** Whether it is still held is for Redis to say: redlock's own clock is the wall clock. */
  #lockOf({ shard, value }: Lease): Lock {
    return new Lock(this.#redlock, [this.#keys.part(shard, "lock")], value, [], Number.POSITIVE_INFINITY);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }
}

const lockValue = ({ value }: Lock): string => value;

/** Whether redlock failed because the lock is not, or not any more, the caller's. */
async function isAnother(error: unknown): Promise<boolean> {
  const cause = error instanceof StoreFailure ? error.cause : error;
  if (!(cause instanceof ExecutionError)) return false;
  const [attempt] = await Promise.all(cause.attempts);
  const votes = [...(attempt?.votesAgainst.values() ?? [])];
  return votes.length > 0 && votes.every((vote) => vote instanceof ResourceLockedError);
}
