/** Read and delivered marks of one room: clamped to what is stored, only ever raised, said to the room once. */
import type { MarkerRecord } from "./archive.ts";
import type { Signal } from "./bus.ts";
import { highest } from "./markers.ts";
import { fetchAfter } from "./reading.ts";
import type { Room } from "./room.ts";

/** Which mark. */
export type MarkKind = "read" | "delivered";

/** Most users whose wish beyond the stored head is remembered; a further one is clamped for good. */
const WISHES_MOST = 10_000;
/** Most users whose marks are remembered, so that a repeated mark says nothing. */
const KNOWN_MOST = 10_000;

/** The marks of one open room. */
export class RoomMarks {
  readonly #room: Room;
  readonly #say: (signal: Signal) => void;
  /** Marks set on entries that are shown but not stored yet; they are raised once stored. */
  readonly #wishes = new Map<string, Record<MarkKind, number>>();
  readonly #known = new Map<string, MarkerRecord>();

  constructor(room: Room, say: (signal: Signal) => void) {
    this.#room = room;
    this.#say = say;
  }

  /** Raises a mark up to `offset`; answers the marks as they then stand. */
  async raise(user: string, kind: MarkKind, offset: number): Promise<MarkerRecord> {
    const { stored, accepted } = this.#room.state;
    if (offset > stored.offset && this.#wishes.size < WISHES_MOST) {
      const wish = this.#wishes.get(user) ?? { read: 0, delivered: 0 };
      wish[kind] = Math.max(wish[kind], Math.min(offset, accepted.offset));
      this.#wishes.set(user, wish);
    }
    return this.#apply(user, kind, Math.min(offset, stored.offset));
  }

  /** The room is stored up to `offset`. */
  stored(offset: number): void {
    for (const [user, wish] of this.#wishes) {
      if (Math.max(wish.read, wish.delivered) > offset) continue;
      this.#wishes.delete(user);
      for (const kind of ["read", "delivered"] as const) {
        if (wish[kind] === 0) continue;
        this.#apply(user, kind, wish[kind]).catch((error: unknown) =>
          this.#room.host.log.warn({ room: this.#room.id, err: error }, "a mark was not raised"),
        );
      }
    }
  }

  async #apply(user: string, kind: MarkKind, offset: number): Promise<MarkerRecord> {
    const { host, id } = this.#room;
    const before = highest(await host.markers.of(id, user), this.#known.get(user) ?? nothing(id, user));
    if (offset <= before[kind]) return before;
    const raised: MarkerRecord =
      kind === "read"
        ? {
            ...before,
            read: offset,
            readCount: await this.#countAt(offset),
            delivered: Math.max(before.delivered, offset),
          }
        : { ...before, delivered: offset };
    // Another mark may have overtaken this one while the count was asked for.
    const known = this.#known.get(user);
    if (known && known[kind] >= offset) return highest(known, raised);
    host.markers.raise(raised);
    if (this.#known.size >= KNOWN_MOST) this.#known.clear();
    this.#known.set(user, known ? highest(known, raised) : raised);
    this.#say({ room: id, event: kind, user, state: "", offset, term: this.#room.shard.term });
    return raised;
  }

  /** Messages in the room up to and with an offset. */
  async #countAt(offset: number): Promise<number> {
    const { state, host, id } = this.#room;
    if (offset === state.offset) return state.count;
    const [entry] = await fetchAfter(host, id, offset - 1);
    return entry?.offset === offset ? entry.count : state.count;
  }
}

function nothing(room: string, user: string): MarkerRecord {
  return { room, user, read: 0, readCount: 0, delivered: 0 };
}
