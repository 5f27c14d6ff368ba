/**
 * What the hot log accepted of one room, on its way to durable: counted, told to who waits, and taken off
 * the hot log once stored.
 *
 *   accepted ─→ writer ──(stored)──→ answered, trimmed
 *                  └──(conflict)──→ decided again by the room's next opening
 */
import type { Duplicates } from "./duplicates.ts";
import { type Entry, positionOf } from "./entry.ts";
import type { Fates } from "./fates.ts";
import { answerAccepted, answerStored, type Posting } from "./posting.ts";
import type { Room } from "./room.ts";
import type { Stored } from "./writer.ts";

/** What the settling of a room is made of. */
export interface RoomSettlingOptions {
  readonly room: Room;
  readonly duplicates: Duplicates;
  readonly fates: Fates;
}

/** The storing half of a room; it goes on until all is stored, also when the room is closed. */
export class RoomSettling implements Stored {
  readonly #room: Room;
  readonly #duplicates: Duplicates;
  readonly #fates: Fates;
  /** Accepted and not yet stored. */
  pending = 0;
  #waiting: (() => void)[] = [];
  /** An entry of ours had its place taken in the archive: nothing after it may be stored. */
  #conflicted = false;
  /** `RoomShard.yields` as the room opened. */
  readonly #yields: number;

  constructor({ room, duplicates, fates }: RoomSettlingOptions) {
    this.#room = room;
    this.#yields = room.shard.yields;
    this.#duplicates = duplicates;
    this.#fates = fates;
  }

  /** Takes what was logged before the room opened and is not stored. */
  adopt(left: Posting): void {
    this.pending++;
    left.rank = this.#room.shard.rank();
    this.#duplicates.add(left);
    if (left.derived) this.#fates.adopt(left.derived);
    this.#room.host.writer.adopt({ room: this, posting: left, urgent: false });
  }

  /**
   * The hot log has the postings: they may be shown, and go to the writer. Called after the publish. A throw is
   * a fault of ours, and says that the writer has none of them.
   */
  accepted(postings: readonly Posting[]): void {
    const { host, state } = this.#room;
    if (this.#conflicted) return this.#again(postings);
    const last = postings[postings.length - 1] as Posting;
    const jobs = postings.map((posting) => ({ room: this, posting, urgent: posting.reply?.urgent === true }));
    state.accepted = positionOf(last.entry as Entry);
    this.pending += postings.length;
    // The writer comes first: what was accepted is stored, whatever fault of ours one of the answers meets.
    for (const job of jobs) host.writer.enqueue(job);
    const { pair } = state.record;
    for (const item of postings) {
      try {
        if (pair) this.#copyToQueues(pair, item.entry as Entry);
        answerAccepted(item);
      } catch (error) {
        this.#untold(error);
      }
    }
  }

  /** A fault of ours in the answer to one posting costs the others nothing. */
  #untold(error: unknown): void {
    const { host, id } = this.#room;
    host.log.error({ room: id, err: error }, "what became of a posting could not be told");
  }

  /** Messages of a direct room also go to the queues of its two users, at most once (design 3). */
  #copyToQueues(pair: readonly [string, string], entry: Entry): void {
    if (entry.event !== "message") return;
    for (const user of pair) this.#room.host.bus.notify({ kind: "entry", user, entry });
  }

  onStored(postings: readonly Posting[]): void {
    const { marks, state } = this.#room;
    const last = (postings[postings.length - 1] as Posting).entry as Entry;
    this.pending -= postings.length;
    if (last.offset > state.stored.offset) state.stored = positionOf(last);
    for (let i = 0; i < postings.length; i++) {
      try {
        this.#settle(postings[i] as Posting, postings[i + 1]?.entry);
      } catch (error) {
        this.#untold(error);
      }
    }
    this.#wake();
    if (this.#room.status === "open") {
      marks.stored(state.stored.offset);
      this.#duplicates.prune(state);
    } else this.#room.host.late.stored(this.#room.id);
    this.#trim();
  }

  /** `next` is the entry that is settled next: where it moves the same marker, this one need not. */
  #settle(item: Posting, next: Entry | undefined): void {
    const entry = item.entry as Entry;
    const moves = entry.event === "message" && !(next?.event === "message" && next.sender === entry.sender);
    if (moves) this.#room.host.markers.sent(this.#room.id, entry);
    if (item.keyed) this.#duplicates.settle(item);
    if (entry.ref > 0) this.#fates.settle(entry);
    answerStored(item);
  }

  /** Tells the hot log what is stored; of a deleted room it keeps nothing. */
  #trim(): void {
    const { host, id, shard, state } = this.#room;
    const { bus, log } = host;
    const { term } = shard;
    if (bus.storedNow) return this.#trimmed(bus.storedNow(shard.id, term, id, state.stored), term);
    bus
      .stored(shard.id, term, id, state.stored)
      .then((inForce) => this.#trimmed(inForce, term))
      .catch((error: unknown) => log.warn({ room: id, err: error }, "a trim was not answered"));
  }

  #trimmed(inForce: boolean, term: number): void {
    const { host, shard, state } = this.#room;
    if (!inForce) shard.lost(term, "a trim met another term");
    else if (state.record.deletedAt !== undefined && this.pending === 0) host.putAway(this.#room);
  }

  onConflict(postings: readonly Posting[]): void {
    const { host, id } = this.#room;
    this.pending -= postings.length;
    this.#conflicted = true;
    host.log.error({ room: id, entries: postings.length }, "another entry stands where ours was to be stored");
    this.#wake();
    this.#again(postings);
  }

  /** Has them decided again. Where the room went elsewhere meanwhile, what their senders said since went there before. */
  #again(postings: readonly Posting[]): void {
    const { shard } = this.#room;
    if (shard.yields !== this.#yields) for (const item of postings) item.passed = true;
    shard.conflicted(this.#room, postings);
  }

  #wake(): void {
    if (this.pending > 0 || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** Resolves when all that was accepted is stored. */
  settled(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
