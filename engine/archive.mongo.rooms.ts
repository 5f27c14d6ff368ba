/** Rooms, members, markers, terms and the number of shards in the MongoDB archive. */
import { type AnyBulkWriteOperation, type Collection, type Db, MongoServerError } from "mongodb";
import type { KeyPage, MarkerRecord, MemberRecord, RoomRecord } from "../actors/archive.ts";
import { StoreFailure } from "../actors/codes.ts";
import { checkDocument, damaged } from "./archive.mongo.check.ts";
import {
  type MarkerDocument,
  type MemberDocument,
  memberDocument,
  numberOf,
  type PairDocument,
  pairId,
  personId,
  personRange,
  type RoomDocument,
  readMark,
  readMarker,
  readMember,
  readRoom,
  roomDocument,
  type SettingDocument,
  type TermDocument,
  termId,
  termRange,
} from "./archive.mongo.codec.ts";
import { DUPLICATE_KEY } from "./archive.mongo.log.ts";

/** Claims of one shard that may win before ours does. */
const CLAIMS_MAX = 10_000;
/** Memberships looked up at a time, at least: deleted rooms among them are passed over. */
const ROOMS_AT_ONCE = 64;
/** Tries of a batch in which an upsert met another process's: the second finds the document there. */
const UPSERTS_MAX = 3;

/** Updates of one command: FerretDB may hang on a hundred upserts beside inserts, and a slow server is waited for less. */
const UPDATES_MOST = 32;

/** What all records with a `rev` have. */
interface Revised {
  readonly _id: string;
  readonly rev: number;
}

/** The records. No answer rests on two writes being one, or on an update being atomic (protocol.md, "Data"). */
export class ArchiveRecords {
  readonly #settings: Collection<SettingDocument>;
  readonly #terms: Collection<TermDocument>;
  readonly #rooms: Collection<RoomDocument>;
  readonly #pairs: Collection<PairDocument>;
  readonly #members: Collection<MemberDocument>;
  readonly #markers: Collection<MarkerDocument>;

  constructor(db: Db) {
    this.#settings = db.collection("settings");
    this.#terms = db.collection("terms");
    this.#rooms = db.collection("rooms");
    this.#pairs = db.collection("pairs");
    this.#members = db.collection("members");
    this.#markers = db.collection("markers");
  }

  /**
   * Claims by insert at the highest + 1, on a duplicate the next. The highest is never removed, nor is any
   * other: a claimant that slept since its read must still meet all that were claimed meanwhile.
   */
  async claimTerm(shard: number, node: string, nonce: string): Promise<number> {
    const highest = await this.highestTerm(shard);
    for (let term = highest + 1; term <= highest + CLAIMS_MAX; term++) {
      if (await inserted(this.#terms, { _id: termId(shard, term), node, nonce })) return term;
    }
    throw new StoreFailure(`${CLAIMS_MAX} claims of shard ${shard} won before this one.`);
  }

  async highestTerm(shard: number): Promise<number> {
    const [highest] = await this.#terms
      .find({ _id: termRange(shard) }, { projection: { _id: 1 } })
      .sort({ _id: -1 })
      .limit(1)
      .toArray();
    const term = highest ? numberOf(highest._id) : 0;
    if (!Number.isSafeInteger(term)) throw damaged("terms", highest?._id, "its _id ends in no term");
    return term;
  }

  async shardCount(proposed: number): Promise<number> {
    await inserted(this.#settings, { _id: "shards", count: proposed });
    const kept = await this.#settings.findOne({ _id: "shards" });
    if (!kept) throw new StoreFailure("MongoDB does not show the number of shards that it has.");
    if (!Number.isSafeInteger(kept.count) || kept.count < 1)
      throw damaged("settings", kept._id, "it is no number of shards");
    return kept.count;
  }

  /**
   * The pair is taken first, by a row that holds the whole room: whoever meets a pair without its room (its
   * maker died between the two, or is there yet) makes that room.
   */
  async createRoom(room: RoomRecord): Promise<{ room: RoomRecord; created: boolean }> {
    const there = await this.room(room.id);
    if (there) return { room: there, created: false };
    const document = roomDocument(room);
    if (!room.pair) {
      if (await inserted(this.#rooms, document)) return { room, created: true };
      return { room: await this.#standing(room.id), created: false };
    }
    const _id = pairId(room.pair);
    const created = await inserted(this.#pairs, { _id, room: document });
    const winner = created ? document : (await this.#pairs.findOne({ _id }))?.room;
    if (!winner) throw new StoreFailure("MongoDB does not show the pair that it has.");
    checkDocument("rooms", winner);
    const made = await inserted(this.#rooms, winner);
    return { room: made ? readRoom(winner) : await this.#standing(winner._id), created };
  }

  async #standing(id: string): Promise<RoomRecord> {
    const room = await this.room(id);
    if (!room) throw new StoreFailure(`MongoDB does not show the room ${id} that it has.`);
    return room;
  }

  async room(id: string): Promise<RoomRecord | undefined> {
    const found = await this.#rooms.findOne({ _id: id });
    return found ? readRoom(found) : undefined;
  }

  async members(room: string, { after, limit }: KeyPage): Promise<MemberRecord[]> {
    if (limit <= 0) return [];
    const query = { _id: personRange(room, after), role: { $ne: "none" as const } };
    return this.#members.find(query).sort({ _id: 1 }).limit(limit).map(readMember).toArray();
  }

  async member(room: string, user: string): Promise<MemberRecord | undefined> {
    const found = await this.#members.findOne({ _id: personId(room, user) });
    return found ? readMember(found) : undefined;
  }

  async roomsOf(user: string, page: KeyPage): Promise<RoomRecord[]> {
    const found: RoomRecord[] = [];
    const atOnce = Math.max(page.limit, ROOMS_AT_ONCE);
    for (let after = page.after ?? ""; found.length < page.limit; ) {
      const rows = await this.#members
        .find({ user, room: { $gt: after }, role: { $ne: "none" } }, { projection: { room: 1 } })
        .sort({ room: 1 })
        .limit(atOnce)
        .toArray();
      const ids = rows.map(({ _id, room }) => {
        if (typeof room !== "string") throw damaged("members", _id, "its field room is missing or of another kind");
        return room;
      });
      if (ids.length > 0) {
        const query = { _id: { $in: ids }, deletedAt: { $exists: false } };
        found.push(...(await this.#rooms.find(query).sort({ _id: 1 }).map(readRoom).toArray()));
      }
      if (ids.length < atOnce) break;
      after = ids.at(-1) as string;
    }
    return found.slice(0, Math.max(0, page.limit));
  }

  async publicRooms({ after, limit }: KeyPage): Promise<RoomRecord[]> {
    if (limit <= 0) return [];
    const query = { type: "public" as const, _id: { $gt: after ?? "" }, deletedAt: { $exists: false } };
    return this.#rooms.find(query).sort({ _id: 1 }).limit(limit).map(readRoom).toArray();
  }

  /** Writes members, each only over a lower rev; no two of one member. */
  reviseMembers(members: readonly MemberRecord[]): Promise<void> {
    return revise(this.#members, members.map(memberDocument));
  }

  /** Writes rooms, each only over a lower rev; no two of one room. */
  reviseRooms(rooms: readonly RoomRecord[]): Promise<void> {
    return revise(this.#rooms, rooms.map(roomDocument));
  }

  /** Raises markers; no two of one member. */
  mark(markers: readonly MarkerRecord[]): Promise<void> {
    const raised = markers.map((marker) => {
      const { room, user, delivered } = marker;
      const update = { $max: { read: readMark(marker), delivered }, $setOnInsert: { room, user } };
      return { updateOne: { filter: { _id: personId(room, user) }, update, upsert: true } };
    });
    return upsert(this.#markers, raised);
  }

  async marker(room: string, user: string): Promise<MarkerRecord | undefined> {
    const found = await this.#markers.findOne({ _id: personId(room, user) });
    return found ? readMarker(found) : undefined;
  }

  async markers(room: string, { after, limit }: KeyPage): Promise<MarkerRecord[]> {
    if (limit <= 0) return [];
    const query = { _id: personRange(room, after) };
    return this.#markers.find(query).sort({ _id: 1 }).limit(limit).map(readMarker).toArray();
  }
}

/** Whether the document was inserted; false when one stands at its `_id`. */
async function inserted<T extends { readonly _id: string }>(to: Collection<T>, document: T): Promise<boolean> {
  try {
    await to.insertOne(document as Parameters<typeof to.insertOne>[0]);
    return true;
  } catch (error) {
    if (isDuplicate(error)) return false;
    throw error;
  }
}

/** Puts documents where there are none, then over those with a lower rev. */
function revise<T extends Revised>(to: Collection<T>, documents: readonly T[]): Promise<void> {
  const operations = documents.flatMap((document): AnyBulkWriteOperation<Revised>[] => {
    const { _id, ...rest } = document;
    return [
      { updateOne: { filter: { _id }, update: { $setOnInsert: rest }, upsert: true } },
      { replaceOne: { filter: { _id, rev: { $lt: rest.rev } }, replacement: rest } },
    ];
  });
  return upsert(to as unknown as Collection<Revised>, operations);
}

/** Runs updates that may be repeated; again when an upsert met another process's upsert of the same document. */
async function upsert<T extends { readonly _id: string }>(
  to: Collection<T>,
  operations: AnyBulkWriteOperation<T>[],
): Promise<void> {
  for (let at = 0; at < operations.length; at += UPDATES_MOST) {
    await upsertSome(to, operations.slice(at, at + UPDATES_MOST));
  }
}

async function upsertSome<T extends { readonly _id: string }>(
  to: Collection<T>,
  operations: AnyBulkWriteOperation<T>[],
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await to.bulkWrite(operations, { ordered: true });
      return;
    } catch (error) {
      if (!isDuplicate(error) || attempt === UPSERTS_MAX) throw error;
    }
  }
}

function isDuplicate(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === DUPLICATE_KEY;
}
