/** The face of the engine towards REST: history and what becomes of messages. */
import { cutPage, itemBytes } from "./archive.page.ts";
import type { Caller, Chat, History, HistoryQuery, NewMessage } from "./chat.ts";
import { Refusal } from "./codes.ts";
import { type ArchivedEntry, clientKey, type Entry } from "./entry.ts";
import {
  deletionDraft,
  type ReactionChange,
  reactionDraft,
  requireReactionRoom,
  usersOf,
  withoutDeleted,
} from "./fate.ts";
import { type Draft, posting } from "./posting.ts";
import { READ_BYTES, readPage } from "./reading.ts";
import type { RoomState } from "./room.state.ts";
import type { Room } from "./room.ts";
import { RoomService, untilStored } from "./service.ts";

/** Rooms, members and messages: the whole of `Chat` over one node. */
export class ChatService extends RoomService implements Chat {
  async history(caller: Caller, roomId: string, query: HistoryQuery): Promise<History> {
    const stored = await this.node.room(roomId).read((state) => {
      state.requireSight(caller.id);
      return state.stored.offset;
    });
    const range = await this.#range(roomId, query);
    const forward = query.after !== undefined || query.fromMs !== undefined;
    const wanted = { ...range, limit: query.limit + 1, end: forward ? ("first" as const) : ("last" as const) };
    const { items: page, cut } = await readPage(this.archive, roomId, wanted);
    // A page that ended early for its bytes ends before what is not stored yet, if it reads forward.
    const whole = cut && forward;
    const all = whole ? page : await this.#withUnstored(roomId, page, { ...range, most: query.limit + 1, forward });
    const items = cutPage(all, { end: wanted.end, bytes: READ_BYTES }, itemBytes);
    const more = items.length > query.limit;
    const shown = !more ? items : forward ? items.slice(0, query.limit) : items.slice(items.length - query.limit);
    const left = more || cut || items.length < all.length;
    return { items: shown, storedOffset: Math.max(stored, lastOffset(page)), more: left };
  }

  /** Times become offsets: `at` never falls along a log. */
  async #range(roomId: string, query: HistoryQuery): Promise<{ after?: number; before?: number }> {
    let { after, before } = query;
    if (query.fromMs !== undefined)
      after = Math.max(after ?? 0, (await this.archive.offsetAt(roomId, query.fromMs)) - 1);
    if (query.toMs !== undefined) {
      const end = await this.archive.offsetAt(roomId, query.toMs);
      before = Math.min(before ?? end, end);
    }
    return { ...(after === undefined ? {} : { after }), ...(before === undefined ? {} : { before }) };
  }

  /** Adds what is accepted and shown, but not stored yet, where the page reaches the end of the archive. */
  async #withUnstored(
    roomId: string,
    page: readonly ArchivedEntry[],
    range: { after?: number; before?: number; most: number; forward: boolean },
  ): Promise<readonly ArchivedEntry[]> {
    const room = this.node.rooms.get(roomId);
    if (room?.status !== "open") return page;
    const archived = Math.max(lastOffset(page), range.after ?? 0);
    const head = room.state.accepted.offset;
    if (head <= archived || (range.forward && page.length >= range.most)) return page;
    if (!range.forward && range.before !== undefined && range.before <= archived + 1) return page;
    // Of a long unstored part only what is shown, which then is all that is.
    const end = Math.min(head, (range.before ?? head + 1) - 1);
    const from = range.forward ? archived : Math.max(archived, end - range.most);
    const hot = await this.node.bus.log(roomId, from, Math.min(range.most, head - from));
    const fresh = withoutDeleted(hot).filter(
      (entry) => entry.offset <= head && entry.offset < (range.before ?? head + 1),
    );
    const all = [
      ...(from > archived ? [] : page),
      ...fresh.map((entry) => ({ entry, fate: room.fateOf(entry.offset, undefined) })),
    ];
    return range.forward ? all.slice(0, range.most) : all.slice(Math.max(0, all.length - range.most));
  }

  async post(caller: Caller, roomId: string, message: NewMessage): Promise<ArchivedEntry> {
    this.node.counters.received++;
    const offset = await this.postKeyed(caller, roomId, message, { key: this.keyOf(message), again: false });
    // A retry knows only where the first one is.
    return this.archived(roomId, offset);
  }

  /** The key of a message to post: its client's, or one of this node, which then stays with it (rule 8). */
  keyOf(message: NewMessage): string {
    return message.clientMessageId === undefined ? this.node.edgeKey() : clientKey(message.clientMessageId);
  }

  /** Posts a message and answers its offset once it is stored; with `again` it may be there under its key. */
  async postKeyed(
    caller: Caller,
    roomId: string,
    message: NewMessage,
    how: { readonly key: string; readonly again: boolean },
  ): Promise<number> {
    const draft: Draft = { ...draftOf(caller, message), event: "message", ref: 0, key: how.key };
    const entry = await new Promise<Entry>((resolve, reject) => {
      const item = posting(draft, untilStored(resolve, reject));
      item.keyed ||= how.again;
      item.again = how.again;
      this.node.post(roomId, item);
    });
    return entry.offset;
  }

  /** The stored entry at an offset, with what became of it. */
  async archived(roomId: string, offset: number): Promise<ArchivedEntry> {
    const { items } = await readPage(this.archive, roomId, { after: offset - 1, limit: 1, end: "first" });
    const [found] = items;
    if (!found || found.entry.offset !== offset) throw new Refusal("message-not-found");
    return found;
  }

  async edit(caller: Caller, roomId: string, offset: number, message: NewMessage): Promise<ArchivedEntry> {
    await this.amend(caller, roomId, offset, message);
    return this.archived(roomId, offset);
  }

  /** The part of an edit that the room's owner does. */
  async amend(caller: Caller, roomId: string, offset: number, message: NewMessage): Promise<void> {
    await this.#about(caller, roomId, offset, ({ target }) => {
      if (target.entry.sender !== caller.id) throw new Refusal("forbidden", "Only its sender may edit a message.");
      return { ...draftOf(caller, message), event: "edited", ref: offset };
    });
  }

  async deleteMessage(caller: Caller, roomId: string, offset: number): Promise<void> {
    await this.#about(caller, roomId, offset, ({ target, state }) => {
      if (target.entry.sender !== caller.id && state.roleOf(caller.id) !== "admin") {
        throw new Refusal("forbidden", "Only its sender or an admin of the room may delete a message.");
      }
      return { ...deletionDraft(offset), sender: caller.id, senderName: caller.name };
    });
  }

  async react(caller: Caller, roomId: string, offset: number, change: ReactionChange): Promise<ArchivedEntry> {
    await this.#about(caller, roomId, offset, ({ target }) => {
      const has = usersOf(target.fate, change.reaction).includes(caller.id);
      if (has === change.on) return undefined;
      requireReactionRoom(target.fate, change, this.node.limits);
      return { ...reactionDraft(offset, change), sender: caller.id, senderName: caller.name };
    });
    return this.archived(roomId, offset);
  }

  /** Appends an entry about a message, in the room's order; resolves once it and what follows from it is stored. */
  async #about(
    caller: Caller,
    roomId: string,
    offset: number,
    decide: (about: { target: ArchivedEntry; state: RoomState }) => Omit<Draft, "key"> | undefined,
  ): Promise<void> {
    const room = this.node.room(roomId);
    let stored: Promise<Entry> | undefined;
    await room.ask(async (state) => {
      state.requireSight(caller.id);
      const target = await this.#target(room, state, offset);
      const draft = decide({ target, state });
      if (!draft) return;
      stored = new Promise<Entry>((resolve, reject) => {
        room.append(draft, untilStored(resolve, reject), target.fate);
      });
    });
    await stored;
  }

  async #target(room: Room, state: RoomState, offset: number): Promise<ArchivedEntry> {
    if (offset < 1 || offset > state.accepted.offset) throw new Refusal("message-not-found");
    const [archived] = await this.archive.page(room.id, { after: offset - 1, limit: 1, end: "first" });
    const [hot] =
      archived?.entry.offset === offset ? [archived.entry] : await this.node.bus.log(room.id, offset - 1, 1);
    const fate = room.fateOf(offset, archived?.entry.offset === offset ? archived.fate : undefined);
    if (hot?.offset !== offset || hot.event !== "message" || fate?.deletedAt !== undefined) {
      throw new Refusal("message-not-found");
    }
    return { entry: hot, fate };
  }
}

function draftOf(caller: Caller, message: NewMessage): Omit<Draft, "event" | "ref" | "key"> {
  return {
    sender: caller.id,
    senderName: caller.name,
    contentType: message.contentType,
    headers: message.headers,
    body: message.body,
    text: message.text,
  };
}

function lastOffset(page: readonly ArchivedEntry[]): number {
  return page[page.length - 1]?.entry.offset ?? 0;
}
