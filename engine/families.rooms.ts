/**
 * Offsets of a few rooms for the metrics: a series per room would have no bound, so those are shown that an operator
 * asks for first. All of it is done when Prometheus asks, nothing when a message comes.
 */
import type { Node } from "../actors/node.ts";
import type { Room } from "../actors/room.ts";

/** How far one room is. */
export interface RoomOffset {
  readonly room: string;
  /** Last durable offset. */
  readonly stored: number;
  /** Last offset that the hot log took. */
  readonly accepted: number;
}

/** A room beside others: the more entries since the look before the better, then the later it was used. */
interface Candidate {
  readonly room: Room;
  readonly grown: number;
}

/**
 * The rooms that are shown: at most `metricRooms` of those that live here; first those whose entries have waited the
 * longest for the store, then those with most entries since the look before.
 */
export class RoomOffsets {
  readonly #node: Node;
  /** Accepted offsets at the look before, of rooms that were in use then. */
  #before: ReadonlyMap<string, number> = new Map();
  #beforeMs = 0;
  /** What the last look found. */
  last: readonly RoomOffset[] = [];

  constructor(node: Node) {
    this.#node = node;
  }

  /** Chooses anew and reads. */
  look(): readonly RoomOffset[] {
    const { limits, writer, rooms } = this.#node;
    const most = limits.metricRooms;
    if (most === 0) return [];
    const waiting = writer.longestWaiting(most).flatMap((id) => rooms.get(id) ?? []);
    const busy = this.#busiest(most);
    const open = [...new Set([...waiting, ...busy])].filter(({ status }) => status === "open");
    this.last = open.slice(0, most).map(({ id, state: { stored, accepted } }) => ({
      ...{ room: id, stored: stored.offset, accepted: accepted.offset },
    }));
    return this.last;
  }

  #busiest(most: number): readonly Room[] {
    const { rooms, clock } = this.#node;
    const [before, sinceMs] = [this.#before, this.#beforeMs];
    const used = new Map<string, number>();
    const best: Candidate[] = [];
    for (const room of rooms.values()) {
      if (room.status !== "open") continue;
      const { offset } = room.state.accepted;
      // What was not in use has not grown, and costs nothing to remember.
      const inUse = room.usedAt >= sinceMs;
      if (inUse) used.set(room.id, offset);
      const candidate = { room, grown: inUse ? offset - (before.get(room.id) ?? offset) : 0 };
      const last = best[most - 1];
      if (last !== undefined && !isBusier(candidate, last)) continue;
      if (last !== undefined) best.pop();
      best.splice(best.findLastIndex((other) => !isBusier(candidate, other)) + 1, 0, candidate);
    }
    this.#before = used;
    this.#beforeMs = clock.monotonic();
    return best.map(({ room }) => room);
  }
}

function isBusier(a: Candidate, b: Candidate): boolean {
  return a.grown === b.grown ? a.room.usedAt > b.room.usedAt : a.grown > b.grown;
}
