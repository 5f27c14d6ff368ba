/**
 * One node: wires rooms, audiences, connections and the ports together. The way of one message:
 *
 *   connection.send → node.post → room.post → (end of turn) shard.flush → bus.append → bus.publish
 *                                                → audience.take → fanout.entries
 *                                                → writer.enqueue → archive → RECEIPT
 */
import { LRUCache } from "lru-cache";
import type { Archive } from "./archive.ts";
import { Audiences, type AudiencesHost } from "./audiences.ts";
import type { Bus, BusReceiver, Notice, Pack, Signal } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { Connection } from "./connection.ts";
import { Counters } from "./counters.ts";
import { type Entry, isRoomId, shardOf } from "./entry.ts";
import type { Claims } from "./identity.ts";
import type { Leases } from "./leases.ts";
import type { Limits } from "./limits.ts";
import type { Fanout, Link } from "./link.ts";
import type { Log } from "./log.ts";
import { Markers } from "./markers.ts";
import { type MarkKind, RoomMarks } from "./marks.ts";
import { OnlineWatch } from "./online.ts";
import { answerRefused, type Posting } from "./posting.ts";
import { RoomPresence } from "./presence.ts";
import { fetchAfter } from "./reading.ts";
import { Registry } from "./registry.ts";
import type { ResumeHost } from "./resume.ts";
import type { RoomHost } from "./room.host.ts";
import { Room } from "./room.ts";
import { ownAll, Shard, type ShardHost } from "./shards.ts";
import { Sleeper } from "./sleeper.ts";
import { Speaker } from "./speaker.ts";
import { Watch } from "./watch.ts";
import type { WindowBudget } from "./window.ts";
import { Writer } from "./writer.ts";

/** What a node is made of. */
export interface NodeOptions {
  /** Unique among nodes. */
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly leases: Leases;
  readonly fanout: Fanout;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly random: () => number;
  /** Verifies a token, revocations included; throws the refusal. */
  readonly verify: (token: string) => Claims;
  /** The name of a user the directory knows. */
  readonly nameOf: (user: string) => Promise<string | undefined>;
  readonly shards: number;
  /** Whether SENDs are refused while the archive fails (no hot log outlives the process). */
  readonly refuseWhileFailing: boolean;
}

/** Most time that what is logged may take to be stored at the end, ms: a part of the 10 s that SIGTERM has. */
const FLUSH_MS = 4_000;
/** Pause before a room is opened in the background again, ms. */
const WAKE_AGAIN_MS = 1_000;

/** One node. */
export class Node implements RoomHost, ShardHost, AudiencesHost, ResumeHost, BusReceiver {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly leases: Leases;
  readonly fanout: Fanout;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly counters = new Counters();
  readonly writer: Writer;
  readonly markers: Markers;
  readonly speaker: Speaker;
  readonly registry: Registry;
  readonly online: OnlineWatch;
  readonly windowBudget: WindowBudget = { bytes: 0 };
  readonly shards: Shard[] = [];
  readonly rooms = new Map<string, Room>();
  readonly audiences: Audiences;
  readonly options: NodeOptions;
  readonly sleeper: Sleeper;
  readonly watch: Watch;
  #edgeCounter = 0;
  #flushing: Shard[] = [];
  readonly #reads = new Map<string, Promise<readonly Entry[]>>();
  /** Pairs of users → their direct room; only a short cut: the room itself checks access. */
  readonly #pairs = new LRUCache<string, Promise<string>>({ max: 10_000 });
  #draining = false;
  #stopped = false;

  constructor(options: NodeOptions) {
    this.options = options;
    this.name = options.name;
    this.archive = options.archive;
    this.bus = options.bus;
    this.leases = options.leases;
    this.fanout = options.fanout;
    this.clock = options.clock;
    this.limits = options.limits;
    this.log = options.log;
    this.writer = new Writer(options);
    this.markers = new Markers(options);
    this.speaker = new Speaker({ bus: this.bus, clock: this.clock, limits: this.limits, counters: this.counters });
    this.online = new OnlineWatch(this);
    this.registry = new Registry({ clock: this.clock, limits: this.limits, watcher: this.online });
    this.audiences = new Audiences(this);
    this.sleeper = new Sleeper(this);
    this.watch = new Watch(this);
    this.bus.receive(this);
  }

  get replayEntries(): number {
    return this.limits.replayEntries;
  }

  /** Owns all shards; the claims are durable before anything listens (rule 1). */
  async start(): Promise<void> {
    for (let id = 0; id < this.options.shards; id++) this.shards.push(new Shard(id, this));
    await ownAll(this.shards);
    this.sleeper.start();
    this.watch.start();
  }

  /** Flushes what is unstored and gives the shards up. Connections were ended before. */
  async stop(): Promise<void> {
    this.registry.stop();
    this.#stopped = true;
    this.sleeper.stop();
    this.watch.stop();
    this.speaker.flush();
    await this.#flush();
    await Promise.all(this.shards.map((shard) => shard.release()));
  }

  /** Stores what is logged. Where a hot log outlives the process and the archive is away, it is left there. */
  async #flush(): Promise<void> {
    const flushed = this.writer.flushed().then(() => this.markers.flush());
    if (!this.bus.shared) return flushed;
    const late = new Promise<void>((resolve) => void this.clock.after(FLUSH_MS, resolve));
    await Promise.race([flushed, late]);
    const left = this.writer.entries;
    if (left > 0) this.log.warn({ entries: left }, "entries that are logged and not stored are left in the hot log");
  }

  /** From now on nobody new comes in. */
  drain(): void {
    this.#draining = true;
  }

  get draining(): boolean {
    return this.#draining;
  }

  // ─── Connections ───

  /** A new socket; refused by `draining` or `try-later` when it may not come in. */
  open(link: Link, origin: { id: string; address: string }): Connection {
    const connection = new Connection(this, link, origin);
    this.registry.add(connection);
    this.counters.connectionsOpened++;
    return connection;
  }

  /** Why a new connection may not come in now, if so. */
  get closedTo(): "draining" | "try-later" | undefined {
    if (this.#draining) return "draining";
    return this.registry.size >= this.limits.connections ? "try-later" : undefined;
  }

  verify(token: string): Claims {
    return this.options.verify(token);
  }

  signedIn(connection: Connection): void {
    this.registry.signedIn(connection);
  }

  signedOut(connection: Connection): void {
    this.registry.remove(connection);
  }

  // ─── Rooms ───

  edgeKey(): string {
    this.#edgeCounter++;
    return `e/${this.name}/${this.#edgeCounter}`;
  }

  shardOf(room: string): Shard {
    return this.shards[shardOf(room, this.shards.length)] as Shard;
  }

  /** The actor of a room, woken if it sleeps. Throws `room-not-found` for what can be no room, `queue-full` beyond the bound. */
  room(id: string): Room {
    const awake = this.rooms.get(id);
    if (awake) return awake;
    if (!isRoomId(id)) throw new Refusal("room-not-found");
    if (this.rooms.size >= this.limits.roomsAwake) throw new Refusal("queue-full", "Too many rooms are awake.", 1_000);
    const shard = this.shardOf(id);
    const room = new Room(id, shard, this);
    this.rooms.set(id, room);
    shard.rooms.add(room);
    return room;
  }

  presenceOf(room: Room): RoomPresence {
    const presence = new RoomPresence({
      clock: this.clock,
      limits: this.limits,
      speaker: {
        presence: (user, state) => this.#say(room, "presence", user, state),
        typing: (user, state) => this.#say(room, "typing", user, state),
      },
    });
    this.audiences.introduce(room.id, presence);
    return presence;
  }

  marksOf(room: Room): RoomMarks {
    return new RoomMarks(room, (signal) => this.speaker.say(signal));
  }

  #say(room: Room, event: "presence" | "typing", user: string, state: string): void {
    this.speaker.say({ room: room.id, event, user, state, offset: 0, term: room.shard.term });
  }

  forget(room: Room): void {
    if (this.rooms.get(room.id) === room) this.rooms.delete(room.id);
    room.shard.rooms.delete(room);
    this.online.asleep(room.id);
  }

  opened(room: Room): void {
    this.audiences.catchUp(room.id, room.state.accepted);
    this.online.awake(room);
  }

  joined(room: Room, user: string): void {
    this.online.joined(room, user);
  }

  reopen(roomId: string): void {
    if (this.audiences.has(roomId)) this.wake(roomId);
  }

  wake(roomId: string): void {
    if (this.#stopped) return;
    const later = (error: unknown): void => {
      if (error instanceof Refusal && error.code === "room-not-found") return;
      this.log.warn({ room: roomId, err: error }, "a room was not opened in the background; trying again");
      this.clock.after(WAKE_AGAIN_MS, () => this.wake(roomId));
    };
    try {
      this.room(roomId)
        .ask(() => undefined)
        .catch(later);
    } catch (error) {
      later(error);
    }
  }

  /** A SEND or a REST post; its reply hears the outcome. */
  post(roomId: string, item: Posting): void {
    this.#give(item, () => this.room(roomId).post(item));
  }

  #give(item: Posting, give: () => void): void {
    try {
      give();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      answerRefused(item, error);
    }
  }

  repost(roomId: string, postings: readonly Posting[]): void {
    for (const item of postings) {
      // It may have been accepted without our hearing of it: from now on it is known by its key.
      if (item.entry) {
        if (item.bytes > 0) this.writer.release(item.bytes);
        item.keyed = true;
        item.again = true;
      }
      item.bytes = 0;
      item.entry = undefined;
      item.derived = undefined;
      this.#give(item, () => this.room(roomId).repost(item));
    }
  }

  /** A private message: to the direct room of the two, made on first use. */
  postPrivate(between: { from: Claims; to: string }, item: Posting): void {
    this.directRoom({ id: between.from.sub, name: between.from.name }, between.to).then(
      (room) => this.post(room, item),
      (error: unknown) => {
        answerRefused(item, error instanceof Refusal ? error : new Refusal("store-unavailable", undefined, 1_000));
      },
    );
  }

  /** How a direct room is made; set by the service, which knows how rooms are. */
  makeDirect: ((from: { id: string; name: string }, to: string) => Promise<string>) | undefined;

  /** The id of the direct room of two users. */
  directRoom(from: { id: string; name: string }, to: string): Promise<string> {
    const pair = from.id < to ? `${from.id}\n${to}` : `${to}\n${from.id}`;
    let found = this.#pairs.get(pair);
    if (!found) {
      if (!this.makeDirect) throw new Error("The node was started without its rooms service.");
      found = this.makeDirect(from, to);
      this.#pairs.set(pair, found);
      found.catch(() => this.#pairs.delete(pair));
    }
    return found;
  }

  flushSoon(shard: Shard): void {
    this.#flushing.push(shard);
    if (this.#flushing.length > 1) return;
    this.clock.endOfTurn(() => {
      const shards = this.#flushing;
      this.#flushing = [];
      for (const one of shards) one.flush();
    });
  }

  putAway(room: Room): void {
    this.sleeper.putAway(room);
  }

  // ─── Reads ───

  fetchAfter(roomId: string, offset: number): Promise<readonly Entry[]> {
    const key = `${roomId}/${offset}`;
    let reading = this.#reads.get(key);
    if (!reading) {
      reading = fetchAfter(this, roomId, offset).finally(() => this.#reads.delete(key));
      this.#reads.set(key, reading);
    }
    return reading;
  }

  // ─── The bus ───

  onPack(pack: Pack): void {
    this.audiences.get(pack.room)?.take(pack);
  }

  onGap(): void {
    this.watch.look();
  }

  onSignals(signals: readonly Signal[]): void {
    const byRoom = new Map<string, Signal[]>();
    for (const signal of signals) {
      if ((this.audiences.get(signal.room)?.signals ?? 0) === 0) continue;
      const list = byRoom.get(signal.room);
      if (list) list.push(signal);
      else byRoom.set(signal.room, [signal]);
    }
    for (const [room, list] of byRoom) this.fanout.signals(room, list);
  }

  onNotice(notice: Notice): void {
    switch (notice.kind) {
      case "entry":
      case "notice":
        return this.fanout.notice(notice);
      case "revoked":
        return this.registry.revoke(notice.user, notice.token, notice.beforeMs);
      case "close":
        return this.registry.get(notice.connection)?.end("closed-by-admin");
    }
  }

  /** A room that the user may see; signals do not stand in the line of its commands. */
  async #seen(roomId: string, user: string): Promise<Room> {
    const room = this.room(roomId);
    if (room.status === "open") room.state.requireSight(user);
    else await room.ask((state) => state.requireSight(user));
    return room;
  }

  /** Typing of a user who is here; refused to who may not see the room. */
  async typing(roomId: string, user: string, on: boolean): Promise<void> {
    const room = await this.#seen(roomId, user);
    room.presence.typing(user, on);
  }

  /** Raises a mark of a user who may see the room. */
  async mark(roomId: string, user: string, mark: { kind: MarkKind; offset: number }): Promise<void> {
    const room = await this.#seen(roomId, user);
    await room.marks.raise(user, mark.kind, mark.offset);
  }
}
