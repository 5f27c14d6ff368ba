/** Reads a part of a room's duplicate window from its stored log (rule 9). */
import type { Archive } from "./archive.ts";
import type { Clock } from "./clock.ts";
import type { Entry } from "./entry.ts";
import type { Limits } from "./limits.ts";
import { READ_BYTES } from "./reading.ts";
import { slim } from "./window.ts";

/** What reading a window needs. */
export interface WindowReadHost {
  readonly archive: Pick<Archive, "page">;
  readonly clock: Pick<Clock, "now">;
  readonly limits: Pick<Limits, "windowEntries" | "windowMs">;
}

/** Entries read at once. */
const PAGE = 500;

/**
 * The stored entries up to `stored` that bear an id of a client and are in the window of a log whose head is at
 * offset `head`; rising, without body and headers.
 */
export async function readWindow(
  { archive, clock, limits }: WindowReadHost,
  room: string,
  { stored, head }: { readonly stored: number; readonly head: number },
): Promise<Entry[]> {
  const entries: Entry[] = [];
  const oldest = Math.max(0, head - limits.windowEntries);
  for (let before = stored + 1; before > oldest + 1; ) {
    const page = await archive.page(room, { after: oldest, before, limit: PAGE, bytes: READ_BYTES, end: "last" });
    const first = page[0];
    if (!first) break;
    for (let at = page.length - 1; at >= 0; at--) {
      const { entry } = page[at] as { entry: Entry };
      if (entry.key.startsWith("c/")) entries.push(slim(entry));
    }
    before = first.entry.offset;
    if (first.entry.at <= clock.now() - limits.windowMs) break;
  }
  return entries.reverse();
}
