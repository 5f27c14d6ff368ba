/**
 * The actor of one room on its owner: decides the order, knows members and duplicates.
 *
 *   opening ──(head, members, last derived writes)──→ open ──(nobody in it, all stored)──→ closed
 *
 * Commands run one at a time through the mailbox; a SEND that needs nothing from a store is decided in the
 * turn it comes in. Nothing is shown before the hot log accepted it (rule 4).
 */
import type { Pack } from "./bus.ts";
import { Refusal } from "./codes.ts";
import { Duplicates } from "./duplicates.ts";
import { type Entry, type Fate, positionOf } from "./entry.ts";
import { Fates } from "./fates.ts";
import { Mailbox } from "./mailbox.ts";
import type { RoomMarks } from "./marks.ts";
import {
  answerAccepted,
  answerRefused,
  answerStored,
  bytesOf,
  type Draft,
  type Posting,
  posting,
  type Reply,
} from "./posting.ts";
import type { RoomPresence } from "./presence.ts";
import type { RoomHost, RoomShard } from "./room.host.ts";
import { type Opened, openRoom } from "./room.open.ts";
import { storeFirst } from "./room.seal.ts";
import { memberDraft, type RoomState } from "./room.state.ts";
import type { Stored } from "./writer.ts";

/** One awake room. */
export class Room implements Stored {
  readonly id: string;
  readonly host: RoomHost;
  readonly shard: RoomShard;
  readonly presence: RoomPresence;
  readonly marks: RoomMarks;
  status: "opening" | "open" | "closed" = "opening";
  /** Monotonic ms of the last thing that happened here. */
  usedAt: number;
  #state: RoomState | undefined;
  readonly #mailbox: Mailbox;
  readonly #duplicates: Duplicates;
  /** Decided in this turn, not yet given to the hot log. */
  #turn: Posting[] = [];
  #opening = false;
  /** Whether what follows the head in the archive can only be ours; if not, the first entry is stored before it is shown. */
  #sealed = true;
  /** Accepted and not yet stored. */
  pending = 0;
  #waiting: (() => void)[] = [];
  /** An entry of ours had its place taken in the archive: nothing after it may be stored. */
  #conflicted = false;
  readonly #fates: Fates;

  constructor(id: string, shard: RoomShard, host: RoomHost) {
    this.id = id;
    this.shard = shard;
    this.host = host;
    this.usedAt = host.clock.monotonic();
    this.presence = host.presenceOf(this);
    this.marks = host.marksOf(this);
    this.#duplicates = new Duplicates(id, host);
    this.#fates = new Fates(id);
    this.#mailbox = new Mailbox({
      room: id,
      most: host.limits.roomMailbox,
      log: host.log,
      decide: (item) => this.#decide(item),
    });
    openRoom(this).then(
      (opened) => this.#opened(opened),
      (error: unknown) => this.#failed(error),
    );
  }

  /** The state of an open room. */
  get state(): RoomState {
    if (!this.#state) throw new Refusal("room-not-found");
    return this.#state;
  }

  #opened(opened: Opened | undefined): void {
    if (this.status === "closed") return;
    if (!opened) return this.#failed(new Refusal("room-not-found"));
    this.#state = opened.state;
    this.#opening = !opened.hotHead;
    this.#sealed = opened.sealed;
    this.status = "open";
    this.#mailbox.busy = false;
    this.host.opened(this);
    for (const left of opened.unstored) {
      this.pending++;
      this.#duplicates.add(left);
      if (left.derived) this.#fates.adopt(left.derived);
      this.host.writer.adopt({ room: this, posting: left, urgent: false });
    }
    this.#mailbox.drain();
  }

  /** The room cannot be opened: everybody who waits is refused, and the room is forgotten. */
  #failed(error: unknown): void {
    const refusal = error instanceof Refusal ? error : new Refusal("store-unavailable", undefined, 1_000);
    if (!(error instanceof Refusal)) this.host.log.warn({ room: this.id, err: error }, "a room could not be opened");
    this.#end(refusal);
  }

  /** Takes a posting; its reply hears the outcome. */
  post(item: Posting): void {
    if (this.status === "closed") return answerRefused(item, reopening());
    this.usedAt = this.host.clock.monotonic();
    this.#mailbox.post(item);
  }

  /** Takes a posting that was taken before the room opened anew. */
  repost(item: Posting): void {
    if (this.status === "closed") return answerRefused(item, reopening());
    this.#mailbox.repost(item);
  }

  /** Runs `work` in the room's order, once it is open. Rejects with a `Refusal` when the room is not there. */
  ask<T>(work: (state: RoomState) => T | Promise<T>): Promise<T> {
    if (this.status === "closed") return Promise.reject(reopening());
    this.usedAt = this.host.clock.monotonic();
    return new Promise<T>((resolve, reject) => {
      const run = async (): Promise<void> => {
        try {
          resolve(await work(this.state));
        } catch (error) {
          reject(error as Error);
        }
      };
      this.#mailbox.ask(run, reject);
    });
  }

  /** Decides a posting; false when a store must be asked first (it was, and the mailbox goes on after it). */
  #decide(item: Posting): boolean {
    try {
      if (!this.shard.holds) {
        this.#mailbox.hold(this.shard.held(), item);
        return false;
      }
      const { draft } = item;
      const state = this.state;
      // What the node itself words was checked by who asked for it.
      if (draft.event === "message") state.requireSight(draft.sender);
      if (item.keyed) {
        const first = this.#duplicates.check(item, state);
        if (first === "answered") this.host.counters.duplicates++;
        else if (first !== "new") this.#mailbox.hold(first, item);
        if (first !== "new") return first === "answered";
      }
      if (item.again && draft.ref > 0) {
        this.#mailbox.hold(this.#askAgain(item), item);
        return false;
      }
      const joins = draft.event === "message" && state.record.type === "public" && !state.members.has(draft.sender);
      if (joins) {
        this.host.writer.require(2, bytesOf(item) * 2);
        this.join(draft.sender, draft.senderName);
      }
      this.place(item);
    } catch (error) {
      if (!(error instanceof Refusal))
        this.host.log.error({ room: this.id, err: error }, "a posting met a fault of ours");
      answerRefused(item, error instanceof Refusal ? error : new Refusal("internal"));
    }
    return true;
  }

  /** What the archive says of the message that a posting is about. */
  async #askAgain(item: Posting): Promise<void> {
    const { ref } = item.draft;
    const [about] = await this.host.archive.page(this.id, { after: ref - 1, limit: 1, end: "first" });
    item.before = about?.entry.offset === ref ? about.fate : undefined;
    item.again = false;
  }

  /** Makes a user a member of a public room, as the first SEND or a join does. */
  join(user: string, name: string): void {
    this.changeMember({ user, name, role: "member", change: "joined", by: { id: user, name } }, undefined);
  }

  /** Appends a member change; the state is changed with it. */
  changeMember(
    change: {
      user: string;
      name: string;
      role: "admin" | "member" | "none";
      change: "added" | "joined" | "left" | "removed" | "role";
      by: { id: string; name: string };
    },
    reply: Reply | undefined,
  ): Entry {
    const { members } = this.state;
    if (!members.has(change.user) && members.size >= this.host.limits.membersPerRoom) throw new Refusal("room-full");
    const said = { user: change.user, change: change.change, by: change.by.id };
    return this.append(
      { ...memberDraft(said, change.role, change.name), sender: change.by.id, senderName: change.by.name },
      reply,
    );
  }

  /** Appends an entry that the node itself words; `before` is the archived fate of what it is about. */
  append(draft: Omit<Draft, "key">, reply: Reply | undefined, before?: Fate): Entry {
    const item = posting({ ...draft, key: this.host.edgeKey() }, reply);
    item.before = before;
    this.place(item);
    return item.entry as Entry;
  }

  /** Gives a posting its place in the order. Throws when the writer has no place for it. */
  place(item: Posting): void {
    const { host, state } = this;
    if (this.status !== "open") throw reopening();
    const bytes = bytesOf(item);
    host.writer.reserve(bytes);
    const entry = state.decide(item.draft, this.shard.term, host.clock.now());
    item.entry = entry;
    item.bytes = bytes;
    item.decidedAt = host.clock.monotonic();
    if (entry.event === "member") item.derived = this.#applyMember(entry);
    else if (entry.ref > 0) item.derived = this.#fates.apply(entry, item.before);
    if (item.keyed) this.#duplicates.add(item);
    this.#turn.push(item);
    if (this.#turn.length > 1) return;
    if (this.#sealed) this.shard.touch(this);
    else this.#seal(item);
  }

  /** Stores the first entry alone: that insert is the fence (step 3 of one SEND). */
  #seal(first: Posting): void {
    storeFirst(this, first.entry as Entry).then(
      (ours) => {
        if (this.status !== "open" || this.#turn[0] !== first) return;
        if (!ours) return this.shard.reload(this, []);
        this.#sealed = true;
        this.shard.touch(this);
      },
      (error: unknown) => this.host.log.error({ room: this.id, err: error }, "a room could not be sealed"),
    );
  }

  /** Whether it is open and what this node knows of it is the end of its log. */
  get whole(): boolean {
    return this.status === "open" && this.#sealed;
  }

  /** Whether nothing is decided that the hot log has not accepted. */
  get still(): boolean {
    return this.#turn.length === 0 && !this.#opening;
  }

  /** Takes what was decided and not given to the hot log, to be decided again. */
  takeDecided(): readonly Posting[] {
    const decided = this.#turn;
    this.#turn = [];
    return decided;
  }

  /** The fate of a message as far as it is decided, given what the archive says. */
  fateOf(offset: number, archived: Fate | undefined): Fate | undefined {
    return this.#fates.of(offset, archived);
  }

  #applyMember(entry: Entry): ReturnType<RoomState["applyMember"]> {
    const writes = this.state.applyMember(entry);
    for (const write of writes) {
      if (write.kind === "member" && write.member.role !== "none") this.host.joined(this, write.member.user);
    }
    return writes;
  }

  /** Takes the postings of this turn for the hot log. */
  takePack(): { pack: Pack; postings: readonly Posting[] } {
    const postings = this.#turn;
    this.#turn = [];
    const entries = postings.map((item) => item.entry as Entry);
    const opening = this.#opening;
    return { pack: { room: this.id, prevTerm: (entries[0] as Entry).prevTerm, entries, opening }, postings };
  }

  /** The hot log has the pack: it may be shown, and goes to the writer. Called after the publish. */
  onAccepted(postings: readonly Posting[]): void {
    if (this.#conflicted) return this.shard.conflicted(this, postings);
    this.#opening = false;
    const last = postings[postings.length - 1] as Posting;
    this.state.accepted = positionOf(last.entry as Entry);
    this.pending += postings.length;
    const { pair } = this.state.record;
    for (const item of postings) {
      if (pair) this.#copyToQueues(pair, item.entry as Entry);
      answerAccepted(item);
      this.host.writer.enqueue({ room: this, posting: item, urgent: item.reply?.urgent === true });
    }
  }

  /** Messages of a direct room also go to the queues of its two users, at most once (design 3). */
  #copyToQueues(pair: readonly [string, string], entry: Entry): void {
    if (entry.event !== "message") return;
    for (const user of pair) this.host.bus.notify({ kind: "entry", user, entry });
  }

  onStored(postings: readonly Posting[]): void {
    const last = (postings[postings.length - 1] as Posting).entry as Entry;
    this.pending -= postings.length;
    if (last.offset > this.state.stored.offset) this.state.stored = positionOf(last);
    for (const item of postings) {
      const entry = item.entry as Entry;
      if (item.keyed) this.#duplicates.settle(item);
      if (entry.ref > 0) this.#fates.settle(entry);
      if (entry.event === "message") this.host.markers.sent(this.id, entry);
      answerStored(item);
    }
    this.#wake();
    if (this.status === "open") {
      this.marks.stored(this.state.stored.offset);
      this.#duplicates.prune(this.state);
    }
    this.#trim().catch((error: unknown) =>
      this.host.log.warn({ room: this.id, err: error }, "a trim was not answered"),
    );
  }

  /** Tells the hot log what is stored; of a deleted room it keeps nothing. */
  async #trim(): Promise<void> {
    const { bus } = this.host;
    const { id: shard, term } = this.shard;
    const { stored, record } = this.state;
    if (!(await bus.stored(shard, term, this.id, stored))) this.shard.lost(term, "a trim met another term");
    else if (record.deletedAt !== undefined && this.pending === 0) this.host.putAway(this);
  }

  onConflict(postings: readonly Posting[]): void {
    this.pending -= postings.length;
    this.#conflicted = true;
    this.host.log.error(
      { room: this.id, entries: postings.length },
      "another entry stands where ours was to be stored",
    );
    this.#wake();
    this.shard.conflicted(this, postings);
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

  /** Whether nothing keeps the room awake and all it logged is stored (rule 13). */
  maySleep(now: number): boolean {
    return (
      this.status === "open" &&
      this.pending === 0 &&
      !this.#mailbox.busy &&
      this.#turn.length === 0 &&
      this.#mailbox.empty &&
      this.presence.size === 0 &&
      now - this.usedAt >= this.host.limits.roomIdleMs
    );
  }

  /** Ends the room in memory; what comes next opens it again from the archive. */
  close(): void {
    this.#end(reopening());
  }

  takeWaiting(): Posting[] {
    return this.#mailbox.takePostings();
  }

  #end(refusal: Refusal): void {
    if (this.status === "closed") return;
    this.status = "closed";
    // Left by a room that closes while its first entry is stored; what a sealed one decided is with its shard.
    for (const item of this.#sealed ? [] : this.takeDecided()) {
      this.host.writer.release(item.bytes);
      answerRefused(item, refusal);
    }
    this.#duplicates.clear();
    this.presence.clear();
    this.host.forget(this);
    this.#mailbox.refuse(refusal);
  }
}

function reopening(): Refusal {
  return new Refusal("store-unavailable", "The room is being reopened.", 1_000);
}
