/**
 * Who is in this node's rooms at other nodes: the picture that the owner makes of each edge from its words
 * (`crowds.ts`). The presence of the room is told what changes; where the digest of an edge differs from the
 * picture, the edge is asked for everybody; and all nodes are, where clients believe users to be in the room whom
 * nobody introduced.
 */
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { digestOf } from "./crowd.ts";
import { Lap } from "./lap.ts";
import type { Log } from "./log.ts";
import type { RoomPresence } from "./presence.ts";
import type { Crowd, Guest } from "./words.ts";

/** A room of this node, as far as the guests see it. */
export interface GuestsRoom {
  readonly presence: RoomPresence;
  readonly status: "opening" | "open" | "closed";
  /** Of an open room. */
  readonly state: { maySee(user: string): boolean };
}

/** What the guests need of their node. */
export interface GuestsHost {
  readonly bus: Pick<Bus, "tell" | "shared">;
  readonly clock: Clock;
  readonly log: Log;
  readonly name: string;
  /** The nodes that live, this one included. */
  readonly cluster: { readonly peers: { readonly living: readonly { readonly node: string }[] } };
  /** The awake rooms. */
  readonly rooms: ReadonlyMap<string, GuestsRoom>;
  /** Whether this node owns the room now. */
  owns(room: string): boolean;
  /** A room of this node, which wakes; throws the refusal when it cannot now. */
  room(id: string): GuestsRoom;
}

/** Pause between two laps, ms: an edge that was asked and did not answer is asked again with each. */
const LAP_MS = 250;
/** Times that an edge is asked; then its next word counts. */
const ASKS = 10;
/** How long a room that closed may take to be told again before its edges are asked, ms. */
const REOPEN_MS = 500;
/** Laps between two looks for edges that fell silent. */
const SILENT_LAPS = 4;
/** An edge that said nothing of a room where it had users for so long is asked, ms: it may have left none and lost the words. */
const SILENT_MS = 5_000;
/** Most rooms that one word asks about. */
const ASKED_MOST = 1_000;

/** The users of one room at one edge, as the owner knows. */
interface Picture {
  readonly users: Set<string>;
  digest: number;
  /** Monotonic ms. */
  saidAtMs: number;
}

/** A room that an edge must say everybody of. */
interface Want {
  /** Monotonic ms of the next question. */
  fromMs: number;
  left: number;
}

interface GuestRoom {
  /** The opening of the room that was told: another one knows nobody. */
  readonly presence: RoomPresence;
  readonly edges: Map<string, Picture>;
}

/** The guests of one owner. Bounded by the rooms awake, the other nodes and their connections. */
export class Guests {
  readonly #host: GuestsHost;
  readonly #rooms = new Map<string, GuestRoom>();
  /** Edge → room. */
  readonly #wanted = new Map<string, Map<string, Want>>();
  #asking = false;
  #laps = 0;
  readonly #lap: Lap;

  constructor(host: GuestsHost) {
    this.#host = host;
    this.#lap = new Lap({
      ...{ clock: host.clock, log: host.log, pauseMs: LAP_MS },
      run: () => this.#runLap(),
      failed: "who is elsewhere was not asked",
    });
  }

  /** Rooms with users at other nodes. */
  get size(): number {
    return this.#rooms.size;
  }

  /** Begins the laps. */
  start(): void {
    if (this.#host.bus.shared) this.#lap.start();
  }

  stop(): void {
    this.#lap.stop();
  }

  /** An edge says who is there. */
  onCrowds(from: string, crowds: readonly Crowd[]): void {
    for (const crowd of crowds) if (this.#host.owns(crowd.room)) this.#take(from, crowd);
  }

  #take(from: string, crowd: Crowd): void {
    const { room } = crowd;
    const before = this.#pictureOf(room, from);
    // Who is nowhere does not wake a room.
    const nobody = crowd.count === 0 && crowd.came.length === 0 && crowd.believed.length === 0;
    if (!before && nobody) return this.#answered(from, room);
    const actor = this.#wake(room);
    if (!actor) return this.#answered(from, room);
    const { presence } = actor;
    const guests = this.#roomOf(room, presence);
    const picture = guests.edges.get(from) ?? newPicture();
    guests.edges.set(from, picture);
    picture.saidAtMs = this.#host.clock.monotonic();
    // Of an open room it is known who may see it: what was said before a removal may come after it.
    const sees = (user: string): boolean => actor.status !== "open" || actor.state.maySee(user);
    const leave = (user: string): void => (sees(user) ? presence.depart(user, from) : presence.remove(user));
    if (crowd.whole) this.#keepOnly(picture, crowd.came, leave);
    for (const { user, name } of crowd.came) {
      add(picture, user);
      if (sees(user)) presence.arrive(user, name, from);
    }
    for (const user of crowd.went) {
      drop(picture, user);
      leave(user);
    }
    presence.suspect(crowd.believed);
    if (picture.users.size !== crowd.count || picture.digest !== crowd.digest) return this.#want(from, room, 0);
    this.#answered(from, room);
    if (picture.users.size === 0) this.#dropEdge(room, guests, from);
  }

  /** The room, unless it cannot be woken: the digests of the edges ask again. */
  #wake(room: string): GuestsRoom | undefined {
    try {
      return this.#host.room(room);
    } catch (error) {
      if (error instanceof Refusal) return undefined;
      throw error;
    }
  }

  #pictureOf(room: string, edge: string): Picture | undefined {
    const guests = this.#rooms.get(room);
    return guests && guests.presence === this.#host.rooms.get(room)?.presence ? guests.edges.get(edge) : undefined;
  }

  #roomOf(room: string, presence: RoomPresence): GuestRoom {
    let guests = this.#rooms.get(room);
    if (guests?.presence !== presence) {
      guests = { presence, edges: new Map() };
      this.#rooms.set(room, guests);
    }
    return guests;
  }

  #keepOnly(picture: Picture, came: readonly Guest[], gone: (user: string) => void): void {
    const there = new Set(came.map(({ user }) => user));
    for (const user of picture.users) {
      if (there.has(user)) continue;
      drop(picture, user);
      gone(user);
    }
  }

  #dropEdge(room: string, guests: GuestRoom, edge: string): void {
    guests.edges.delete(edge);
    if (guests.edges.size === 0 && this.#rooms.get(room) === guests) this.#rooms.delete(room);
  }

  #want(edge: string, room: string, delayMs: number): void {
    let rooms = this.#wanted.get(edge);
    if (!rooms) {
      rooms = new Map();
      this.#wanted.set(edge, rooms);
    }
    if (rooms.has(room)) return;
    rooms.set(room, { fromMs: this.#host.clock.monotonic() + delayMs, left: ASKS });
    if (delayMs > 0 || this.#asking) return;
    this.#asking = true;
    this.#host.clock.endOfTurn(() => this.#ask());
  }

  #answered(edge: string, room: string): void {
    const rooms = this.#wanted.get(edge);
    if (rooms?.delete(room) && rooms.size === 0) this.#wanted.delete(edge);
  }

  /** Asks what is due. */
  #ask(): void {
    this.#asking = false;
    const now = this.#host.clock.monotonic();
    for (const [edge, wants] of this.#wanted) {
      const rooms: string[] = [];
      for (const [room, want] of wants) {
        if (want.fromMs > now) continue;
        want.fromMs = now + LAP_MS;
        if (want.left-- === 0 || !this.#host.owns(room)) this.#answered(edge, room);
        else rooms.push(room);
      }
      for (let from = 0; from < rooms.length; from += ASKED_MOST) {
        this.#host.bus.tell(edge, { kind: "whoIsThere", rooms: rooms.slice(from, from + ASKED_MOST) });
      }
    }
  }

  #runLap(): void {
    this.#ask();
    if (this.#laps++ % SILENT_LAPS > 0) return;
    const silentMs = this.#host.clock.monotonic() - SILENT_MS;
    for (const [room, guests] of this.#rooms) {
      if (this.#host.rooms.get(room)?.presence !== guests.presence) this.forget(room);
      else for (const [edge, picture] of guests.edges) if (picture.saidAtMs < silentMs) this.#want(edge, room, 0);
    }
  }

  /** Clients believe users to be in the room whom no edge introduced: the words of one may be lost, and all are asked. */
  doubt(room: string): void {
    const { cluster, name } = this.#host;
    for (const { node } of cluster.peers.living) if (node !== name) this.#want(node, room, 0);
  }

  /** A node lives no more: who was there alone leaves at once, as noticing it took as long as a grace. */
  gone(node: string): void {
    this.#wanted.delete(node);
    for (const [room, guests] of this.#rooms) {
      const picture = guests.edges.get(node);
      if (!picture) continue;
      this.#dropEdge(room, guests, node);
      for (const user of picture.users) guests.presence.vanish(user, node);
    }
  }

  /** A room closed. If this node still owns it then, its next opening is told again: the edges are asked. */
  forget(room: string): void {
    const guests = this.#rooms.get(room);
    this.#rooms.delete(room);
    for (const edge of guests?.edges.keys() ?? []) this.#want(edge, room, REOPEN_MS);
  }
}

function newPicture(): Picture {
  return { users: new Set(), digest: 0, saidAtMs: 0 };
}

function add(picture: Picture, user: string): void {
  if (picture.users.has(user)) return;
  picture.users.add(user);
  picture.digest = (picture.digest + digestOf(user)) >>> 0;
}

function drop(picture: Picture, user: string): void {
  if (!picture.users.delete(user)) return;
  picture.digest = (picture.digest - digestOf(user)) >>> 0;
}
