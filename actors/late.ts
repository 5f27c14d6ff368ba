/**
 * Writes that come late: what a node stores of a room that it does not own any more. A batch that was on its way when
 * the room went may land before the new owner's first entry, and is part of the log then (rule 3); the new owner, who
 * read the log before, and those who listen do not know of it until something new is said. So whoever stored it says
 * so over the bus. The word may be lost: then the next entry of the room shows it, as its place is taken, and what was
 * remembered of a sleeping room is looked at again when its short life ends.
 */
import type { Audiences } from "./audiences.ts";
import type { Bus, Notice } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Lookups } from "./lookups.ts";
import type { Room } from "./room.ts";

/** What is needed of the node. */
export interface LateHost {
  readonly bus: Pick<Bus, "notify">;
  readonly clock: Pick<Clock, "endOfTurn">;
  readonly lookups: Pick<Lookups, "forget">;
  readonly audiences: Pick<Audiences, "get">;
  /** Rooms that are awake. */
  readonly rooms: ReadonlyMap<string, Room>;
  /** Whether the room lives on this node. */
  owns(room: string): boolean;
}

/** Rooms of one notice at most. */
const ROOMS_MOST = 1_000;

/** The late writes of a node, and what it hears of those of others. */
export class LateWrites {
  readonly #host: LateHost;
  /** Rooms of this turn's batches. */
  #stored = new Set<string>();

  constructor(host: LateHost) {
    this.#host = host;
  }

  /** Entries of a room that is closed here are durable now; told at the end of the turn. */
  stored(room: string): void {
    this.#host.lookups.forget(room);
    const first = this.#stored.size === 0;
    this.#stored.add(room);
    if (!first) return;
    this.#host.clock.endOfTurn(() => {
      const rooms = this.#stored;
      this.#stored = new Set();
      this.#tell("entries", rooms);
    });
  }

  /** Read markers of these rooms are durable now. */
  marked(rooms: ReadonlySet<string>): void {
    this.#tell("markers", rooms);
  }

  /** Of rooms that live here nobody else remembers anything, and their next opening waits for what they logged. */
  #tell(what: "entries" | "markers", written: ReadonlySet<string>): void {
    const rooms = [...written].filter((room) => !this.#host.owns(room));
    for (let at = 0; at < rooms.length; at += ROOMS_MOST)
      this.#host.bus.notify({ kind: "changed", what, rooms: rooms.slice(at, at + ROOMS_MOST) });
  }

  onNotice({ what, rooms }: Extract<Notice, { kind: "changed" }>): void {
    const { lookups, audiences, rooms: awake } = this.#host;
    for (const id of rooms) {
      lookups.forget(id);
      if (what === "markers") continue;
      awake.get(id)?.stirred();
      audiences.get(id)?.stirred();
    }
  }
}
