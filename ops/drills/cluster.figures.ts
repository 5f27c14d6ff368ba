/** What is measured in a drill of many nodes, as clients see it: pauses of rooms, and takeovers of a dead node's. */
import type { Item } from "./checker.ts";
import { type Ledger, type Listener, type Person, roomOf } from "./cluster.person.ts";

/** The value that so many of all are at most: `share` 0.99 is p99, 1 the largest; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** One line: how many, median, p99 and largest, in whole ms. */
export function figure(values: readonly number[]): string {
  const [half, most, all] = [0.5, 0.99, 1].map((share) => Math.round(percentile(values, share)));
  return `${values.length} times, p50 ${half} ms, p99 ${most} ms, max ${all} ms`;
}

/** Whose hearing counts. */
export type Counts = (person: Person, room: string) => boolean;

/** What a meter of pauses heard, ms. */
export interface Heard {
  /** One for each listener and room that moved: from the last entry of one owner to the first of the next. */
  readonly moved: readonly number[];
  /** One for each listener and room: the longest between two entries of one owner. */
  readonly quiet: readonly number[];
}

interface Track {
  term: number;
  lastMs: number;
  /** The longest time between two entries, over a change of the term and not. */
  moved: number | undefined;
  quiet: number;
}

/** The pauses of rooms in which somebody speaks every few ms. */
export class PauseMeter {
  readonly #tracks = new Map<string, Track>();
  readonly #ledger: Ledger;
  readonly #listener: Listener;

  constructor(ledger: Ledger, counts: Counts) {
    this.#ledger = ledger;
    this.#listener = (person, item, atMs) => {
      const room = roomOf(item);
      if (counts(person, room)) this.#take(`${person.id}\n${room}`, item.term, atMs);
    };
    ledger.listeners.add(this.#listener);
  }

  /** Whether every room that was heard of at all was heard of since a moment, by `performance.now()`. */
  since(sinceMs: number): boolean {
    const last = new Map<string, number>();
    for (const [key, { lastMs }] of this.#tracks) {
      const room = key.slice(key.indexOf("\n") + 1);
      last.set(room, Math.max(last.get(room) ?? 0, lastMs));
    }
    return [...last.values()].every((lastMs) => lastMs > sinceMs);
  }

  #take(key: string, term: number, atMs: number): void {
    const track = this.#tracks.get(key);
    if (!track) {
      this.#tracks.set(key, { term, lastMs: atMs, moved: undefined, quiet: 0 });
      return;
    }
    const pauseMs = atMs - track.lastMs;
    if (term === track.term) track.quiet = Math.max(track.quiet, pauseMs);
    else track.moved = Math.max(track.moved ?? 0, pauseMs);
    track.term = term;
    track.lastMs = atMs;
  }

  /** Ends; what was heard. */
  stop(): Heard {
    this.#ledger.listeners.delete(this.#listener);
    const tracks = [...this.#tracks.values()];
    return {
      moved: tracks.flatMap(({ moved }) => (moved === undefined ? [] : [moved])),
      quiet: tracks.map(({ quiet }) => quiet),
    };
  }
}

/** From a node's death to the next owner's first entry in each of its rooms, as clients of other nodes see it. */
export class TakeoverMeter {
  readonly #waiting: Map<string, number>;
  readonly #took: number[] = [];
  readonly #ledger: Ledger;
  readonly #listener: Listener;

  /** `rooms`: those of the dead owner, each with its term. Begins now. */
  constructor(ledger: Ledger, rooms: ReadonlyMap<string, number>, counts: (person: Person) => boolean) {
    const sinceMs = performance.now();
    this.#ledger = ledger;
    this.#waiting = new Map(rooms);
    this.#listener = (person: Person, item: Item, atMs: number) => {
      const room = roomOf(item);
      const term = this.#waiting.get(room);
      if (term === undefined || item.term <= term || !counts(person)) return;
      this.#waiting.delete(room);
      this.#took.push(atMs - sinceMs);
    };
    ledger.listeners.add(this.#listener);
  }

  /** Rooms in which nothing new was shown yet. */
  get waiting(): readonly string[] {
    return [...this.#waiting.keys()];
  }

  /** Ends; what each room took, ms. */
  stop(): readonly number[] {
    this.#ledger.listeners.delete(this.#listener);
    return this.#took;
  }
}
