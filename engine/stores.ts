/** Opens the stores that the settings name. Without URLs: everything embedded, in the data folder. */
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
import { openLmdbArchive } from "./archive.lmdb.ts";
import type { Config } from "./config.ts";
import { openLmdbDirectory } from "./directory.lmdb.ts";
import { lockFolder } from "./folder.ts";

/** The four ports, open. */
export interface Stores {
  readonly archive: Archive;
  readonly directory: Directory;
  readonly bus: Bus;
  readonly leases: Leases;
  /** The number of shards of the data set. */
  readonly shards: number;
  close(): Promise<void>;
}

/** Shards of a new data set (design 6); one that is there keeps its number. */
const SHARDS = 256;

/** Opens all stores. Rejects with an `Error` in a full sentence. */
export async function openStores(config: Config, { log, clock }: { log: Log; clock: Clock }): Promise<Stores> {
  const lock = await lockFolder(config.dataDir, {
    onLost: () => {
      log.error({ dataDir: config.dataDir }, "another process has taken the data folder; ending at once");
      process.exit(1);
    },
  });
  try {
    const archive = await openLmdbArchive({ folder: config.dataDir });
    const directory = openLmdbDirectory({
      folder: join(config.dataDir, "directory"),
      loginAuditEntries: config.limits.loginAuditEntries,
    });
    const shards = await archive.shardCount(SHARDS);
    await archive.createRoom({ ...GENERAL, createdAt: clock.now() });
    const bus = new MemoryHub(shards, config.limits).connect();
    const leases = new MemoryLeases(new MemoryLeaseTable(), clock, "node");
    const close = async (): Promise<void> => {
      await bus.close();
      await leases.close();
      await archive.close();
      await directory.close();
      await lock.release();
    };
    return { archive, directory, bus, leases, shards, close };
  } catch (error) {
    await lock.release();
    throw error;
  }
}
