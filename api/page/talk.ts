/**
 * The open room: history and live messages. It keeps promise 5 from the reader's side: first a page of history,
 * then a subscription after its last position; after a lost connection a subscription after the last position
 * held; where the server cannot replay, the newest page of history again.
 */
import type { IMessage } from "@stomp/stompjs";
import type { Around } from "./around.ts";
import { addLive, addPage, atStart, attached, hasGap, type Keep, type RoomLog, replaceWith, unloaded } from "./log.ts";
import { RestError, type Session, sentenceOf } from "./session.ts";
import { entryOfFrame, entryOfItem, type HistoryPage, type LogEntry, numberOf } from "./shapes.ts";
import { arrived, forgotten, logOf, NOBODY, opened, read, type Store, withLog } from "./store.ts";
import type { Wire } from "./wire.ts";

const PAGE = 50; // entries of a page of history
const LOADS = 6; // reads of the newest page until it has what the server said is there

/** What a talk works with. */
export interface TalkParts {
  readonly store: Store;
  readonly session: Pick<Session, "rest">;
  readonly wire: Wire;
  readonly around: Around;
}

/** The conversation in the open room. */
export class Talk {
  readonly #parts: TalkParts;
  #loading: string | undefined;
  #looks = { atBottom: false, visible: false };

  constructor(parts: TalkParts) {
    this.#parts = parts;
  }

  get #store(): Store {
    return this.#parts.store;
  }

  get #room(): string | undefined {
    return this.#store.state.open;
  }

  get #log(): RoomLog {
    return logOf(this.#store.state, this.#room);
  }

  #change(room: string, by: (log: RoomLog) => RoomLog): void {
    this.#store.change((state) => withLog(state, room, by));
  }

  /** Opens a room; from memory when it is there, else from history. */
  open(room: string): void {
    this.#parts.around.typing(false);
    this.#parts.wire.unwatch();
    this.#store.change((state) => opened(state, room));
    this.#looks = { atBottom: false, visible: false };
    this.resume();
  }

  /** Leaves the open room for the list. */
  close(): void {
    this.#parts.around.typing(false);
    this.#parts.wire.unwatch();
    this.#store.set({ open: undefined, people: NOBODY, divider: undefined, catching: undefined });
  }

  /** Goes on with the open room, as after a new connection. */
  resume(): void {
    const room = this.#room;
    if (room === undefined) return;
    if (!this.#log.loaded) void this.#load(room, 0);
    else this.#watch(room);
  }

  #watch(room: string): void {
    const { wire, around } = this.#parts;
    if (!wire.up) return;
    wire.watch(room, logOf(this.#store.state, room).head, {
      message: (message) => this.#heard(room, message),
      signal: (message) => around.heard(message),
    });
    void around.look(room);
  }

  /** Reads the newest page, again while it ends before `least`, which may be shown and not yet stored. */
  async #load(room: string, least: number): Promise<void> {
    if (this.#loading !== undefined) return;
    this.#loading = room;
    try {
      for (let load = 1; this.#room === room; load++) {
        const page = await this.#page(room, `limit=${PAGE}`);
        if ((page.at(-1)?.offset ?? 0) >= least || load === LOADS) {
          this.#loaded(room, page);
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, 100 * load));
      }
    } catch (error) {
      this.#failedToRead(room, error);
    } finally {
      this.#loading = undefined;
    }
    // Another room may have been opened meanwhile.
    if (this.#room !== undefined && this.#room !== room && !this.#log.loaded) void this.#load(this.#room, 0);
  }

  #loaded(room: string, page: readonly LogEntry[]): void {
    this.#change(room, (log) => replaceWith(log, page));
    if (this.#room !== room) return;
    if (this.#parts.wire.watched !== room || hasGap(this.#log)) this.#watch(room);
  }

  async #page(room: string, query: string): Promise<readonly LogEntry[]> {
    const path = `/api/rooms/${encodeURIComponent(room)}/messages?${query}`;
    return ((await this.#parts.session.rest("GET", path)) as HistoryPage).items.map(entryOfItem);
  }

  #failedToRead(room: string, error: unknown): void {
    if (!(error instanceof RestError)) throw error;
    if (this.#room !== room) return;
    if (error.status === 404 || error.status === 403) this.lost(room, error.code);
    else this.#store.set({ notice: error.message });
  }

  /** The room may no longer be seen. */
  lost(room: string, code: string): void {
    if (this.#room === room) this.#parts.wire.unwatch();
    this.#store.change((state) => ({ ...forgotten(state, room), notice: sentenceOf(code) }));
  }

  #heard(room: string, message: IMessage): void {
    const event = message.headers["event"];
    if (event === "resumed") return this.#resumed(room, message);
    if (event === "ended") return this.lost(room, message.headers["code"] ?? "removed");
    const entry = entryOfFrame(message);
    if (entry === undefined) return;
    const before = this.#log.head.offset;
    const keep: Keep = this.#looks.atBottom ? "newest" : "oldest";
    this.#change(room, (log) => addLive(log, entry, keep));
    if (entry.offset > before) this.#fresh(room, entry);
    if (hasGap(this.#log) && this.#loading === undefined) this.#watch(room);
    if (this.#looks.atBottom) this.looks(this.#looks);
  }

  #fresh(room: string, entry: LogEntry): void {
    this.#store.change((state) => {
      const { catching } = state;
      const left = catching === undefined ? 0 : Math.max(0, catching.left - 1);
      const next = arrived(state, room, entry);
      return catching === undefined || catching.left === left ? next : { ...next, catching: { ...catching, left } };
    });
    if (entry.event === "message") this.#parts.around.wrote(entry.sender, entry.offset);
  }

  #resumed(room: string, message: IMessage): void {
    const head = numberOf(message.headers["head-offset"]);
    if (message.headers["recovered"] === "true") {
      const left = head - this.#log.head.offset;
      this.#store.set({ catching: left > 0 ? { total: left, left } : undefined });
      // The read marker of the connection before may not have arrived.
      return this.looks(this.#looks);
    }
    // The log went on, or changed, beyond what can be replayed: nothing held is sure to be on it.
    this.#store.set({
      catching: undefined,
      notice: "Some messages could not be replayed, so the newest part of the history was read again.",
    });
    this.#change(room, (log) => unloaded(log.outbox));
    void this.#load(room, head);
  }

  /** Reads an older page, when the reader comes near the top. */
  older(): void {
    const first = this.#log.entries[0]?.offset;
    if (first !== undefined && !atStart(this.#log)) void this.#pageInto(`before=${first}&limit=${PAGE}`, "oldest");
  }

  /** Reads a newer page, when the reader comes near the bottom of a window that is detached from the head. */
  newer(): void {
    const last = this.#log.entries.at(-1)?.offset;
    if (last !== undefined && !attached(this.#log)) void this.#pageInto(`after=${last}&limit=${PAGE}`, "newest");
  }

  async #pageInto(query: string, keep: Keep): Promise<void> {
    const room = this.#room;
    if (room === undefined || this.#store.state.paging) return;
    this.#store.set({ paging: true });
    try {
      const page = await this.#page(room, query);
      this.#change(room, (log) => addPage(log, page, keep));
    } catch (error) {
      this.#failedToRead(room, error);
    } finally {
      if (this.#room === room) this.#store.set({ paging: false });
    }
  }

  /** Goes to the newest messages; answers once they are held. */
  async newest(): Promise<void> {
    const room = this.#room;
    if (room === undefined || !this.#log.loaded) return;
    try {
      for (let load = 1; load <= LOADS && this.#room === room && !attached(this.#log); load++) {
        const page = await this.#page(room, `limit=${PAGE}`);
        // A page that ends before the head has not everything stored yet: once more.
        if ((page.at(-1)?.offset ?? 0) >= this.#log.head.offset) this.#change(room, (log) => replaceWith(log, page));
      }
    } catch (error) {
      this.#failedToRead(room, error);
    }
  }

  /** What the reader sees: whether the end of the window, and whether the page is visible at all. */
  looks(looks: { atBottom: boolean; visible: boolean }): void {
    const room = this.#room;
    const { offset } = this.#log.head;
    if (room === undefined || offset === 0) return;
    // What comes while the page is hidden is new to the reader when they come back.
    if (this.#looks.visible && !looks.visible) this.#store.set({ divider: offset });
    this.#looks = looks;
    if (!looks.visible || !looks.atBottom || !attached(this.#log)) return;
    this.#store.change((state) => read(state, room, offset));
    if (this.#parts.wire.up) this.#parts.around.tellRead(room, offset);
  }
}
