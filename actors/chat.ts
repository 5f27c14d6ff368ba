/**
 * The face of the chat engine towards REST and administration: what `api/` may ask. Everything that
 * changes a room goes through the room's actor. Refusals are thrown as `Refusal`.
 */
import type { MemberRecord, Role, RoomType } from "./archive.ts";
import type { ArchivedEntry } from "./entry.ts";
import type { ReactionChange } from "./fate.ts";

/** A signed-in user, as the token says. */
export interface Caller {
  readonly id: string;
  readonly name: string;
}

/** A room as one user sees it. */
export interface RoomView {
  readonly id: string;
  /** For a direct room, the other user's name. */
  readonly name: string;
  readonly type: RoomType;
  /** `none` for a public room one has not joined. */
  readonly role: Role;
  readonly headOffset: number;
  readonly storedOffset: number;
  readonly unread: number;
  readonly readOffset: number;
  readonly lastMessage: ArchivedEntry | undefined;
  /** For a direct room, the other user's id. */
  readonly peer: string | undefined;
}

/** A page of a list; `next` is the cursor of the page after, absent on the last. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | undefined;
}

/** Which page of a list: `cursor` as the page before gave it. */
export interface PageOf {
  readonly cursor?: string | undefined;
  /** 1 to 200. */
  readonly limit: number;
}

/** Part of a room's history: exclusive offsets, times in ms since 1970 (`fromMs` inclusive, `toMs` exclusive). */
export interface HistoryQuery {
  readonly after?: number | undefined;
  readonly before?: number | undefined;
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  /** 1 to 200. */
  readonly limit: number;
}

/** Rising entries; newest page unless `after` or `fromMs` is given. */
export interface History {
  readonly items: readonly ArchivedEntry[];
  readonly storedOffset: number;
  /** Whether more entries lie beyond this page in the direction of reading. */
  readonly more: boolean;
}

/** A message to post. */
export interface NewMessage {
  readonly body: Uint8Array;
  readonly text: boolean;
  readonly contentType: string;
  /** Flat: name, value. */
  readonly headers: readonly string[];
  readonly clientMessageId: string | undefined;
}

/** Who is here: present users of a room. */
export interface PresenceView {
  readonly count: number;
  /** At most 1,000. */
  readonly users: readonly { readonly id: string; readonly name: string; readonly typing: boolean }[];
}

/** One live connection, for administrators. */
export interface ConnectionView {
  readonly id: string;
  /** The node it is connected to. */
  readonly node: string;
  readonly user: string;
  readonly address: string;
  readonly connectedAt: number;
  readonly subscriptions: number;
}

/** A room that is awake at its owner. */
export interface AwakeRoomView {
  readonly id: string;
  /** Its owner. */
  readonly node: string;
  readonly headOffset: number;
  readonly storedOffset: number;
  /** Users present, wherever they are connected. */
  readonly present: number;
  /** Subscriptions to its log at the owner. */
  readonly subscriptions: number;
}

/** One shard, as the node that was asked knows it. */
export interface ShardView {
  readonly shard: number;
  /** Undefined while nobody is known to own it. */
  readonly owner: string | undefined;
  /** The highest term heard of. */
  readonly term: number;
  /** Its state at the node that was asked. */
  readonly state: string;
  /** Rooms of it that are awake there. */
  readonly rooms: number;
}

/** One living node. */
export interface NodeView {
  readonly node: string;
  /** Whether it is the one that was asked. */
  readonly here: boolean;
  readonly draining: boolean;
  /** When it started, ms since 1970. */
  readonly since: number;
  readonly connections: number;
  /** Shards it owns. */
  readonly shards: number;
}

/** What REST asks of rooms. Every method checks access itself. */
export interface Chat {
  /** Direct: `members` holds the one other user; answers the existing room if there is one. */
  createRoom(caller: Caller, room: { name: string; type: RoomType; members: readonly string[] }): Promise<RoomView>;
  myRooms(caller: Caller, page: PageOf): Promise<Page<RoomView>>;
  publicRooms(caller: Caller, page: PageOf): Promise<Page<RoomView>>;
  room(caller: Caller, room: string): Promise<RoomView>;
  renameRoom(caller: Caller, room: string, name: string): Promise<RoomView>;
  deleteRoom(caller: Caller, room: string): Promise<void>;
  join(caller: Caller, room: string): Promise<RoomView>;
  leave(caller: Caller, room: string): Promise<void>;
  members(caller: Caller, room: string, page: PageOf): Promise<Page<MemberRecord>>;
  addMember(caller: Caller, room: string, user: { id: string; name: string; role: Role }): Promise<MemberRecord>;
  setRole(caller: Caller, room: string, user: string, role: Role): Promise<MemberRecord>;
  removeMember(caller: Caller, room: string, user: string): Promise<void>;
  presence(caller: Caller, room: string): Promise<PresenceView>;
  /** Moves the read marker up to `offset` (clamped to the head); durable when answered. */
  markRead(caller: Caller, room: string, offset: number): Promise<{ readOffset: number; unread: number }>;
  /** Present users of many rooms; rooms one may not see are left out. */
  counts(caller: Caller, rooms: readonly string[]): Promise<Readonly<Record<string, number>>>;

  history(caller: Caller, room: string, query: HistoryQuery): Promise<History>;
  /** Resolves once stored; a retry with the same `clientMessageId` answers the first one's entry. */
  post(caller: Caller, room: string, message: NewMessage): Promise<ArchivedEntry>;
  /** The sender may edit; an entry `edited` follows in the log. */
  edit(caller: Caller, room: string, offset: number, message: NewMessage): Promise<ArchivedEntry>;
  /** The sender or a room admin may delete; an entry `deleted` follows in the log. */
  deleteMessage(caller: Caller, room: string, offset: number): Promise<void>;
  /** Adds or takes back a reaction; an entry `reaction` follows in the log. */
  react(caller: Caller, room: string, offset: number, change: ReactionChange): Promise<ArchivedEntry>;
}

/** Which items of a list over many nodes: those of one node, or of all. */
export interface NodePageOf extends PageOf {
  readonly node?: string | undefined;
}

/**
 * What administrators ask, at any node, of all. A node that lives and does not answer is a `Refusal`
 * `store-unavailable` that names it; one that was named and does not live is `not-found`.
 */
export interface Administration {
  /** Ends every connection and refuses every token of a user issued before now; `token` (a `jti`) narrows it to one. */
  revoke(user: string, token: string | undefined): Promise<void>;
  /** False when no such connection is open anywhere. */
  closeConnection(id: string): Promise<boolean>;
  /** By node, then by id. */
  connections(page: NodePageOf): Promise<Page<ConnectionView>>;
  /** By node, then by id. */
  rooms(page: NodePageOf): Promise<Page<AwakeRoomView>>;
  /** All shards; `moves` counts the changes of owners that this node heard of since it started. */
  shards(): { readonly items: readonly ShardView[]; readonly moves: number };
  /** By name. */
  nodes(): readonly NodeView[];
}
