/**
 * What is asked of no one room: making rooms, and lists of many. It is done where it is asked; what a room's
 * owner must say or do is asked of the owner through `LobbyRooms`.
 */
import type { Archive, RoomRecord, RoomType } from "./archive.ts";
import type { Bus } from "./bus.ts";
import type { Caller, Page, PageOf, RoomView } from "./chat.ts";
import type { Clock } from "./clock.ts";
import { Refusal, StoreFailure } from "./codes.ts";
import { isUserId } from "./entry.ts";
import type { Log } from "./log.ts";

/** Members named at a room's creation; more are added one by one. */
export const FIRST_MEMBERS_MOST = 256;
/** Rooms asked at once for their presence. */
export const COUNTS_MOST = 200;

/** The first members of a room. */
export interface FirstMembers {
  /** Role of who makes the room; the others are members. */
  readonly first: "admin" | "member";
  readonly others: readonly string[];
}

/** What the lobby asks of rooms, wherever they are owned. */
export interface LobbyRooms {
  room(caller: Caller, room: string): Promise<RoomView>;
  /** Adds the caller and others where they are missing; true when anybody was. */
  addFirst(caller: Caller, room: string, members: FirstMembers): Promise<boolean>;
  /** Rooms as the caller sees them, in the order of the records. */
  views(caller: Caller, rooms: readonly RoomRecord[]): Promise<readonly RoomView[]>;
  /** Present users of rooms; those that one may not see are left out. */
  countsOf(caller: Caller, rooms: readonly string[]): Promise<Readonly<Record<string, number>>>;
}

/** What the lobby needs of its node. */
export interface LobbyHost {
  readonly archive: Archive;
  readonly bus: Pick<Bus, "notify">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Makes and lists rooms. */
export class Lobby {
  readonly #host: LobbyHost;
  readonly #rooms: LobbyRooms;
  readonly #newId: () => string;

  constructor(host: LobbyHost, rooms: LobbyRooms, newId: () => string) {
    this.#host = host;
    this.#rooms = rooms;
    this.#newId = newId;
  }

  /** As `Chat.createRoom`: the record is made here, its first members by its owner. */
  async createRoom(
    caller: Caller,
    room: { name: string; type: RoomType; members: readonly string[] },
  ): Promise<RoomView> {
    const others = [...new Set(room.members)].filter((user) => user !== caller.id);
    if (others.length > FIRST_MEMBERS_MOST)
      throw new Refusal("bad-request", `At most ${FIRST_MEMBERS_MOST} members at first.`);
    for (const user of others)
      if (!isUserId(user)) throw new Refusal("bad-request", `${JSON.stringify(user)} is no user id.`);
    if (room.type === "direct") {
      const other = others[0];
      if (other === undefined || others.length > 1)
        throw new Refusal("bad-request", "A direct room has one other member.");
      return this.#rooms.room(caller, await this.direct(caller, other));
    }
    const record: RoomRecord = {
      id: this.#newId(),
      name: room.name,
      type: room.type,
      createdAt: this.#host.clock.now(),
      createdBy: caller.id,
      rev: 1,
    };
    await storing(this.#host.log, () => this.#host.archive.createRoom(record));
    await this.#rooms.addFirst(caller, record.id, { first: "admin", others });
    return this.#rooms.room(caller, record.id);
  }

  /** The id of the direct room of two users, made on first use. */
  async direct(from: Caller, to: string): Promise<string> {
    if (to === from.id) throw new Refusal("forbidden", "A direct room has two users.");
    if (!isUserId(to)) throw new Refusal("bad-request", `${JSON.stringify(to)} is no user id.`);
    const pair: readonly [string, string] = from.id < to ? [from.id, to] : [to, from.id];
    const wanted: RoomRecord = {
      id: this.#newId(),
      name: "",
      type: "direct",
      createdAt: this.#host.clock.now(),
      createdBy: from.id,
      pair,
      rev: 1,
    };
    const { room } = await storing(this.#host.log, () => this.#host.archive.createRoom(wanted));
    // Also for a room that is there: the process may have died between the room and its members.
    const added = await this.#rooms.addFirst(from, room.id, { first: "member", others: [to] });
    if (added) this.#host.bus.notify({ kind: "notice", user: to, event: "direct", room: room.id, by: from.id });
    return room.id;
  }

  async myRooms(caller: Caller, page: PageOf): Promise<Page<RoomView>> {
    const rooms = await storing(this.#host.log, () => this.#host.archive.roomsOf(caller.id, keyPage(page)));
    return this.#viewPage(caller, rooms, page);
  }

  async publicRooms(caller: Caller, page: PageOf): Promise<Page<RoomView>> {
    const rooms = await storing(this.#host.log, () => this.#host.archive.publicRooms(keyPage(page)));
    return this.#viewPage(caller, rooms, page);
  }

  async #viewPage(caller: Caller, rooms: readonly RoomRecord[], page: PageOf): Promise<Page<RoomView>> {
    const shown = rooms.slice(0, page.limit);
    const items = await this.#rooms.views(caller, shown);
    return { items, next: rooms.length > page.limit ? shown[shown.length - 1]?.id : undefined };
  }

  counts(caller: Caller, rooms: readonly string[]): Promise<Readonly<Record<string, number>>> {
    return this.#rooms.countsOf(caller, rooms.slice(0, COUNTS_MOST));
  }
}

function keyPage(page: PageOf): { after?: string; limit: number } {
  return page.cursor === undefined ? { limit: page.limit + 1 } : { after: page.cursor, limit: page.limit + 1 };
}

/** Turns a store's silence into a coded refusal. */
export async function storing<T>(log: Log, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StoreFailure)) throw error;
    log.warn({ err: error }, "the archive did not answer");
    throw new Refusal("store-unavailable", undefined, 1_000);
  }
}
