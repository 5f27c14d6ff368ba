/**
 * The actor of one room on its owner: decides the order, knows members and duplicates.
 *
 *   opening ──(head, members, last derived writes)──→ open ──(nobody in it, all stored)──→ closed
 *
 * Commands run one at a time through the mailbox; a SEND that needs nothing from a store is decided in the
 * turn it comes in. Nothing is shown before the hot log accepted it (rule 4). Its order is in `room.order.ts`,
 * what becomes of it once accepted in `room.settling.ts`.
 */
import type { Pack } from "./bus.ts";
import { Refusal } from "./codes.ts";
import { Duplicates } from "./duplicates.ts";
import type { Entry, Fate } from "./entry.ts";
import { Fates } from "./fates.ts";
import { type Asked, Mailbox } from "./mailbox.ts";
import type { RoomMarks } from "./marks.ts";
import { answerRefused, bytesOf, type Draft, type Posting, posting, type Reply } from "./posting.ts";
import type { RoomPresence } from "./presence.ts";
import { PassedRefusal, ReopeningRefusal } from "./reopening.ts";
import type { RoomHost, RoomShard } from "./room.host.ts";
import { type Opened, openRoom } from "./room.open.ts";
import { RoomOrder } from "./room.order.ts";
import { RoomSettling } from "./room.settling.ts";
import { memberDraft, type RoomState } from "./room.state.ts";

/** Pause before a room that could not be opened is opened again, ms. */
const OPEN_AGAIN_MS = 200;
/** Times an opening room reads its log again for late entries; then the place of its first entry tells it of more. */
const REREADS_MOST = 8;

/** One awake room. */
export class Room {
  readonly id: string;
  readonly host: RoomHost;
  readonly shard: RoomShard;
  readonly presence: RoomPresence;
  readonly marks: RoomMarks;
  status: "opening" | "open" | "closed" = "opening";
  /** Monotonic ms of the last thing that happened here. */
  usedAt: number;
  /** The last accepted offset at the latest look of the metrics, and before it that at its opening. */
  seenOffset = 0;
  /** The log may have grown while it was being read; and how often it was read again for that. */
  #stirred = false;
  #rereads = 0;
  #state: RoomState | undefined;
  readonly #mailbox: Mailbox;
  readonly #duplicates: Duplicates;
  readonly #order: RoomOrder;
  readonly #settling: RoomSettling;
  readonly #fates: Fates;

  constructor(id: string, shard: RoomShard, host: RoomHost) {
    this.id = id;
    this.shard = shard;
    this.host = host;
    this.usedAt = host.clock.monotonic();
    this.presence = host.presenceOf(this);
    this.marks = host.marksOf(this);
    this.#duplicates = new Duplicates(id, host, (most) => this.#mailbox.ahead(most));
    this.#fates = new Fates(id);
    const parts = { room: this, duplicates: this.#duplicates, fates: this.#fates };
    this.#order = new RoomOrder(parts);
    this.#settling = new RoomSettling(parts);
    this.#mailbox = new Mailbox({
      room: id,
      most: host.limits.roomMailbox,
      log: host.log,
      clock: host.clock,
      barred: () => (shard.holds ? undefined : shard.held()),
      decide: (item) => this.#decide(item),
    });
    this.#open();
  }

  #open(): void {
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
    if (this.#stirred && opened.unstored.length === 0 && this.#rereads < REREADS_MOST) {
      this.#stirred = false;
      this.#rereads++;
      return this.#open();
    }
    this.#state = opened.state;
    this.seenOffset = opened.state.accepted.offset;
    this.#order.begin(opened);
    if (opened.window) this.#duplicates.begin(opened.window);
    this.status = "open";
    this.host.opened(this);
    for (const left of opened.unstored) this.#settling.adopt(left);
    this.#mailbox.open();
  }

  /**
   * Entries of an earlier owner were stored late, and this one may have read the log before they stood there: it is
   * read again, unless something of this owner is on the log or on its way there, which would find its place taken.
   */
  stirred(): void {
    if (this.status === "opening") this.#stirred = true;
    if (this.status !== "open" || this.pending > 0) return;
    const { accepted, offset } = this.state;
    if (accepted.offset === offset && accepted.term < this.shard.term) this.shard.reload(this, []);
  }

  /**
   * The room cannot be opened: everybody who waits is refused, and the room is forgotten. While a posting waits
   * that may be on the log, a store's silence refuses nothing: it is asked again, and the order stays.
   */
  #failed(error: unknown): void {
    const refusal = error instanceof Refusal ? error : new Refusal("store-unavailable", undefined, 1_000);
    if (!(error instanceof Refusal)) this.host.log.warn({ room: this.id, err: error }, "a room could not be opened");
    if (this.status === "opening" && refusal.code === "store-unavailable" && this.#mailbox.mayBeLogged) {
      this.host.clock.after(OPEN_AGAIN_MS, () => {
        if (this.status === "opening") this.#open();
      });
      return;
    }
    this.#end(refusal);
  }

  /** Takes a posting; its reply hears the outcome. */
  post(item: Posting): void {
    if (this.status === "closed") return answerRefused(item, new ReopeningRefusal());
    this.usedAt = this.host.clock.monotonic();
    this.#mailbox.post(item);
  }

  /** Takes a posting that was taken before the room opened anew. */
  repost(item: Posting): void {
    if (this.status === "closed") return answerRefused(item, new ReopeningRefusal());
    this.#mailbox.repost(item);
  }

  /**
   * Runs `work`, which may decide, in the room's order: once the room is open and its node may decide. Rejects
   * with a `Refusal` when the room is not there.
   */
  ask<T>(work: (state: RoomState) => T | Promise<T>): Promise<T> {
    return this.#asked(work, (asked) => this.#mailbox.ask(asked));
  }

  /**
   * Answers from the state as it is, once the room is open, whatever waits to be decided. `work` decides nothing.
   * Rejects as `ask` does.
   */
  read<T>(work: (state: RoomState) => T): Promise<T> {
    return this.#asked(work, (asked) => this.#mailbox.read(asked));
  }

  #asked<T>(work: (state: RoomState) => T | Promise<T>, give: (asked: Asked) => void): Promise<T> {
    if (this.status === "closed") return Promise.reject(new ReopeningRefusal());
    this.usedAt = this.host.clock.monotonic();
    return new Promise<T>((resolve, reject) => {
      const run = async (): Promise<void> => {
        try {
          resolve(await work(this.state));
        } catch (error) {
          reject(error as Error);
        }
      };
      give({ run, fail: reject });
    });
  }

  /** Decides a posting; false when a store must be asked first (it was, and the mailbox goes on after it). */
  #decide(item: Posting): boolean {
    try {
      const { draft } = item;
      const state = this.state;
      // Before access is asked about: what was stored was allowed then, and its retry is answered with it.
      if (item.keyed) {
        const first = this.#duplicates.check(item, state);
        if (first === "answered") this.host.counters.duplicates++;
        else if (first !== "new") this.#mailbox.hold(first, item);
        if (first !== "new") return first === "answered";
      }
      // What the node itself words was checked by who asked for it.
      if (draft.event === "message") state.requireSight(draft.sender);
      if (item.again) {
        const passed = this.#duplicates.passed(item, state);
        if (passed === true) throw new PassedRefusal();
        if (passed !== false) {
          this.#mailbox.hold(passed, item);
          return false;
        }
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
    if (this.status !== "open") throw new ReopeningRefusal();
    this.#order.place(item);
  }

  /** Whether it is open and what this node knows of it is the end of its log. */
  get whole(): boolean {
    return this.status === "open" && this.#order.sealed;
  }

  /** Whether nothing is decided that the hot log has not accepted. */
  get still(): boolean {
    return this.#order.still;
  }

  /** Takes what was decided and not given to the hot log, to be decided again. */
  takeDecided(): readonly Posting[] {
    return this.#order.take();
  }

  /** The fate of a message as far as it is decided, given what the archive says. */
  fateOf(offset: number, archived: Fate | undefined): Fate | undefined {
    return this.#fates.of(offset, archived);
  }

  /** Takes the postings of this turn for the hot log. */
  takePack(): { pack: Pack; postings: readonly Posting[] } {
    return this.#order.takePack();
  }

  /** The hot log has the pack: it may be shown, and goes to the writer. Called after the publish. */
  onAccepted(postings: readonly Posting[]): void {
    this.#order.accepted();
    this.#settling.accepted(postings);
  }

  /** How many entries are accepted and not yet stored. */
  get pending(): number {
    return this.#settling.pending;
  }

  /** Resolves when all that was accepted is stored. */
  settled(): Promise<void> {
    return this.#settling.settled();
  }

  /** Whether nothing keeps the room awake and all it logged is stored (rule 13). */
  maySleep(now: number): boolean {
    // First what nearly always says no: it is asked of every room each second.
    return (
      now - this.usedAt >= this.host.limits.roomIdleMs &&
      this.status === "open" &&
      this.pending === 0 &&
      this.#order.empty &&
      this.#mailbox.idle &&
      this.presence.size === 0
    );
  }

  /** The room was deleted, here or by an owner before this one: what waits is given to its next opening, which refuses it. */
  dissolve(): void {
    this.close();
    if (this.pending === 0) this.host.putAway(this);
  }

  /** Ends the room in memory; what comes next opens it again from the archive. */
  close(): void {
    this.#end(new ReopeningRefusal());
  }

  takeWaiting(): Posting[] {
    return this.#mailbox.takePostings();
  }

  #end(refusal: Refusal): void {
    if (this.status === "closed") return;
    this.status = "closed";
    // Left by a room that closes while its first entry is stored; what a sealed one decided is with its shard.
    for (const item of this.#order.sealed ? [] : this.takeDecided()) {
      this.host.writer.release(item.bytes);
      answerRefused(item, refusal);
    }
    this.#duplicates.clear();
    this.presence.clear();
    this.host.forget(this);
    this.#mailbox.refuse(refusal);
  }
}
