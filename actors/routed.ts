/**
 * The face of the engine towards REST on one node of many: what is asked of a room goes to the room's owner,
 * what is asked of none is done here. What `ChatService` does of rooms owned here is offered to other nodes.
 */
import type { MemberRecord, Role, RoomRecord, RoomType } from "./archive.ts";
import { askOwner, type OwnerHost, type Service, type Services, whileOwned } from "./asking.ts";
import type { Caller, Chat, History, HistoryQuery, NewMessage, Page, PageOf, PresenceView, RoomView } from "./chat.ts";
import { Refusal } from "./codes.ts";
import type { ArchivedEntry } from "./entry.ts";
import type { ReactionChange } from "./fate.ts";
import { type FirstMembers, Lobby, type LobbyHost, type LobbyRooms } from "./lobby.ts";
import type { ChatService } from "./messages.ts";
import type { Posts } from "./posts.ts";

/** What the routed chat needs of its node. */
export interface RoutedHost extends OwnerHost, LobbyHost {
  readonly services: Services;
  /** Told how a direct room is made. */
  readonly posts: Pick<Posts, "makeDirect">;
}

/** How long an owner may take for its part of a list, ms; then the archive says it. */
const LIST_MS = 1_000;

/**
 * What is done by a room's owner, and whether doing it again has the same effect and the same answer. Each has
 * the caller and the room as its first arguments. A second leave is refused, a second edit is another entry; a
 * post is known by its key. Adding again does nothing while the user is there, but undoes a removal that came
 * between: a late copy of an answered question must not bring a removed user back (promise 7). `addFirst` sees to
 * that itself.
 */
const SAFE = Object.freeze({
  room: true,
  renameRoom: true,
  deleteRoom: false,
  join: false,
  leave: false,
  members: true,
  addMember: false,
  addFirst: true,
  setRole: false,
  removeMember: false,
  presence: true,
  markRead: true,
  history: true,
  postKeyed: true,
  amend: false,
  deleteMessage: false,
  react: true,
} satisfies Partial<Record<keyof ChatService, boolean>>);

type RoomMethod = keyof typeof SAFE;
type ArgsOf<M extends RoomMethod> = Parameters<ChatService[M]>;
type ValueOf<M extends RoomMethod> = Awaited<ReturnType<ChatService[M]>>;

/** The chat of a whole cluster, asked at one node. */
export class RoutedChat implements Chat, LobbyRooms {
  readonly #host: RoutedHost;
  readonly #local: ChatService;
  readonly #lobby: Lobby;

  /** `local` does what is asked of rooms that this node owns. */
  constructor(host: RoutedHost, local: ChatService) {
    this.#host = host;
    this.#local = local;
    this.#lobby = new Lobby(host, this, local.newId);
    host.posts.makeDirect = (from, to) => this.#lobby.direct(from, to);
    host.services.offer(this.#services());
  }

  /** What other nodes may ask of rooms that this node owns. */
  #services(): Readonly<Record<string, Service>> {
    const services: Record<string, Service> = {};
    for (const [method, safe] of Object.entries(SAFE) as [RoomMethod, boolean][]) {
      services[`chat.${method}`] = {
        safe,
        serve: (args) => whileOwned(this.#host, { room: args[1] as string, safe }, () => this.#here(method, args)),
      };
    }
    const lists = {
      views: ([caller, rooms]: readonly unknown[]) =>
        this.#local.views(caller as Caller, rooms as readonly RoomRecord[]),
      countsOf: ([caller, rooms]: readonly unknown[]) =>
        this.#local.countsOf(caller as Caller, rooms as readonly string[]),
    };
    for (const [method, serve] of Object.entries(lists)) services[`chat.${method}`] = { safe: true, serve };
    return services;
  }

  async #here(method: RoomMethod, args: readonly unknown[]): Promise<unknown> {
    return Reflect.apply(this.#local[method], this.#local, args) as Promise<unknown>;
  }

  #ask<M extends RoomMethod>(method: M, ...args: ArgsOf<M>): Promise<ValueOf<M>> {
    const question = { room: args[1], method: `chat.${method}`, args, safe: SAFE[method] };
    return askOwner(this.#host, question, () => this.#here(method, args) as Promise<ValueOf<M>>);
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

  room(caller: Caller, room: string): Promise<RoomView> {
    return this.#ask("room", caller, room);
  }

  renameRoom(caller: Caller, room: string, name: string): Promise<RoomView> {
    return this.#ask("renameRoom", caller, room, name);
  }

  deleteRoom(caller: Caller, room: string): Promise<void> {
    return this.#ask("deleteRoom", caller, room);
  }

  join(caller: Caller, room: string): Promise<RoomView> {
    return this.#ask("join", caller, room);
  }

  leave(caller: Caller, room: string): Promise<void> {
    return this.#ask("leave", caller, room);
  }

  members(caller: Caller, room: string, page: PageOf): Promise<Page<MemberRecord>> {
    return this.#ask("members", caller, room, page);
  }

  addMember(caller: Caller, room: string, user: { id: string; name: string; role: Role }): Promise<MemberRecord> {
    return this.#ask("addMember", caller, room, user);
  }

  addFirst(caller: Caller, room: string, members: FirstMembers): Promise<boolean> {
    return this.#ask("addFirst", caller, room, members);
  }

  setRole(caller: Caller, room: string, user: string, role: Role): Promise<MemberRecord> {
    return this.#ask("setRole", caller, room, user, role);
  }

  removeMember(caller: Caller, room: string, user: string): Promise<void> {
    return this.#ask("removeMember", caller, room, user);
  }

  presence(caller: Caller, room: string): Promise<PresenceView> {
    return this.#ask("presence", caller, room);
  }

  markRead(caller: Caller, room: string, offset: number): Promise<{ readOffset: number; unread: number }> {
    return this.#ask("markRead", caller, room, offset);
  }

  history(caller: Caller, room: string, query: HistoryQuery): Promise<History> {
    return this.#ask("history", caller, room, query);
  }

  /** The message has its key from here on, so that it is one message whichever owners are asked (rule 8). */
  async post(caller: Caller, room: string, message: NewMessage): Promise<ArchivedEntry> {
    this.#local.node.counters.received++;
    const key = this.#local.keyOf(message);
    const again = { key, again: true };
    const question = { room, method: "chat.postKeyed", args: [caller, room, message, again], safe: SAFE.postKeyed };
    // Only of the very first try it is sure that nobody has the message.
    let first = this.#host.ownerOf(room) === this.#host.name;
    const offset = await askOwner(this.#host, question, () => {
      const how = { key, again: !first };
      first = false;
      return this.#local.postKeyed(caller, room, message, how);
    });
    return this.#local.archived(room, offset);
  }

  async edit(caller: Caller, room: string, offset: number, message: NewMessage): Promise<ArchivedEntry> {
    await this.#ask("amend", caller, room, offset, message);
    return this.#local.archived(room, offset);
  }

  deleteMessage(caller: Caller, room: string, offset: number): Promise<void> {
    return this.#ask("deleteMessage", caller, room, offset);
  }

  react(caller: Caller, room: string, offset: number, change: ReactionChange): Promise<ArchivedEntry> {
    return this.#ask("react", caller, room, offset, change);
  }

  /** One question to each owner; of an owner that does not answer in time the archive says it. */
  async views(caller: Caller, rooms: readonly RoomRecord[]): Promise<readonly RoomView[]> {
    const views = new Map<string, RoomView>();
    await Promise.all(
      this.#byOwner(rooms, ({ id }) => id).map(async ([owner, records]) => {
        const list = await this.#list(owner, "chat.views", [caller, records], () => this.#local.views(caller, records));
        for (const view of list) views.set(view.id, view);
      }),
    );
    return rooms.flatMap(({ id }) => views.get(id) ?? []);
  }

  async countsOf(caller: Caller, rooms: readonly string[]): Promise<Readonly<Record<string, number>>> {
    const parts = await Promise.all(
      this.#byOwner(rooms, (id) => id).map(([owner, ids]) =>
        this.#list(owner, "chat.countsOf", [caller, ids], () => this.#local.countsOf(caller, ids)),
      ),
    );
    return Object.assign({}, ...parts) as Record<string, number>;
  }

  #byOwner<T>(list: readonly T[], roomOf: (one: T) => string): [string, T[]][] {
    const groups = new Map<string, T[]>();
    for (const one of list) {
      const owner = this.#host.ownerOf(roomOf(one)) ?? this.#host.name;
      const group = groups.get(owner);
      if (group) group.push(one);
      else groups.set(owner, [one]);
    }
    return [...groups];
  }

  async #list<T>(owner: string, method: string, args: readonly unknown[], here: () => Promise<T>): Promise<T> {
    if (owner === this.#host.name) return here();
    try {
      return (await this.#host.calls.ask(owner, method, args, LIST_MS)) as T;
    } catch (error) {
      const asked = error instanceof Refusal ? error.code : undefined;
      if (asked !== undefined && asked !== "busy" && asked !== "store-unavailable") throw error;
      // What this node knows of a room that it does not own is what the archive says.
      return here();
    }
  }
}
