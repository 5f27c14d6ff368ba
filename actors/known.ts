/** Heads of rooms that this node wrote last and knows whole, from one term of a shard to the next ("mine"). */
import type { Position } from "./entry.ts";
import type { Room } from "./room.ts";

/** What is known of one shard's rooms. */
export class KnownHeads {
  #heads = new Map<string, Position>();

  /** Knows the heads of these rooms and of no others. */
  keep(rooms: Iterable<Room>): void {
    this.#heads = new Map();
    for (const room of rooms) if (room.whole) this.#heads.set(room.id, room.state.accepted);
  }

  forget(): void {
    this.#heads.clear();
  }

  /** Whether the room's head is the one that was known; known no more after that. */
  take(room: string, head: Position): boolean {
    const known = this.#heads.get(room);
    this.#heads.delete(room);
    return known !== undefined && known.offset === head.offset && known.term === head.term;
  }
}
