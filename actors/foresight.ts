/**
 * What a node reads of rooms that are about to come to it (handing over, step 1): read only, while their giver
 * still decides. All of it is a view of the log up to a head that the archive had then, and a log only grows: the
 * opening reads what came after that head, under its own term, and nothing else.
 */
import type { Archive, MemberRecord } from "./archive.ts";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { type Entry, type Position, positionOf } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import { readWindow } from "./window.read.ts";

/** What is needed to look ahead. */
export interface ForesightHost {
  readonly archive: Archive;
  readonly bus: Pick<Bus, "log">;
  readonly clock: Clock;
  readonly limits: Pick<Limits, "windowEntries" | "windowMs">;
  readonly log: Log;
}

/** A room as it was read. */
interface Foreseen {
  /** Where its stored log ended. */
  readonly head: Position;
  /** Its members with all changes up to the head; later ones may be among them. */
  readonly members: readonly MemberRecord[];
  /** Its duplicate window up to the head, rising. */
  readonly window: readonly Entry[];
}

/** A room that was foreseen, with what its stored log gained since. */
export interface Foretold {
  readonly members: readonly MemberRecord[];
  /** The window up to the head that was asked for. */
  readonly window: readonly Entry[];
  /** Entries after what was foreseen up to that head, rising without gap. */
  readonly since: readonly Entry[];
}

/** How long what was read is kept, ms: the shard comes at once or not at all. */
const KEEP_MS = 10_000;
/** Most rooms that are kept; of further ones nothing is read. */
const ROOMS_MOST = 256;
/** Most members, and most entries of windows, of all of them together, about 20 MB each. */
const MEMBERS_MOST = 50_000;
const ENTRIES_MOST = 50_000;
/** Most rooms that are read at the same time. */
const READ_AT_ONCE = 4;
/** Most entries that a room may have gained; what gained more is read anew. */
const SINCE_MOST = 500;

const NOWHERE: Position = Object.freeze({ offset: 0, term: 0 });

/** The rooms that were read ahead. */
export class Foresight {
  readonly #host: ForesightHost;
  readonly #rooms = new Map<string, Foreseen>();
  #members = 0;
  #entries = 0;

  constructor(host: ForesightHost) {
    this.#host = host;
  }

  /** Rooms kept now. */
  get size(): number {
    return this.#rooms.size;
  }

  /** Reads rooms. Resolves when it has; what could not be read is read at the opening. */
  async read(rooms: readonly string[]): Promise<void> {
    const left = rooms.slice(0, ROOMS_MOST);
    const one = async (): Promise<void> => {
      for (let room = left.shift(); room !== undefined; room = left.shift()) await this.#read(room);
    };
    try {
      await Promise.all(Array.from({ length: READ_AT_ONCE }, one));
    } catch (error) {
      this.#host.log.debug({ err: error }, "rooms that are about to come could not be read");
    }
  }

  async #read(room: string): Promise<void> {
    const { archive, clock } = this.#host;
    if (this.#rooms.has(room) || this.#rooms.size >= ROOMS_MOST) return;
    const [last] = await archive.page(room, { limit: 1, end: "last" });
    // What was derived from such an entry may not be written yet.
    if (last && last.entry.event !== "message") return;
    const head = last ? positionOf(last.entry) : NOWHERE;
    const [members, window] = await Promise.all([
      this.#membersOf(room),
      readWindow(this.#host, room, { stored: head.offset, head: head.offset }),
    ]);
    const fits = this.#entries + window.length <= ENTRIES_MOST && this.#rooms.size < ROOMS_MOST;
    if (!members || !fits || this.#rooms.has(room)) return;
    const seen = { head, members, window };
    this.#rooms.set(room, seen);
    this.#members += members.length;
    this.#entries += window.length;
    clock.after(KEEP_MS, () => {
      if (this.#rooms.get(room) === seen) this.#drop(room);
    });
  }

  async #membersOf(room: string): Promise<readonly MemberRecord[] | undefined> {
    const limit = 1_000;
    const members: MemberRecord[] = [];
    for (;;) {
      const after = members[members.length - 1]?.user;
      const page = await this.#host.archive.members(room, after === undefined ? { limit } : { after, limit });
      members.push(...page);
      if (this.#members + members.length > MEMBERS_MOST) return undefined;
      if (page.length < limit) return members;
    }
  }

  #drop(room: string): Foreseen | undefined {
    const seen = this.#rooms.get(room);
    if (!seen || !this.#rooms.delete(room)) return undefined;
    this.#members -= seen.members.length;
    this.#entries -= seen.window.length;
    return seen;
  }

  /**
   * What was foreseen of a room, once: asks the hot log for what came since, beside whatever else the opening
   * asks. The answer takes the head that the archive has now, and gives undefined when what came since is not all there.
   */
  async tell(room: string): Promise<(head: Position) => Foretold | undefined> {
    const seen = this.#drop(room);
    if (!seen) return () => undefined;
    const later = await this.#host.bus.log(room, seen.head.offset, SINCE_MOST);
    return (head) => {
      const since = later.filter(({ offset }) => offset <= head.offset);
      if (!joins(seen.head, since, head)) return undefined;
      const window = [...seen.window, ...since.filter(({ key }) => key.startsWith("c/"))];
      return { members: seen.members, window, since };
    };
  }
}

/** Whether these are all entries of a log from one position to another. */
function joins(from: Position, entries: readonly Entry[], to: Position): boolean {
  let at = from;
  for (const entry of entries) {
    if (entry.offset !== at.offset + 1 || entry.prevTerm !== at.term) return false;
    at = positionOf(entry);
  }
  return at.offset === to.offset && at.term === to.term;
}
