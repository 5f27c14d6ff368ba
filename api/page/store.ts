/** Everything the page shows, in one immutable state; changes are pure functions on it. */
import { type RoomLog, unloaded } from "./log.ts";
import type { LogEntry, User } from "./shapes.ts";
import type { WireState } from "./wire.ts";

/** Bounds of the state. */
export const STORE_BOUNDS = Object.freeze({
  logs: 8, // rooms whose log stays in memory; the longest unused goes, unless it has unsent messages
  rooms: 500, // listed
  people: 1_000, // listed as present in a room
});

/** The last message of a room, as the list shows it. */
export interface Preview {
  readonly sender: string;
  readonly senderName: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** A room in the list. */
export interface Room {
  readonly id: string;
  readonly name: string;
  readonly type: "public" | "private" | "direct";
  readonly role: string;
  readonly unread: number;
  readonly readOffset: number;
  /** The other user of a direct room. */
  readonly peer: string | undefined;
  readonly last: Preview | undefined;
}

/** Who is in the open room. */
export interface People {
  readonly count: number;
  /** User id → name. */
  readonly here: ReadonlyMap<string, string>;
  /** User id → when their typing is taken for over, ms since 1970. */
  readonly typing: ReadonlyMap<string, number>;
  /** User id → highest offset read, as far as heard. */
  readonly read: ReadonlyMap<string, number>;
}

/** How the open room is catching up with its log. */
export interface Catching {
  readonly total: number;
  readonly left: number;
}

/** The whole state. */
export interface State {
  /** `starting` until it is known whether somebody is signed in. */
  readonly phase: "starting" | "out" | "in";
  readonly user: User | undefined;
  readonly wire: WireState;
  readonly rooms: readonly Room[];
  readonly roomsLoaded: boolean;
  readonly open: string | undefined;
  /** The room that was open and may no longer be seen, until the page has left its address. */
  readonly lost: string | undefined;
  /** Least recently used first. */
  readonly logs: ReadonlyMap<string, RoomLog>;
  readonly people: People;
  /** Messages after this offset are new to the reader of the open room; undefined when none are. */
  readonly divider: number | undefined;
  readonly catching: Catching | undefined;
  /** A page of history is on its way. */
  readonly paging: boolean;
  /** A sentence for the reader. */
  readonly notice: string | undefined;
}

/** Nobody in a room. */
export const NOBODY: People = Object.freeze({ count: 0, here: new Map(), typing: new Map(), read: new Map() });

/** The state at the start, and again after a sign-out. */
export const EMPTY: State = Object.freeze<State>({
  phase: "starting",
  user: undefined,
  wire: { kind: "off" },
  rooms: [],
  roomsLoaded: false,
  open: undefined,
  lost: undefined,
  logs: new Map(),
  people: NOBODY,
  divider: undefined,
  catching: undefined,
  paging: false,
  notice: undefined,
});

/** Holds the state and tells who listens. */
export class Store {
  #state: State = EMPTY;
  readonly #listeners = new Set<() => void>();

  get state(): State {
    return this.#state;
  }

  /** Changes the state by a pure function; listeners hear only of real changes. */
  change(by: (state: State) => State): void {
    const next = by(this.#state);
    if (next === this.#state) return;
    this.#state = next;
    for (const listener of this.#listeners) listener();
  }

  /** Sets some parts. */
  set(part: Partial<State>): void {
    this.change((state) => ({ ...state, ...part }));
  }

  /** Calls `listener` after each change, until the function answered is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** The log of a room, or an unloaded one. */
export function logOf(state: State, room: string | undefined): RoomLog {
  return (room === undefined ? undefined : state.logs.get(room)) ?? UNKNOWN;
}

const UNKNOWN = unloaded();

/** Changes the log of a room. */
export function withLog(state: State, room: string, by: (log: RoomLog) => RoomLog): State {
  const before = state.logs.get(room) ?? UNKNOWN;
  const after = by(before);
  if (after === before) return state;
  return { ...state, logs: new Map(state.logs).set(room, after) };
}

/** Makes a room the open one: its log becomes the most recently used, and the longest unused go. */
export function opened(state: State, room: string): State {
  const logs = new Map(state.logs);
  const log = logs.get(room) ?? UNKNOWN;
  logs.delete(room);
  for (const [id, old] of logs) {
    if (logs.size < STORE_BOUNDS.logs) break;
    if (old.outbox.length === 0) logs.delete(id);
  }
  logs.set(room, log);
  const divider = dividerOf(state.rooms.find((one) => one.id === room));
  return { ...state, open: room, logs, people: NOBODY, divider, catching: undefined, paging: false };
}

function dividerOf(room: Room | undefined): number | undefined {
  return room !== undefined && room.unread > 0 ? room.readOffset : undefined;
}

/** Forgets a room that one may no longer see. */
export function forgotten(state: State, room: string): State {
  const logs = new Map(state.logs);
  logs.delete(room);
  const lost = state.open === room ? room : state.lost;
  const open = state.open === room ? undefined : state.open;
  return { ...state, logs, open, lost, rooms: state.rooms.filter((one) => one.id !== room) };
}

/** The list as the server tells it; what this page already read is not unread again. */
export function listed(state: State, rooms: readonly Room[]): State {
  const known = new Map(state.rooms.map((room) => [room.id, room]));
  const merged = rooms.slice(0, STORE_BOUNDS.rooms).map((room) => {
    const readHere = known.get(room.id)?.readOffset ?? 0;
    return readHere > room.readOffset ? { ...room, readOffset: readHere, unread: 0 } : room;
  });
  return { ...state, rooms: sorted(merged), roomsLoaded: true };
}

/** Adds a room to the list, or replaces it. */
export function withRoom(state: State, room: Room): State {
  return { ...state, rooms: sorted([...state.rooms.filter((one) => one.id !== room.id), room]) };
}

function sorted(rooms: readonly Room[]): readonly Room[] {
  return [...rooms].sort((a, b) => (b.last?.at ?? 0) - (a.last?.at ?? 0) || a.name.localeCompare(b.name));
}

/** A message came to a room of the list: it is its last, and unread unless its reader wrote it. */
export function arrived(state: State, room: string, entry: LogEntry): State {
  if (entry.event !== "message") return state;
  const at = state.rooms.findIndex((one) => one.id === room);
  const before = state.rooms[at];
  if (before === undefined || (before.last !== undefined && entry.at < before.last.at)) return state;
  const own = entry.sender === state.user?.id;
  const unread = own || entry.offset <= before.readOffset ? before.unread : before.unread + 1;
  const rooms = state.rooms.with(at, { ...before, unread, last: previewOf(entry) });
  return { ...state, rooms: sorted(rooms) };
}

/** What the list says of a message. */
export function previewOf(entry: LogEntry): Preview {
  const text = entry.deleted ? "Message deleted" : (entry.text ?? binaryText(entry.bytes));
  return { sender: entry.sender, senderName: entry.senderName, text: text.slice(0, 200), at: entry.at };
}

/** How a body that is no text is shown. */
export function binaryText(bytes: number): string {
  return `(binary, ${bytes} bytes)`;
}

/** The reader has seen the room up to an offset. */
export function read(state: State, room: string, offset: number): State {
  const at = state.rooms.findIndex((one) => one.id === room);
  const before = state.rooms[at];
  if (before === undefined || (before.readOffset >= offset && before.unread === 0)) return state;
  const after = { ...before, unread: 0, readOffset: Math.max(before.readOffset, offset) };
  return { ...state, rooms: state.rooms.with(at, after) };
}

/** Unread messages over all rooms. */
export function unreadTotal(state: State): number {
  return state.rooms.reduce((sum, room) => sum + room.unread, 0);
}

/** A signal about a user of the open room. */
export interface Signal {
  readonly event: string;
  readonly user: string;
  readonly name: string;
  readonly state: string;
  readonly offset: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

const TYPING_MS = 8_000; // a little over the server's own time-out: its stop may have been dropped

/** Applies a signal to who is here. */
export function signalled(people: People, signal: Signal): People {
  const { user } = signal;
  if (signal.event === "read" || signal.event === "delivered") {
    if (signal.event === "delivered" || (people.read.get(user) ?? 0) >= signal.offset) return people;
    return { ...people, read: new Map(people.read).set(user, signal.offset) };
  }
  if (signal.event === "typing") {
    const typing = new Map(people.typing);
    if (signal.state === "start" && typing.size < STORE_BOUNDS.people) typing.set(user, signal.at + TYPING_MS);
    else typing.delete(user);
    return { ...people, typing };
  }
  if (signal.event !== "presence") return people;
  const here = new Map(people.here);
  if (signal.state === "join" && !here.has(user)) {
    if (here.size < STORE_BOUNDS.people) here.set(user, signal.name);
    return { ...people, here, count: people.count + 1 };
  }
  if (signal.state !== "leave" || !here.delete(user)) return people;
  const typing = new Map(people.typing);
  typing.delete(user);
  return { ...people, here, typing, count: Math.max(here.size, people.count - 1) };
}

/** Forgets typing that is over. */
export function typingUntil(people: People, now: number): People {
  const typing = new Map([...people.typing].filter(([, until]) => until > now));
  return typing.size === people.typing.size ? people : { ...people, typing };
}
