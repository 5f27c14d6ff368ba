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

/** As many times the rooms that are shown are kept until the best of them are chosen. */
const SPARE = 4;

/**
 * The rooms that are shown: at most `metricRooms` of those that live here; first those whose entries have waited the
 * longest for the store, then those with most entries since the look before.
 */
export class RoomOffsets {
  readonly #node: Node;
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

  /** One pass over all rooms, of which few are kept; a room itself says how far it was at the look before. */
  #busiest(most: number): readonly Room[] {
    let best: Candidate[] = [];
    /** Who is not above it is not among the best. */
    let floor: Candidate | undefined;
    for (const room of this.#node.rooms.values()) {
      if (room.status !== "open") continue;
      const { offset } = room.state.accepted;
      const grown = offset - room.seenOffset;
      if (grown !== 0) room.seenOffset = offset;
      if (floor !== undefined && (grown < floor.grown || (grown === floor.grown && room.usedAt <= floor.room.usedAt)))
        continue;
      if (best.push({ room, grown }) < most * SPARE) continue;
      best = best.sort(busierFirst).slice(0, most);
      floor = best.at(-1);
    }
    return best.sort(busierFirst).map(({ room }) => room);
  }
}

function busierFirst(a: Candidate, b: Candidate): number {
  return b.grown - a.grown || b.room.usedAt - a.room.usedAt;
}
