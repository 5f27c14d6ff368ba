/** The rooms that are awake on this node: found, opened, closed, and what they and their shards need of the node. */
import type { Archive } from "./archive.ts";
import type { Audiences } from "./audiences.ts";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Cluster } from "./cluster.ts";
import { Refusal } from "./codes.ts";
import type { Counters } from "./counters.ts";
import { isRoomId, shardOf } from "./entry.ts";
import { Foresight } from "./foresight.ts";
import type { Guests } from "./guests.ts";
import type { LateWrites } from "./late.ts";
import type { Leases } from "./leases.ts";
import type { Limits } from "./limits.ts";
import type { Fanout } from "./link.ts";
import type { Log } from "./log.ts";
import type { Markers } from "./markers.ts";
import { RoomMarks } from "./marks.ts";
import type { OnlineWatch } from "./online.ts";
import type { Posting } from "./posting.ts";
import type { Posts } from "./posts.ts";
import { RoomPresence } from "./presence.ts";
import { ReopeningRefusal } from "./reopening.ts";
import { Returning } from "./returning.ts";
import type { RoomHost } from "./room.host.ts";
import { Room } from "./room.ts";
import type { ShardHost } from "./shard.host.ts";
import { Shard } from "./shards.ts";
import { Sleeper } from "./sleeper.ts";
import type { Speaker } from "./speaker.ts";
import type { WindowBudget } from "./window.ts";
import type { Writer } from "./writer.ts";

/** What the rooms need of their node. */
export interface RoomsHost {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly fanout: Pick<Fanout, "prepare">;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly counters: Counters;
  readonly writer: Writer;
  readonly markers: Markers;
  readonly speaker: Speaker;
  readonly online: OnlineWatch;
  readonly audiences: Audiences;
  readonly cluster: Cluster;
  readonly guests: Pick<Guests, "doubt">;
  readonly posts: Posts;
  readonly late: LateWrites;
  /** A room is closed here: what other nodes said about it is forgotten. */
  forgotten(room: string): void;
}

/** Pause before a room is opened in the background again, ms. */
const WAKE_AGAIN_MS = 1_000;

/** The awake rooms of one node, and its shards. */
export class Rooms implements RoomHost, ShardHost {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly fanout: Pick<Fanout, "prepare">;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly counters: Counters;
  readonly writer: Writer;
  readonly markers: Markers;
  readonly late: LateWrites;
  readonly windowBudget: WindowBudget = { bytes: 0 };
  readonly byId = new Map<string, Room>();
  readonly shards: readonly Shard[];
  readonly sleeper: Sleeper;
  readonly foresight: Foresight;
  readonly #host: RoomsHost;
  readonly #returning: Returning;
  #flushing: Shard[] = [];
  #stopped = false;

  constructor(host: RoomsHost, shards: number) {
    this.#host = host;
    this.name = host.name;
    this.archive = host.archive;
    this.bus = host.bus;
    this.fanout = host.fanout;
    this.leases = host.leases;
    this.clock = host.clock;
    this.limits = host.limits;
    this.log = host.log;
    this.counters = host.counters;
    this.writer = host.writer;
    this.markers = host.markers;
    this.late = host.late;
    this.foresight = new Foresight(host);
    this.#returning = new Returning(host.clock);
    this.shards = Array.from({ length: shards }, (_, id) => new Shard(id, this));
    const audiences = { has: (room: string) => host.audiences.has(room) };
    this.sleeper = new Sleeper({ ...this.#sleeping(), audiences });
  }

  #sleeping(): Pick<Rooms, "bus" | "clock" | "log"> & { readonly rooms: ReadonlyMap<string, Room> } {
    return { bus: this.bus, clock: this.clock, log: this.log, rooms: this.byId };
  }

  shardOf(room: string): Shard {
    return this.shards[shardOf(room, this.shards.length)] as Shard;
  }

  /**
   * The actor of a room that is owned here, woken if it sleeps. Throws `room-not-found` for what can be no room,
   * `queue-full` beyond the bound, and that it is being reopened where another node owns it.
   */
  room(id: string): Room {
    const awake = this.byId.get(id);
    if (awake) return awake;
    if (!isRoomId(id)) throw new Refusal("room-not-found");
    if (this.byId.size >= this.limits.roomsAwake) throw new Refusal("queue-full", "Too many rooms are awake.", 1_000);
    const shard = this.shardOf(id);
    if (!shard.mine) throw new ReopeningRefusal();
    const room = new Room(id, shard, this);
    this.byId.set(id, room);
    shard.rooms.add(room);
    return room;
  }

  edgeKey(): string {
    return this.#host.posts.edgeKey();
  }

  presenceOf(room: Room): RoomPresence {
    const presence = new RoomPresence({
      clock: this.clock,
      limits: this.limits,
      speaker: {
        presence: (user, state) => this.#say(room, "presence", user, state),
        typing: (user, state) => this.#say(room, "typing", user, state),
      },
      doubted: () => this.#host.guests.doubt(room.id),
      closed: (users, leave) => this.#returning.closed({ room: room.id, term: room.shard.term, users, leave }),
    });
    presence.adopt(this.#returning.take(room.id, room.shard.term));
    this.#host.audiences.introduce(room.id, presence);
    return presence;
  }

  marksOf(room: Room): RoomMarks {
    return new RoomMarks(room, (signal) => this.#host.speaker.say(signal));
  }

  #say(room: Room, event: "presence" | "typing", user: string, state: string): void {
    // Nobody hears it: not here, and there is no other node.
    if (!this.bus.shared && (this.#host.audiences.get(room.id)?.signals ?? 0) === 0) return;
    this.#host.speaker.say({ room: room.id, event, user, state, offset: 0, term: room.shard.term });
  }

  forget(room: Room): void {
    if (this.byId.get(room.id) === room) this.byId.delete(room.id);
    room.shard.rooms.delete(room);
    this.#host.online.asleep(room.id);
    this.#host.forgotten(room.id);
  }

  opened(room: Room): void {
    this.#host.audiences.catchUp(room.id, room.state.accepted);
    this.#host.online.awake(room);
  }

  joined(room: Room, user: string): void {
    this.#host.online.joined(room, user);
  }

  putAway(room: Room): void {
    this.sleeper.putAway(room);
  }

  reopen(roomId: string): void {
    if (this.#host.audiences.has(roomId)) this.wake(roomId);
  }

  wake(roomId: string): void {
    if (this.#stopped || !this.shardOf(roomId).mine) return;
    const later = (error: unknown): void => {
      if (error instanceof Refusal && error.code === "room-not-found") return;
      this.log.warn({ room: roomId, err: error }, "a room was not opened in the background; trying again");
      this.clock.after(WAKE_AGAIN_MS, () => this.wake(roomId));
    };
    try {
      this.room(roomId)
        .read(() => undefined)
        .catch(later);
    } catch (error) {
      later(error);
    }
  }

  repost(roomId: string, postings: readonly Posting[]): void {
    this.#host.posts.repost(roomId, postings);
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

  owned(shard: Shard): void {
    this.#host.cluster.owned(shard);
  }

  yielded(shard: Shard): void {
    this.#host.cluster.yielded(shard);
  }

  turnstile<T>(work: () => Promise<T>): Promise<T> {
    return this.#host.cluster.turnstile(work);
  }

  start(): void {
    this.sleeper.start();
  }

  /** Wakes no more rooms and puts none to sleep. */
  stop(): void {
    this.#stopped = true;
    this.sleeper.stop();
  }

  /** Gives the shards up; nothing of them may be under way. */
  async release(): Promise<void> {
    await Promise.all(this.shards.map((shard) => shard.release()));
  }
}
