/** The embedded archive, the one a server has by default: LMDB in the data folder. */
import { join } from "node:path";
import { cutPage, itemBytes } from "../actors/archive.page.ts";
import type {
  Archive,
  DerivedWrite,
  Head,
  InsertOutcome,
  KeyPage,
  MarkerRecord,
  MemberRecord,
  PageQuery,
  RoomRecord,
  Standing,
} from "../actors/archive.ts";
import { StoreFailure } from "../actors/codes.ts";
import type { ArchivedEntry, Entry } from "../actors/entry.ts";
import { EntryLogs, type SettleLimits } from "./archive.lmdb.log.ts";
import { ArchiveRecords } from "./archive.lmdb.rooms.ts";
import { LmdbStore } from "./lmdb.ts";

/** Tables of the archive, and some to spare for those to come. */
const TABLES = 24;

/** Where the archive is. */
export interface LmdbArchiveOptions {
  /** The data folder; the archive lives in `archive` below it. The caller holds its lock (`folder.ts`). */
  readonly folder: string;
  /** When entries move from the journal to their places; for tests. */
  readonly settle?: SettleLimits;
  /**
   * No term below it is claimed. A folder that was put back from a backup does not know which terms were claimed since,
   * and a term of two logs would let a client of the lost one go on in the other unnoticed.
   */
  readonly termFloor?: number;
}

/** The embedded archive, and how its housekeeping does. */
export interface EmbeddedArchive extends Archive {
  /** Times that entries stayed in the journal, as they could not be moved to their rooms' places. */
  readonly settleFailures: number;
}

/** Opens or makes the embedded archive. Rejects with `StoreFailure` when it cannot be opened. */
export async function openLmdbArchive(options: LmdbArchiveOptions): Promise<EmbeddedArchive> {
  try {
    const store = new LmdbStore({ folder: join(options.folder, "archive"), tables: TABLES });
    const records = new ArchiveRecords(store, options.termFloor ?? 1);
    return new LmdbArchive(store, new EntryLogs(store, options.settle), records);
  } catch (error) {
    throw new StoreFailure(`The archive in ${options.folder} could not be opened.`, error);
  }
}

class LmdbArchive implements EmbeddedArchive {
  readonly #store: LmdbStore;
  readonly #logs: EntryLogs;
  readonly #records: ArchiveRecords;

  constructor(store: LmdbStore, logs: EntryLogs, records: ArchiveRecords) {
    this.#store = store;
    this.#logs = logs;
    this.#records = records;
  }

  get settleFailures(): number {
    return this.#logs.settleFailures;
  }

  claimTerm(shard: number, node: string, nonce: string): Promise<number> {
    return this.#store.write(() => this.#records.claimTerm(shard, node, nonce));
  }

  async highestTerms(shards: number): Promise<readonly number[]> {
    return this.#store.read(() => Array.from({ length: shards }, (_, shard) => this.#records.highestTerm(shard)));
  }

  shardCount(proposed: number): Promise<number> {
    return this.#store.write(() => this.#records.shardCount(proposed));
  }

  insert(entries: readonly Entry[]): Promise<InsertOutcome> {
    return this.#logs.insert(entries);
  }

  async standing(places: readonly Pick<Standing, "room" | "offset">[]): Promise<readonly Standing[]> {
    return this.#store.read(() => this.#logs.standing(places));
  }

  async head(room: string): Promise<Head | undefined> {
    return this.#store.read(() => this.#logs.head(room));
  }

  async page(room: string, query: PageQuery): Promise<ArchivedEntry[]> {
    return this.#store.read(() => {
      const entries = this.#logs.page(room, query);
      const fates = this.#records.fates(entries);
      const items = entries.map((entry, i) => ({ entry, fate: fates[i] }));
      return [...cutPage(items, query, itemBytes)];
    });
  }

  byKey(room: string, sender: string, key: string): Promise<Entry | undefined> {
    return this.#logs.byKey(room, sender, key);
  }

  async offsetAt(room: string, atMs: number): Promise<number> {
    return this.#store.read(() => this.#logs.offsetAt(room, atMs));
  }

  derive(writes: readonly DerivedWrite[]): Promise<void> {
    return this.#store.write(
      () => {
        for (const write of writes) this.#records.derive(write);
      },
      { rows: writes.length },
    );
  }

  createRoom(room: RoomRecord): Promise<{ room: RoomRecord; created: boolean }> {
    return this.#store.write(() => this.#records.createRoom(room));
  }

  async room(id: string): Promise<RoomRecord | undefined> {
    return this.#store.read(() => this.#records.room(id));
  }

  async members(room: string, page: KeyPage): Promise<MemberRecord[]> {
    return this.#store.read(() => this.#records.members(room, page));
  }

  async member(room: string, user: string): Promise<MemberRecord | undefined> {
    return this.#store.read(() => this.#records.member(room, user));
  }

  async roomsOf(user: string, page: KeyPage): Promise<RoomRecord[]> {
    return this.#store.read(() => this.#records.roomsOf(user, page));
  }

  async publicRooms(page: KeyPage): Promise<RoomRecord[]> {
    return this.#store.read(() => this.#records.publicRooms(page));
  }

  mark(markers: readonly MarkerRecord[]): Promise<void> {
    return this.#store.write(
      () => {
        for (const marker of markers) this.#records.mark(marker);
      },
      { rows: markers.length },
    );
  }

  async marker(room: string, user: string): Promise<MarkerRecord | undefined> {
    return this.#store.read(() => this.#records.marker(room, user));
  }

  async markers(room: string, page: KeyPage): Promise<MarkerRecord[]> {
    return this.#store.read(() => this.#records.markers(room, page));
  }

  async close(): Promise<void> {
    const settled = this.#logs.close();
    await this.#store.close();
    await settled;
  }
}
