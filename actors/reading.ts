/** Reading a log so that no read is unbounded in bytes, and nothing that was deleted is shown. */
import type { Archive, PageQuery } from "./archive.ts";
import type { Bus } from "./bus.ts";
import { type ArchivedEntry, type Entry, entryBytes } from "./entry.ts";
import { emptied, withoutDeleted } from "./fate.ts";

/** Most bytes of one read; a page ends early beyond it, but has one entry at least. */
const READ_BYTES = 4_194_304;
/** Entries of the first step of a read: so many of the largest are still bearable at once. */
const FIRST_STEP = 8;
/** Entries of one page of a replay. */
const REPLAY_PAGE = 200;

/** A part of a log, and whether it ended early for its bytes. */
export interface Reading {
  readonly items: readonly ArchivedEntry[];
  readonly cut: boolean;
}

/** Reads a page in steps, the next as large as the bytes so far allow. */
export async function readPage(archive: Archive, room: string, query: PageQuery): Promise<Reading> {
  let items: ArchivedEntry[] = [];
  let bytes = 0;
  let step = FIRST_STEP;
  while (items.length < query.limit) {
    const limit = Math.min(step, query.limit - items.length);
    const page = await archive.page(room, { ...query, ...beyond(items, query), limit });
    for (const item of page) bytes += entryBytes(item.entry) + (item.fate?.body?.byteLength ?? 0);
    items = query.end === "first" ? [...items, ...page] : [...page, ...items];
    if (page.length < limit) break;
    if (bytes >= READ_BYTES) return { items: await shown(archive, room, items), cut: true };
    step = Math.max(1, Math.floor(((READ_BYTES - bytes) * items.length) / Math.max(1, bytes)));
  }
  return { items: await shown(archive, room, items), cut: false };
}

function beyond(items: readonly ArchivedEntry[], query: PageQuery): Partial<PageQuery> {
  const edge = query.end === "first" ? items[items.length - 1] : items[0];
  if (!edge) return {};
  return query.end === "first" ? { after: edge.entry.offset } : { before: edge.entry.offset };
}

/** The items without what deleted messages said: the messages themselves, and their edits. */
async function shown(
  archive: Archive,
  room: string,
  items: readonly ArchivedEntry[],
): Promise<readonly ArchivedEntry[]> {
  const gone = new Map<number, boolean>();
  for (const { entry, fate } of items) if (fate) gone.set(entry.offset, fate.deletedAt !== undefined);
  for (const { entry } of items) {
    if (entry.event !== "edited" || gone.has(entry.ref)) continue;
    const [target] = await archive.page(room, { after: entry.ref - 1, limit: 1, end: "first" });
    gone.set(entry.ref, target?.entry.offset === entry.ref && target.fate?.deletedAt !== undefined);
  }
  if (gone.size === 0) return items;
  return items.map((item) => {
    const about = item.entry.event === "edited" ? item.entry.ref : item.entry.offset;
    return gone.get(about) === true ? { entry: emptied(item.entry), fate: item.fate } : item;
  });
}

/** Entries after an offset, rising: hot log first, then archive. */
export async function fetchAfter(
  host: { readonly bus: Bus; readonly archive: Archive },
  room: string,
  offset: number,
): Promise<readonly Entry[]> {
  const hot = await host.bus.log(room, offset, REPLAY_PAGE);
  if (hot[0]?.offset === offset + 1) return withoutDeleted(hot);
  const { items } = await readPage(host.archive, room, { after: offset, limit: REPLAY_PAGE, end: "first" });
  return items.map((item) => item.entry);
}
