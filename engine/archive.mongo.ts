/** The archive of many nodes: MongoDB, by the official driver. What is kept where: `archive.mongo.codec.ts`. */
import {
  type Db,
  type IndexSpecification,
  MongoClient,
  type MongoClientOptions,
  MongoServerError,
  type TopologyDescriptionChangedEvent,
} from "mongodb";
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
import type { ArchivedEntry, Entry, Fate } from "../actors/entry.ts";
import type { Log } from "../actors/log.ts";
import { MergingLane } from "./archive.mongo.lane.ts";
import { EntryLog } from "./archive.mongo.log.ts";
import { ArchiveRecords } from "./archive.mongo.rooms.ts";
import { MONGO_POLICY } from "./policy.ts";

/** The database when the URL names none. */
const DATABASE = "confab";
/** `NamespaceNotFound`: the collection is not there yet. */
const NO_COLLECTION = 26;

/** What reads need beside the `_id` of each collection. None is unique, partial or of text. */
const INDEXES: readonly { readonly collection: string; readonly key: Readonly<Record<string, 1>> }[] = [
  { collection: "entries", key: { room: 1, sender: 1, key: 1 } }, // duplicates
  { collection: "entries", key: { room: 1, at: 1, _id: 1 } }, // history by time
  { collection: "members", key: { user: 1, room: 1 } }, // rooms of a user
  { collection: "rooms", key: { type: 1, _id: 1 } }, // public rooms
];

/** Where the archive is. */
export interface MongoArchiveOptions {
  /** `mongodb://` or `mongodb+srv://`; its path names the database. Its concerns and time-outs do not count. */
  readonly url: string;
  readonly log: Log;
  /** For tests. */
  readonly timeouts?: Partial<Record<keyof typeof MONGO_POLICY, number>>;
}

/** The archive, and its database for what else a process without Redis keeps there. */
export interface SharedArchive extends Archive {
  readonly db: Db;
}

/**
 * Connects, makes the indexes that are missing and answers the archive. Rejects with `StoreFailure` in a full
 * sentence when the URL is wrong or MongoDB does not answer; later outages only reject calls.
 */
export async function openMongoArchive(options: MongoArchiveOptions): Promise<SharedArchive> {
  const client = clientOf(options);
  const hosts = client.options.hosts.join(", ") || client.options.srvHost;
  const unwatch = watch(client, options.log);
  try {
    const db = client.db(databaseOf(options.url));
    await client.connect();
    await makeIndexes(db);
    return new MongoArchive(db, () => {
      unwatch();
      return client.close();
    });
  } catch (error) {
    unwatch();
    await client.close();
    throw new StoreFailure(`The archive could not be opened on MongoDB at ${hosts}: ${reasonOf(error)}`, error);
  }
}

function clientOf({ url, timeouts }: MongoArchiveOptions): MongoClient {
  const { selectMs, connectMs, queueMs, writeMs, socketMs, connections } = { ...MONGO_POLICY, ...timeouts };
  const options: MongoClientOptions = {
    appName: "confab",
    // The parts of a concern that the URL names come after the whole of it: so these are named, too.
    writeConcern: { w: "majority", journal: true, wtimeoutMS: writeMs },
    journal: true,
    readConcern: { level: "majority" },
    readConcernLevel: "majority",
    readPreference: "primary",
    retryWrites: true,
    retryReads: true,
    serverSelectionTimeoutMS: selectMs,
    connectTimeoutMS: connectMs,
    waitQueueTimeoutMS: queueMs,
    socketTimeoutMS: socketMs,
    maxPoolSize: connections,
    // Bodies come as views into the answer; the codec copies them out.
    promoteBuffers: true,
  };
  try {
    return new MongoClient(url, options);
  } catch (error) {
    throw new StoreFailure(`The URL of MongoDB can not be used: ${reasonOf(error)}`, error);
  }
}

/** Says when no server is known any more, and when one is again. Before `connect`: later listeners hear nothing. */
function watch(client: MongoClient, log: Log): () => void {
  let known: boolean | undefined;
  const onChange = ({ newDescription }: TopologyDescriptionChangedEvent): void => {
    const { hasKnownServers } = newDescription;
    if (known === true && !hasKnownServers) log.warn({}, "MongoDB is away");
    if (known === false && hasKnownServers) log.info({}, "MongoDB is there again");
    if (known !== undefined || hasKnownServers) known = hasKnownServers;
  };
  client.on("topologyDescriptionChanged", onChange);
  return () => client.off("topologyDescriptionChanged", onChange);
}

/** The database that the path of the URL names. */
function databaseOf(url: string): string {
  const path = /^mongodb(?:\+srv)?:\/\/[^/?]*\/([^?]*)/.exec(url)?.[1];
  return path ? decodeURIComponent(path) : DATABASE;
}

/** One by one and only where missing: FerretDB 1.24 breaks off when one command makes two that are there. */
async function makeIndexes(db: Db): Promise<void> {
  const known = new Map<string, Set<string>>();
  for (const { collection, key } of INDEXES) {
    const there = known.get(collection) ?? (await indexesOf(db, collection));
    known.set(collection, there);
    if (!there.has(JSON.stringify(key))) await db.collection(collection).createIndex(key as IndexSpecification);
  }
}

async function indexesOf(db: Db, collection: string): Promise<Set<string>> {
  try {
    const indexes = await db.collection(collection).listIndexes().toArray();
    return new Set(indexes.map(({ key }) => JSON.stringify(key)));
  } catch (error) {
    if (error instanceof MongoServerError && error.code === NO_COLLECTION) return new Set();
    throw error;
  }
}

/** The driver's own words, which name hosts and never credentials. */
function reasonOf(error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error);
  return reason.endsWith(".") ? reason : `${reason}.`;
}

class MongoArchive implements SharedArchive {
  readonly db: Db;
  readonly #entries: EntryLog;
  readonly #records: ArchiveRecords;
  readonly #derived: MergingLane<DerivedWrite>;
  readonly #markers: MergingLane<MarkerRecord>;
  readonly #end: () => Promise<void>;
  #underWay = 0;
  #closed: Promise<void> | undefined;
  #onIdle: () => void = () => {};

  constructor(db: Db, end: () => Promise<void>) {
    this.db = db;
    this.#end = end;
    this.#entries = new EntryLog(db);
    this.#records = new ArchiveRecords(db);
    this.#derived = new MergingLane({
      keyOf: derivedKey,
      merge: (earlier, later) => (revOf(later) > revOf(earlier) ? later : earlier),
      write: (writes) => this.#derive(writes),
    });
    this.#markers = new MergingLane({
      keyOf: ({ room, user }) => `${room}/${user}`,
      merge: highest,
      write: (markers) => this.#records.mark(markers),
    });
  }

  claimTerm(shard: number, node: string, nonce: string): Promise<number> {
    return this.#call(() => this.#records.claimTerm(shard, node, nonce));
  }

  highestTerms(shards: number): Promise<readonly number[]> {
    return this.#call(() =>
      Promise.all(Array.from({ length: shards }, (_, shard) => this.#records.highestTerm(shard))),
    );
  }

  shardCount(proposed: number): Promise<number> {
    return this.#call(() => this.#records.shardCount(proposed));
  }

  insert(entries: readonly Entry[]): Promise<InsertOutcome> {
    return this.#call(() => this.#entries.insert(entries));
  }

  standing(places: readonly Pick<Standing, "room" | "offset">[]): Promise<readonly Standing[]> {
    return this.#call(() => this.#entries.standing(places));
  }

  head(room: string): Promise<Head | undefined> {
    return this.#call(() => this.#entries.head(room));
  }

  page(room: string, query: PageQuery): Promise<ArchivedEntry[]> {
    return this.#call(() => this.#entries.page(room, query));
  }

  byKey(room: string, sender: string, key: string): Promise<Entry | undefined> {
    return this.#call(() => this.#entries.byKey(room, sender, key));
  }

  offsetAt(room: string, atMs: number): Promise<number> {
    return this.#call(() => this.#entries.offsetAt(room, atMs));
  }

  derive(writes: readonly DerivedWrite[]): Promise<void> {
    return this.#call(() => this.#derived.run(writes));
  }

  createRoom(room: RoomRecord): Promise<{ room: RoomRecord; created: boolean }> {
    return this.#call(() => this.#records.createRoom(room));
  }

  room(id: string): Promise<RoomRecord | undefined> {
    return this.#call(() => this.#records.room(id));
  }

  members(room: string, page: KeyPage): Promise<MemberRecord[]> {
    return this.#call(() => this.#records.members(room, page));
  }

  member(room: string, user: string): Promise<MemberRecord | undefined> {
    return this.#call(() => this.#records.member(room, user));
  }

  roomsOf(user: string, page: KeyPage): Promise<RoomRecord[]> {
    return this.#call(() => this.#records.roomsOf(user, page));
  }

  publicRooms(page: KeyPage): Promise<RoomRecord[]> {
    return this.#call(() => this.#records.publicRooms(page));
  }

  mark(markers: readonly MarkerRecord[]): Promise<void> {
    return this.#call(() => this.#markers.run(markers));
  }

  marker(room: string, user: string): Promise<MarkerRecord | undefined> {
    return this.#call(() => this.#records.marker(room, user));
  }

  markers(room: string, page: KeyPage): Promise<MarkerRecord[]> {
    return this.#call(() => this.#records.markers(room, page));
  }

  close(): Promise<void> {
    this.#closed ??= new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      if (this.#underWay === 0) resolve();
    }).then(this.#end);
    return this.#closed;
  }

  /** Runs a call unless the archive is closed; what it throws becomes `StoreFailure`. */
  async #call<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new StoreFailure("The archive is closed.");
    this.#underWay++;
    try {
      return await work();
    } catch (error) {
      throw error instanceof StoreFailure ? error : new StoreFailure(`MongoDB failed: ${reasonOf(error)}`, error);
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) this.#onIdle();
    }
  }

  /** Writes a batch of the lane; settles when all three parts have. */
  async #derive(writes: readonly DerivedWrite[]): Promise<void> {
    const members: MemberRecord[] = [];
    const rooms: RoomRecord[] = [];
    const fates: { room: string; offset: number; fate: Fate }[] = [];
    for (const write of writes) {
      if (write.kind === "member") members.push(write.member);
      else if (write.kind === "room") rooms.push(write.room);
      else fates.push({ room: write.roomId, offset: write.offset, fate: write.fate });
    }
    const parts = await Promise.allSettled([
      this.#records.reviseMembers(members),
      this.#records.reviseRooms(rooms),
      this.#entries.fates(fates),
    ]);
    for (const part of parts) if (part.status === "rejected") throw part.reason;
  }
}

function derivedKey(write: DerivedWrite): string {
  if (write.kind === "member") return `${write.member.room}/${write.member.user}`;
  return write.kind === "room" ? write.room.id : `${write.roomId}.${write.offset}`;
}

function revOf(write: DerivedWrite): number {
  if (write.kind === "member") return write.member.rev;
  return write.kind === "room" ? write.room.rev : write.fate.rev;
}

/** Both markers in one: each part only ever rises. */
function highest(earlier: MarkerRecord, later: MarkerRecord): MarkerRecord {
  const read = later.read > earlier.read ? later : earlier;
  return { ...read, delivered: Math.max(earlier.delivered, later.delivered) };
}
