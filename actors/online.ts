/**
 * Online and offline: whether a user has any connection at all. Said only to awake rooms that the user is a
 * member of and that are small enough to care (a storm of these has melted other systems).
 */
import type { Limits } from "./limits.ts";
import type { Room } from "./room.ts";
import type { Speaker } from "./speaker.ts";

/** What the watch needs of its node. */
export interface OnlineHost {
  readonly limits: Limits;
  readonly speaker: Speaker;
  readonly rooms: ReadonlyMap<string, Room>;
}

/** Which awake rooms want to hear of which users. */
export class OnlineWatch {
  readonly #host: OnlineHost;
  /** User → rooms. Bounded by awake rooms × `presenceMembers`. */
  readonly #watched = new Map<string, Set<string>>();
  readonly #members = new Map<string, readonly string[]>();

  constructor(host: OnlineHost) {
    this.#host = host;
  }

  /** A room woke up. */
  awake(room: Room): void {
    if (room.state.members.size > this.#host.limits.presenceMembers) return;
    const members = [...room.state.members.keys()];
    this.#members.set(room.id, members);
    for (const user of members) this.#watch(user, room.id);
  }

  /** A user became a member of an awake room. */
  joined(room: Room, user: string): void {
    const members = this.#members.get(room.id);
    if (!members || members.includes(user) || members.length >= this.#host.limits.presenceMembers) return;
    this.#members.set(room.id, [...members, user]);
    this.#watch(user, room.id);
  }

  #watch(user: string, room: string): void {
    const rooms = this.#watched.get(user);
    if (rooms) rooms.add(room);
    else this.#watched.set(user, new Set([room]));
  }

  /** A room sleeps or is gone. */
  asleep(room: string): void {
    for (const user of this.#members.get(room) ?? []) {
      const rooms = this.#watched.get(user);
      rooms?.delete(room);
      if (rooms?.size === 0) this.#watched.delete(user);
    }
    this.#members.delete(room);
  }

  online(user: string): void {
    this.#say(user, "online");
  }

  offline(user: string): void {
    this.#say(user, "offline");
  }

  #say(user: string, state: "online" | "offline"): void {
    for (const id of this.#watched.get(user) ?? []) {
      const room = this.#host.rooms.get(id);
      if (room?.status !== "open" || !room.state.members.has(user)) continue;
      this.#host.speaker.say({ room: id, event: "presence", user, state, offset: 0, term: room.shard.term });
    }
  }
}
