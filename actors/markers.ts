/**
 * Read and delivered markers: monotone numbers per member, coalesced here and written in batches.
 * A SEND moves its sender's read marker to it, so `unread` (a difference of `count`) is of others only.
 */
import type { Archive, MarkerRecord } from "./archive.ts";
import type { Clock, Timer } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Entry } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";

/** What the markers need. */
export interface MarkersOptions {
  readonly archive: Archive;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  /** Told of the rooms whose markers are durable now. */
  readonly written: (rooms: ReadonlySet<string>) => void;
}

/** The markers of a node's rooms that are not yet written. */
export class Markers {
  readonly #options: MarkersOptions;
  #waiting = new Map<string, MarkerRecord>();
  #inFlight: Promise<void> | undefined;
  /** Those of the batch on its way; still newer than what the archive answers. */
  #leaving = new Map<string, MarkerRecord>();
  #timer: Timer | undefined;
  /** The last batch was not written, which is told once until one is. */
  #failing = false;
  dropped = 0;

  constructor(options: MarkersOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#waiting.size + this.#leaving.size;
  }

  /** The sender of a stored message has read up to it. */
  sent(room: string, entry: Entry): void {
    this.#raise({ room, user: entry.sender, read: entry.offset, readCount: entry.count, delivered: entry.offset });
  }

  /** Raises a marker; refused when too many wait to be written. */
  raise(marker: MarkerRecord): void {
    if (!this.#raise(marker)) throw new Refusal("queue-full", undefined, this.#options.limits.markerFlushMs);
  }

  #raise(marker: MarkerRecord): boolean {
    const key = `${marker.room}\n${marker.user}`;
    const before = this.#waiting.get(key);
    if (!before && this.#waiting.size >= this.#options.limits.markersPending) {
      this.dropped++;
      return false;
    }
    this.#waiting.set(key, before ? highest(before, marker) : marker);
    if (!this.#timer)
      this.#timer = this.#options.clock.after(this.#options.limits.markerFlushMs, () => void this.#tick());
    return true;
  }

  async #tick(): Promise<void> {
    this.#timer = undefined;
    try {
      await this.flush();
      this.#failing = false;
    } catch (error) {
      const fields = { err: error, waiting: this.#waiting.size };
      if (!this.#failing) this.#options.log.warn(fields, "markers were not written; they will be");
      this.#failing = true;
    }
    if (this.#waiting.size > 0 && !this.#timer) {
      this.#timer = this.#options.clock.after(this.#options.limits.markerFlushMs, () => void this.#tick());
    }
  }

  /** Writes what waits; resolves when it is durable, rejects when the archive did not take it (it waits on). */
  async flush(): Promise<void> {
    while (this.#inFlight !== undefined) await this.#inFlight.catch(() => undefined);
    if (this.#waiting.size === 0) return;
    this.#leaving = this.#waiting;
    this.#waiting = new Map();
    const leaving = [...this.#leaving.values()];
    this.#inFlight = this.#options.archive.mark(leaving);
    try {
      await this.#inFlight;
    } catch (error) {
      for (const marker of this.#leaving.values()) this.#raise(marker);
      throw error;
    } finally {
      this.#inFlight = undefined;
      this.#leaving = new Map();
    }
    this.#options.written(new Set(leaving.map(({ room }) => room)));
  }

  /** A user's markers in a room, what waits to be written included. */
  async of(room: string, user: string): Promise<MarkerRecord> {
    const archived = await this.#options.archive.marker(room, user);
    const key = `${room}\n${user}`;
    let marker = archived ?? { room, user, read: 0, readCount: 0, delivered: 0 };
    for (const newer of [this.#leaving.get(key), this.#waiting.get(key)]) if (newer) marker = highest(marker, newer);
    return marker;
  }
}

/** The higher of two markers of one user in one room, field by field. */
export function highest(a: MarkerRecord, b: MarkerRecord): MarkerRecord {
  const read = a.read >= b.read ? a : b;
  return {
    room: a.room,
    user: a.user,
    read: read.read,
    readCount: read.readCount,
    delivered: Math.max(a.delivered, b.delivered),
  };
}
