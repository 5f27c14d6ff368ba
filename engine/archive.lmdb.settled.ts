/** The settled entries of the embedded archive: each at its room's place, and clients' keys in an index. */
import { type Entry, entryBytes } from "../actors/entry.ts";
import {
  duplicateGroup,
  duplicateKey,
  offsetBytes,
  packedAt,
  packedName,
  placeKey,
  readOffset,
  unpackEntry,
} from "./archive.lmdb.codec.ts";
import type { Named, OffsetRange, Placed } from "./archive.lmdb.overlay.ts";
import type { LmdbStore, LmdbTable, Row } from "./lmdb.ts";

/** Above every offset. */
export const ABOVE = Number.MAX_SAFE_INTEGER;
/** Entries searched backwards for a key of an edge. */
const SEARCH_ENTRIES = 10_000;
/** Entries searched in one turn. */
const SEARCH_STEP = 500;
/** Groups of the index searched for a client's key: 16 million entries, far beyond any window. */
const GROUPS_SEARCHED = 1_000;

/** Settled entries over one store. Methods that write run inside a task of `LmdbStore.write`. */
export class SettledEntries {
  readonly #store: LmdbStore;
  readonly #entries: LmdbTable;
  readonly #keys: LmdbTable;

  constructor(store: LmdbStore) {
    this.#store = store;
    this.#entries = store.table("entries");
    this.#keys = store.table("keys");
  }

  /** Writes an entry at its place. */
  put({ room, offset, packed }: Placed): void {
    this.#entries.put(placeKey(room, offset), packed);
  }

  /** Writes the index row of an entry's key. */
  putKey({ room, offset, sender, key }: Named): void {
    this.#keys.put(duplicateKey(room, duplicateGroup(offset), sender, key), offsetBytes(offset));
  }

  has(room: string, offset: number): boolean {
    return this.#entries.has(placeKey(room, offset));
  }

  /** The highest settled offset of a room; 0 when it has none. */
  lastOffset(room: string): number {
    const last = this.#last(room);
    return last ? readOffset(last.key) : 0;
  }

  /** The last settled entry of a room. */
  last(room: string): Entry | undefined {
    const last = this.#last(room);
    return last && unpackEntry(room, readOffset(last.key), last.value);
  }

  /** Entries of a range, except those whose offset is known already. */
  range(room: string, range: OffsetRange, known: ReadonlyMap<number, Entry>): Entry[] {
    const { from, to, limit, bytes = Number.POSITIVE_INFINITY, reverse } = range;
    const found: Entry[] = [];
    let read = 0;
    for (const { key, value } of this.#entries.range({
      from: placeKey(room, from),
      to: placeKey(room, to),
      limit,
      reverse,
    })) {
      const offset = readOffset(key);
      if (known.has(offset)) continue;
      const entry = unpackEntry(room, offset, value);
      found.push(entry);
      read += entryBytes(entry);
      if (read >= bytes) break;
    }
    return found;
  }

  /** The last entry with a client's key, by the index: the highest group is tried first. */
  byKey(room: string, sender: string, key: string): Entry | undefined {
    const highest = duplicateGroup(this.lastOffset(room));
    for (let group = highest; group >= Math.max(0, highest - GROUPS_SEARCHED); group--) {
      const row = this.#keys.get(duplicateKey(room, group, sender, key));
      const value = row && this.#entries.get(placeKey(room, readOffset(row)));
      const entry = row && value && unpackEntry(room, readOffset(row), value);
      if (entry && entry.key === key && entry.sender === sender) return entry;
    }
    return undefined;
  }

  /** Looks for a key that has no index among the room's last settled entries, some of them a turn. */
  async search(room: string, sender: string, key: string): Promise<Entry | undefined> {
    let before = ABOVE;
    for (let searched = 0; searched < SEARCH_ENTRIES; searched += SEARCH_STEP) {
      const range = { from: placeKey(room, 0), to: placeKey(room, before), limit: SEARCH_STEP, reverse: true };
      const rows = this.#store.read(() => [...this.#entries.range(range)]);
      for (const row of rows) {
        const name = packedName(row.value);
        if (name.key === key && name.sender === sender) return unpackEntry(room, readOffset(row.key), row.value);
      }
      if (rows.length < SEARCH_STEP) return undefined;
      before = readOffset((rows.at(-1) as Row).key);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    return undefined;
  }

  /** The lowest settled offset at or after a time, by halving the range of offsets. */
  offsetAt(room: string, atMs: number): number | undefined {
    const last = this.#last(room);
    if (!last || packedAt(last.value) < atMs) return undefined;
    let low = 1;
    let high = readOffset(last.key);
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      const row = this.#firstFrom(room, middle) as Row;
      if (packedAt(row.value) >= atMs) high = middle;
      else low = readOffset(row.key) + 1;
    }
    return readOffset((this.#firstFrom(room, low) as Row).key);
  }

  #last(room: string): Row | undefined {
    const range = { from: placeKey(room, 0), to: placeKey(room, ABOVE), limit: 1, reverse: true };
    for (const row of this.#entries.range(range)) return row;
    return undefined;
  }

  #firstFrom(room: string, offset: number): Row | undefined {
    const range = { from: placeKey(room, offset), to: placeKey(room, ABOVE), limit: 1 };
    for (const row of this.#entries.range(range)) return row;
    return undefined;
  }
}
