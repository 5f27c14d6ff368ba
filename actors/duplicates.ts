/**
 * Duplicates of one room (rule 9, promise 4): a retry is answered as the first one was. The window is in
 * memory from the room's first SEND with a client's id on; when the node's bound is met, what is stored is
 * looked up in the archive by index instead. What waits together is looked up together: clients that hear nothing
 * in time send all they have again elsewhere, and one read for each would let a room fall behind them for good.
 */
import type { Archive } from "./archive.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Entry } from "./entry.ts";
import type { Limits } from "./limits.ts";
import { answerRefused, type Draft, type Posting, repliesOf } from "./posting.ts";
import type { RoomState } from "./room.state.ts";
import { readWindow } from "./window.read.ts";
import { slim, Window, type WindowBudget, windowKey } from "./window.ts";

/** Retries that wait for the same SEND at most: while it is not stored, clients come and go with it (promise 6). */
const JOINED_MOST = 64;

/** What the duplicates of a room need of its node. */
export interface DuplicatesHost {
  readonly archive: Archive;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly windowBudget: WindowBudget;
}

/** Keys looked up at once. */
const LOOKED_AT_ONCE = 32;

/** The duplicate check of one room. */
export class Duplicates {
  readonly #room: string;
  readonly #host: DuplicatesHost;
  readonly #window: Window;
  #mode: "none" | "memory" | "archive" | "closed" = "none";
  readonly #ahead: (most: number) => readonly Posting[];
  /**
   * By `windowKey`, what the archive said when it was asked last: undefined for what it has not. Nothing is decided
   * while it is asked, and what is decided is taken out, so this stays true.
   */
  readonly #looked = new Map<string, Entry | undefined>();
  /** By what was sent again together and by sender: at which of them the last is that is on the log, -1 for none. */
  readonly #lasts = new WeakMap<readonly Draft[], Map<string, number>>();

  /** `ahead` answers the postings that are checked next, in order, as many as are asked for at most. */
  constructor(room: string, host: DuplicatesHost, ahead: (most: number) => readonly Posting[]) {
    this.#room = room;
    this.#host = host;
    this.#ahead = ahead;
    this.#window = new Window(host.limits, host.windowBudget);
  }

  /**
   * - `new`: never seen; it may be decided.
   * - `answered`: a retry; it was answered, or joined to the first one that is still under way.
   * - a promise: the archive is asked; check again after it.
   */
  check(item: Posting, state: RoomState): "new" | "answered" | Promise<void> {
    if (this.#mode === "none") return this.#load(state);
    const key = windowKey(item.draft.sender, item.draft.key);
    const found = this.#window.find(key, state.offset, this.#host.clock.now());
    if (found?.posting) {
      const first = found.posting.entry as Entry;
      found.posting.joined = found.posting.joined ?? [];
      if (found.posting.joined.length >= JOINED_MOST) {
        answerRefused(item, new Refusal("queue-full", undefined, 1_000));
        return "answered";
      }
      for (const reply of repliesOf(item)) {
        found.posting.joined.push(reply);
        if (first.offset <= state.accepted.offset) reply.accepted(first);
      }
      return "answered";
    }
    const entry = found?.entry ?? this.#lookedUp(key, state);
    if (entry) {
      for (const reply of repliesOf(item)) {
        reply.accepted(entry);
        reply.stored(entry);
      }
      return "answered";
    }
    if (this.#looked.has(key) || !this.#mayBeStored(item)) return "new";
    return this.#lookUp(item, state);
  }

  /**
   * Whether the archive may have what the window has not. The window in memory holds the ids of clients; an edge's
   * own key is looked up, unless it is said for the first time: nobody but its edge can know it.
   */
  #mayBeStored({ draft, again }: Posting): boolean {
    return draft.key.startsWith("e/") ? again : this.#mode === "archive";
  }

  /** What the archive has under a key, as far as it was asked, unless it is older than the window. */
  #lookedUp(key: string, { offset }: RoomState): Entry | undefined {
    const entry = this.#looked.get(key);
    const { clock, limits } = this.#host;
    if (!entry || entry.offset <= offset - limits.windowEntries || entry.at <= clock.now() - limits.windowMs)
      return undefined;
    return entry;
  }

  /**
   * Whether it was passed, given that `check` says new: what its sender said after it is on the log, and it is not.
   * Then it was refused for good by an owner before this one, and is not decided after that. A promise: the
   * archive is asked; check again after it.
   */
  passed({ draft, passed, resent }: Posting, state: RoomState): boolean | Promise<void> {
    if (passed || !resent) return passed;
    const last = this.#lasts.get(resent)?.get(draft.sender);
    return last === undefined ? this.#lookBehind(resent, draft.sender, state) : resent.indexOf(draft) < last;
  }

  /** Finds the last of a sender's drafts that is on the log. */
  async #lookBehind(resent: readonly Draft[], sender: string, state: RoomState): Promise<void> {
    const theirs = resent.filter((draft) => draft.sender === sender);
    let last = -1;
    for (let end = theirs.length; end > 0 && last < 0; end -= LOOKED_AT_ONCE) {
      const some = theirs.slice(Math.max(0, end - LOOKED_AT_ONCE), end);
      const there = await Promise.all(some.map((draft) => this.#isThere(draft, state)));
      const found = some[there.lastIndexOf(true)];
      if (found) last = resent.indexOf(found);
    }
    const lasts = this.#lasts.get(resent) ?? new Map<string, number>();
    this.#lasts.set(resent, lasts.set(sender, last));
  }

  /** Whether a draft has its place, stored or not. */
  async #isThere({ sender, key }: Draft, state: RoomState): Promise<boolean> {
    const { archive, clock } = this.#host;
    if (this.#window.find(windowKey(sender, key), state.offset, clock.now())) return true;
    if (this.#mode === "memory" && !key.startsWith("e/")) return false;
    return (await archive.byKey(this.#room, sender, key)) !== undefined;
  }

  /** A decided posting; pending counts. */
  add(item: Posting): void {
    if (this.#mode === "closed") return;
    const key = windowKey(item.draft.sender, item.draft.key);
    this.#looked.delete(key);
    this.#window.add(key, item);
    this.#bound();
  }

  /** The posting is stored. */
  settle(item: Posting): void {
    const key = windowKey(item.draft.sender, item.draft.key);
    if (this.#mode === "archive") this.#window.drop(key);
    else this.#window.settle(key, item);
  }

  /** Forgets what is older than the window. */
  prune(state: RoomState): void {
    if (this.#window.size > 0) this.#window.prune(state.offset, this.#host.clock.now());
    this.#bound();
  }

  /** Forgets everything; the room closes. */
  clear(): void {
    this.#window.clear();
    this.#looked.clear();
    this.#mode = "closed";
  }

  /** Asks the archive about a posting, and about what is next and not known. Rejects when the first fails. */
  async #lookUp(item: Posting, state: RoomState): Promise<void> {
    const { archive, clock } = this.#host;
    const asked = new Map([[windowKey(item.draft.sender, item.draft.key), item.draft]]);
    for (const next of this.#ahead(LOOKED_AT_ONCE - 1)) {
      const key = windowKey(next.draft.sender, next.draft.key);
      const known = !next.keyed || !this.#mayBeStored(next) || this.#window.find(key, state.offset, clock.now());
      if (!known) asked.set(key, next.draft);
    }
    const read = [...asked.values()].map(({ sender, key }) => archive.byKey(this.#room, sender, key));
    const answers = await Promise.allSettled(read);
    await read[0];
    if (this.#mode === "closed") return;
    this.#looked.clear();
    for (const [at, key] of [...asked.keys()].entries()) {
      const answer = answers[at];
      if (answer?.status === "fulfilled") this.#looked.set(key, answer.value && slim(answer.value));
    }
  }

  /** The room opens with a window that was read before, up to where its stored log ends. */
  begin(window: readonly Entry[]): void {
    this.#window.loadOlder(window);
    this.#mode = "memory";
    this.#bound();
  }

  async #load(state: RoomState): Promise<void> {
    const window = await readWindow(this.#host, this.#room, { stored: state.stored.offset, head: state.offset });
    // The room was closed meanwhile.
    if (this.#mode === "none") this.begin(window);
  }

  /** Beyond the node's bound this room's stored keys are looked up in the archive. */
  #bound(): void {
    if (this.#mode !== "memory" || this.#host.windowBudget.bytes <= this.#host.limits.windowBytes) return;
    this.#mode = "archive";
    this.#window.forgetStored();
  }
}
