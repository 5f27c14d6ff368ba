/** The signed-in user's desk: sign in and out, the connection, the list of rooms, and what is done to rooms. */
import type { IMessage } from "@stomp/stompjs";
import { Around } from "./around.ts";
import { Sending } from "./sending.ts";
import { explain, RestError, retryOf, Session, type SessionParts, sentenceOf } from "./session.ts";
import { entryOfFrame, entryOfItem, type ListOf, type Member, type RoomItem, type User } from "./shapes.ts";
import { arrived, EMPTY, forgotten, listed, previewOf, type Room, STORE_BOUNDS, Store, withRoom } from "./store.ts";
import { Talk } from "./talk.ts";
import { type Goodbye, Wire } from "./wire.ts";

const LIST_MS = 15_000; // the list of rooms is asked again this often while the page is visible
const RENEW_AGAIN_MS = 15_000; // after a refresh that got no answer

/** Everything the page can do. */
export class Desk {
  readonly store = new Store();
  readonly session: Session;
  readonly talk: Talk;
  readonly sending: Sending;
  readonly around: Around;
  readonly #wire: Wire;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #listAgain: ReturnType<typeof setInterval> | undefined;
  #listing = false;

  /** `url` is the WebSocket endpoint. */
  constructor(url: string, parts: SessionParts) {
    this.session = new Session(parts);
    this.#wire = new Wire(url, {
      state: (wire) => this.store.set({ wire }),
      token: () => this.#token(),
      up: () => this.#up(),
      down: (goodbye) => this.#down(goodbye),
      notice: (message) => this.#notice(message),
      refused: (message) => this.#refused(message),
    });
    const shared = { store: this.store, session: this.session, wire: this.#wire };
    this.around = new Around(shared);
    this.talk = new Talk({ ...shared, around: this.around });
    this.sending = new Sending(this.store, this.#wire);
  }

  /** At the start of the page: goes on where the last visit ended. */
  async begin(): Promise<void> {
    if (!this.session.remembered) return this.store.set({ phase: "out" });
    try {
      this.#enter(await this.session.refresh());
    } catch (error) {
      if (!(error instanceof RestError)) throw error;
      if (error.status === 401) this.leave("Your session has ended. Please log in again.");
      else setTimeout(() => void this.begin(), 2_000);
    }
  }

  /** Signs in. Throws `RestError`. */
  async login(credentials: { email: string; password: string }): Promise<void> {
    this.#enter(await this.session.login(credentials));
  }

  /** Makes an account and signs in. Throws `RestError`. */
  async signup(account: { email: string; password: string; name: string }): Promise<void> {
    this.#enter(await this.session.signup(account));
  }

  #enter(user: User): void {
    this.store.set({ ...EMPTY, phase: "in", user });
    this.#wire.start(user.id);
    this.#renewLater();
    void this.listRooms();
    clearInterval(this.#listAgain);
    this.#listAgain = setInterval(() => {
      if (document.visibilityState === "visible" && this.#wire.up) void this.listRooms();
    }, LIST_MS);
  }

  /** Signs out here, and at the server as far as it can be reached. */
  async logout(): Promise<void> {
    this.leave(undefined);
    await this.session.logout();
  }

  /** Shows the sign-in again, with a sentence that says why. */
  leave(notice: string | undefined): void {
    clearTimeout(this.#renewal);
    clearInterval(this.#listAgain);
    this.sending.stop();
    this.#wire.stop();
    this.store.set({ ...EMPTY, phase: "out", notice });
  }

  /** The network came back, or the reader did. */
  hurry(): void {
    this.#wire.hurry();
  }

  /** The network went away. */
  offline(): void {
    this.#wire.drop();
  }

  async #token(): Promise<string> {
    try {
      return await this.session.token();
    } catch (error) {
      if (error instanceof RestError && error.status === 401) this.leave("You have been signed out.");
      throw error;
    }
  }

  #renewLater(): void {
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => void this.#renew(), Math.max(1_000, this.session.renewInMs()));
  }

  async #renew(): Promise<void> {
    try {
      await this.session.refresh();
      this.#wire.renew(await this.session.token());
      this.#renewLater();
    } catch (error) {
      if (!(error instanceof RestError)) throw error;
      if (error.status === 401) this.leave("You have been signed out.");
      else this.#renewal = setTimeout(() => void this.#renew(), RENEW_AGAIN_MS);
    }
  }

  #up(): void {
    this.around.connected();
    this.talk.resume();
    this.sending.connected();
    void this.listRooms();
  }

  #down(goodbye: Goodbye): void {
    this.store.set({ catching: undefined });
    this.sending.ended(goodbye);
    // The token is at fault, not the network: the next try fetches another one.
    if (goodbye.close === 4401 || retryOf(goodbye.code) === "login") this.session.distrust();
  }

  #notice(message: IMessage): void {
    const room = message.headers["room"] ?? "";
    const entry = entryOfFrame(message);
    if (entry === undefined || entry.event !== "message") return void this.listRooms();
    const { open, rooms } = this.store.state;
    if (!rooms.some((one) => one.id === room)) return void this.listRooms();
    if (room !== open) this.store.change((state) => arrived(state, room, entry));
  }

  #refused(message: IMessage): void {
    if (this.sending.refused(message)) return;
    const code = message.headers["code"] ?? "";
    const { open } = this.store.state;
    if (open !== undefined && message.headers["receipt-id"] === `watch.${open}`) this.talk.lost(open, code);
    else this.store.set({ notice: sentenceOf(code) });
  }

  /** Asks for the list of rooms. */
  async listRooms(): Promise<void> {
    if (this.#listing) return;
    this.#listing = true;
    try {
      const items = await this.#all<RoomItem>("/api/rooms?limit=100", STORE_BOUNDS.rooms);
      this.store.change((state) => listed(state, items.map(roomOfItem)));
    } catch (error) {
      if (!(error instanceof RestError)) throw error;
      if (error.status > 0) this.store.set({ notice: error.message });
    } finally {
      this.#listing = false;
    }
  }

  async #all<T>(path: string, most: number): Promise<readonly T[]> {
    const items: T[] = [];
    for (let next: string | null | undefined = ""; next !== undefined && next !== null && items.length < most; ) {
      const query: string = next === "" ? "" : `&cursor=${encodeURIComponent(next)}`;
      const page = (await this.session.rest("GET", `${path}${query}`)) as ListOf<T>;
      items.push(...page.items);
      next = page.next;
    }
    return items;
  }

  /** The public rooms. Throws `RestError`. */
  async publicRooms(): Promise<readonly Room[]> {
    return (await this.#all<RoomItem>("/api/rooms?scope=public&limit=100", 200)).map(roomOfItem);
  }

  /** Makes a room, or finds the direct room with a user, and answers its id. Throws `RestError`. */
  async createRoom(room: { name?: string; type: string; members?: readonly string[] }): Promise<string> {
    const made = roomOfItem((await this.session.rest("POST", "/api/rooms", room)) as RoomItem);
    this.store.change((state) => withRoom(state, made));
    return made.id;
  }

  /** Joins a public room. Throws `RestError`. */
  async join(room: string): Promise<void> {
    const joined = (await this.session.rest("POST", `${pathOf(room)}/join`, {})) as RoomItem;
    this.store.change((state) => withRoom(state, roomOfItem(joined)));
  }

  /** Leaves a room. Throws `RestError`. */
  async leaveRoom(room: string): Promise<void> {
    await this.session.rest("POST", `${pathOf(room)}/leave`, {});
    if (this.store.state.open === room) this.talk.close();
    // The end of the subscription may have been heard first; it is no news to who asked for it.
    this.store.change((state) => ({ ...forgotten(state, room), notice: undefined }));
  }

  /** Users whose name has the text. Throws `RestError`. */
  async findUsers(text: string): Promise<readonly User[]> {
    const found = (await this.session.rest("GET", `/api/users?q=${encodeURIComponent(text)}`)) as ListOf<User>;
    return found.items.filter((user) => user.id !== this.store.state.user?.id);
  }

  /** Members of a room. Throws `RestError`. */
  async members(room: string): Promise<readonly Member[]> {
    return this.#all<Member>(`${pathOf(room)}/members?limit=100`, 500);
  }

  /** Adds a member. Throws `RestError`. */
  async addMember(room: string, user: string): Promise<void> {
    await this.session.rest("POST", `${pathOf(room)}/members`, { user });
  }

  /** Removes a member. Throws `RestError`. */
  async removeMember(room: string, user: string): Promise<void> {
    await this.session.rest("DELETE", `${pathOf(room)}/members/${encodeURIComponent(user)}`);
  }

  /** Deletes a message of the open room. Throws `RestError`. */
  async deleteMessage(offset: number): Promise<void> {
    await this.session.rest("DELETE", this.#message(offset));
  }

  /** Changes an own message of the open room. Throws `RestError`. */
  async editMessage(offset: number, body: string): Promise<void> {
    await this.session.rest("PATCH", this.#message(offset), { body });
  }

  /** Adds or takes back a reaction; a refusal is shown as a notice. */
  async react(offset: number, reaction: string, on: boolean): Promise<void> {
    const path = `${this.#message(offset)}/reactions/${encodeURIComponent(reaction)}`;
    await this.session.rest(on ? "PUT" : "DELETE", path).catch((error: unknown) => this.say(explain(error)));
  }

  #message(offset: number): string {
    return `${pathOf(this.store.state.open ?? "")}/messages/${offset}`;
  }

  /** Shows a sentence to the reader. */
  say(notice: string | undefined): void {
    this.store.set({ notice });
  }
}

function pathOf(room: string): string {
  return `/api/rooms/${encodeURIComponent(room)}`;
}

/** The room of a REST item. */
function roomOfItem(item: RoomItem): Room {
  const { id, name, type, role, unread, readOffset, lastMessage, peer } = item;
  const last = lastMessage ? previewOf(entryOfItem(lastMessage)) : undefined;
  return { id, name, type, role, unread, readOffset, peer: peer ?? undefined, last };
}
