/**
 * The local subscriptions of one room on this node: checks the chain of what comes over the bus (rule 6),
 * publishes it, and remembers the last of it for resumes.
 */
import type { Archive } from "./archive.ts";
import type { Bus, Pack } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Counters } from "./counters.ts";
import { type Entry, entryBytes, ORIGIN, type Position, positionOf } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Fanout, Link } from "./link.ts";
import type { Log } from "./log.ts";
import { fetchAfter } from "./reading.ts";
import { memberChangeOf } from "./room.state.ts";

/** What an audience needs of its node. */
export interface AudienceHost {
  readonly archive: Archive;
  readonly bus: Bus;
  readonly fanout: Fanout;
  readonly limits: Limits;
  readonly log: Log;
  readonly clock: Clock;
  readonly counters: Counters;
  /** A user was removed by an entry just published: their subscriptions end here. */
  expel(room: string, user: string): void;
  /**
   * The chain cannot be mended: every local subscription is told `recovered: false` and goes on from `head`. Resolves
   * once nobody is here any more whom an entry up to `head` removed, or another position is lost; rejects never.
   */
  broken(room: string, head: Position): Promise<void>;
  /** The gap is too long to be filled: every connection that listens is closed, so that it resumes. */
  unfilled(room: string): void;
}

/** Most bytes of the ring: it is sent in one turn, and must fit a socket's buffer. */
const RING_BYTES = 262_144;
/** Most removals remembered; one that is not may refuse a subscription under way, which its client opens again. */
const REMOVALS_MOST = 1_024;
/** Most pages read to fill one gap; who waits for a longer one is sent away to resume. */
const FILL_PAGES = 64;
/** Pause before a gap is asked for again, ms; doubles while the stores do not answer. */
const FILL_AGAIN_MS = { first: 100, longest: 3_200 } as const;

/** The audience of one room on this node. */
export class Audience {
  readonly room: string;
  readonly #host: AudienceHost;
  /** The last entry given to the native publish; undefined until the owner granted the first subscription. */
  position: Position | undefined;
  /** Subscriptions, also those still replaying. */
  logs = 0;
  signals = 0;
  /** The last entries published, rising, ending at `position`. */
  #ring: Entry[] = [];
  #ringBytes = 0;
  /** Users removed while this audience is here, with the offset of the entry. */
  readonly #removals = new Map<string, number>();
  /** Highest offset seen before there was a position. */
  #early = 0;
  /** Those who wait until all up to an offset was taken. */
  #reaching: { readonly offset: number; readonly done: (reached: boolean) => void }[] = [];
  /** Highest offset of a removal that is not remembered any more. */
  #forgotten = 0;
  #closed = false;
  #filling = false;
  /** Tries of this gap that failed. */
  #failures = 0;
  /** Set from a loss on until it is known who may be here: nothing is shown before. */
  #sifted: Promise<void> | undefined;
  /** There may be more on the log than a fill under way has asked for; and the offset up to which packs told so. */
  #missed = false;
  #missedTo = 0;
  /** Something may have come to the log meanwhile of which no pack told how far it goes. */
  #stirred = false;

  constructor(room: string, host: AudienceHost) {
    this.room = room;
    this.#host = host;
  }

  /** Starts at the owner's answer, if this is the first. What came over the bus before that is fetched. */
  grant(at: Position): void {
    if (this.position) return;
    this.position = at;
    if (this.#early > at.offset) this.fill();
  }

  /**
   * Resolves once everything up to `offset` was taken, the member entries there included; false when the chain
   * broke meanwhile, or it took longer than `withinMs`. Where nobody listens any more there is nothing to wait for.
   */
  reach(offset: number, withinMs: number): Promise<boolean> {
    if (this.#closed || (this.position ?? ORIGIN).offset >= offset) return Promise.resolve(true);
    return new Promise((resolve) => {
      const { clock } = this.#host;
      const done = (reached: boolean): void => {
        clock.cancel(timer);
        resolve(reached);
      };
      const waiting = { offset, done };
      const timer = clock.after(withinMs, () => {
        this.#reaching = this.#reaching.filter((one) => one !== waiting);
        resolve(false);
      });
      this.#reaching.push(waiting);
      this.fill();
    });
  }

  #reached(): void {
    const here = (this.position ?? ORIGIN).offset;
    const done = this.#reaching.filter(({ offset }) => offset <= here);
    if (done.length === 0) return;
    this.#reaching = this.#reaching.filter(({ offset }) => offset > here);
    for (const one of done) one.done(true);
  }

  /**
   * Nobody listens any more: who waits is told, and nothing more is fetched. What is under way says nothing either:
   * others may listen to the room by then, to another audience that is elsewhere on the log.
   */
  close(): void {
    this.#closed = true;
    this.#giveUp();
  }

  #giveUp(): void {
    const waiting = this.#reaching;
    this.#reaching = [];
    for (const one of waiting) one.done(false);
  }

  /** Whether the user was removed by an entry after `offset`; also where that is not remembered. */
  removedAfter(user: string, offset: number): boolean {
    return Math.max(this.#removals.get(user) ?? 0, this.#forgotten) > offset;
  }

  /** The entries after `offset` up to `position`, if all of them are in memory. */
  rest(offset: number): readonly Entry[] | undefined {
    const last = (this.position ?? ORIGIN).offset;
    if (offset >= last) return [];
    const first = this.#ring[0]?.offset;
    if (first === undefined || first > offset + 1) return undefined;
    return this.#ring.slice(offset + 1 - first);
  }

  /** The entry at an offset, if it is in memory. */
  at(offset: number): Entry | undefined {
    const first = this.#ring[0]?.offset;
    return first === undefined ? undefined : this.#ring[offset - first];
  }

  /** Takes a pack from the bus. */
  take(pack: Pack): void {
    const here = this.position;
    if (!here) {
      this.#early = Math.max(this.#early, (pack.entries[pack.entries.length - 1] as Entry).offset);
      return;
    }
    const first = pack.entries[0] as Entry;
    const last = pack.entries[pack.entries.length - 1] as Entry;
    if (this.#filling) {
      this.#missed = true;
      this.#missedTo = Math.max(this.#missedTo, last.offset);
      return;
    }
    if (first.offset === here.offset + 1 && pack.prevTerm === here.term)
      return this.#deliver(pack.entries, pack.origin);
    if (last.offset <= here.offset) {
      // A foreign term at an offset we passed is proof of a broken chain; anything else is old news.
      if (last.term > here.term) this.lost(positionOf(last), pack.entries);
      return;
    }
    if (first.offset <= here.offset) {
      const fresh = pack.entries.slice(here.offset + 1 - first.offset);
      if ((fresh[0] as Entry).prevTerm === here.term) return this.#deliver(fresh);
      return this.lost(positionOf(last), pack.entries);
    }
    if (first.offset === here.offset + 1) return this.lost(positionOf(last), pack.entries);
    this.fill();
  }

  #deliver(entries: readonly Entry[], origin?: Link): void {
    let from = 0;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      if (entry.event !== "member") continue;
      const change = memberChangeOf(entry);
      if (change?.change !== "removed" && change?.change !== "left") {
        if (change) this.#removals.delete(change.user);
        continue;
      }
      // Rule 11: up to the removal and nothing after it.
      this.#publish(entries.slice(from, i + 1), origin);
      from = i + 1;
      this.#remember(change.user, entry.offset);
      this.#host.expel(this.room, change.user);
    }
    this.#publish(from === 0 ? entries : entries.slice(from), origin);
  }

  #remember(user: string, offset: number): void {
    if (this.#removals.size >= REMOVALS_MOST) {
      const [oldest] = this.#removals;
      if (oldest) {
        this.#forgotten = Math.max(this.#forgotten, oldest[1]);
        this.#removals.delete(oldest[0]);
      }
    }
    this.#removals.set(user, offset);
  }

  #publish(entries: readonly Entry[], origin: Link | undefined): void {
    const last = entries[entries.length - 1];
    if (!last) return;
    this.position = { offset: last.offset, term: last.term };
    for (const entry of entries) {
      this.#ring.push(entry);
      this.#ringBytes += entryBytes(entry);
    }
    if (this.#reaching.length > 0) this.#reached();
    if (this.logs > 0) this.#host.counters.delivered += this.#host.fanout.entries(this.room, entries, origin);
    const { replayKeep } = this.#host.limits;
    if (this.#ring.length <= replayKeep * 2 && this.#ringBytes <= RING_BYTES) return;
    let drop = Math.max(0, this.#ring.length - replayKeep);
    for (let i = 0; i < drop; i++) this.#ringBytes -= entryBytes(this.#ring[i] as Entry);
    while (drop < this.#ring.length && this.#ringBytes > RING_BYTES) {
      this.#ringBytes -= entryBytes(this.#ring[drop] as Entry);
      drop++;
    }
    this.#ring.splice(0, drop);
  }

  /**
   * The position is not on the log, by proof (rule 6): every local subscription is told, and goes on from `head`.
   * `seen` are entries of the log up to there, as far as they came. What was not seen may have removed somebody:
   * until it is known who may be here, all that comes is a gap, which is filled then.
   */
  lost(head: Position, seen: readonly Entry[] = []): void {
    if (this.#closed) return;
    const { offset: until } = this.position ?? ORIGIN;
    this.#host.log.warn({ room: this.room, at: this.position, head }, "the chain of a room broke");
    this.#ring = [];
    this.#ringBytes = 0;
    this.position = head;
    // A removal that was lost is none.
    for (const [user, offset] of this.#removals) if (offset > head.offset) this.#removals.delete(user);
    this.#giveUp();
    this.#removeBy(seen, until);
    if (this.#closed) return;
    this.#sifted = this.#host.broken(this.room, head);
    this.#run();
  }

  /** Rule 11 holds for entries that are not shown as well. Who was back by `until` may have come after that. */
  #removeBy(entries: readonly Entry[], until: number): void {
    const removed = new Set<string>();
    for (const entry of entries) {
      if (entry.event !== "member") continue;
      const change = memberChangeOf(entry);
      if (change?.change === "removed" || change?.change === "left") {
        this.#remember(change.user, entry.offset);
        removed.add(change.user);
      } else if (change) {
        this.#removals.delete(change.user);
        if (entry.offset <= until) removed.delete(change.user);
      }
    }
    for (const user of removed) this.#host.expel(this.room, user);
  }

  /** Something may stand on the log that no pack tells of: it is fetched, now or from the owner's answer on. */
  stirred(): void {
    this.#stirred = true;
    if (this.position) this.fill();
    else this.#early = Number.POSITIVE_INFINITY;
  }

  /** Fetches what is missing; live packs are dropped meanwhile, as the fetch ends at the head. */
  fill(): void {
    this.#missed = true;
    this.#run();
  }

  #run(): void {
    if (this.#filling || this.#closed) return;
    this.#filling = true;
    this.#host.counters.gaps++;
    this.#fetchAll().then(
      (filled) => {
        this.#filling = false;
        this.#failures = 0;
        if (!filled) this.#leaveUnfilled();
        // Lost after the last page was taken.
        if (this.#sifted !== undefined) this.#run();
      },
      (error: unknown) => this.#fillLater(error),
    );
  }

  #fillLater(error: unknown): void {
    const { log, clock } = this.#host;
    const { first, longest } = FILL_AGAIN_MS;
    if (this.#failures === 0) log.warn({ room: this.room, err: error }, "a gap was not filled; asking again");
    clock.after(Math.min(longest, first * 2 ** Math.min(this.#failures, 10)), () => {
      this.#filling = false;
      this.fill();
    });
    this.#failures++;
  }

  /** Until it is known who may be here, also where another position was lost meanwhile. */
  async #sift(): Promise<void> {
    for (let asked = this.#sifted; asked !== undefined; asked = this.#sifted) {
      await asked;
      if (this.#sifted === asked) this.#sifted = undefined;
    }
  }

  /** Up to the head; false when that takes more pages than a gap may. */
  async #fetchAll(): Promise<boolean> {
    this.#missedTo = 0;
    for (let lap = 0; lap < FILL_PAGES; lap++) {
      if (this.#sifted !== undefined) {
        await this.#sift();
        if (this.#closed || !this.#missed) return true;
      }
      // What is missed while a page is read was accepted before: it is on the next one.
      this.#missed = false;
      this.#stirred = false;
      const here = this.position as Position;
      const page = await fetchAfter(this.#host, this.room, here.offset);
      if (this.#closed) return true;
      if (this.position !== here) {
        // Lost while it was read: what was read follows what is not on the log.
        this.#missed = true;
        continue;
      }
      const first = page[0];
      const broken = first && (first.offset !== here.offset + 1 || first.prevTerm !== here.term);
      if (broken) {
        this.lost(positionOf(page[page.length - 1] as Entry), page);
        continue;
      }
      this.#deliver(page);
      if (!first && !this.#missed) return true;
      // All that came meanwhile is there: what comes now follows it, or is known. A busy room never stands still.
      const { offset } = this.position as Position;
      if (!this.#stirred && this.#missedTo > 0 && this.#missedTo <= offset) return true;
    }
    return false;
  }

  /** Bounded laps, then the connections are closed to resume: they are told how much of it they are given. */
  #leaveUnfilled(): void {
    this.#host.log.warn({ room: this.room, at: this.position }, "a gap of a room is too long to be filled");
    this.#giveUp();
    this.#host.unfilled(this.room);
  }
}
