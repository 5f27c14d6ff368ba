/** One batch on its way into the archive: ordered, retried until answered, conflicts told apart (rule 3). */
import type { Archive, DerivedWrite, InsertOutcome } from "./archive.ts";
import { StoreFailure } from "./codes.ts";
import type { Entry } from "./entry.ts";
import type { Posting } from "./posting.ts";
import type { Job, Stored } from "./writer.ts";

/** What became of one room's part of a batch. */
export interface BatchResult {
  readonly room: Stored;
  readonly stored: Posting[];
  readonly conflicted: Posting[];
}

/** What storing a batch needs. */
export interface BatchOptions {
  readonly jobs: readonly Job[];
  readonly archive: Archive;
  /** Waits before try number `attempt` + 1 after `error`. */
  readonly pause: (attempt: number, error: unknown) => Promise<void>;
}

/** Stores a batch; resolves only when every entry of it is durable or has conflicted. */
export async function storeBatch(options: BatchOptions): Promise<BatchResult[]> {
  const results = new Map<Stored, BatchResult>();
  for (const { room } of options.jobs) {
    if (!results.has(room)) results.set(room, { room, stored: [], conflicted: [] });
  }
  let rest = options.jobs;
  for (let failures = 0; rest.length > 0; ) {
    const tried = await insertSome(rest, results, options);
    if (tried.failed !== undefined) await options.pause(failures++, tried.failed);
    else failures = 0;
    rest = tried.rest;
  }
  const writes: DerivedWrite[] = [];
  for (const result of results.values()) {
    for (const posting of result.stored) if (posting.derived) writes.push(...posting.derived);
  }
  if (writes.length > 0) await untilDone(() => options.archive.derive(writes), options);
  return [...results.values()];
}

/** What is still to be inserted, and why not yet if it did not go on. */
interface Tried {
  readonly rest: readonly Job[];
  readonly failed?: unknown;
}

/** Inserts as far as it goes. */
async function insertSome(
  jobs: readonly Job[],
  results: ReadonlyMap<Stored, BatchResult>,
  options: BatchOptions,
): Promise<Tried> {
  let outcome: InsertOutcome;
  try {
    outcome = await options.archive.insert(jobs.map(entryOf));
  } catch (failed) {
    // Of an unclear answer nothing is believed: it is looked at what stands there.
    return { rest: await settle(jobs, results, options), failed };
  }
  for (const job of jobs.slice(0, outcome.stored)) results.get(job.room)?.stored.push(job.posting);
  const rest = jobs.slice(outcome.stored);
  if (!outcome.conflict) return { rest };
  const left = await settle(rest, results, options);
  // What was met there is another's write that the majority has not yet.
  return left[0] === rest[0] ? { rest: left, failed: new StoreFailure(UNSEEN) } : { rest: left };
}

const UNSEEN = "The archive has an entry at a place that it shows as free.";

/**
 * Looks in one question what stands at the places of all entries that may have been stored by a try before, or have
 * met others (rule 3): what is ours is stored, a room that met another's has conflicted, the rest is to be inserted.
 */
async function settle(
  jobs: readonly Job[],
  results: ReadonlyMap<Stored, BatchResult>,
  options: BatchOptions,
): Promise<readonly Job[]> {
  const standing = await untilDone(() => options.archive.standing(jobs.map(entryOf)), options);
  const there = new Map(standing.map((one) => [placeOf(one), one]));
  const rest: Job[] = [];
  /** Rooms with an entry whose place was free: a try that was given up may be storing them in this moment, in order. */
  const open = new Set<Stored>();
  for (const job of jobs) {
    const result = results.get(job.room) as BatchResult;
    const entry = entryOf(job);
    const met = there.get(placeOf(entry));
    if (result.conflicted.length > 0) result.conflicted.push(job.posting);
    else if (!met || open.has(job.room)) {
      open.add(job.room);
      rest.push(job);
    } else if (met.term === entry.term && met.key === entry.key) result.stored.push(job.posting);
    else result.conflicted.push(job.posting);
  }
  return rest;
}

function entryOf({ posting }: Job): Entry {
  return posting.entry as Entry;
}

function placeOf({ room, offset }: Pick<Entry, "room" | "offset">): string {
  return `${room}.${offset}`;
}

async function untilDone<T>(work: () => Promise<T>, options: BatchOptions): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      await options.pause(attempt, error);
    }
  }
}
