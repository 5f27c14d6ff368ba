/**
 * The newest entries of the embedded archive, held in memory until they are settled (see `archive.lmdb.log.ts`).
 *
 * They are held packed, as the journal has them, and the places of a room's entries are plain numbers. As objects
 * tens of thousands of entries would live just long enough to be moved into V8's old space, which its full
 * collections then go through, tens of milliseconds long.
 */
import type { Buffer } from "node:buffer";
import { type Entry, entryBytes } from "../actors/entry.ts";
import {
  eachPlaced,
  hasClientKey,
  isNamed,
  packedAt,
  packedEntry,
  packedLength,
  packedName,
  packName,
  unpackEntry,
} from "./archive.lmdb.codec.ts";

/** Entries sorted in one go: some milliseconds. */
const SORTED_AT_ONCE = 2_048;
/** Bytes of entries kept as objects once they were read: the newest page of a room is asked for again and again. */
const UNPACKED_BYTES = 1_048_576;
/** Bytes that an entry is counted with besides its own. */
const PLACE_BYTES = 64;
/** Above the length of any bytes that are packed together. */
const PACKED_BYTES_MAX = 2 ** 32;

/** Which entries of a room: offsets `from` (inclusive) to `to` (exclusive), lowest first unless `reverse`. */
export interface OffsetRange {
  readonly from: number;
  readonly to: number;
  readonly limit: number;
  /** Beyond so many bytes of entries nothing more is read. */
  readonly bytes?: number | undefined;
  readonly reverse: boolean;
}

/** An entry on its way to its place, packed. */
export interface Placed extends Pick<Entry, "room" | "offset"> {
  readonly packed: Buffer;
}

/** An entry's key on its way to the index. */
export type Named = Pick<Entry, "room" | "offset" | "sender" | "key">;

/** Entries that entered the journal one after another, by room and rising offset. All of them are durable. */
export class Generation {
  /** The number of its last row in the journal; 0 when it has none. */
  lastRow = 0;
  entries = 0;
  bytes = 0;
  /** What was packed together, in the order it came. */
  readonly #packed: Buffer[] = [];
  readonly #rooms = new Map<string, RoomLog>();
  /** By spot. */
  readonly #unpacked = new Map<number, Entry>();
  #unpackedBytes = 0;

  /**
   * Adds entries that were packed together, as `packPlaced` does; `starts` says where in `packed` each begins, which is
   * kept whole: what else is in it is held, and not counted.
   */
  add(entries: readonly Entry[], packed: Buffer, starts: readonly number[]): void {
    if (entries.length === 0) return;
    this.#packed.push(packed);
    for (let i = 0; i < entries.length; i++) {
      const { room, offset } = entries[i] as Entry;
      this.#add(room, offset, starts[i] as number);
    }
  }

  /** Adds the entries of a row of the journal. */
  addRow(row: Buffer): void {
    this.#packed.push(row);
    eachPlaced(row, (room, offset, start) => this.#add(room, offset, start));
  }

  /** Adds one of what was packed last, unless one stands at its place. */
  #add(room: string, offset: number, start: number): void {
    let log = this.#rooms.get(room);
    if (!log) {
      log = new RoomLog();
      this.#rooms.set(room, log);
    }
    const last = this.#packed.length - 1;
    if (!log.add(offset, last * PACKED_BYTES_MAX + start)) return;
    this.entries++;
    this.bytes += packedLength(this.#packed[last] as Buffer, start) + PLACE_BYTES;
  }

  /** The highest offset of a room; 0 when it has none. */
  lastOffset(room: string): number {
    return this.#rooms.get(room)?.offsets.at(-1) ?? 0;
  }

  /** The last entry of a room. */
  last(room: string): Entry | undefined {
    const log = this.#rooms.get(room);
    return log && this.#entry(room, log, log.offsets.length - 1);
  }

  /** Whether an entry stands at the place. */
  has(room: string, offset: number): boolean {
    const log = this.#rooms.get(room);
    return log?.offsets[log.indexOf(offset)] === offset;
  }

  /** Entries of a range, from the end of it that is asked for. */
  range(room: string, { from, to, limit, bytes = Number.POSITIVE_INFINITY, reverse }: OffsetRange): Entry[] {
    const found: Entry[] = [];
    const log = this.#rooms.get(room);
    if (!log) return found;
    const low = log.indexOf(from);
    const high = log.indexOf(to);
    const count = Math.min(limit, high - low);
    for (let i = 0, read = 0; i < count && read < bytes; i++) {
      const entry = this.#entry(room, log, reverse ? high - 1 - i : low + i);
      found.push(entry);
      read += entryBytes(entry);
    }
    return found;
  }

  /** The lowest offset of a room at or after a time. */
  offsetAt(room: string, atMs: number): number | undefined {
    const log = this.#rooms.get(room);
    return log?.offsets[lowestIndex(log.spots, (spot) => packedAt(this.#at(spot)) >= atMs)];
  }

  /** The last entry of a room with this sender and key. */
  byKey(room: string, sender: string, key: string): Entry | undefined {
    const log = this.#rooms.get(room);
    if (!log) return undefined;
    const name = packName(key, sender);
    for (let i = log.spots.length - 1; i >= 0; i--) {
      const spot = log.spots[i] as number;
      const which = Math.floor(spot / PACKED_BYTES_MAX);
      const start = spot - which * PACKED_BYTES_MAX;
      if (isNamed(this.#packed[which] as Buffer, start, name)) return this.#entry(room, log, i);
    }
    return undefined;
  }

  /** All entries, room after room, so that what lies together on the disk is written together. */
  *places(): Generator<Placed> {
    for (const [room, { offsets, spots }] of this.#sorted()) {
      for (let i = 0; i < spots.length; i++)
        yield { room, offset: offsets[i] as number, packed: this.#at(spots[i] as number) };
    }
  }

  /** The keys of clients, room after room, by sender and key; of many in a room, so many at a time. */
  *names(): Generator<Named> {
    for (const [room, { offsets, spots }] of this.#sorted()) {
      for (let from = 0; from < spots.length; from += SORTED_AT_ONCE) {
        const names: Named[] = [];
        for (let i = from; i < Math.min(from + SORTED_AT_ONCE, spots.length); i++) {
          const packed = this.#at(spots[i] as number);
          if (hasClientKey(packed)) names.push({ room, offset: offsets[i] as number, ...packedName(packed) });
        }
        yield* names.sort(compareNames);
      }
    }
  }

  #sorted(): [string, RoomLog][] {
    return [...this.#rooms].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** The bytes of the entry at a spot. */
  #at(spot: number): Buffer {
    const which = Math.floor(spot / PACKED_BYTES_MAX);
    return packedEntry(this.#packed[which] as Buffer, spot - which * PACKED_BYTES_MAX);
  }

  #entry(room: string, log: RoomLog, index: number): Entry {
    const spot = log.spots[index] as number;
    const known = this.#unpacked.get(spot);
    if (known) return known;
    const entry = unpackEntry(room, log.offsets[index] as number, this.#at(spot));
    this.#unpackedBytes += entryBytes(entry);
    if (this.#unpackedBytes > UNPACKED_BYTES) {
      this.#unpacked.clear();
      this.#unpackedBytes = entryBytes(entry);
    }
    this.#unpacked.set(spot, entry);
    return entry;
  }
}

/** The entries of a room in a generation, as two lists of numbers: each costs two places in them, and no object. */
class RoomLog {
  /** Rising. */
  readonly offsets: number[] = [];
  /** Where each is: which of what was packed together, times `PACKED_BYTES_MAX`, and where in it the entry begins. */
  readonly spots: number[] = [];

  /** Adds one unless there is one of this offset; says whether it did. */
  add(offset: number, spot: number): boolean {
    const { offsets, spots } = this;
    const index = offset > (offsets.at(-1) ?? 0) ? offsets.length : this.indexOf(offset);
    if (offsets[index] === offset) return false;
    if (index === offsets.length) {
      offsets.push(offset);
      spots.push(spot);
    } else {
      offsets.splice(index, 0, offset);
      spots.splice(index, 0, spot);
    }
    return true;
  }

  /** Index of the first entry at or above the offset. */
  indexOf(offset: number): number {
    return lowestIndex(this.offsets, (one) => one >= offset);
  }
}

function compareNames(a: Named, b: Named): number {
  if (a.sender !== b.sender) return a.sender < b.sender ? -1 : 1;
  if (a.key !== b.key) return a.key < b.key ? -1 : 1;
  return a.offset - b.offset;
}

/** Index of the first number for which `reached` holds; it holds for all after it. */
function lowestIndex(list: readonly number[], reached: (one: number) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (reached(list[middle] as number)) high = middle;
    else low = middle + 1;
  }
  return low;
}
