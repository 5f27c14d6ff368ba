/** Opening a room: head, members, what the hot log still has, the last derived writes (protocol, step 5 of "Becoming owner"). */
import type { DerivedWrite, Head } from "./archive.ts";
import { type ArchivedEntry, type Entry, type Fate, type Position, positionOf } from "./entry.ts";
import { fateAfter } from "./fate.ts";
import { type Posting, posting } from "./posting.ts";
import { memberOf, RoomState } from "./room.state.ts";
import type { Room } from "./room.ts";
import { DERIVED_RUN } from "./writer.ts";

/** An opened room: its state, whether the hot log has its head, and what is logged but not stored. */
export interface Opened {
  readonly state: RoomState;
  readonly hotHead: boolean;
  readonly unstored: readonly Posting[];
}

/** Opens a room; undefined when there is none or it was deleted. */
export async function openRoom(room: Room): Promise<Opened | undefined> {
  const { archive } = room.host;
  await room.shard.admitted(room.id);
  const record = await archive.room(room.id);
  if (!record || record.deletedAt !== undefined) return undefined;
  const head = await archive.head(room.id);
  await reapply(room, head);
  const state = new RoomState(record, head);
  await loadMembers(room, state);
  const { unstored, hotHead } = await adoptHot(room, state);
  return { state, hotHead, unstored };
}

async function loadMembers(room: Room, state: RoomState): Promise<void> {
  const limit = 1_000;
  let after: string | undefined;
  for (;;) {
    const page = await room.host.archive.members(room.id, after === undefined ? { limit } : { after, limit });
    for (const member of page) state.members.set(member.user, member);
    after = page[page.length - 1]?.user;
    if (page.length < limit || after === undefined) return;
  }
}

/** The last entries with derived writes may have been stored without them: they are derived again. */
async function reapply(room: Room, head: Head | undefined): Promise<void> {
  if (!head) return;
  const { archive } = room.host;
  // Nearly always the last entry is a plain message, and nothing is to be done.
  const [last] = await archive.page(room.id, { limit: 1, end: "last" });
  if (!last || last.entry.event === "message") return;
  const page = await archive.page(room.id, { limit: DERIVED_RUN, end: "last" });
  let from = page.length;
  while (from > 0 && (page[from - 1] as ArchivedEntry).entry.event !== "message") from--;
  const entries = page.slice(from).map((item) => item.entry);
  const writes = await derivedOf(room, entries, new Map());
  if (writes.length > 0) await archive.derive(writes);
}

/** Messages and what became of them so far. */
type KnownFates = Map<number, Fate | undefined>;

/** The derived writes that follow from entries, in order; `fates` is asked from the archive and kept up to date. */
async function derivedOf(room: Room, entries: readonly Entry[], fates: KnownFates): Promise<DerivedWrite[]> {
  const writes: DerivedWrite[] = [];
  for (const entry of entries) {
    const member = memberOf(entry);
    if (member) writes.push({ kind: "member", member });
    if (entry.ref === 0) continue;
    if (!fates.has(entry.ref)) {
      const [target] = await room.host.archive.page(room.id, { after: entry.ref - 1, limit: 1, end: "first" });
      fates.set(entry.ref, target?.fate);
    }
    const fate = fateAfter(fates.get(entry.ref), entry);
    fates.set(entry.ref, fate);
    if (fate) writes.push({ kind: "fate", roomId: room.id, offset: entry.ref, fate });
  }
  return writes;
}

/** What the hot log has beyond the archive goes to the writer as it stands; the head is its last. */
async function adoptHot(room: Room, state: RoomState): Promise<{ unstored: Posting[]; hotHead: boolean }> {
  const { bus, limits, clock } = room.host;
  const heads = await bus.heads(room.shard.id);
  const hot = heads.get(room.id);
  if (!hot) return { unstored: [], hotHead: false };
  const entries = hot.offset > state.offset ? await bus.log(room.id, state.offset, limits.pendingEntries) : [];
  if (!follows(state, hot, entries[0])) {
    // The hot log lost data, or what it has was refused by the archive: nothing of it can be stored.
    await bus.stored(room.shard.id, room.shard.term, room.id, hot);
    await bus.sleep(room.shard.id, room.shard.term, room.id, hot);
    return { unstored: [], hotHead: false };
  }
  const unstored: Posting[] = [];
  const fates: KnownFates = new Map();
  for (const entry of entries) {
    const item = posting(entry, undefined);
    item.entry = entry;
    item.keyed = true;
    item.decidedAt = clock.monotonic();
    item.derived = entry.event === "member" ? state.applyMember(entry) : await derivedOf(room, [entry], fates);
    if (item.derived.length === 0) item.derived = undefined;
    state.offset = entry.offset;
    state.headTerm = entry.term;
    state.count = entry.count;
    state.at = entry.at;
    state.accepted = positionOf(entry);
    unstored.push(item);
  }
  return { unstored, hotHead: true };
}

/** Whether the hot log goes on where the archive ends. */
function follows(state: RoomState, hot: Position, first: Entry | undefined): boolean {
  if (hot.offset <= state.offset) return hot.offset === state.offset && hot.term === state.headTerm;
  return first?.offset === state.offset + 1 && first.prevTerm === state.headTerm;
}
