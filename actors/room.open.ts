/** Opening a room: head, members, what the hot log still has, the last derived writes (protocol, step 5 of "Becoming owner"). */
import type { DerivedWrite } from "./archive.ts";
import { type ArchivedEntry, type Entry, type Fate, type Position, positionOf } from "./entry.ts";
import { fateAfter } from "./fate.ts";
import { type Posting, posting } from "./posting.ts";
import { readWhole } from "./reading.ts";
import { ReopeningRefusal } from "./reopening.ts";
import { storeTail } from "./room.seal.ts";
import { memberOf, RoomState } from "./room.state.ts";
import type { Room } from "./room.ts";
import { DERIVED_RUN } from "./writer.ts";

/** An opened room: its state, whether the hot log has its head, and what is logged but not stored. */
export interface Opened {
  readonly state: RoomState;
  readonly hotHead: boolean;
  /** Whether nobody else's entry can follow the head in the archive. */
  readonly sealed: boolean;
  /** The duplicate window up to what is stored, where it was read before. */
  readonly window?: readonly Entry[] | undefined;
  readonly unstored: readonly Posting[];
}

/** Opens a room; undefined when there is none or it was deleted. */
export async function openRoom(room: Room): Promise<Opened | undefined> {
  const { archive, bus } = room.host;
  await room.shard.admitted(room.id);
  const { term } = room.shard;
  // In whatever order: nobody writes this room's hot log under this term before it is open.
  const [record, [last], hot, foretell] = await Promise.all([
    archive.room(room.id),
    archive.page(room.id, { limit: 1, end: "last" }),
    bus.headsOf(room.shard.id, [room.id]),
    room.host.foresight.tell(room.id),
  ]);
  if (!record || record.deletedAt !== undefined) return undefined;
  // Nearly always the last entry is a plain message, and nothing is to be done.
  if (last && last.entry.event !== "message") await reapply(room);
  const state = new RoomState(record, last?.entry);
  const foretold = foretell(state.stored);
  if (foretold) {
    for (const member of foretold.members) state.members.set(member.user, member);
    for (const entry of foretold.since) state.applyMember(entry);
  } else {
    // After the head, so that what it says of members is among them.
    await loadMembers(room, state);
  }
  const opened = await adoptHot(room, state, { term, hot: hot.get(room.id) });
  // Where the tail had to be stored first, another state was made.
  return opened?.state === state ? { ...opened, window: foretold?.window } : opened;
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
async function reapply(room: Room): Promise<void> {
  const { archive } = room.host;
  const page = await readWhole(archive, room.id, { limit: DERIVED_RUN, end: "last" });
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
async function adoptHot(
  room: Room,
  state: RoomState,
  { term, hot }: { readonly term: number; readonly hot: Position | undefined },
): Promise<Opened | undefined> {
  const { bus, limits } = room.host;
  const { shard } = room;
  const archived = { offset: state.offset, term: state.headTerm };
  requireCurrent(room, term);
  // A term above one's own: somebody else owns the shard (rule 3).
  if (Math.max(archived.term, hot?.term ?? 0) > shard.term) return anew(room, "the log has entries of a higher term");
  if (!hot) return { state, unstored: [], hotHead: false, sealed: !shard.unsealed(room.id, archived) };
  const entries = hot.offset > state.offset ? await bus.log(room.id, state.offset, limits.pendingEntries) : [];
  requireCurrent(room, term);
  if (!follows(state, hot, entries)) {
    // The hot log lost data, or what it has was refused by the archive: nothing of it can be stored.
    await bus.clear(shard.id, term, room.id, hot);
    requireCurrent(room, term);
    // Other rooms may have lost theirs, too: unless all are known to, the shard is owned again.
    if (bus.shared && shard.lossy < shard.term) return anew(room, "the hot log lost data of a room");
    return { state, unstored: [], hotHead: false, sealed: !shard.unsealed(room.id, archived) };
  }
  const sealed = !shard.unsealed(room.id, hot);
  const unstored = await adopt(room, state, entries);
  if (sealed) return { state, unstored, hotHead: true, sealed };
  // It may have lost its last entries: what is left of it is stored before the room opens, and then begins anew.
  await storeTail(room, unstored);
  requireCurrent(room, term);
  await bus.clear(shard.id, term, room.id, hot);
  requireCurrent(room, term);
  return openRoom(room);
}

/** Ends an opening that went on after its room was closed: another one is under way, perhaps under a new term. */
function requireCurrent(room: Room, term: number): void {
  if (room.status === "closed" || room.shard.term !== term) {
    throw new ReopeningRefusal();
  }
}

/** Owns the shard again; the room opens then. */
function anew(room: Room, why: string): Promise<never> {
  room.shard.lost(room.shard.term, why);
  return Promise.reject(new ReopeningRefusal());
}

async function adopt(room: Room, state: RoomState, entries: readonly Entry[]): Promise<Posting[]> {
  const unstored: Posting[] = [];
  const fates: KnownFates = new Map();
  for (const entry of entries) {
    const item = posting(entry, undefined);
    item.entry = entry;
    item.keyed = true;
    item.decidedAt = room.host.clock.monotonic();
    item.derived = entry.event === "member" ? state.applyMember(entry) : await derivedOf(room, [entry], fates);
    if (item.derived.length === 0) item.derived = undefined;
    state.decided(entry);
    state.accepted = positionOf(entry);
    unstored.push(item);
  }
  return unstored;
}

/** Whether the hot log goes on where the archive ends, and has all up to its head. */
function follows(state: RoomState, hot: Position, entries: readonly Entry[]): boolean {
  if (hot.offset <= state.offset) return hot.offset === state.offset && hot.term === state.headTerm;
  const first = entries[0];
  if (first?.offset !== state.offset + 1 || first.prevTerm !== state.headTerm) return false;
  const last = entries[entries.length - 1] as Entry;
  return last.offset === hot.offset && last.term === hot.term;
}
