/**
 * The archive in memory: complete, for tests and simulators, kept by nobody. Every write takes effect at
 * the call, in the order of the calls, and every promise settles on the next microtask, so a run that
 * makes the same calls sees the same answers.
 */
import { cutPage, itemBytes } from "./archive.page.ts";
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
} from "./archive.ts";
import { StoreFailure } from "./codes.ts";
import type { ArchivedEntry, Entry, Fate } from "./entry.ts";

/** Orders strings as their UTF-8 bytes do (by code point), which is how every backend orders keys. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // UTF-16 puts surrogates (code points above 0xffff) below 0xe000 to 0xffff; UTF-8 puts them above.
    const xAbove = x >= 0xd800 && x <= 0xdfff;
    const yAbove = y >= 0xd800 && y <= 0xdfff;
    return xAbove === yAbove ? x - y : xAbove ? 1 : -1;
  }
  return a.length - b.length;
}

/** The first index of `length` for which `before` is false; `before` is true up to some index, then false. */
function lowest(length: number, before: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A map whose keys can be paged in order; it is sorted again only after a new key. */
class SortedMap<T> {
  #values = new Map<string, T>();
  #keys: string[] = [];
  #sorted = true;

  get(key: string): T | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: T): void {
    if (!this.#values.has(key)) {
      this.#keys.push(key);
      this.#sorted = false;
    }
    this.#values.set(key, value);
  }

  /** The values after `page.after` that `pick` makes something of, up to the limit. */
  page<P>(page: KeyPage, pick: (value: T) => P | undefined): P[] {
    if (!this.#sorted) this.#keys.sort(compareKeys);
    this.#sorted = true;
    const found: P[] = [];
    const { after } = page;
    const keys = this.#keys;
    let i = after === undefined ? 0 : lowest(keys.length, (at) => compareKeys(keys[at] as string, after) <= 0);
    for (; i < keys.length && found.length < page.limit; i++) {
      const picked = pick(this.#values.get(keys[i] as string) as T);
      if (picked !== undefined) found.push(picked);
    }
    return found;
  }
}

/** The log of one room: entries by rising offset, what became of them, and the last entry of each key. */
class MemoryLog {
  readonly entries: Entry[] = [];
  readonly fates = new Map<number, Fate>();
  readonly byKey = new Map<string, Entry>();

  /** Index of the first entry at or above the offset. */
  indexOf(offset: number): number {
    const last = this.entries.at(-1);
    if (!last || last.offset < offset) return this.entries.length;
    return lowest(this.entries.length, (i) => (this.entries[i] as Entry).offset < offset);
  }

  /** Whether the entry was put at its place; false when one stands there. */
  insert(entry: Entry): boolean {
    const index = this.indexOf(entry.offset);
    if (this.entries[index]?.offset === entry.offset) return false;
    this.entries.splice(index, 0, entry);
    const name = keyName(entry.sender, entry.key);
    const known = this.byKey.get(name);
    if (!known || known.offset < entry.offset) this.byKey.set(name, entry);
    return true;
  }
}

/** Sender and key as one text; NUL is in no user id. */
function keyName(sender: string, key: string): string {
  return `${sender}\0${key}`;
}

/** The archive in memory. Bounded only by what its tests write. */
export class MemoryArchive implements Archive {
  #open = true;
  #shards = 0;
  #terms = new Map<number, number>();
  #logs = new Map<string, MemoryLog>();
  #rooms = new SortedMap<RoomRecord>();
  #pairs = new Map<string, string>();
  /** Room → user → record, and user → room → the same record. */
  #members = new Map<string, SortedMap<MemberRecord>>();
  #memberships = new Map<string, SortedMap<MemberRecord>>();
  #markers = new Map<string, SortedMap<MarkerRecord>>();

  async claimTerm(shard: number, _node: string, _nonce: string): Promise<number> {
    this.#check();
    const term = (this.#terms.get(shard) ?? 0) + 1;
    this.#terms.set(shard, term);
    return term;
  }

  async highestTerms(shards: number): Promise<readonly number[]> {
    this.#check();
    return Array.from({ length: shards }, (_, shard) => this.#terms.get(shard) ?? 0);
  }

  async shardCount(proposed: number): Promise<number> {
    this.#check();
    if (this.#shards === 0) this.#shards = proposed;
    return this.#shards;
  }

  async insert(entries: readonly Entry[]): Promise<InsertOutcome> {
    this.#check();
    let stored = 0;
    for (const entry of entries) {
      if (!this.#log(entry.room).insert(entry)) return { stored, conflict: true };
      stored++;
    }
    return { stored, conflict: false };
  }

  async standing(places: readonly Pick<Standing, "room" | "offset">[]): Promise<readonly Standing[]> {
    this.#check();
    return places.flatMap(({ room, offset }) => {
      const log = this.#logs.get(room);
      const there = log?.entries[log.indexOf(offset)];
      return there?.offset === offset ? [{ room, offset, term: there.term, key: there.key }] : [];
    });
  }

  async head(room: string): Promise<Head | undefined> {
    this.#check();
    const last = this.#logs.get(room)?.entries.at(-1);
    return last && { offset: last.offset, term: last.term, count: last.count, at: last.at };
  }

  async page(room: string, query: PageQuery): Promise<ArchivedEntry[]> {
    this.#check();
    const log = this.#logs.get(room);
    if (!log) return [];
    const from = query.after === undefined ? 0 : log.indexOf(query.after + 1);
    const to = query.before === undefined ? log.entries.length : log.indexOf(query.before);
    const first = query.end === "first" ? from : Math.max(from, to - query.limit);
    const end = Math.min(to, first + query.limit);
    const items = log.entries
      .slice(first, Math.max(first, end))
      .map((entry) => ({ entry, fate: log.fates.get(entry.offset) }));
    return [...cutPage(items, query, itemBytes)];
  }

  async byKey(room: string, sender: string, key: string): Promise<Entry | undefined> {
    this.#check();
    return this.#logs.get(room)?.byKey.get(keyName(sender, key));
  }

  async offsetAt(room: string, atMs: number): Promise<number> {
    this.#check();
    const entries = this.#logs.get(room)?.entries ?? [];
    const index = lowest(entries.length, (i) => (entries[i] as Entry).at < atMs);
    return entries[index]?.offset ?? (entries.at(-1)?.offset ?? 0) + 1;
  }

  async derive(writes: readonly DerivedWrite[]): Promise<void> {
    this.#check();
    for (const write of writes) {
      if (write.kind === "member") this.#deriveMember(write.member);
      else if (write.kind === "room") this.#deriveRoom(write.room);
      else this.#deriveFate(write.roomId, write.offset, write.fate);
    }
  }

  async createRoom(room: RoomRecord): Promise<{ room: RoomRecord; created: boolean }> {
    this.#check();
    const pair = room.pair?.join("\0");
    const taken = this.#rooms.get(room.id) ?? (pair === undefined ? undefined : this.#roomOfPair(pair));
    if (taken) return { room: taken, created: false };
    this.#rooms.set(room.id, room);
    if (pair !== undefined) this.#pairs.set(pair, room.id);
    return { room, created: true };
  }

  async room(id: string): Promise<RoomRecord | undefined> {
    this.#check();
    return this.#rooms.get(id);
  }

  async members(room: string, page: KeyPage): Promise<MemberRecord[]> {
    this.#check();
    return this.#members.get(room)?.page(page, (member) => (member.role === "none" ? undefined : member)) ?? [];
  }

  async member(room: string, user: string): Promise<MemberRecord | undefined> {
    this.#check();
    return this.#members.get(room)?.get(user);
  }

  async roomsOf(user: string, page: KeyPage): Promise<RoomRecord[]> {
    this.#check();
    const shown = (member: MemberRecord): RoomRecord | undefined => {
      const room = member.role === "none" ? undefined : this.#rooms.get(member.room);
      return room?.deletedAt === undefined ? room : undefined;
    };
    return this.#memberships.get(user)?.page(page, shown) ?? [];
  }

  async publicRooms(page: KeyPage): Promise<RoomRecord[]> {
    this.#check();
    return this.#rooms.page(page, (room) =>
      room.type === "public" && room.deletedAt === undefined ? room : undefined,
    );
  }

  async mark(markers: readonly MarkerRecord[]): Promise<void> {
    this.#check();
    for (const marker of markers) {
      const room = table(this.#markers, marker.room);
      room.set(marker.user, raised(room.get(marker.user), marker));
    }
  }

  async marker(room: string, user: string): Promise<MarkerRecord | undefined> {
    this.#check();
    return this.#markers.get(room)?.get(user);
  }

  async markers(room: string, page: KeyPage): Promise<MarkerRecord[]> {
    this.#check();
    return this.#markers.get(room)?.page(page, (marker) => marker) ?? [];
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  #check(): void {
    if (!this.#open) throw new StoreFailure("The archive is closed.");
  }

  #log(room: string): MemoryLog {
    const log = this.#logs.get(room) ?? new MemoryLog();
    this.#logs.set(room, log);
    return log;
  }

  #roomOfPair(pair: string): RoomRecord | undefined {
    const id = this.#pairs.get(pair);
    return id === undefined ? undefined : this.#rooms.get(id);
  }

  #deriveMember(member: MemberRecord): void {
    const room = table(this.#members, member.room);
    if ((room.get(member.user)?.rev ?? -1) >= member.rev) return;
    room.set(member.user, member);
    table(this.#memberships, member.user).set(member.room, member);
  }

  #deriveRoom(room: RoomRecord): void {
    if ((this.#rooms.get(room.id)?.rev ?? -1) < room.rev) this.#rooms.set(room.id, room);
  }

  #deriveFate(room: string, offset: number, fate: Fate): void {
    const log = this.#log(room);
    if ((log.fates.get(offset)?.rev ?? -1) < fate.rev) log.fates.set(offset, fate);
  }
}

/** The sorted map under a key, made when missing. */
function table<T>(tables: Map<string, SortedMap<T>>, key: string): SortedMap<T> {
  const found = tables.get(key) ?? new SortedMap<T>();
  tables.set(key, found);
  return found;
}

/** What a marker becomes by a write: `read` with its `readCount`, and `delivered`, each only ever rise. */
export function raised(stored: MarkerRecord | undefined, write: MarkerRecord): MarkerRecord {
  if (!stored) return write;
  const further = write.read > stored.read ? write : stored;
  return {
    room: stored.room,
    user: stored.user,
    read: further.read,
    readCount: further.readCount,
    delivered: Math.max(stored.delivered, write.delivered),
  };
}
