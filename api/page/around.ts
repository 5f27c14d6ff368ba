/** Signals of the open room, both ways: who is here, who types, how far one has read. */
import type { IMessage } from "@stomp/stompjs";
import { RestError, type Session } from "./session.ts";
import { objectOf, type Presence, textOf } from "./shapes.ts";
import { logOf, type Signal, type Store, signalled, typingUntil } from "./store.ts";
import type { Wire } from "./wire.ts";

const READ_MS = 1_000; // read markers go out at most this often
const TYPING_MS = 4_000; // "still typing" goes out at most this often; the server forgets after 6 s

/** The signals of the open room. */
export class Around {
  readonly #store: Store;
  readonly #session: Pick<Session, "rest">;
  readonly #wire: Wire;
  #read = { room: "", offset: 0, at: 0 };
  #readTimer: ReturnType<typeof setTimeout> | undefined;
  #typingAt = 0;

  constructor(parts: { store: Store; session: Pick<Session, "rest">; wire: Wire }) {
    this.#store = parts.store;
    this.#session = parts.session;
    this.#wire = parts.wire;
  }

  /** Tells the room that the reader has read up to an offset; several in a second are one, the highest. */
  tellRead(room: string, offset: number): void {
    if (this.#read.room === room && this.#read.offset >= offset) return;
    const wait = this.#read.room === room ? Math.max(0, this.#read.at + READ_MS - Date.now()) : 0;
    this.#read = { room, offset, at: this.#read.at };
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => {
      this.#read = { room, offset, at: Date.now() };
      this.#wire.tell(`/app/room.${room}.read`, { offset });
    }, wait);
  }

  /** A new connection: the last marker may not have arrived. */
  connected(): void {
    this.#read = { room: "", offset: 0, at: 0 };
    this.#typingAt = 0;
  }

  /** The reader writes, or stopped. Many starts in a row are one. */
  typing(active: boolean): void {
    const room = this.#store.state.open;
    const now = Date.now();
    if (room === undefined || (active ? now - this.#typingAt < TYPING_MS : this.#typingAt === 0)) return;
    this.#typingAt = active ? now : 0;
    this.#wire.tell(`/app/room.${room}.typing`, { state: active ? "start" : "stop" });
  }

  /** A signal came. */
  heard(message: IMessage): void {
    const { headers } = message;
    const { user, state, offset } = objectOf(textOf(message.binaryBody));
    if (typeof user !== "string") return;
    const name = headers["sender"] === user ? (headers["sender-name"] ?? user) : this.nameOf(user);
    const event = headers["event"] ?? "";
    this.#apply({
      event,
      user,
      name,
      state: typeof state === "string" ? state : "",
      offset: typeof offset === "number" ? offset : 0,
      at: Date.now(),
    });
    const room = this.#store.state.open;
    if (event === "presence" && state === "join" && name === user && room !== undefined) void this.look(room);
  }

  /** A message of a user came: they no longer type it, and have read what was before it, which no signal says. */
  wrote(user: string, offset: number): void {
    const signal = { user, name: user, state: "stop", offset, at: Date.now() };
    this.#apply({ ...signal, event: "read" });
    if (this.#store.state.people.typing.has(user)) this.#apply({ ...signal, event: "typing" });
  }

  /** Forgets typing whose end was not heard. `now` in ms since 1970. */
  expire(now: number): void {
    this.#store.change((state) => {
      const people = typingUntil(state.people, now);
      return people === state.people ? state : { ...state, people };
    });
  }

  #apply(signal: Signal): void {
    this.#store.change((state) => {
      const people = signalled(state.people, signal);
      return people === state.people ? state : { ...state, people };
    });
  }

  /** Asks who is in a room. */
  async look(room: string): Promise<void> {
    try {
      const path = `/api/rooms/${encodeURIComponent(room)}/presence`;
      const presence = (await this.#session.rest("GET", path)) as Presence;
      const here = new Map(presence.users.map((user) => [user.id, user.name]));
      this.#store.change((state) =>
        state.open === room ? { ...state, people: { ...state.people, here, count: presence.count } } : state,
      );
    } catch (error) {
      // Without it the list stays as it was; the log says whether the room is still there.
      if (!(error instanceof RestError)) throw error;
    }
  }

  /** The name of a user as far as this page has met it; else the id. */
  nameOf(user: string): string {
    const { people, rooms, open, user: own } = this.#store.state;
    if (own !== undefined && user === own.id) return own.name;
    const here = people.here.get(user);
    if (here !== undefined && here !== user) return here;
    const entry = logOf(this.#store.state, open).entries.findLast((one) => one.sender === user);
    return entry?.senderName ?? rooms.find((room) => room.peer === user)?.name ?? user;
  }
}
