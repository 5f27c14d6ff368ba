/**
 * Storing what must be durable before a room goes on: the first entry of a room that may be followed by
 * entries its hot log lost, and the rest of such a hot log (protocol: step 3 of one SEND, "lossy").
 */
import type { Entry } from "./entry.ts";
import type { Posting } from "./posting.ts";
import type { Room } from "./room.ts";
import { storeBatch } from "./writer.batch.ts";

/** Pause before another try, ms. */
const AGAIN_MS = 250;

/** Makes an entry durable at its place; false when another stands there. Repeats until the archive answers. */
export async function storeFirst(room: Room, entry: Entry): Promise<boolean> {
  const { archive } = room.host;
  for (;;) {
    if (room.status === "closed") return false;
    try {
      const { stored } = await archive.insert([entry]);
      if (stored === 1) return true;
      const [there] = await archive.page(room.id, { after: entry.offset - 1, limit: 1, end: "first" });
      return there?.entry.offset === entry.offset && there.entry.term === entry.term && there.entry.key === entry.key;
    } catch (error) {
      await pause(room, error);
    }
  }
}

/** Stores what a hot log has beyond the archive, as far as nothing else stands there. */
export async function storeTail(room: Room, unstored: readonly Posting[]): Promise<void> {
  const tail = { onStored() {}, onConflict() {} };
  await storeBatch({
    jobs: unstored.map((posting) => ({ room: tail, posting, urgent: true })),
    archive: room.host.archive,
    pause: (_, error) => pause(room, error),
  });
}

function pause(room: Room, error: unknown): Promise<void> {
  room.host.log.warn({ room: room.id, err: error }, "the archive did not answer a room that opens; asking again");
  return new Promise((resolve) => void room.host.clock.after(AGAIN_MS, resolve));
}
