/** How many bytes a page of a log has, and where it ends for them: one measure for every archive. */
import type { PageQuery } from "./archive.ts";
import { type ArchivedEntry, entryBytes } from "./entry.ts";

/** Bytes of an entry with what became of it. */
export function itemBytes({ entry, fate }: ArchivedEntry): number {
  return entryBytes(entry) + (fate?.body?.byteLength ?? 0);
}

/** Bytes of a page. */
export function pageBytes(items: readonly ArchivedEntry[]): number {
  return items.reduce((sum, item) => sum + itemBytes(item), 0);
}

/** The rising items up to the one by which there are `bytes` of them, counted from the end that was asked for. */
export function cutPage<T>(
  items: readonly T[],
  { end, bytes }: { readonly end: PageQuery["end"]; readonly bytes?: number | undefined },
  bytesOf: (item: T) => number,
): readonly T[] {
  if (bytes === undefined) return items;
  let sum = 0;
  let count = 0;
  while (count < items.length && sum < bytes) {
    sum += bytesOf((end === "first" ? items[count] : items[items.length - 1 - count]) as T);
    count++;
  }
  if (count === items.length) return items;
  return end === "first" ? items.slice(0, count) : items.slice(items.length - count);
}

/** Whether the items reach the far end of the range that was asked for, so that nothing is left of it. */
export function reachesEnd(items: readonly ArchivedEntry[], { end, after = 0, before }: PageQuery): boolean {
  if (end === "last") return items[0]?.entry.offset === after + 1;
  return before !== undefined && items[items.length - 1]?.entry.offset === before - 1;
}
