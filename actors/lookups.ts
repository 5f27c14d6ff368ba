/**
 * What lists say of rooms that sleep here, remembered: where the log ends, the last message, and of one user the
 * place as a member and the marks. Nothing of it grants anything: who may see a room is decided by its actor or by
 * the archive, each time anew (rule 11).
 *
 * ```
 *   asleep ──(looked at)──→ remembered ──(wakes: its actor answers)──→ … ──(closes)──→ forgotten
 * ```
 *
 * Only the room's owner writes its log, members and marks, and while the room sleeps not even it. So what is
 * remembered holds while the room sleeps and this node holds the shard under the same term, which is what the bus
 * and the locks tell of it. What an earlier owner may still write it says over the bus (`late.ts`), at which it is
 * forgotten here; where that word is lost, when its short life ends.
 */
import { LRUCache } from "lru-cache";
import { reachesEnd } from "./archive.page.ts";
import type { Archive, Head, MarkerRecord, MemberRecord } from "./archive.ts";
import type { Clock } from "./clock.ts";
import { type ArchivedEntry, entryBytes } from "./entry.ts";
import type { Markers } from "./markers.ts";

/** What the log of a room ends with. */
export interface LogEnd {
  /** Undefined for an empty log. */
  readonly head: Head | undefined;
  /** The last message, with what became of it; undefined where it is not among the last entries. */
  readonly lastMessage: ArchivedEntry | undefined;
}

/** What the lookups need of the node. */
export interface LookupsHost {
  readonly archive: Archive;
  readonly clock: Clock;
  readonly markers: Pick<Markers, "of">;
  /** Rooms that are awake. */
  readonly rooms: ReadonlyMap<string, unknown>;
  shardOf(room: string): { readonly holds: boolean; readonly term: number };
}

/** How long a look is believed, ms: for what an earlier owner still stores after its shard was taken over. */
export const LOOKUP_MS = 5_000;
/** Bytes of the rooms remembered, with their last messages: some 24,000 where those are short. */
const ROOMS_BYTES_MOST = 33_554_432;
/** Members and markers remembered, each over all rooms: 400 to 700 bytes each, measured as below. */
const USERS_MOST = 20_000;
/**
 * Of a room's look beyond the `entryBytes` of its last message. Measured on Node 20 as the growth of heap and array
 * buffers after collections, over 10,000 rooms of one message from the LMDB and the MongoDB codec: 640 to 740 bytes
 * where it has no headers, 760 to 960 with two, and 360 to 410 more with reactions of two users, beyond `USER_BYTES`
 * each. The memory of a body costs the process a little more, outside of what is counted there.
 */
const LOOK_BYTES = 1_024;
/** Of what became of the last message, without its body. */
const FATE_BYTES = 512;
/** Of a user who reacted to it. */
const USER_BYTES = 64;
/** Entries among which the last message is looked for. */
const LAST_ENTRIES = 20;
/** Bytes of them read at once: nearly always the last one is it. */
const LAST_BYTES = 65_536;

/** What is known of one room since it was first looked at. */
interface Look {
  /** Of this node; no two have the same. */
  readonly number: number;
  readonly term: number;
  /** Monotonic ms. */
  readonly untilMs: number;
  readonly end: Promise<LogEnd>;
}

/** What was read of a user in a room; it holds as long as the look at the room does. */
interface Seen<T> {
  /** The number of the look: the look itself would be kept with its message, beyond the bound of those. */
  readonly look: number;
  readonly read: Promise<T>;
}

/** Looks of one node. Every method reads the archive where nothing is remembered, and rejects with its `StoreFailure`. */
export class Lookups {
  readonly #host: LookupsHost;
  // All bounded by sizes, users each of 1: a cache with a greatest count takes the room of all of them at once.
  readonly #looks = new LRUCache<string, Look>({ maxSize: ROOMS_BYTES_MOST });
  readonly #members = new LRUCache<string, Seen<MemberRecord | undefined>>({ maxSize: USERS_MOST });
  readonly #markers = new LRUCache<string, Seen<MarkerRecord>>({ maxSize: USERS_MOST });
  #count = 0;

  constructor(host: LookupsHost) {
    this.#host = host;
  }

  /** What the log of a room ends with. */
  logEnd(room: string): Promise<LogEnd> {
    return this.#lookAt(room)?.end ?? this.#endOf(room);
  }

  /** A user's place in a room, to be shown. */
  member(room: string, user: string): Promise<MemberRecord | undefined> {
    const seen = { room, user, in: this.#members };
    return this.#once(seen, () => this.#host.archive.member(room, user));
  }

  /** How far a user has read a room. */
  marker(room: string, user: string): Promise<MarkerRecord> {
    const seen = { room, user, in: this.#markers };
    return this.#once(seen, () => this.#host.markers.of(room, user));
  }

  /** The last message of a room, never remembered. */
  async lastMessage(room: string): Promise<ArchivedEntry | undefined> {
    let before: number | undefined;
    for (let left = LAST_ENTRIES; left > 0; ) {
      const query = {
        ...(before === undefined ? {} : { before }),
        limit: left,
        bytes: LAST_BYTES,
        end: "last",
      } as const;
      const page = await this.#host.archive.page(room, query);
      const message = page.findLast((item) => item.entry.event === "message");
      if (message || page.length === 0 || reachesEnd(page, query)) return message;
      before = page[0]?.entry.offset;
      left -= page.length;
    }
    return undefined;
  }

  /** The room was awake, or another node wrote to it: what was known of it before is over. */
  forget(room: string): void {
    this.#looks.delete(room);
  }

  #once<T>(about: { room: string; user: string; in: LRUCache<string, Seen<T>> }, read: () => Promise<T>): Promise<T> {
    const look = this.#lookAt(about.room);
    if (look === undefined) return read();
    const key = `${about.room}\n${about.user}`;
    const known = about.in.get(key);
    if (known?.look === look.number) return known.read;
    const seen = { look: look.number, read: read() };
    about.in.set(key, seen, { size: 1 });
    seen.read.catch(() => {
      if (about.in.peek(key) === seen) about.in.delete(key);
    });
    return seen.read;
  }

  /** The look that holds now, taken anew where there is none; undefined where nothing may be remembered. */
  #lookAt(room: string): Look | undefined {
    const { rooms, clock } = this.#host;
    const { holds, term } = this.#host.shardOf(room);
    if (!holds || rooms.has(room)) return undefined;
    const known = this.#looks.get(room);
    if (known !== undefined && known.term === term && clock.monotonic() < known.untilMs) return known;
    const look = { number: ++this.#count, term, untilMs: clock.monotonic() + LOOKUP_MS, end: this.#endOf(room) };
    this.#looks.set(room, look, { size: LOOK_BYTES });
    look.end.then(
      ({ lastMessage }) => {
        if (this.#looks.peek(room) !== look) return;
        // Put in anew: of a value that is there already the cache keeps the size that it had.
        this.#looks.delete(room);
        this.#looks.set(room, look, { size: LOOK_BYTES + bytesOf(lastMessage) });
      },
      () => {
        if (this.#looks.peek(room) === look) this.#looks.delete(room);
      },
    );
    return look;
  }

  async #endOf(room: string): Promise<LogEnd> {
    const [head, lastMessage] = await Promise.all([this.#host.archive.head(room), this.lastMessage(room)]);
    return { head, lastMessage };
  }
}

function bytesOf(item: ArchivedEntry | undefined): number {
  if (item === undefined) return 0;
  const { entry, fate } = item;
  if (fate === undefined) return entryBytes(entry);
  const users = Object.values(fate.reactions ?? {}).reduce((sum, some) => sum + some.length, 0);
  return entryBytes(entry) + FATE_BYTES + (fate.body?.length ?? 0) + users * USER_BYTES;
}
