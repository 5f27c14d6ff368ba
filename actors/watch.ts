/**
 * Silence is checked, too (rule 7): on a shared bus a node compares what it knows of its rooms and its
 * shards with the hot log, so that a pack that was lost and a hot log that lost data are found though nobody
 * sends.
 */
import type { Audience } from "./audience.ts";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { ORIGIN, type Position } from "./entry.ts";
import type { Log } from "./log.ts";
import type { Grant } from "./remote.ts";
import type { Room } from "./room.ts";
import type { Shard } from "./shards.ts";

/** Pause between two looks, ms. */
const LOOK_MS = 500;

/** What the watch needs of its node. */
export interface WatchHost {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly shards: readonly Shard[];
  readonly rooms: ReadonlyMap<string, Room>;
  readonly audiences: { all(): Iterable<Audience>; get(room: string): Audience | undefined };
  shardOf(room: string): Shard;
  /** The highest term heard of under which a shard is owned. */
  ownerTerm(shard: number): number;
  /** Where a room's log ends, as its owner says; rejects with `room-not-found` when there is no such room. */
  headAtOwner(room: string): Promise<Grant>;
  /** Opens a room that is owned here. */
  wake(room: string): void;
  /** The room is no more: local subscriptions end. */
  dissolve(room: string): void;
}

/** Looks at the heads of local rooms and the terms of own shards. */
export class Watch {
  readonly #host: WatchHost;
  #stopped = false;
  #looking = false;
  /**
   * Positions about which the owner was asked, as the hot log had no such head, and its term: once per vanishing.
   * Under another term, or after the connection was lost, it may have come and vanished again unseen.
   */
  #asked = new WeakMap<Audience, Position & { readonly under: number }>();

  constructor(host: WatchHost) {
    this.#host = host;
  }

  start(): void {
    if (this.#host.bus.shared) this.#host.clock.after(LOOK_MS, () => this.#lap());
  }

  stop(): void {
    this.#stopped = true;
  }

  #lap(): void {
    if (this.#stopped) return;
    this.look();
    this.start();
  }

  /** Looks once, unless the last look is not over. */
  look(): void {
    if (this.#looking) return;
    this.#looking = true;
    Promise.all([this.#terms(), this.#heads()])
      .catch((error: unknown) => this.#host.log.warn({ err: error }, "the hot log could not be looked at"))
      .finally(() => {
        this.#looking = false;
      });
  }

  async #terms(): Promise<void> {
    const owned = this.#host.shards.filter((shard) => shard.state === "owning");
    if (owned.length === 0) return;
    const asked = owned.map((shard) => shard.term);
    const terms = await this.#host.bus.terms(owned.map((shard) => shard.id));
    for (const [at, shard] of owned.entries()) shard.observe(terms[at] ?? 0, asked[at] as number);
  }

  /** Rooms that somebody here listens to, and all that are awake here, by shard: one read for each. */
  async #heads(): Promise<void> {
    const byShard = new Map<Shard, Set<string>>();
    const add = (id: string): void => {
      const shard = this.#host.shardOf(id);
      const rooms = byShard.get(shard);
      if (rooms) rooms.add(id);
      else byShard.set(shard, new Set([id]));
    };
    for (const audience of this.#host.audiences.all()) if (audience.position) add(audience.room);
    for (const room of this.#host.rooms.values()) if (room.status === "open") add(room.id);
    await Promise.all([...byShard].map(([shard, rooms]) => this.#headsOf(shard, [...rooms])));
  }

  async #headsOf(shard: Shard, rooms: readonly string[]): Promise<void> {
    const { term } = shard;
    const before = rooms.map((room) => this.#host.audiences.get(room)?.position ?? ORIGIN);
    const accepted = rooms.map((room) => this.#accepted(room));
    const heads = await this.#host.bus.headsOf(shard.id, rooms);
    for (const [at, id] of rooms.entries()) {
      const audience = this.#host.audiences.get(id);
      const here = audience?.position ?? ORIGIN;
      // Something came meanwhile: the wire is not silent, and its chain is checked.
      if (!same(here, before[at] as Position)) continue;
      const head = heads.get(id);
      const room = this.#host.rooms.get(id);
      const was = accepted[at];
      if (room?.status === "open" && shard.term === term) {
        if (was && same(was, room.state.accepted)) this.#compareOwn(shard, room, head);
      } else if (audience?.position) {
        if (head && head.offset > here.offset) audience.fill();
        else if (!head || !same(head, here)) this.#ask(audience, here);
      }
    }
  }

  /**
   * The connection to the hot log was lost, and it may have come back with less. A room that it has and that
   * sleeps is opened: then it is compared with the archive.
   */
  afterGap(): void {
    this.#asked = new WeakMap();
    this.look();
    for (const shard of this.#host.shards) {
      if (!shard.mine) continue;
      this.#host.bus.heads(shard.id).then(
        (heads) => {
          for (const id of heads.keys()) if (!this.#host.rooms.has(id)) this.#host.wake(id);
        },
        (error: unknown) => this.#host.log.warn({ err: error }, "the hot log could not be looked at"),
      );
    }
  }

  /**
   * The hot log has not the head that this node has: the room sleeps, or the hot log lost data. What is so the
   * owner knows (rule 6: only its answer, or an entry of another term, is proof).
   */
  #ask(audience: Audience, here: Position): void {
    const before = this.#asked.get(audience);
    const under = this.#host.ownerTerm(this.#host.shardOf(audience.room).id);
    if (before && same(before, here) && before.under === under) return;
    this.#asked.set(audience, { ...here, under });
    this.#host.headAtOwner(audience.room).then(
      ({ accepted, head, term }) => {
        const now = audience.position ?? ORIGIN;
        if (!same(now, here) || same(accepted, here)) return;
        if (accepted.offset > here.offset) return audience.fill();
        // An owner of a lower term knows less than this node.
        const below = head.offset < here.offset || accepted.offset === here.offset;
        if (below && term >= here.term) return audience.lost(accepted);
        this.#asked.delete(audience);
      },
      (error: unknown) => {
        this.#asked.delete(audience);
        if (error instanceof Refusal && error.code === "room-not-found") this.#host.dissolve(audience.room);
        else
          this.#host.log.warn(
            { room: audience.room, err: error },
            "the owner of a room could not be asked for its head",
          );
      },
    );
  }

  #accepted(roomId: string): Position | undefined {
    const room = this.#host.rooms.get(roomId);
    return room?.status === "open" ? room.state.accepted : undefined;
  }

  /** The owner's own room: another head under its own term says that the hot log lost data. */
  #compareOwn(shard: Shard, room: Room, head: Position | undefined): void {
    if (!shard.still || !room.still || (head && same(head, room.state.accepted))) return;
    shard.lost(shard.term, "the hot log has another head of a room");
  }
}

function same(a: Position, b: Position): boolean {
  return a.offset === b.offset && a.term === b.term;
}
