/** Batches of entries cut into parts that fit into one transaction each (see `lmdb.ts`). */
import { type Entry, entryBytes } from "../actors/entry.ts";
import { BYTES_PER_COMMIT_MAX, ROWS_PER_COMMIT_MAX } from "./lmdb.ts";

/** Entries, or what stands for them, for one transaction; `bytes` says about how much they write. */
export interface Part<T = Entry> {
  readonly entries: readonly T[];
  readonly bytes: number;
}

/** Cuts entries into parts, in order. */
export function partsOf(entries: readonly Entry[]): Part[] {
  return partsBy(entries, entryBytes);
}

/** Cuts them into parts, in order. One larger than a transaction should be is a part of its own. */
export function partsBy<T>(entries: readonly T[], bytesOf: (entry: T) => number): Part<T>[] {
  const parts: Part<T>[] = [];
  let from = 0;
  let bytes = 0;
  for (let at = 0; at < entries.length; at++) {
    const more = bytesOf(entries[at] as T);
    const full = bytes + more > BYTES_PER_COMMIT_MAX || at - from === ROWS_PER_COMMIT_MAX;
    if (full && at > from) {
      parts.push({ entries: entries.slice(from, at), bytes });
      from = at;
      bytes = 0;
    }
    bytes += more;
  }
  if (from < entries.length) parts.push({ entries: from === 0 ? entries : entries.slice(from), bytes });
  return parts;
}

/** At most so many more of them. */
export function nextOf<T>(entries: Iterator<T>, most: number): T[] {
  const taken: T[] = [];
  while (taken.length < most) {
    const { done, value } = entries.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}
