/**
 * The batched writer: takes accepted entries off the hot path and makes them durable, in order per room.
 *
 *   reserve ─→ (append) ─→ enqueue ─→ lane ─→ insert ─→ derive ─→ stored ─→ RECEIPT
 *
 * A room always goes through the same lane and a lane has one batch in flight (rule 3). What was accepted
 * has its place reserved, so a full bound refuses new SENDs and never drops an old one.
 */
import type { Archive } from "./archive.ts";
import type { Clock, Timer } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { Histogram, LATENCY_BOUNDS_S } from "./counters.ts";
import { type Entry, shardOf } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import type { Posting } from "./posting.ts";
import { type BatchResult, storeBatch } from "./writer.batch.ts";

/** The room's side of the writer. */
export interface Stored {
  /** All postings up to and with the last of these are durable, derived writes included. In order. */
  onStored(postings: readonly Posting[]): void;
  /** Another entry stands at the first one's place: none of these, nor what follows, was stored (step 8). */
  onConflict(postings: readonly Posting[]): void;
}

/** One posting on its way to the archive. */
export interface Job {
  readonly room: Stored;
  readonly posting: Posting;
  /** Somebody waits for the RECEIPT: the batch leaves soon. */
  readonly urgent: boolean;
}

/** So many entries leave at once when somebody waits for one of them: their share of a commit's cost is small. */
const EAGER_ENTRIES = 64;
/** So many leave at once when nobody does: these may as well wait, and share the cost of a batch with more. */
const EAGER_ENTRIES_IDLE = 256;

/** First and longest pause between tries of a batch, ms; doubles in between, with jitter. */
const RETRY_MS = { first: 50, longest: 1_000 } as const;

/** What the writer needs. */
export interface WriterOptions {
  readonly archive: Archive;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  /** 0 up to, not with, 1. */
  readonly random: () => number;
  /**
   * Whether new SENDs are refused while the archive fails; without a hot log of its own, they must be, and what is not
   * stored ends with this process.
   */
  readonly refuseWhileFailing: boolean;
}

/** The writer of one node. */
export class Writer {
  readonly #options: WriterOptions;
  readonly #lanes: Lane[] = [];
  /** Reserved and not yet stored. */
  entries = 0;
  bytes = 0;
  /** Entries durable since the start, batches, and tries that failed. */
  stored = 0;
  batches = 0;
  retries = 0;
  /** Why the archive fails now, if it does. */
  failing: string | undefined;
  /** Told when the archive begins to fail, with why, and when it takes writes again, with undefined. */
  onHealth: ((failing: string | undefined) => void) | undefined;
  /** From the decision to durable, seconds. */
  readonly latency = new Histogram(LATENCY_BOUNDS_S);
  readonly batchSizes = new Histogram([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
  #idle: (() => void)[] = [];

  constructor(options: WriterOptions) {
    this.#options = options;
    for (let i = 0; i < options.limits.lanes; i++) this.#lanes.push(new Lane(this, options));
  }

  /** The archive fails, or does not any more. */
  fails(reason: string | undefined): void {
    this.failing = reason;
    this.onHealth?.(reason);
  }

  /** Throws `queue-full` or `store-unavailable`, with when to try again, unless there are so many places now. */
  require(entries: number, bytes: number): void {
    const limits = this.#options.limits;
    if (this.failing !== undefined && this.#options.refuseWhileFailing) {
      throw new Refusal("store-unavailable", undefined, RETRY_MS.longest);
    }
    if (this.entries + entries > limits.pendingEntries || this.bytes + bytes > limits.pendingBytes) {
      throw new Refusal("queue-full", undefined, RETRY_MS.longest);
    }
  }

  /** Reserves a place; throws as `require` does. */
  reserve(bytes: number): void {
    this.require(1, bytes);
    this.entries++;
    this.bytes += bytes;
  }

  /** Gives a reserved place back. */
  release(bytes: number): void {
    this.entries--;
    this.bytes -= bytes;
    if (this.entries === 0) {
      const waiting = this.#idle;
      this.#idle = [];
      for (const resolve of waiting) resolve();
    }
  }

  /** Takes a posting that was accepted before this node owned its room: its place is taken beyond any bound. */
  adopt(job: Job): void {
    this.entries++;
    this.bytes += job.posting.bytes;
    this.enqueue(job);
  }

  /** Takes an accepted posting whose place is reserved. */
  enqueue(job: Job): void {
    const entry = job.posting.entry as Entry;
    const lane = this.#lanes.length === 1 ? 0 : shardOf(entry.room, this.#lanes.length);
    (this.#lanes[lane] as Lane).add(job);
  }

  /** Milliseconds the oldest waiting posting has waited; 0 when none waits. */
  oldestMs(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes) oldest = Math.min(oldest, lane.oldestAt());
    return oldest === Number.POSITIVE_INFINITY ? 0 : this.#options.clock.monotonic() - oldest;
  }

  /** The rooms, at most so many, whose entries have waited the longest; each once, the longest wait first. */
  longestWaiting(most: number): string[] {
    const since = new Map<string, number>();
    for (const lane of this.#lanes) {
      let found = 0;
      for (const { posting } of lane.waiting()) {
        if (found === most) break;
        const { room } = posting.entry as Entry;
        if (since.has(room)) continue;
        since.set(room, posting.decidedAt);
        found++;
      }
    }
    const rooms = [...since].sort(([, a], [, b]) => a - b).slice(0, most);
    return rooms.map(([room]) => room);
  }

  /** Resolves when nothing reserved is left unstored. */
  async flushed(): Promise<void> {
    for (const lane of this.#lanes) lane.hurry();
    if (this.entries === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}

/** One lane: a queue and at most one batch in flight. */
class Lane {
  readonly #writer: Writer;
  readonly #options: WriterOptions;
  readonly #enoughIdle: number;
  /** Age at which a batch leaves that nobody waits for, ms. */
  readonly #idleMs: number;
  #queue: Job[] = [];
  #at = 0;
  /** The batch in flight; empty when none is. */
  #leaving: readonly Job[] = [];
  #timer: Timer | undefined;
  #timerUrgent = false;
  /** Somebody waits for one of those in the queue. */
  #urgent = false;
  /** A batch leaves once this turn has brought what it brings. */
  #hurrying = false;

  constructor(writer: Writer, options: WriterOptions) {
    this.#writer = writer;
    this.#options = options;
    const { batchEntries, batchIdleMs, batchLoggedMs, pendingEntries } = options.limits;
    // Small bounds are not filled by those that nobody waits for.
    this.#enoughIdle = Math.min(EAGER_ENTRIES_IDLE, batchEntries, Math.ceil(pendingEntries / 2));
    this.#idleMs = options.refuseWhileFailing ? batchIdleMs : batchLoggedMs;
  }

  add(job: Job): void {
    this.#queue.push(job);
    this.#urgent ||= job.urgent;
    if (this.#inFlight || this.#hurrying) return;
    if (!this.#enough) return this.#schedule();
    // After all that this turn brings: a commit of so many gains nothing by waiting for more.
    this.#hurrying = true;
    queueMicrotask(() => this.hurry());
  }

  oldestAt(): number {
    const oldest = this.#leaving[0] ?? this.#queue[this.#at];
    return oldest?.posting.decidedAt ?? Number.POSITIVE_INFINITY;
  }

  /** What is not stored yet, in the order in which it came. */
  *waiting(): Generator<Job> {
    yield* this.#leaving;
    for (let i = this.#at; i < this.#queue.length; i++) yield this.#queue[i] as Job;
  }

  hurry(): void {
    this.#hurrying = false;
    if (!this.#inFlight && this.#at < this.#queue.length) this.#leave();
  }

  get #inFlight(): boolean {
    return this.#leaving.length > 0;
  }

  /** Whether so many wait that more would not make their batch cheaper. */
  get #enough(): boolean {
    return this.#queue.length - this.#at >= (this.#urgent ? EAGER_ENTRIES : this.#enoughIdle);
  }

  /** The first that waits has its age already: the batch before it ended at an entry whose derived writes it follows. */
  get #overdue(): boolean {
    const first = this.#queue[this.#at];
    return first !== undefined && this.#options.clock.monotonic() - first.posting.decidedAt >= this.#idleMs;
  }

  #schedule(): void {
    const urgent = this.#urgent;
    if (this.#timer && (this.#timerUrgent || !urgent)) return;
    const { clock, limits } = this.#options;
    if (this.#timer) clock.cancel(this.#timer);
    this.#timerUrgent = urgent;
    const delay = urgent ? limits.batchReceiptMs : this.#idleMs;
    this.#timer = clock.after(delay, () => this.#leave());
  }

  #leave(): void {
    if (this.#timer) this.#options.clock.cancel(this.#timer);
    this.#timer = undefined;
    const jobs = this.#collect();
    this.#leaving = jobs;
    this.#store(jobs)
      .catch((error: unknown) => this.#options.log.error({ err: error }, "the writer met a fault of its own"))
      .finally(() => {
        this.#leaving = [];
        if (this.#enough || this.#overdue) this.#leave();
        else if (this.#at < this.#queue.length) this.#schedule();
      });
  }

  /**
   * The next batch. After an entry with derived writes only more such entries of its room may follow,
   * at most `DERIVED_RUN`, so that an opening which re-applies the last few entries misses none (rule 12).
   */
  #collect(): Job[] {
    const { limits } = this.#options;
    const runs = new Map<string, number>();
    let bytes = 0;
    const start = this.#at;
    while (this.#at < this.#queue.length && this.#at - start < limits.batchEntries) {
      const { posting } = this.#queue[this.#at] as Job;
      const room = (posting.entry as Entry).room;
      if (posting.derived) {
        const run = (runs.get(room) ?? 0) + 1;
        if (run > DERIVED_RUN) break;
        runs.set(room, run);
      } else if (runs.size > 0 && runs.has(room)) break;
      bytes += posting.bytes;
      if (bytes > limits.batchBytes && this.#at > start) break;
      this.#at++;
    }
    const jobs = this.#queue.slice(start, this.#at);
    this.#urgent = this.#queue.some((job, at) => at >= this.#at && job.urgent);
    if (this.#at === this.#queue.length) {
      this.#queue = [];
      this.#at = 0;
    } else if (this.#at > 4_096) {
      this.#queue = this.#queue.slice(this.#at);
      this.#at = 0;
    }
    return jobs;
  }

  async #store(jobs: readonly Job[]): Promise<void> {
    const writer = this.#writer;
    const results = await storeBatch({
      jobs,
      archive: this.#options.archive,
      pause: (attempt, error) => this.#pause(attempt, error),
    });
    if (writer.failing !== undefined) {
      this.#options.log.info({ was: writer.failing }, "the archive takes writes again");
      writer.fails(undefined);
    }
    writer.batches++;
    writer.batchSizes.observe(jobs.length);
    const now = this.#options.clock.monotonic();
    for (const result of results) {
      try {
        this.#finish(result, now);
      } catch (error) {
        this.#options.log.error({ err: error }, "what was stored could not be told");
      }
    }
  }

  #finish(result: BatchResult, now: number): void {
    const writer = this.#writer;
    for (const posting of result.stored) {
      writer.latency.observe((now - posting.decidedAt) / 1_000);
      writer.stored++;
    }
    for (const posting of result.stored) writer.release(posting.bytes);
    if (result.stored.length > 0) result.room.onStored(result.stored);
    if (result.conflicted.length > 0) result.room.onConflict(this.#withdraw(result));
  }

  /** What conflicted, with what follows of its room in the queue; their places are given back. */
  #withdraw(result: BatchResult): Posting[] {
    const lost = [...result.conflicted];
    const kept: Job[] = [];
    for (let i = this.#at; i < this.#queue.length; i++) {
      const job = this.#queue[i] as Job;
      if (job.room === result.room) lost.push(job.posting);
      else kept.push(job);
    }
    this.#queue = kept;
    this.#at = 0;
    for (const posting of lost) {
      this.#writer.release(posting.bytes);
      posting.bytes = 0;
    }
    return lost;
  }

  /** Waits before another try, longer each time; says once that the archive fails. */
  #pause(attempt: number, error: unknown): Promise<void> {
    const { clock, log, random } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    if (this.#writer.failing === undefined) log.error({ reason }, "the archive does not take writes");
    this.#writer.fails(reason);
    this.#writer.retries++;
    const base = Math.min(RETRY_MS.longest, RETRY_MS.first * 2 ** Math.min(attempt, 10));
    return new Promise((resolve) => void clock.after(base * (0.5 + random() / 2), resolve));
  }
}

/** Most entries with derived writes of one room in one batch; an opening re-applies as many. */
export const DERIVED_RUN = 64;
