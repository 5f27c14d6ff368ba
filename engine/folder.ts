/**
 * The lock of the data folder: one process at a time uses what lies in it.
 *
 * The holder's name is a row in a small LMDB environment, whose write transactions are serialised across
 * processes by a mutex that outlives the death of its holder. Inside one such transaction a starter reads
 * the name and, when that process has ended, puts its own there: so of two starters one wins, and a folder
 * whose holder was killed is free at once. Where the holder's pid cannot be judged (another container or
 * machine), its heart-beat is: the row is renewed every 2 s and taken over when it is 10 s old.
 */
import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import { mkdir, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Host, type ProcessName, thisHost } from "./folder.host.ts";
import { LmdbStore, type LmdbTable } from "./lmdb.ts";

/** A lock that is held. */
export interface FolderLock {
  /** Gives the folder free. Harmless when released. */
  release(): Promise<void>;
}

/** What may be changed of a lock. */
export interface FolderLockOptions {
  /**
   * Called once when another process has taken the lock, because this one stood still for too long. The
   * caller must end at once: what it holds in memory is no longer true of the folder.
   */
  readonly onLost?: () => void;
  /** For tests. */
  readonly host?: Host;
  /** How often the row is renewed, ms. */
  readonly beatMs?: number;
  /** Age at which the row of a process of another world is taken over, ms. */
  readonly staleMs?: number;
}

interface Holder extends ProcessName {
  readonly nonce: string;
  /** ms since 1970. */
  readonly renewed: number;
}

interface Claim {
  readonly host: Host;
  readonly nonce: string;
  readonly staleMs: number;
}

const BEAT_MS = 2_000;
const STALE_MS = 10_000;
/** How often a row of another world is looked at again while it may be stale soon. */
const LOOK_MS = 250;
const ROW = Buffer.from("holder");

/** Folders locked by this process: LMDB must not open one environment twice. */
const held = new Set<string>();

/**
 * Locks a data folder, made with mode 0700 when missing. Rejects with an Error whose message is a full
 * sentence naming the folder and the holder's pid when another process (or this one) has it, or the
 * folder and the reason when it cannot be used at all. Not for network file systems.
 */
export async function lockFolder(path: string, options: FolderLockOptions = {}): Promise<FolderLock> {
  const { host = thisHost(), staleMs = STALE_MS } = options;
  const folder = await usable(path, async () => {
    await makeFolder(path);
    return realpath(path);
  });
  if (held.has(folder)) throw new Error(`The data folder ${path} is in use by this process (${process.pid}) already.`);
  held.add(folder);
  try {
    const store = await usable(path, async () => openLock(folder));
    const table = store.table("lock");
    const claim = { host, nonce: randomUUID(), staleMs };
    try {
      const holder = await usable(path, () => takeOrWait(store, table, claim));
      if (holder) throw new Error(`The data folder ${path} is in use by ${describe(holder, host)}.`);
    } catch (error) {
      await store.close();
      throw error;
    }
    return new HeldLock({ folder, store, table, claim }, options);
  } catch (error) {
    held.delete(folder);
    throw error;
  }
}

/**
 * Makes a folder and those above it. With `recursive` node would try for ever where the file system says of a new
 * folder that its parent is missing though it is there, as `/proc` does.
 */
async function makeFolder(path: string): Promise<void> {
  let reason = await mkdirReason(path);
  const parent = dirname(path);
  if (reason === "ENOENT" && parent !== path) {
    await makeFolder(parent);
    reason = await mkdirReason(path);
  }
  if (reason === undefined) return;
  // Others may make it at the same moment.
  if (reason !== "EEXIST") await mkdir(path, { mode: 0o700 });
  else if (!(await stat(path)).isDirectory()) throw new Error("it is a file");
}

/** Makes one folder; answers why it could not. */
function mkdirReason(path: string): Promise<string | undefined> {
  return mkdir(path, { mode: 0o700 }).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code ?? String(error),
  );
}

/** Its one row finds room in old pages, so a full disk neither keeps a lock from being taken nor from being renewed. */
function openLock(folder: string): LmdbStore {
  return new LmdbStore({ folder: join(folder, "lock"), tables: 1, spareBytes: 0 });
}

class HeldLock implements FolderLock {
  readonly #folder: string;
  readonly #store: LmdbStore;
  readonly #table: LmdbTable;
  readonly #claim: Claim;
  readonly #beat: NodeJS.Timeout;
  #released: Promise<void> | undefined;

  constructor(taken: { folder: string; store: LmdbStore; table: LmdbTable; claim: Claim }, options: FolderLockOptions) {
    this.#folder = taken.folder;
    this.#store = taken.store;
    this.#table = taken.table;
    this.#claim = taken.claim;
    this.#beat = setInterval(() => void this.#renew(options.onLost), options.beatMs ?? BEAT_MS);
    this.#beat.unref();
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    clearInterval(this.#beat);
    try {
      await this.#store.write(() => {
        if (readHolder(this.#table)?.nonce === this.#claim.nonce) this.#table.remove(ROW);
      });
    } finally {
      await this.#store.close();
      held.delete(this.#folder);
    }
  }

  async #renew(onLost: (() => void) | undefined): Promise<void> {
    try {
      const ours = await this.#store.write(() => {
        if (readHolder(this.#table)?.nonce !== this.#claim.nonce) return false;
        writeHolder(this.#table, this.#claim);
        return true;
      });
      if (ours || this.#released) return;
      clearInterval(this.#beat);
      onLost?.();
    } catch {
      // A full disk: the next beat tries again, and processes of this world judge by the pid anyway.
    }
  }
}

/** Takes the lock. Answers nothing when taken, else the holder, who was seen to live. */
async function takeOrWait(store: LmdbStore, table: LmdbTable, claim: Claim): Promise<Holder | undefined> {
  const first = await store.write(() => take(table, claim));
  if (!first || first.world === claim.host.self.world) return first;
  // Of another world and not stale yet: it lives if it renews, else it becomes stale.
  for (;;) {
    await pause(Math.min(LOOK_MS, claim.staleMs));
    const now = await store.write(() => take(table, claim));
    if (!now || now.nonce !== first.nonce || now.renewed !== first.renewed) return now;
  }
}

/** Inside a transaction: puts this process there unless a living one holds the lock; answers that one. */
function take(table: LmdbTable, claim: Claim): Holder | undefined {
  const holder = readHolder(table);
  if (holder) {
    const sameWorld = holder.world === claim.host.self.world;
    const age = Math.abs(Date.now() - holder.renewed);
    if (sameWorld ? claim.host.isAlive(holder) : age < claim.staleMs) return holder;
  }
  writeHolder(table, claim);
  return undefined;
}

function writeHolder(table: LmdbTable, { host, nonce }: Claim): void {
  const holder: Holder = { ...host.self, nonce, renewed: Date.now() };
  table.put(ROW, Buffer.from(JSON.stringify(holder)));
}

function readHolder(table: LmdbTable): Holder | undefined {
  const row = table.get(ROW);
  return row && (JSON.parse(row.toString()) as Holder);
}

function describe(holder: Holder, host: Host): string {
  if (holder.world === host.self.world) return `process ${holder.pid}`;
  return `process ${holder.pid} of another container or machine (host ${holder.host})`;
}

/** Runs what makes the folder usable, and says which folder it was when that fails. */
async function usable<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`The data folder ${path} cannot be used: ${reason}.`, { cause: error });
  }
}
