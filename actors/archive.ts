/**
 * The archive port: rooms, members, markers, entries and terms. Embedded: LMDB; production: MongoDB;
 * for tests: memory. The guarantees below are what `archive.conformance.ts` checks on every backend.
 */
import type { ArchivedEntry, Entry, Fate, Position } from "./entry.ts";

/** Who may see and enter a room. */
export type RoomType = "public" | "private" | "direct";

/** A member's role. `none` is the tombstone of a former member. */
export type Role = "admin" | "member" | "none";

/** A room as stored. */
export interface RoomRecord {
  readonly id: string;
  readonly name: string;
  readonly type: RoomType;
  /** ms since 1970. */
  readonly createdAt: number;
  /** User id; empty for `general`, which belongs to nobody. */
  readonly createdBy: string;
  /** For a direct room, its two users in ascending order; unique among direct rooms. */
  readonly pair?: readonly [string, string];
  /** ms since 1970; a deleted room keeps its record as a tombstone and is shown to nobody. */
  readonly deletedAt?: number;
  /** Version of the record: rises with every change; a write with a `rev` not above the stored one does nothing. */
  readonly rev: number;
}

/** A member of a room, derived from `member` entries. */
export interface MemberRecord {
  readonly room: string;
  readonly user: string;
  /** Name of the user's last token seen. */
  readonly name: string;
  readonly role: Role;
  /** ms since 1970. */
  readonly joinedAt: number;
  /** Offset of the entry that made this record (rule 12). */
  readonly rev: number;
}

/** How far a member has read and received. Monotone: a write only ever raises them. */
export interface MarkerRecord {
  readonly room: string;
  readonly user: string;
  /** Highest offset read. */
  readonly read: number;
  /** `count` of the entry at `read`: unread = room's count − this. */
  readonly readCount: number;
  /** Highest offset delivered. */
  readonly delivered: number;
}

/** Where a room's log stands. */
export interface Head extends Position {
  readonly count: number;
  /** `at` of the entry there, ms since 1970. */
  readonly at: number;
}

/** What an ordered insert did. */
export interface InsertOutcome {
  /** How many entries, from the first on, are now durable: all of them, unless there is a conflict or the store is slow. */
  readonly stored: number;
  /** Whether it stopped because an entry already stands at the next one's place. */
  readonly conflict: boolean;
}

/** What stands at a place of a log: enough to know it again (rule 3). */
export interface Standing {
  readonly room: string;
  readonly offset: number;
  readonly term: number;
  readonly key: string;
}

/** A derived write: follows its entry, applied only over a lower `rev`; repeating it changes nothing. */
export type DerivedWrite =
  | { readonly kind: "member"; readonly member: MemberRecord }
  | { readonly kind: "room"; readonly room: RoomRecord }
  | { readonly kind: "fate"; readonly roomId: string; readonly offset: number; readonly fate: Fate };

/**
 * Which part of a log. `after` and `before` are exclusive offsets; `limit` is the most entries answered. With `bytes`
 * a page ends at the latest with the entry by which it has so many, edited bodies included (`pageBytes`), and has one
 * entry at least: then only an empty page, or an end of the range, says that there are no more.
 */
export interface PageQuery {
  readonly after?: number;
  readonly before?: number;
  readonly limit: number;
  readonly bytes?: number;
  /** `first`: the lowest offsets of the range; `last`: the highest. Answers always rise. */
  readonly end: "first" | "last";
}

/**
 * A page of a list ordered by a string key, by the bytes of its UTF-8; `after` is the last key of the page
 * before, exclusive.
 */
export interface KeyPage {
  readonly after?: string;
  readonly limit: number;
}

/**
 * The archive. Every promise of a write resolves only when the write is durable (LMDB: after its sync;
 * MongoDB: majority, journaled), and rejects with `StoreFailure` when the outcome is unclear: the write
 * may have happened. Reads see all writes resolved before them.
 */
export interface Archive {
  /** Claims a new term of a shard: above the highest ever claimed, never given twice. Durable. */
  claimTerm(shard: number, node: string, nonce: string): Promise<number>;
  /** Highest term claimed of each shard; 0 where none. */
  highestTerms(shards: number): Promise<readonly number[]>;
  /** The number of shards of this data set: `proposed` is kept when none is kept yet. */
  shardCount(proposed: number): Promise<number>;

  /**
   * Inserts in order and stops at the first place already taken; what stands there is never changed.
   * All entries before the stop are durable, none after it is written.
   */
  insert(entries: readonly Entry[]): Promise<InsertOutcome>;
  /**
   * What stands at these places, in any order; a place that is free is left out. One question whatever their number,
   * and no body is read.
   */
  standing(places: readonly Pick<Standing, "room" | "offset">[]): Promise<readonly Standing[]>;
  /** The last stored entry of a room, or undefined for an empty log. */
  head(room: string): Promise<Head | undefined>;
  /** A part of a log, rising. */
  page(room: string, query: PageQuery): Promise<ArchivedEntry[]>;
  /**
   * The entry of a room with this sender and key, if it is stored; the last one when the key was used again.
   * An entry with an edge's own key (`e/`) may be found only while it is among the room's last 10,000.
   */
  byKey(room: string, sender: string, key: string): Promise<Entry | undefined>;
  /** The lowest offset whose `at` is at or after `atMs`; head + 1 when all are before it. */
  offsetAt(room: string, atMs: number): Promise<number>;
  /** Applies derived writes; each only over a lower `rev`. */
  derive(writes: readonly DerivedWrite[]): Promise<void>;

  /**
   * Creates a room unless its id, or for a direct room its pair, is taken; answers the room that now
   * stands there. Two calls at once for one pair have one winner.
   */
  createRoom(room: RoomRecord): Promise<{ room: RoomRecord; created: boolean }>;
  /** A room's record, deleted ones included. */
  room(id: string): Promise<RoomRecord | undefined>;
  /** Members of a room, tombstones left out, by user id. */
  members(room: string, page: KeyPage): Promise<MemberRecord[]>;
  /** One member's record, tombstones included. */
  member(room: string, user: string): Promise<MemberRecord | undefined>;
  /** The rooms a user is a member of, tombstones and deleted rooms left out, by room id. */
  roomsOf(user: string, page: KeyPage): Promise<RoomRecord[]>;
  /** Public rooms that are not deleted, by id. */
  publicRooms(page: KeyPage): Promise<RoomRecord[]>;

  /** Raises markers; lower values change nothing. */
  mark(markers: readonly MarkerRecord[]): Promise<void>;
  /** A user's markers in a room. */
  marker(room: string, user: string): Promise<MarkerRecord | undefined>;
  /** Markers of a room, by user id. */
  markers(room: string, page: KeyPage): Promise<MarkerRecord[]>;

  /** Ends what is open; writes under way are finished first. Every later call rejects with `StoreFailure`. */
  close(): Promise<void>;
}
