/**
 * The order of one room: gives postings their place, and keeps what is decided until the hot log takes it.
 *
 *   place ─→ turn ──(sealed: at the end of the turn)──→ takePack ─→ hot log
 *              └──(unsealed: the first is stored alone)──┘
 */
import type { DerivedWrite, MemberRecord } from "./archive.ts";
import type { Pack } from "./bus.ts";
import type { Duplicates } from "./duplicates.ts";
import type { Entry, Fate } from "./entry.ts";
import type { Fates } from "./fates.ts";
import type { Link } from "./link.ts";
import { bytesOf, type Posting } from "./posting.ts";
import type { Opened } from "./room.open.ts";
import { storeFirst } from "./room.seal.ts";
import type { Room } from "./room.ts";

/**
 * Frames that a socket is sent in one write at most: the publish of uWebSockets.js holds so many for a receiver, and one
 * more in the same turn costs each a second write.
 */
const FRAMES_PER_WRITE = 32;

/** Users in a room from which on it pays to fill writes: in one of fewer, all of them cost less than a commit. */
const CROWD = 64;

/** What the order of a room is made of. */
export interface RoomOrderOptions {
  readonly room: Room;
  readonly duplicates: Duplicates;
  readonly fates: Fates;
}

/** The deciding half of an awake room. */
export class RoomOrder {
  readonly #room: Room;
  readonly #duplicates: Duplicates;
  readonly #fates: Fates;
  /** Decided in this turn, not yet given to the hot log. */
  #turn: Posting[] = [];
  /** The hot log has no head of the room: the next pack opens it there. */
  #opening = false;
  /** Whether what follows the head in the archive can only be ours; if not, the first entry is stored before it is shown. */
  #sealed = true;

  constructor({ room, duplicates, fates }: RoomOrderOptions) {
    this.#room = room;
    this.#duplicates = duplicates;
    this.#fates = fates;
  }

  /** The room is open. */
  begin({ hotHead, sealed }: Opened): void {
    this.#opening = !hotHead;
    this.#sealed = sealed;
  }

  /** Whether nobody else's entry can follow the head in the archive. */
  get sealed(): boolean {
    return this.#sealed;
  }

  /** Whether nothing is decided and not given to the hot log. */
  get empty(): boolean {
    return this.#turn.length === 0;
  }

  /** Whether nothing is decided that the hot log has not accepted. */
  get still(): boolean {
    return this.empty && !this.#opening;
  }

  /** Gives a posting its place in the order. Throws when the writer has no place for it. */
  place(item: Posting): void {
    const { host, shard, state } = this.#room;
    const bytes = bytesOf(item);
    host.writer.require(1, bytes);
    const entry = state.next(item.draft, shard.term, host.clock.now());
    // Before anything is taken: a fault of ours in it costs neither an offset nor a place.
    item.derived = this.#derive(entry, item.before);
    state.decided(entry);
    host.writer.reserve(bytes);
    item.entry = entry;
    if (item.rank === 0) item.rank = shard.rank();
    item.bytes = bytes;
    item.decidedAt = host.clock.monotonic();
    if (item.keyed) this.#duplicates.add(item);
    this.#turn.push(item);
    if (this.#turn.length > 1) return;
    if (this.#sealed) shard.touch(this.#room);
    else this.#seal(item);
  }

  /** What follows from an entry, for members and for the message it is about. Throws before it changes anything. */
  #derive(entry: Entry, before: Fate | undefined): readonly DerivedWrite[] | undefined {
    if (entry.event !== "member") return entry.ref > 0 ? this.#fates.apply(entry, before) : undefined;
    const writes = this.#room.state.applyMember(entry);
    for (const write of writes) if (write.kind === "member" && write.member.role !== "none") this.#joined(write.member);
    return writes;
  }

  /** Tells the node of a member; what that meets is no reason to refuse what is decided. */
  #joined({ user }: MemberRecord): void {
    const { host, id } = this.#room;
    try {
      host.joined(this.#room, user);
    } catch (error) {
      host.log.error({ room: id, err: error }, "a new member met a fault of ours");
    }
  }

  /** Stores the first entry alone: that insert is the fence (step 3 of one SEND). */
  #seal(first: Posting): void {
    const room = this.#room;
    storeFirst(room, first.entry as Entry).then(
      (ours) => {
        if (room.status !== "open" || this.#turn[0] !== first) return;
        if (!ours) return room.shard.reload(room, []);
        this.#sealed = true;
        room.shard.touch(room);
      },
      (error: unknown) => room.host.log.error({ room: room.id, err: error }, "a room could not be sealed"),
    );
  }

  /** Takes what was decided and not given to the hot log. */
  take(): readonly Posting[] {
    const decided = this.#turn;
    this.#turn = [];
    return decided;
  }

  /**
   * Takes the postings of this turn for the hot log. In front of a crowd, what of many would not fill a write waits for
   * the next turn, and for what that brings: a write costs nearly the same whatever it holds, and a node that fell
   * behind once would pay for two to each receiver, turn after turn, and stay behind.
   */
  takePack(): { pack: Pack; postings: readonly Posting[] } {
    const postings = this.#takeFilled();
    const entries = postings.map((item) => item.entry as Entry);
    const opening = this.#opening;
    const { prevTerm } = entries[0] as Entry;
    return { pack: { room: this.#room.id, prevTerm, entries, opening, origin: originOf(postings) }, postings };
  }

  /** Takes what was decided: before a crowd as many as fill writes, or all if that is not one; the rest leaves next turn. */
  #takeFilled(): readonly Posting[] {
    const decided = this.take();
    const rest = decided.length % FRAMES_PER_WRITE;
    if (rest === 0 || rest === decided.length || this.#room.presence.size < CROWD) return decided;
    this.#turn = decided.slice(-rest);
    this.#room.shard.touch(this.#room);
    return decided.slice(0, -rest);
  }

  /** The hot log has accepted a pack: it has a head now. */
  accepted(): void {
    this.#opening = false;
  }
}

/** The one wire that postings came in on, and that waits for their RECEIPTs. */
function originOf(postings: readonly Posting[]): Link | undefined {
  const origin = postings[0]?.reply?.origin;
  for (let i = 1; i < postings.length; i++) if (postings[i]?.reply?.origin !== origin) return undefined;
  return origin;
}
