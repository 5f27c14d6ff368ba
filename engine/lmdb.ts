/**
 * What the embedded backends share: one LMDB environment with binary tables, writes grouped into few
 * commits of bounded size, and failures as `StoreFailure`.
 *
 * ```
 *   write(task) ─┐
 *   write(task) ─┼─► waiting ──► one transaction: every task in order ──► commit, sync ──► all resolve
 *   write(task) ─┘              (the next one starts when this one has ended)
 * ```
 *
 * A commit costs about 0.3 ms of CPU whatever it holds, so all that waits shares one, up to a bound.
 *
 * LMDB must never meet a full disk: when it cannot write pages, it prints the sizes of what it meant to write
 * into 100 bytes of its heap (`mdb_page_flush` of lmdb 3.5.6), and for a long run of large rows they are more,
 * which ends the process. So a write is refused before its transaction while the disk has less to spare than
 * twice what the largest transaction takes.
 */
import { statfsSync } from "node:fs";
import { type Database, open, type RootDatabase } from "lmdb";
import { StoreFailure } from "../actors/codes.ts";

/** Tasks waiting beyond this are refused; callers bound their own writes far below. */
const WAITING_MAX = 65_536;
/** Rows of one transaction before it is committed; keeps the turn it runs in short. */
export const ROWS_PER_COMMIT_MAX = 4_096;
/** Bytes of one transaction before it is committed; fewer cost throughput from rows of 20 kB on. */
export const BYTES_PER_COMMIT_MAX = 8_388_608;
/** What a row counts for where its writer does not say, bytes. */
const ROW_BYTES = 128;
/** What a disk must have to spare for a write, bytes: 8 MiB in half-filled pages, and a page copied per row, twice. */
export const SPARE_BYTES = 67_108_864;
/** A commit without an answer for this long counts as failed, and new writes are refused until it answers. */
const COMMIT_MS_MAX = 30_000;

/** Where and how to open. */
export interface LmdbOptions {
  /** A folder of its own, made when missing. */
  readonly folder: string;
  /** Number of named tables at most. */
  readonly tables: number;
  /** What the disk must have to spare for a write, bytes; 0 for rows so few that they find room in old pages. */
  readonly spareBytes?: number;
}

/** About how much a task writes. */
export interface WriteSize {
  readonly rows: number;
  readonly bytes?: number;
}

const MEBIBYTE = 1_048_576;
const ONE_ROW: WriteSize = Object.freeze({ rows: 1 });

/** A range of keys; `from` inclusive, `to` exclusive; in reverse, from the highest down. */
export interface KeyRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly limit?: number;
  readonly reverse?: boolean;
}

/** One row of a range. Key and value are copies. */
export interface Row {
  readonly key: Uint8Array;
  readonly value: Buffer;
}

interface Task {
  readonly run: () => unknown;
  readonly rows: number;
  readonly bytes: number;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

type Outcome = { readonly result: unknown } | { readonly error: unknown };

const NO_OVERWRITE = Object.freeze({ noOverwrite: true });
const APPEND = Object.freeze({ append: true });

/**
 * A table of binary keys in byte order. Reads answer at once and see every resolved write; inside a task
 * of `LmdbStore.write` they see what the transaction has written so far. Writes are allowed only there.
 */
export class LmdbTable {
  readonly #db: Database<Buffer, Uint8Array>;

  constructor(db: Database<Buffer, Uint8Array>) {
    this.#db = db;
  }

  /** A copy of the value, or undefined. */
  get(key: Uint8Array): Buffer | undefined {
    return this.#db.getBinary(key);
  }

  /** The value itself, valid until the next read, or undefined. */
  peek(key: Uint8Array): Buffer | undefined {
    return this.#db.getBinaryFast(key) as Buffer | undefined;
  }

  /** Whether there is a row. */
  has(key: Uint8Array): boolean {
    return this.#db.getBinaryFast(key) !== undefined;
  }

  /** Rows of a range, in the order asked for. The caller may stop early. */
  range(range: KeyRange): Iterable<Row> {
    const { from, to, limit = Number.MAX_SAFE_INTEGER, reverse = false } = range;
    if (!reverse) return this.#db.getRange({ start: from, end: to, limit });
    return this.#db.getRange({ start: to, exclusiveStart: true, end: from, inclusiveEnd: true, limit, reverse: true });
  }

  /** Writes a row; the bytes are copied before it returns. */
  put(key: Uint8Array, value: Uint8Array): void {
    this.#db.putSync(key, value as Buffer);
  }

  /** Writes a row whose key is above all others of the table. */
  append(key: Uint8Array, value: Uint8Array): void {
    this.#db.putSync(key, value as Buffer, APPEND);
  }

  /** Writes a row unless there is one; says whether it did. */
  putNew(key: Uint8Array, value: Uint8Array): boolean {
    // lmdb answers a boolean here; its types say void.
    const put = this.#db.putSync(key, value as Buffer, NO_OVERWRITE) as unknown as boolean;
    return put;
  }

  /** Removes a row; harmless when there is none. */
  remove(key: Uint8Array): void {
    this.#db.removeSync(key);
  }
}

/** One LMDB environment. Only one process may have it open (see `folder.ts`). */
export class LmdbStore {
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  readonly #folder: string;
  readonly #spareBytes: number;
  #waiting: Task[] = [];
  #committing: Promise<void> | undefined;
  /** Set while a commit has not answered in time. */
  #stuck = false;
  #open = true;

  /** Opens or makes the environment. Throws what LMDB throws. */
  constructor(options: LmdbOptions) {
    this.#folder = options.folder;
    this.#spareBytes = options.spareBytes ?? SPARE_BYTES;
    this.#root = open<Buffer, Uint8Array>({
      path: options.folder,
      maxDbs: options.tables,
      encoding: "binary",
      keyEncoding: "binary",
      // The commit ends with its own sync: what is resolved is on the disk.
      overlappingSync: false,
      // With it lmdb makes a promise of its own per turn, which nobody can reach when a commit fails.
      eventTurnBatching: false,
    });
  }

  /** Opens or makes a table. */
  table(name: string): LmdbTable {
    const options = { encoding: "binary", keyEncoding: "binary" } as const;
    return new LmdbTable(this.#root.openDB<Buffer, Uint8Array>(name, options));
  }

  /**
   * Runs the task in the next transaction, after all tasks given before it, and resolves with its answer
   * when that is committed and synced. Rejects with `StoreFailure` when the commit fails (nothing of it
   * was written, unless it never answered), the disk has too little to spare or the task throws. Tasks must
   * not wait for anything. `size` says about how much it writes; what may be large is better given as several.
   */
  write<T>(run: () => T, size: WriteSize = ONE_ROW): Promise<T> {
    if (!this.#open) return Promise.reject(new StoreFailure("The store is closed."));
    if (this.#stuck) return Promise.reject(new StoreFailure("The store has not answered an earlier write yet."));
    if (this.#waiting.length >= WAITING_MAX) return Promise.reject(new StoreFailure("Too many writes are waiting."));
    return new Promise<T>((resolve, reject) => {
      const { rows, bytes = rows * ROW_BYTES } = size;
      this.#waiting.push({ run, rows, bytes, resolve, reject });
      this.#commitNext();
    });
  }

  /** Reads; errors of LMDB become `StoreFailure`, also once closed. */
  read<T>(run: () => T): T {
    if (!this.#open) throw new StoreFailure("The store is closed.");
    try {
      return run();
    } catch (error) {
      throw error instanceof StoreFailure ? error : new StoreFailure("The store could not be read.", error);
    }
  }

  /** Finishes the writes under way, then closes. Harmless when closed. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    while (this.#committing && !this.#stuck) await this.#committing;
    // A commit that hangs holds the lock that closing would wait for.
    if (!this.#stuck) await this.#root.close();
  }

  #commitNext(): void {
    if (this.#committing || this.#waiting.length === 0) return;
    this.#committing = this.#commit().finally(() => {
      this.#committing = undefined;
      this.#commitNext();
    });
  }

  async #commit(): Promise<void> {
    let tasks: Task[] = [];
    let outcomes: Outcome[] = [];
    const failAll = (error: unknown): void => {
      for (const task of tasks.length > 0 ? tasks : this.#waiting.splice(0)) task.reject(failureOf(error));
      tasks = [];
    };
    const timer = setTimeout(() => {
      this.#stuck = true;
      failAll(new Error(`No answer within ${COMMIT_MS_MAX} ms.`));
      for (const task of this.#waiting.splice(0)) task.reject(new StoreFailure("The store does not answer."));
    }, COMMIT_MS_MAX);
    try {
      this.#mustHaveSpace();
      await this.#root.transaction(() => {
        tasks = this.#take();
        outcomes = tasks.map(outcomeOf);
      });
      for (const [i, task] of tasks.entries()) settle(task, outcomes[i] as Outcome);
    } catch (error) {
      failAll(await causeOf(error));
    } finally {
      clearTimeout(timer);
      this.#stuck = false;
    }
  }

  /** The tasks of the next transaction. */
  #take(): Task[] {
    let rows = 0;
    let bytes = 0;
    let count = 0;
    for (const task of this.#waiting) {
      rows += task.rows;
      bytes += task.bytes;
      if (count > 0 && (rows > ROWS_PER_COMMIT_MAX || bytes > BYTES_PER_COMMIT_MAX)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  /** Throws `StoreFailure` when the disk is too full for a transaction. */
  #mustHaveSpace(): void {
    if (this.#spareBytes === 0) return;
    const { bavail, blocks, bsize } = statfsSync(this.#folder);
    // A file system that does not tell its size may have any.
    if (blocks === 0 || bavail * bsize >= this.#spareBytes) return;
    const left = Math.floor((bavail * bsize) / MEBIBYTE);
    const needed = this.#spareBytes / MEBIBYTE;
    throw new StoreFailure(`The disk of ${this.#folder} has ${left} MiB left, and ${needed} MiB are needed to write.`);
  }
}

function outcomeOf(task: Task): Outcome {
  try {
    return { result: task.run() };
  } catch (error) {
    return { error };
  }
}

function failureOf(error: unknown): StoreFailure {
  return error instanceof StoreFailure ? error : new StoreFailure("The store could not write.", error);
}

function settle(task: Task, outcome: Outcome): void {
  if ("error" in outcome) task.reject(failureOf(outcome.error));
  else task.resolve(outcome.result as never);
}

/**
 * Why a commit failed. lmdb's error carries the cause as a promise of its own, `commitError`, which rejects
 * some time after; left alone it would end the process as an unhandled rejection.
 */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !("commitError" in error)) return error;
  try {
    await error.commitError;
  } catch (cause) {
    return cause;
  }
  return error;
}
