/**
 * Duplicates of one room (rule 9, promise 4): a retry is answered as the first one was. The window is in
 * memory from the room's first SEND with a client's id on; when the node's bound is met, what is stored is
 * looked up in the archive by index instead.
 */
import type { Archive } from "./archive.ts";
import type { Clock } from "./clock.ts";
import type { Entry } from "./entry.ts";
import type { Limits } from "./limits.ts";
import { type Posting, repliesOf } from "./posting.ts";
import type { RoomState } from "./room.state.ts";
import { slim, Window, type WindowBudget, windowKey } from "./window.ts";

/** What the duplicates of a room need of its node. */
export interface DuplicatesHost {
  readonly archive: Archive;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly windowBudget: WindowBudget;
}

/** Entries read at once while the window is loaded. */
const LOAD_PAGE = 500;

/** The duplicate check of one room. */
export class Duplicates {
  readonly #room: string;
  readonly #host: DuplicatesHost;
  readonly #window: Window;
  #mode: "none" | "memory" | "archive" | "closed" = "none";
  /** The posting for which the archive was just asked. */
  #looked: Posting | undefined;

  constructor(room: string, host: DuplicatesHost) {
    this.#room = room;
    this.#host = host;
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
      for (const reply of repliesOf(item)) {
        found.posting.joined.push(reply);
        if (first.offset <= state.accepted.offset) reply.accepted(first);
      }
      return "answered";
    }
    if (found?.entry) {
      for (const reply of repliesOf(item)) {
        reply.accepted(found.entry);
        reply.stored(found.entry);
      }
      if (this.#mode === "archive") this.#window.drop(key);
      return "answered";
    }
    if (this.#looked === item) return "new";
    // The window in memory holds the ids of clients; an edge's own key is looked up, unless it is said for the
    // first time: nobody but its edge can know it.
    const edges = item.draft.key.startsWith("e/");
    if (edges ? !item.again : this.#mode === "memory") return "new";
    return this.#lookUp(item, state);
  }

  /** A decided posting; pending counts. */
  add(item: Posting): void {
    if (this.#mode === "closed") return;
    this.#window.add(windowKey(item.draft.sender, item.draft.key), item);
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
    this.#mode = "closed";
  }

  async #lookUp(item: Posting, state: RoomState): Promise<void> {
    const { archive, clock, limits } = this.#host;
    const entry = await archive.byKey(this.#room, item.draft.sender, item.draft.key);
    this.#looked = item;
    if (this.#mode === "closed") return;
    if (!entry || entry.offset <= state.offset - limits.windowEntries || entry.at <= clock.now() - limits.windowMs)
      return;
    this.#window.load(entry);
  }

  async #load(state: RoomState): Promise<void> {
    const { archive, clock, limits } = this.#host;
    const entries: Entry[] = [];
    let before = state.stored.offset + 1;
    const oldest = Math.max(0, state.offset - limits.windowEntries);
    while (before > oldest + 1) {
      const page = await archive.page(this.#room, { after: oldest, before, limit: LOAD_PAGE, end: "last" });
      const first = page[0];
      if (!first) break;
      for (let i = page.length - 1; i >= 0; i--) {
        const { entry } = page[i] as { entry: Entry };
        if (entry.key.startsWith("c/")) entries.push(slim(entry));
      }
      before = first.entry.offset;
      if (first.entry.at <= clock.now() - limits.windowMs) break;
    }
    if (this.#mode === "closed") return;
    this.#window.loadOlder(entries.reverse());
    this.#mode = "memory";
    this.#bound();
  }

  /** Beyond the node's bound this room's stored keys are looked up in the archive. */
  #bound(): void {
    if (this.#mode !== "memory" || this.#host.windowBudget.bytes <= this.#host.limits.windowBytes) return;
    this.#mode = "archive";
    this.#window.forgetStored();
  }
}
