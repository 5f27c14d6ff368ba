/** The newest entries of the embedded archive, held in memory until they are settled (see `archive.lmdb.log.ts`). */
import { type Entry, entryBytes } from "../actors/entry.ts";

/** Entries sorted in one go: some milliseconds. */
const SORTED_AT_ONCE = 2_048;

/** Entries that entered the journal one after another, by room and rising offset. All of them are durable. */
export class Generation {
  /** The number of its last row in the journal; 0 when it has none. */
  lastRow = 0;
  #rooms = new Map<string, Entry[]>();
  #entries = 0;
  #bytes = 0;

  get entries(): number {
    return this.#entries;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds an entry unless one stands at its place. */
  add(entry: Entry): void {
    const log = this.#rooms.get(entry.room);
    if (!log) this.#rooms.set(entry.room, [entry]);
    else if ((log[log.length - 1] as Entry).offset < entry.offset) log.push(entry);
    else {
      const index = indexOf(log, entry.offset);
      if (log[index]?.offset === entry.offset) return;
      log.splice(index, 0, entry);
    }
    this.#entries++;
    this.#bytes += entryBytes(entry);
  }

  /** The entries of a room, rising. */
  log(room: string): readonly Entry[] {
    return this.#rooms.get(room) ?? NONE;
  }

  /** Whether an entry stands at the place. */
  has(room: string, offset: number): boolean {
    const log = this.log(room);
    return log[indexOf(log, offset)]?.offset === offset;
  }

  /** All entries, room after room, so that what lies together on the disk is written together. */
  *byPlace(): Generator<Entry> {
    for (const room of this.#names()) yield* this.log(room);
  }

  /** Those with a key of a client, room after room, by sender and key; of many in a room, so many at a time. */
  *byKey(): Generator<Entry> {
    for (const room of this.#names()) {
      const log = this.log(room);
      for (let at = 0; at < log.length; at += SORTED_AT_ONCE)
        yield* log
          .slice(at, at + SORTED_AT_ONCE)
          .filter(hasClientKey)
          .sort(compareNames);
    }
  }

  #names(): string[] {
    return [...this.#rooms.keys()].sort();
  }
}

/** Whether the entry's key is a client's, which has an index; an edge's has none. */
export function hasClientKey({ key }: { readonly key: string }): boolean {
  return key.startsWith("c/");
}

function compareNames(a: Entry, b: Entry): number {
  if (a.sender !== b.sender) return a.sender < b.sender ? -1 : 1;
  if (a.key !== b.key) return a.key < b.key ? -1 : 1;
  return a.offset - b.offset;
}

const NONE: readonly Entry[] = Object.freeze([]);

/** Index of the first entry at or above the offset. */
export function indexOf(log: readonly Entry[], offset: number): number {
  return lowestIndex(log, (entry) => entry.offset >= offset);
}

/** Index of the first entry for which `reached` holds; it holds for all after it. */
export function lowestIndex(log: readonly Entry[], reached: (entry: Entry) => boolean): number {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (reached(log[middle] as Entry)) high = middle;
    else low = middle + 1;
  }
  return low;
}
