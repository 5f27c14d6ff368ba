/** Rooms, members, markers, terms and what became of entries, in the embedded archive. */
import { Packr } from "msgpackr";
import type { DerivedWrite, KeyPage, MarkerRecord, MemberRecord, RoomRecord } from "../actors/archive.ts";
import type { Entry, Fate } from "../actors/entry.ts";
import { offsetBytes, placeKey, readOffset, textKey, textKeyAfter, textKeyEnd } from "./archive.lmdb.codec.ts";
import type { LmdbStore, LmdbTable } from "./lmdb.ts";

const packr = new Packr({ useRecords: false, copyBuffers: true });
const NOTHING = new Uint8Array(1);
const SHARDS = textKey("shards");

/** A fate as stored: reactions as pairs, as any text may be one, `__proto__` too. */
type FateRow = Omit<Fate, "reactions"> & { readonly reactions?: readonly (readonly [string, readonly string[]])[] };

/** What a term's row holds: who claimed it last. */
interface TermRow {
  readonly term: number;
  readonly node: string;
  readonly nonce: string;
}

/** The records of the archive. Methods that write run inside a task of `LmdbStore.write`. */
export class ArchiveRecords {
  readonly #meta: LmdbTable;
  readonly #terms: LmdbTable;
  readonly #fates: LmdbTable;
  readonly #rooms: LmdbTable;
  /** Ids of public rooms that are not deleted. */
  readonly #publicRooms: LmdbTable;
  readonly #pairs: LmdbTable;
  readonly #members: LmdbTable;
  /** User and room of every member that is no tombstone. */
  readonly #memberships: LmdbTable;
  readonly #markers: LmdbTable;

  readonly #termFloor: number;

  /** @param termFloor - no term below it is claimed. */
  constructor(store: LmdbStore, termFloor: number) {
    this.#termFloor = termFloor;
    this.#meta = store.table("meta");
    this.#terms = store.table("terms");
    this.#fates = store.table("fates");
    this.#rooms = store.table("rooms");
    this.#publicRooms = store.table("public-rooms");
    this.#pairs = store.table("pairs");
    this.#members = store.table("members");
    this.#memberships = store.table("memberships");
    this.#markers = store.table("markers");
  }

  /** Writes: claims the next term of a shard. */
  claimTerm(shard: number, node: string, nonce: string): number {
    const term = Math.max(this.highestTerm(shard) + 1, this.#termFloor);
    const row: TermRow = { term, node, nonce };
    this.#terms.put(offsetBytes(shard), packr.pack(row));
    return term;
  }

  highestTerm(shard: number): number {
    return unpacked<TermRow>(this.#terms.get(offsetBytes(shard)))?.term ?? 0;
  }

  /** Writes: keeps the number of shards when none is kept. */
  shardCount(proposed: number): number {
    this.#meta.putNew(SHARDS, offsetBytes(proposed));
    return readOffset(this.#meta.get(SHARDS) as Buffer);
  }

  /** Writes: applies one derived write over a lower rev. */
  derive(write: DerivedWrite): void {
    if (write.kind === "member") this.#deriveMember(write.member);
    else if (write.kind === "room") this.#deriveRoom(write.room);
    else this.#deriveFate(placeKey(write.roomId, write.offset), write.fate);
  }

  /** What became of entries of one room, in their order. */
  fates(entries: readonly Entry[]): (Fate | undefined)[] {
    const first = entries[0];
    const last = entries.at(-1);
    if (!first || !last) return [];
    const found = new Map<number, Fate>();
    const range = { from: placeKey(first.room, first.offset), to: placeKey(last.room, last.offset + 1) };
    for (const { key, value } of this.#fates.range(range)) found.set(readOffset(key), readFate(value));
    return entries.map(({ offset }) => found.get(offset));
  }

  /** Writes: creates a room unless its id or pair is taken. */
  createRoom(room: RoomRecord): { room: RoomRecord; created: boolean } {
    const pair = room.pair && textKey(...room.pair);
    const other = pair && this.#pairs.get(pair);
    const taken = this.room(room.id) ?? (other && this.room(other.toString()));
    if (taken) return { room: taken, created: false };
    this.#putRoom(room);
    if (pair) this.#pairs.put(pair, textKey(room.id));
    return { room, created: true };
  }

  room(id: string): RoomRecord | undefined {
    return unpacked<RoomRecord>(this.#rooms.get(textKey(id)));
  }

  members(room: string, page: KeyPage): MemberRecord[] {
    return collect(this.#members, pageOf(page, room), page.limit, (_, value) => {
      const member = packr.unpack(value) as MemberRecord;
      return member.role === "none" ? undefined : member;
    });
  }

  member(room: string, user: string): MemberRecord | undefined {
    return unpacked<MemberRecord>(this.#members.get(textKey(room, user)));
  }

  roomsOf(user: string, page: KeyPage): RoomRecord[] {
    const prefix = textKey(user, "").byteLength;
    return collect(this.#memberships, pageOf(page, user), page.limit, (key) => {
      const room = this.room(key.toString("latin1", prefix));
      return room?.deletedAt === undefined ? room : undefined;
    });
  }

  publicRooms(page: KeyPage): RoomRecord[] {
    return collect(this.#publicRooms, pageOf(page), page.limit, (key) => this.room(key.toString("latin1", 1)));
  }

  /** Writes: raises a marker. */
  mark(marker: MarkerRecord): void {
    const key = textKey(marker.room, marker.user);
    const stored = unpacked<MarkerRecord>(this.#markers.peek(key));
    if (stored && marker.read <= stored.read && marker.delivered <= stored.delivered) return;
    const further = !stored || marker.read > stored.read ? marker : stored;
    const delivered = Math.max(stored?.delivered ?? 0, marker.delivered);
    const { room, user } = marker;
    const row: MarkerRecord = { room, user, read: further.read, readCount: further.readCount, delivered };
    this.#markers.put(key, packr.pack(row));
  }

  marker(room: string, user: string): MarkerRecord | undefined {
    return unpacked<MarkerRecord>(this.#markers.get(textKey(room, user)));
  }

  markers(room: string, page: KeyPage): MarkerRecord[] {
    return collect(this.#markers, pageOf(page, room), page.limit, (_, value) => packr.unpack(value) as MarkerRecord);
  }

  #deriveMember(member: MemberRecord): void {
    const { room, user } = member;
    if ((this.member(room, user)?.rev ?? -1) >= member.rev) return;
    this.#members.put(textKey(room, user), packr.pack(member));
    if (member.role === "none") this.#memberships.remove(textKey(user, room));
    else this.#memberships.put(textKey(user, room), NOTHING);
  }

  #deriveRoom(room: RoomRecord): void {
    if ((this.room(room.id)?.rev ?? -1) < room.rev) this.#putRoom(room);
  }

  #putRoom(room: RoomRecord): void {
    this.#rooms.put(textKey(room.id), packr.pack(room));
    const key = textKey("", room.id);
    if (room.type === "public" && room.deletedAt === undefined) this.#publicRooms.put(key, NOTHING);
    else this.#publicRooms.remove(key);
  }

  #deriveFate(key: Buffer, fate: Fate): void {
    const stored = this.#fates.get(key);
    if (stored && readFate(stored).rev >= fate.rev) return;
    const { reactions, ...rest } = fate;
    const row: FateRow = reactions ? { ...rest, reactions: Object.entries(reactions) } : rest;
    this.#fates.put(key, packr.pack(row));
  }
}

function readFate(value: Buffer): Fate {
  const { reactions, ...rest } = packr.unpack(value) as FateRow;
  return reactions ? { ...rest, reactions: Object.fromEntries(reactions) } : rest;
}

function unpacked<T>(value: Buffer | undefined): T | undefined {
  return value && (packr.unpack(value) as T);
}

/** The keys under a prefix from a page's `after` on. */
function pageOf(page: KeyPage, prefix = ""): { from: Buffer; to: Buffer } {
  const from = page.after === undefined ? textKey(prefix, "") : textKeyAfter(prefix, page.after);
  return { from, to: textKeyEnd(prefix) };
}

/** The first `limit` things made of a range's rows; rows of which nothing is made are passed over. */
function collect<T>(
  table: LmdbTable,
  range: { from: Buffer; to: Buffer },
  limit: number,
  pick: (key: Buffer, value: Buffer) => T | undefined,
): T[] {
  const found: T[] = [];
  if (limit <= 0) return found;
  for (const { key, value } of table.range(range)) {
    const picked = pick(key as Buffer, value);
    if (picked !== undefined && found.push(picked) >= limit) break;
  }
  return found;
}
