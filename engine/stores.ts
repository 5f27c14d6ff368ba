/** Opens the stores that the settings name: each URL switches its port from the data folder to a server (design 5). */
import { join } from "node:path";
import type { Archive } from "../actors/archive.ts";
import { MemoryHub } from "../actors/bus.memory.ts";
import type { Bus } from "../actors/bus.ts";
import type { Clock } from "../actors/clock.ts";
import type { Directory } from "../actors/directory.ts";
import { MemoryLeases, MemoryLeaseTable } from "../actors/leases.memory.ts";
import type { Leases } from "../actors/leases.ts";
import type { Log } from "../actors/log.ts";
import { GENERAL } from "../actors/service.ts";
import { type EmbeddedArchive, openLmdbArchive } from "./archive.lmdb.ts";
import { openMongoArchive, type SharedArchive } from "./archive.mongo.ts";
import { openRedis, type RedisFigures } from "./bus.redis.ts";
import type { Config } from "./config.ts";
import { openLmdbDirectory } from "./directory.lmdb.ts";
import { openPgDirectory } from "./directory.pg.ts";
import { lockFolder } from "./folder.ts";
import { StoreStats } from "./guard.stats.ts";
import { guardArchive, guardBus, guardDirectory, guardLeases } from "./guard.ts";
import { MongoLeases } from "./leases.mongo.ts";
import type { StoreName } from "./policy.ts";
import { holdAlone } from "./stores.alone.ts";

/** From when on seconds count that no term of embedded stores is below: two starts do not share one. */
const TERMS_FROM_MS = Date.UTC(2026, 0, 1);

/** The four ports, open. */
export interface Stores {
  readonly archive: Archive;
  readonly directory: Directory;
  readonly bus: Bus;
  readonly leases: Leases;
  /** The number of shards of the data set. */
  readonly shards: number;
  /** What is known of each store that is a server; the embedded ones are not watched. */
  readonly stats: readonly StoreStats[];
  /** How the wire between nodes does, where there is one. */
  readonly wire: RedisFigures | undefined;
  /** The archive in the data folder, where it is there. */
  readonly embedded: Pick<EmbeddedArchive, "settleFailures"> | undefined;
  close(): Promise<void>;
}

/** What the stores need of the process. */
export interface StoresHost {
  readonly log: Log;
  readonly clock: Clock;
  /** The node's name, unique among nodes. */
  readonly name: string;
  /** The stores are another process's now; this one must end at once. */
  readonly onLost: (why: string) => void;
}

/** Opens all stores. Rejects with an `Error` in a full sentence. */
export async function openStores(config: Config, host: StoresHost): Promise<Stores> {
  const opening = new Opening(config, host);
  try {
    return await opening.open();
  } catch (error) {
    await opening.close();
    throw error;
  }
}

/** What is open so far, to be closed in the reverse order. */
class Opening {
  readonly #config: Config;
  readonly #host: StoresHost;
  readonly #open: (() => Promise<void>)[] = [];
  readonly #stats: StoreStats[] = [];
  #mongo: SharedArchive | undefined;
  #wire: RedisFigures | undefined;
  #embedded: EmbeddedArchive | undefined;

  constructor(config: Config, host: StoresHost) {
    this.#config = config;
    this.#host = host;
  }

  async close(): Promise<void> {
    for (let close = this.#open.pop(); close; close = this.#open.pop()) await close();
  }

  #parts(store: StoreName): { log: Log; clock: Clock; stats: StoreStats } {
    const stats = new StoreStats(store);
    this.#stats.push(stats);
    return { log: this.#host.log, clock: this.#host.clock, stats };
  }

  async open(): Promise<Stores> {
    const { clock } = this.#host;
    await this.#folder();
    const archive = await this.#archive();
    const directory = await this.#directory();
    const shards = await archive.shardCount(this.#config.shards);
    if (shards !== this.#config.shards) {
      const [set, kept] = [this.#config.shards, shards];
      this.#host.log.warn(
        { set, kept },
        "the data set keeps the number of shards that it was made with; SHARDS is not heeded",
      );
    }
    const { bus, leases } = await this.#bus(shards);
    await archive.createRoom({ ...GENERAL, createdAt: clock.now() });
    const [stats, wire, embedded] = [this.#stats, this.#wire, this.#embedded];
    return { archive, directory, bus, leases, shards, stats, wire, embedded, close: () => this.close() };
  }

  /** The data folder, where anything is kept in it. */
  async #folder(): Promise<void> {
    const { dataDir, databaseUrl, mongodbUrl } = this.#config;
    if (databaseUrl !== undefined && mongodbUrl !== undefined) return;
    const lock = await lockFolder(dataDir, {
      onLost: () => this.#host.onLost("another process has taken the data folder"),
    });
    this.#open.push(() => lock.release());
  }

  async #archive(): Promise<Archive> {
    const { dataDir, mongodbUrl } = this.#config;
    const archive =
      mongodbUrl === undefined
        ? await this.#openLmdb(dataDir)
        : guardArchive(await this.#openMongo(mongodbUrl), this.#parts("archive"));
    this.#open.push(() => archive.close());
    return archive;
  }

  async #openLmdb(folder: string): Promise<EmbeddedArchive> {
    // Where Redis has a term too, a jump would look to it like the loss of its data; there it is one above the last.
    const termFloor =
      this.#config.redisUrl === undefined ? Math.floor((this.#host.clock.now() - TERMS_FROM_MS) / 1_000) : 1;
    this.#embedded = await openLmdbArchive({ folder, termFloor });
    return this.#embedded;
  }

  async #openMongo(url: string): Promise<SharedArchive> {
    this.#mongo = await openMongoArchive({ url, log: this.#host.log });
    return this.#mongo;
  }

  async #directory(): Promise<Directory> {
    const { dataDir, databaseUrl, limits } = this.#config;
    const { loginAuditEntries } = limits;
    const directory =
      databaseUrl === undefined
        ? openLmdbDirectory({ folder: join(dataDir, "directory"), loginAuditEntries })
        : guardDirectory(
            await openPgDirectory({ url: databaseUrl, loginAuditEntries, log: this.#host.log }),
            this.#parts("directory"),
          );
    this.#open.push(() => directory.close());
    return directory;
  }

  async #bus(shards: number): Promise<{ bus: Bus; leases: Leases }> {
    const { redisUrl, mongodbUrl, databaseUrl, limits } = this.#config;
    const { log, clock, name } = this.#host;
    if (redisUrl === undefined) {
      // Beside an archive of others the hot log of whoever was there before counts as lost: rooms store their
      // first entry before they show it, which fences an owner that only stood still.
      const bus = new MemoryHub(shards, limits, { forgets: this.#mongo !== undefined }).connect();
      this.#open.push(() => bus.close());
      if (this.#mongo) await this.#alone(this.#locks(this.#mongo), shards, "the store of MONGODB_URL");
      return { bus, leases: new MemoryLeases(new MemoryLeaseTable(), clock, name) };
    }
    const redis = await openRedis({ url: redisUrl, log, shards, limits, clock, node: name });
    this.#open.push(() => redis.close());
    this.#wire = redis.bus;
    const bus = guardBus(redis.bus, this.#parts("bus"));
    this.#open.push(() => bus.close());
    const leases = guardLeases(redis.leases, this.#parts("leases"));
    this.#open.push(() => leases.close());
    // Many nodes share all of their stores; where one is a process's own, another would lack what is in it.
    const many = mongodbUrl !== undefined && databaseUrl !== undefined;
    if (!many) await this.#alone(leases, shards, `the ${mongodbUrl === undefined ? "store" : "stores"} of REDIS_URL`);
    return { bus, leases };
  }

  /** The locks in the archive's database, for the one of the whole process. */
  #locks({ db }: SharedArchive): Leases {
    const { log, clock, name } = this.#host;
    return guardLeases(new MongoLeases({ db, clock, log, node: name }), this.#parts("leases"));
  }

  /** Keeps every other process off the data set. */
  async #alone(leases: Leases, index: number, what: string): Promise<void> {
    const { log, clock, onLost } = this.#host;
    const refusal = `Another Confab process uses ${what}; one process at a time serves a data set.`;
    const alone = await holdAlone({ leases, clock, log, index, refusal, onLost });
    this.#open.push(() => alone.release());
  }
}
