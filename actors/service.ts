/** The face of the engine towards REST: rooms and their members. Whatever changes a room goes through its actor. */
import type { Archive, MarkerRecord, MemberRecord, Role, RoomRecord, RoomType } from "./archive.ts";
import type { Caller, Page, PageOf, PresenceView, RoomView } from "./chat.ts";
import { Refusal } from "./codes.ts";
import type { Entry } from "./entry.ts";
import { type FirstMembers, Lobby, type LobbyRooms, storing } from "./lobby.ts";
import type { Node } from "./node.ts";
import type { Reply } from "./posting.ts";
import type { RoomState } from "./room.state.ts";
import type { Room } from "./room.ts";

/** A reply that settles a promise once the entry is stored. */
export function untilStored(resolve: (entry: Entry) => void, reject: (refusal: Refusal) => void): Reply {
  return { urgent: true, accepted() {}, stored: resolve, refused: reject };
}

/** Rooms and members, of rooms that this node owns. `ChatService` adds the messages. */
export class RoomService implements LobbyRooms {
  readonly node: Node;
  /** Makes room ids. */
  readonly newId: () => string;
  readonly #lobby: Lobby;

  /** `newId` makes room ids: `[a-z0-9-]{1,64}`, never twice. */
  constructor(node: Node, newId: () => string) {
    this.node = node;
    this.newId = newId;
    this.#lobby = new Lobby(node, this, newId);
    node.posts.makeDirect = (from, to) => this.#lobby.direct(from, to);
  }

  get archive(): Archive {
    return this.node.archive;
  }

  createRoom(caller: Caller, room: { name: string; type: RoomType; members: readonly string[] }): Promise<RoomView> {
    return this.#lobby.createRoom(caller, room);
  }

  myRooms(caller: Caller, page: PageOf): Promise<Page<RoomView>> {
    return this.#lobby.myRooms(caller, page);
  }

  publicRooms(caller: Caller, page: PageOf): Promise<Page<RoomView>> {
    return this.#lobby.publicRooms(caller, page);
  }

  counts(caller: Caller, rooms: readonly string[]): Promise<Readonly<Record<string, number>>> {
    return this.#lobby.counts(caller, rooms);
  }

  /**
   * Adds the caller and others where they are missing; true when anybody was. Not in a room that has entries: all
   * first members are added in one turn, so this is a late copy of that question, and who is missing was removed
   * (promise 7). A direct room keeps its two users.
   */
  async addFirst(caller: Caller, roomId: string, members: FirstMembers): Promise<boolean> {
    const names = new Map<string, string>();
    for (const user of members.others) names.set(user, (await this.node.options.nameOf(user)) ?? user);
    const room = this.node.room(roomId);
    const added: string[] = [];
    const stored: Promise<Entry>[] = [];
    await room.ask((state) => {
      if (state.record.type !== "direct" && state.offset > 0) return;
      for (const user of [caller.id, ...members.others]) {
        if (state.members.has(user)) continue;
        const role = user === caller.id ? members.first : "member";
        const name = user === caller.id ? caller.name : (names.get(user) as string);
        added.push(user);
        stored.push(changed(room, { user, name, role, change: user === caller.id ? "joined" : "added", by: caller }));
      }
    });
    await Promise.all(stored);
    // A direct room is told by its own word.
    const direct = room.state.record.type === "direct";
    for (const user of added) if (user !== caller.id && !direct) this.#tell(user, "added", roomId, caller);
    return added.length > 0;
  }

  #tell(user: string, event: "added" | "removed", room: string, by: Caller): void {
    this.node.bus.notify({ kind: "notice", user, event, room, by: by.id });
  }

  views(caller: Caller, rooms: readonly RoomRecord[]): Promise<readonly RoomView[]> {
    return Promise.all(rooms.map((record) => this.#view(caller, record)));
  }

  async room(caller: Caller, roomId: string): Promise<RoomView> {
    const room = this.node.room(roomId);
    const record = await room.read((state) => {
      state.requireSight(caller.id);
      return state.record;
    });
    return this.#view(caller, record);
  }

  /** A room as the caller sees it; from memory where it is awake, else from the archive or what is remembered of it. */
  async #view(caller: Caller, record: RoomRecord): Promise<RoomView> {
    const awake = this.node.rooms.get(record.id);
    const state = awake?.status === "open" ? awake.state : undefined;
    const { lookups, markers } = this.node;
    const { id } = record;
    const [marker, member, { head, lastMessage }] = state
      ? await Promise.all([
          markers.of(id, caller.id),
          state.members.get(caller.id),
          lookups.lastMessage(id).then((last) => ({ head: undefined, lastMessage: last })),
        ])
      : await Promise.all([lookups.marker(id, caller.id), lookups.member(id, caller.id), lookups.logEnd(id)]);
    const peer = record.pair?.find((user) => user !== caller.id);
    const count = state?.count ?? head?.count ?? 0;
    return {
      id: record.id,
      name: peer === undefined ? (state?.record.name ?? record.name) : await this.#nameOf(record.id, peer),
      type: record.type,
      role: member?.role ?? "none",
      headOffset: state?.accepted.offset ?? head?.offset ?? 0,
      storedOffset: state?.stored.offset ?? head?.offset ?? 0,
      unread: unreadOf(count, marker, member),
      readOffset: marker.read,
      lastMessage,
      peer,
    };
  }

  async #nameOf(room: string, user: string): Promise<string> {
    const awake = this.node.rooms.get(room);
    const member =
      awake?.status === "open" ? awake.state.members.get(user) : await this.node.lookups.member(room, user);
    return member?.name ?? user;
  }

  async renameRoom(caller: Caller, roomId: string, name: string): Promise<RoomView> {
    await this.#changeRecord(caller, roomId, { name });
    return this.room(caller, roomId);
  }

  async deleteRoom(caller: Caller, roomId: string): Promise<void> {
    if (roomId === GENERAL.id) throw new Refusal("forbidden", "The room general cannot be deleted.");
    await this.#changeRecord(caller, roomId, { deletedAt: this.node.clock.now() });
    this.node.bus.notify({ kind: "dissolved", room: roomId });
    this.node.rooms.get(roomId)?.dissolve();
  }

  async #changeRecord(caller: Caller, roomId: string, change: { name?: string; deletedAt?: number }): Promise<void> {
    await this.node.room(roomId).ask(async (state) => {
      state.requireAdmin(caller.id);
      if (state.record.type === "direct") throw new Refusal("forbidden", "A direct room stays as it is.");
      const record = { ...state.record, ...change, rev: state.record.rev + 1 };
      const stored = await this.#store(async () => {
        await this.archive.derive([{ kind: "room", room: record }]);
        return this.archive.room(roomId);
      });
      // An owner before this one may have been changing it, too, when the room was opened here: its word was first.
      state.record = stored ?? record;
      const { name, deletedAt } = state.record;
      if (name !== record.name || deletedAt !== record.deletedAt)
        throw new Refusal("conflict", "The room was changed meanwhile.");
    });
  }

  async join(caller: Caller, roomId: string): Promise<RoomView> {
    await this.#change(roomId, (room, state) => {
      state.requireSight(caller.id);
      if (state.members.has(caller.id)) return undefined;
      return changed(room, { user: caller.id, name: caller.name, role: "member", change: "joined", by: caller });
    });
    return this.room(caller, roomId);
  }

  async leave(caller: Caller, roomId: string): Promise<void> {
    await this.#change(roomId, (room, state) => {
      state.requireSight(caller.id);
      if (!state.members.has(caller.id)) return undefined;
      if (state.record.type === "direct") throw new Refusal("forbidden", "A direct room keeps its two users.");
      state.requireAnotherAdmin(caller.id);
      return changed(room, { user: caller.id, name: caller.name, role: "none", change: "left", by: caller });
    });
  }

  /** Runs a member change in the room's order; resolves once its entry is stored. */
  async #change(roomId: string, work: (room: Room, state: RoomState) => Promise<Entry> | undefined): Promise<boolean> {
    const room = this.node.room(roomId);
    let stored: Promise<Entry> | undefined;
    await room.ask((state) => {
      stored = work(room, state);
    });
    await stored;
    return stored !== undefined;
  }

  async members(caller: Caller, roomId: string, page: PageOf): Promise<Page<MemberRecord>> {
    const list = await this.node.room(roomId).read((state) => {
      state.requireSight(caller.id);
      const after = page.cursor ?? "";
      const users = [...state.members.keys()].filter((user) => user > after).sort(byCodeUnits);
      return users.slice(0, page.limit + 1).map((user) => state.members.get(user) as MemberRecord);
    });
    const items = list.slice(0, page.limit);
    return { items, next: list.length > page.limit ? items[items.length - 1]?.user : undefined };
  }

  async addMember(
    caller: Caller,
    roomId: string,
    user: { id: string; name: string; role: Role },
  ): Promise<MemberRecord> {
    const role = user.role === "admin" ? "admin" : "member";
    const name = user.name || ((await this.node.options.nameOf(user.id)) ?? user.id);
    const fresh = await this.#change(roomId, (room, state) => {
      state.requireAdmin(caller.id);
      if (state.record.type === "direct") throw new Refusal("forbidden", "A direct room has two users.");
      if (state.members.has(user.id)) return undefined;
      return changed(room, { user: user.id, name, role, change: "added", by: caller });
    });
    if (fresh) this.#tell(user.id, "added", roomId, caller);
    return this.#member(roomId, user.id);
  }

  async setRole(caller: Caller, roomId: string, user: string, role: Role): Promise<MemberRecord> {
    const wanted = role === "admin" ? "admin" : "member";
    await this.#change(roomId, (room, state) => {
      state.requireAdmin(caller.id);
      const member = state.members.get(user);
      if (!member) throw new Refusal("user-not-found", "Not a member of the room.");
      if (state.record.type === "direct") throw new Refusal("forbidden", "A direct room has no admins.");
      if (member.role === wanted) return undefined;
      if (wanted === "member") state.requireAnotherAdmin(user);
      return changed(room, { user, name: member.name, role: wanted, change: "role", by: caller });
    });
    return this.#member(roomId, user);
  }

  async removeMember(caller: Caller, roomId: string, user: string): Promise<void> {
    if (user === caller.id) return this.leave(caller, roomId);
    const gone = await this.#change(roomId, (room, state) => {
      state.requireAdmin(caller.id);
      const member = state.members.get(user);
      if (!member) throw new Refusal("user-not-found", "Not a member of the room.");
      if (state.record.type === "direct") throw new Refusal("forbidden", "A direct room keeps its two users.");
      state.requireAnotherAdmin(user);
      return changed(room, { user, name: member.name, role: "none", change: "removed", by: caller });
    });
    if (gone) this.#tell(user, "removed", roomId, caller);
  }

  #member(roomId: string, user: string): Promise<MemberRecord> {
    return this.node.room(roomId).read((state) => {
      const member = state.members.get(user);
      if (!member) throw new Refusal("user-not-found", "Not a member of the room.");
      return member;
    });
  }

  async presence(caller: Caller, roomId: string): Promise<PresenceView> {
    const room = this.node.room(roomId);
    return room.read((state) => {
      state.requireSight(caller.id);
      return { count: room.presence.size, users: room.presence.list(this.node.limits.presenceListed) };
    });
  }

  async markRead(caller: Caller, roomId: string, offset: number): Promise<{ readOffset: number; unread: number }> {
    const room = this.node.room(roomId);
    const member = await room.read((state) => {
      state.requireSight(caller.id);
      return state.members.get(caller.id);
    });
    const marker = await room.marks.raise(caller.id, "read", offset);
    await this.#store(() => this.node.markers.flush());
    return { readOffset: marker.read, unread: unreadOf(room.state.count, marker, member) };
  }

  async countsOf(caller: Caller, rooms: readonly string[]): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {};
    for (const id of rooms) {
      const room = this.node.rooms.get(id);
      if (room?.status === "open") {
        if (room.state.maySee(caller.id)) counts[id] = room.presence.size;
        continue;
      }
      // A room that sleeps has nobody in it; whether the caller may know of it, the archive says.
      const record = await this.#store(() => this.archive.room(id));
      if (!record || record.deletedAt !== undefined) continue;
      const member = record.type === "public" || (await this.archive.member(id, caller.id))?.role;
      if (member && member !== "none") counts[id] = 0;
    }
    return counts;
  }

  #store<T>(work: () => Promise<T>): Promise<T> {
    return storing(this.node.log, work);
  }
}

/** The room that every data set has; it belongs to nobody and cannot be deleted. */
export const GENERAL: RoomRecord = Object.freeze({
  id: "general",
  name: "general",
  type: "public",
  createdAt: 0,
  createdBy: "",
  rev: 1,
});

function changed(room: Room, change: Parameters<Room["changeMember"]>[0]): Promise<Entry> {
  return new Promise((resolve, reject) => {
    room.changeMember(change, untilStored(resolve, reject));
  });
}

function unreadOf(count: number, marker: MarkerRecord, member: MemberRecord | undefined): number {
  if (!member || member.role === "none") return 0;
  return Math.max(0, count - marker.readCount);
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
