/** Reading a log so that no read is unbounded in bytes, and nothing that was deleted is shown. */
import { pageBytes, reachesEnd } from "./archive.page.ts";
import type { Archive, PageQuery } from "./archive.ts";
import type { Bus } from "./bus.ts";
import type { ArchivedEntry, Entry } from "./entry.ts";
import { emptied, withoutDeleted } from "./fate.ts";

/** Most bytes of one read; a page ends early beyond it, but has one entry at least. */
export const READ_BYTES = 4_194_304;
/** Entries of one page of a replay. */
const REPLAY_PAGE = 200;

/** A part of a log, and whether it ended early for its bytes. */
export interface Reading {
  readonly items: readonly ArchivedEntry[];
  readonly cut: boolean;
}

/** Reads a page as far as its bytes allow. */
export async function readPage(archive: Archive, room: string, query: PageQuery): Promise<Reading> {
  const { items, cut } = await readItems(archive, room, query);
  return { items: await shown(archive, room, items), cut };
}

/** The items of a page as they stand in the archive, which gives out as much at once as it can. */
async function readItems(archive: Pick<Archive, "page">, room: string, query: PageQuery): Promise<Reading> {
  const most = query.bytes ?? READ_BYTES;
  let items: readonly ArchivedEntry[] = [];
  let bytes = 0;
  while (items.length < query.limit && !reachesEnd(items, query)) {
    if (bytes >= most) return { items, cut: true };
    const limit = query.limit - items.length;
    const page = await archive.page(room, {
      ...query,
      ...beyond(items, query),
      limit,
      bytes: Math.min(READ_BYTES, most - bytes),
    });
    if (page.length === 0) break;
    bytes += pageBytes(page);
    items = query.end === "first" ? [...items, ...page] : [...page, ...items];
  }
  return { items, cut: false };
}

/** All of a page however large it is, a bearable part of it at a time. For what must be known whole. */
export async function readWhole(
  archive: Pick<Archive, "page">,
  room: string,
  query: PageQuery,
): Promise<readonly ArchivedEntry[]> {
  return (await readItems(archive, room, { ...query, bytes: Number.POSITIVE_INFINITY })).items;
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

/** Entries after an offset, rising: hot log first, then archive; as many as it gives at once, none at the end. */
export async function fetchAfter(
  host: { readonly bus: Bus; readonly archive: Archive },
  room: string,
  offset: number,
): Promise<readonly Entry[]> {
  const hot = await host.bus.log(room, offset, REPLAY_PAGE, READ_BYTES);
  if (hot[0]?.offset === offset + 1) return withoutDeleted(hot);
  // One part is enough: who wants more asks again.
  const query = { after: offset, limit: REPLAY_PAGE, bytes: READ_BYTES, end: "first" } as const;
  const items = await shown(host.archive, room, await host.archive.page(room, query));
  return items.map((item) => item.entry);
}
