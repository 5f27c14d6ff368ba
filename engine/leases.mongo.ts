/**
 * Leases as documents in MongoDB, for a process that shares an archive and no Redis (design 5).
 *
 * ```
 *   leases   _id: shard "." holding (16 digits)   value · until (ms since 1970 of the server's clock)
 * ```
 * The highest holding of a shard is the one that counts. Taking a lock is inserting the next one, which has one
 * winner; a holding is changed by its holder alone; whoever acts reads again what is the highest. So nothing rests
 * on an update being atomic, which it is not on FerretDB. Two may believe in one lock for a moment, when it runs
 * out while it is renewed: until the next renewal, and the terms of the archive fence them (protocol, rule 1).
 */
import { randomUUID } from "node:crypto";
import { type Collection, type Db, MongoServerError } from "mongodb";
import type { Clock } from "../actors/clock.ts";
import { StoreFailure } from "../actors/codes.ts";
import { LEASE_MS } from "../actors/leases.memory.ts";
import type { Lease, Leases } from "../actors/leases.ts";
import type { Log } from "../actors/log.ts";
import { numberOf, termId, termRange } from "./archive.mongo.codec.ts";
import { DUPLICATE_KEY } from "./archive.mongo.log.ts";
import { passedValues } from "./leases.passed.ts";

/** The holder gives a lease up this long before the lock runs out, ms: design 6. */
const EARLY_MS = 500;
/** The collection of the holdings. */
export const LEASES = "leases";

/** A holding as stored; `until` is 0 once it was given back. */
export interface HoldingDocument {
  readonly _id: string;
  readonly value: string;
  readonly until: number;
}

/** What was found when a call began. */
interface Look {
  readonly sentMs: number;
  /** The server's clock, ms since 1970. */
  readonly nowMs: number;
  readonly highest: HoldingDocument | undefined;
}

/** One node's leases. A call that MongoDB did not answer rejects with `StoreFailure`. */
export class MongoLeases implements Leases {
  readonly #db: Db;
  readonly #holdings: Collection<HoldingDocument>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #node: string;
  readonly #valueOf = passedValues();
  /** What was inserted without an answer, by shard: found there, it is ours. */
  readonly #unsure = new Map<number, string>();

  constructor(parts: { readonly db: Db; readonly clock: Clock; readonly log: Log; readonly node: string }) {
    this.#db = parts.db;
    this.#holdings = parts.db.collection(LEASES);
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#node = parts.node;
  }

  acquire(shard: number): Promise<Lease | undefined> {
    return asked(async () => {
      const look = await this.#look(shard);
      const { highest, nowMs } = look;
      if (!highest || highest.until <= nowMs) return this.#claim(shard, look);
      return highest.value === this.#unsure.get(shard) ? this.#prolong(shard, highest, look) : undefined;
    });
  }

  renew(lease: Lease): Promise<Lease | undefined> {
    return asked(async () => {
      const look = await this.#look(lease.shard);
      const { highest, nowMs } = look;
      if (highest?.value !== lease.value || highest.until <= nowMs) return undefined;
      return this.#prolong(lease.shard, highest, look);
    });
  }

  adopt(shard: number, value: string): Promise<Lease | undefined> {
    return asked(async () => {
      const look = await this.#look(shard);
      const { highest, nowMs } = look;
      if (!highest || highest.until <= nowMs) return undefined;
      const own = this.#valueOf(value);
      if (highest.value === own) return this.#prolong(shard, highest, look);
      return highest.value === value ? this.#claim(shard, look, own) : undefined;
    });
  }

  async release({ shard, value }: Lease): Promise<void> {
    try {
      await this.#holdings.updateOne({ _id: termRange(shard), value }, { $set: { until: 0 } });
    } catch (error) {
      // It runs out by itself.
      this.#log.warn({ err: error, shard }, "a lock could not be given back");
    }
  }

  /** The connection is the archive's, which closes it. */
  async close(): Promise<void> {}

  async #look(shard: number): Promise<Look> {
    const sentMs = this.#clock.monotonic();
    const { localTime } = await this.#db.command({ hello: 1 });
    return { sentMs, nowMs: Number(localTime), highest: await this.#highest(shard) };
  }

  async #highest(shard: number): Promise<HoldingDocument | undefined> {
    const [highest] = await this.#holdings
      .find({ _id: termRange(shard) })
      .sort({ _id: -1 })
      .limit(1)
      .toArray();
    return highest;
  }

  /** Claims the holding after the highest; undefined when another did. */
  async #claim(
    shard: number,
    { sentMs, nowMs, highest }: Look,
    value = `${this.#node}/${randomUUID()}`,
  ): Promise<Lease | undefined> {
    const _id = termId(shard, (highest ? numberOf(highest._id) : 0) + 1);
    try {
      await this.#holdings.insertOne({ _id, value, until: nowMs + LEASE_MS });
    } catch (error) {
      if (error instanceof MongoServerError && error.code === DUPLICATE_KEY) {
        // Another's, unless the driver sent ours twice.
        if ((await this.#holdings.findOne({ _id }))?.value !== value) return undefined;
      } else {
        this.#unsure.set(shard, value);
        throw error;
      }
    }
    // Those below the highest are cleared away: whoever slept since its look may have claimed one of them.
    if ((await this.#highest(shard))?._id !== _id) return undefined;
    await this.#holdings.deleteMany({ _id: { ...termRange(shard), $lt: _id } });
    return leaseOf(shard, value, sentMs);
  }

  /** Lets a holding of ours last longer; undefined when another has claimed the next one meanwhile. */
  async #prolong(shard: number, { _id, value }: HoldingDocument, { sentMs, nowMs }: Look): Promise<Lease | undefined> {
    await this.#holdings.updateOne({ _id, value }, { $set: { until: nowMs + LEASE_MS } });
    return (await this.#highest(shard))?._id === _id ? leaseOf(shard, value, sentMs) : undefined;
  }
}

function leaseOf(shard: number, value: string, sentMs: number): Lease {
  return { shard, value, untilMs: sentMs + LEASE_MS - EARLY_MS };
}

/** What the driver throws becomes `StoreFailure`. */
async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new StoreFailure("A lock could not be asked for.", error);
  }
}
