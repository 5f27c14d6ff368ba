/** One batch on its way into the archive: ordered, retried until answered, conflicts told apart (rule 3). */
import type { Archive, DerivedWrite } from "./archive.ts";
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
  while (rest.length > 0) rest = await insertSome(rest, results, options);
  const writes: DerivedWrite[] = [];
  for (const result of results.values()) {
    for (const posting of result.stored) if (posting.derived) writes.push(...posting.derived);
  }
  if (writes.length > 0) await untilDone(() => options.archive.derive(writes), options);
  return [...results.values()];
}

/** Inserts as far as it goes; answers what is still to be inserted. */
async function insertSome(
  jobs: readonly Job[],
  results: ReadonlyMap<Stored, BatchResult>,
  options: BatchOptions,
): Promise<readonly Job[]> {
  const { archive } = options;
  const entries = jobs.map((job) => job.posting.entry as Entry);
  // An unclear answer is repeated: what had landed then shows as a conflict that is ours.
  const outcome = await untilDone(() => archive.insert(entries), options);
  for (const job of jobs.slice(0, outcome.stored)) results.get(job.room)?.stored.push(job.posting);
  if (!outcome.conflict) return jobs.slice(outcome.stored);
  const met = jobs[outcome.stored] as Job;
  const entry = met.posting.entry as Entry;
  const [there] = await untilDone(
    () => archive.page(entry.room, { after: entry.offset - 1, limit: 1, end: "first" }),
    options,
  );
  const behind = jobs.slice(outcome.stored + 1);
  // Ours means same term and key: after a repeated insert an entry may be our own from the try before.
  if (
    there &&
    there.entry.offset === entry.offset &&
    there.entry.term === entry.term &&
    there.entry.key === entry.key
  ) {
    results.get(met.room)?.stored.push(met.posting);
    return behind;
  }
  const result = results.get(met.room) as BatchResult;
  result.conflicted.push(met.posting);
  for (const job of behind) if (job.room === met.room) result.conflicted.push(job.posting);
  return behind.filter((job) => job.room !== met.room);
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
