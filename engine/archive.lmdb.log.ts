/**
 * The logs of the embedded archive.
 *
 * A room's entries lie together on the disk, so a commit that writes one entry to each of many rooms would
 * copy and write a page for each of them. Instead entries enter a journal, which only grows at its end, and
 * stay in memory; a generation of them is later settled into the rooms' places together:
 *
 * ```
 *   insert ─► journal (one commit, synced) ─► resolved; readable from memory
 *                 │  a generation is full
 *                 └─► settled room by room into `entries` and `keys` ─► its rows leave the journal
 * ```
 * After a crash the journal is read back into memory; settling twice writes the same rows again.
 */
import { Buffer } from "node:buffer";
import { cutPage } from "../actors/archive.page.ts";
import type { Head, InsertOutcome, PageQuery, Standing } from "../actors/archive.ts";
import { StoreFailure } from "../actors/codes.ts";
import { clientMessageId, type Entry, entryBytes } from "../actors/entry.ts";
import { EntryPacker, offsetBytes, readOffset } from "./archive.lmdb.codec.ts";
import { Generation, type Named, type Placed } from "./archive.lmdb.overlay.ts";
import { nextOf, type Part, partsBy, partsOf } from "./archive.lmdb.parts.ts";
import { ABOVE, SettledEntries } from "./archive.lmdb.settled.ts";
import type { LmdbStore, LmdbTable } from "./lmdb.ts";

/** A journal row of at most this many bytes stays inside one page with a neighbour. */
const ROW_BYTES = 2_000;
/** Rooms whose highest offset is remembered, to know a free place without looking. */
const TAILS_MAX = 100_000;

/** About what an entry at its place writes, bytes. */
const placedBytes = ({ packed }: Placed): number => packed.length + 64;
/** About what the index row of an entry's key writes, bytes. */
const keyBytes = ({ room, sender, key }: Named): number => room.length + sender.length + key.length + 64;

/** The parts of one insert: once one was not stored whole, none after it is. */
interface Run {
  broken: boolean;
}

/** A part, packed: where in `packed` each entry itself begins and ends. */
interface Staging {
  readonly entries: readonly Entry[];
  readonly run: Run;
  readonly packed: Buffer;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** When a generation is settled, and how much of it in one transaction. */
export interface SettleLimits {
  readonly entries: number;
  readonly bytes: number;
  readonly slice: number;
}

/** The larger a generation, the more entries of a room share the page that is copied and written for them. */
const SETTLE: SettleLimits = Object.freeze({ entries: 32_768, bytes: 16_777_216, slice: 256 });
/** Rows settled for each entry inserted meanwhile: two for its place and its key, and some to get ahead. */
const SETTLE_PACE = 3;
/** Unsettled entries beyond this many generations are refused: the disk does not keep up, or settling fails. */
const GENERATIONS_MAX = 4;

/** Logs of rooms over one store. Times and orders as `Archive` says. */
export class EntryLogs {
  readonly #store: LmdbStore;
  readonly #limits: SettleLimits;
  readonly #settled: SettledEntries;
  readonly #journal: LmdbTable;
  readonly #packer = new EntryPacker();
  #nextRow = 1;
  #active = new Generation();
  #settling: Generation | undefined;
  #running: Promise<void> | undefined;
  #open = true;
  /** Times that a generation could not be settled. */
  settleFailures = 0;
  /** Entries published since the start. */
  #inserted = 0;
  /** Batches in a transaction that is not committed yet. */
  #staged = new Set<readonly Entry[]>();
  /** After a failed commit the journal may hold rows that were not published: they are read back. */
  #doubtful = false;
  /** Highest offset of a room anywhere, staged ones included. Forgotten when in doubt. */
  #tails = new Map<string, number>();

  /** Reads the journal back into memory. */
  constructor(store: LmdbStore, limits: SettleLimits = SETTLE) {
    this.#store = store;
    this.#limits = limits;
    this.#settled = new SettledEntries(store);
    this.#journal = store.table("journal");
    this.#readJournal();
  }

  /** `Archive.insert`, in parts of which each fits into a transaction. */
  async insert(entries: readonly Entry[]): Promise<InsertOutcome> {
    if (this.#isOver()) await this.#makeRoom();
    const run: Run = { broken: false };
    const [first, ...others] = partsOf(entries);
    if (!first) return { stored: 0, conflict: false };
    const begun = this.#insertPart(first, run);
    let stored = 0;
    if (others.length === 0) stored = await begun;
    else {
      const all = [begun, ...others.map((part) => this.#insertPart(part, run))];
      for (const count of await Promise.all(all)) stored += count;
    }
    return { stored, conflict: stored < entries.length };
  }

  /** Inserts one part of a run; answers how many of it are stored. */
  async #insertPart(part: Part, run: Run): Promise<number> {
    // Packed before the transaction, so that nothing in it can fail but the store.
    const packer = this.#packer;
    const starts: number[] = [];
    const ends: number[] = [];
    packer.reset();
    for (const entry of part.entries) {
      starts.push(packer.packPlaced(entry));
      ends.push(packer.length);
    }
    const staging = { entries: part.entries, run, packed: packer.copy(), starts, ends };
    const batch: Entry[] = [];
    const size = { rows: part.entries.length, bytes: part.bytes };
    try {
      const row = await this.#store.write(() => this.#stage(staging, batch), size);
      this.#staged.delete(batch);
      this.#publish(batch, staging, row);
    } catch (error) {
      // Seen before the next transaction begins, as that waits for LMDB's writer.
      run.broken = true;
      this.#staged.delete(batch);
      this.#tails.clear();
      this.#doubtful = true;
      throw error;
    }
    return batch.length;
  }

  /** `Archive.head`. */
  head(room: string): Head | undefined {
    this.#catchUp();
    let last = this.#active.last(room);
    const other = this.#settling?.last(room);
    if (other && (!last || last.offset < other.offset)) last = other;
    if (!last || last.offset < this.#settled.lastOffset(room)) last = this.#settled.last(room);
    return last && { offset: last.offset, term: last.term, count: last.count, at: last.at };
  }

  /** `Archive.page` without what became of the entries. */
  page(room: string, query: PageQuery): Entry[] {
    this.#catchUp();
    const { limit, end, bytes } = query;
    const after = query.after ?? 0;
    const before = query.before ?? ABOVE;
    if (limit <= 0 || before <= after + 1) return [];
    const found = new Map<number, Entry>();
    const range = { from: after + 1, to: before, limit, bytes, reverse: end === "last" };
    for (const generation of [this.#settling, this.#active])
      for (const entry of generation?.range(room, range) ?? []) found.set(entry.offset, entry);
    // The newest page of a busy room is in memory whole: then the disk has nothing to add.
    const newest = end === "last" && found.size >= limit && this.#memoryHoldsFrom(room, Math.min(...found.keys()));
    if (!newest) for (const entry of this.#settled.range(room, range, found)) found.set(entry.offset, entry);
    const page = [...found.values()].sort((a, b) => a.offset - b.offset);
    // Where reading ended early for the bytes, that end is beyond what the page is cut to here.
    return [...cutPage(end === "first" ? page.slice(0, limit) : page.slice(-limit), query, entryBytes)];
  }

  /** `Archive.standing`. */
  standing(places: readonly Pick<Standing, "room" | "offset">[]): Standing[] {
    this.#catchUp();
    return places.flatMap(({ room, offset }) => {
      const [there] = this.page(room, { after: offset - 1, before: offset + 1, limit: 1, end: "first" });
      return there ? [{ room, offset, term: there.term, key: there.key }] : [];
    });
  }

  /** `Archive.byKey`. */
  async byKey(room: string, sender: string, key: string): Promise<Entry | undefined> {
    this.#store.read(() => this.#catchUp());
    const recent = this.#inMemory(room, sender, key);
    if (clientMessageId(key) === undefined) return recent ?? this.#settled.search(room, sender, key);
    const settled = this.#store.read(() => this.#settled.byKey(room, sender, key));
    return recent && (!settled || settled.offset < recent.offset) ? recent : settled;
  }

  /** `Archive.offsetAt`. */
  offsetAt(room: string, atMs: number): number {
    this.#catchUp();
    const found: number[] = [];
    for (const part of [this.#settling, this.#active, this.#settled]) {
      const offset = part?.offsetAt(room, atMs);
      if (offset !== undefined) found.push(offset);
    }
    return found.length > 0 ? Math.min(...found) : (this.head(room)?.offset ?? 0) + 1;
  }

  /** Ends settling after the transaction under way; the journal keeps the rest. */
  async close(): Promise<void> {
    this.#open = false;
    await this.#running;
  }

  /** A write that was given up may have landed since. */
  #catchUp(): void {
    if (this.#doubtful) this.#readJournal();
  }

  /** Inside a transaction: decides what of a part finds its place free, and writes that to the journal. */
  #stage({ entries, run, packed, ends }: Staging, batch: Entry[]): number {
    if (run.broken) return this.#nextRow - 1;
    if (this.#doubtful && this.#staged.size === 0) {
      this.#readJournal();
      this.#doubtful = false;
    }
    this.#staged.add(batch);
    for (const entry of entries) {
      if (!this.#isFree(entry)) break;
      batch.push(entry);
      this.#raiseTail(entry.room, entry.offset);
    }
    run.broken = batch.length < entries.length;
    let start = 0;
    for (let i = 0; i < batch.length; i++) {
      const end = ends[i] as number;
      if (i + 1 < batch.length && (ends[i + 1] as number) - start <= ROW_BYTES) continue;
      this.#journal.append(offsetBytes(this.#nextRow++), packed.subarray(start, end));
      start = end;
    }
    return this.#nextRow - 1;
  }

  /** Reads what the journal holds beyond what is in memory. The first entry at a place stands. */
  #readJournal(): void {
    const known = Math.max(this.#active.lastRow, this.#settling?.lastRow ?? 0);
    for (const { key, value } of this.#journal.range({ from: offsetBytes(known + 1), to: offsetBytes(ABOVE) })) {
      this.#active.lastRow = readOffset(key);
      this.#nextRow = Math.max(this.#nextRow, this.#active.lastRow + 1);
      this.#active.addRow(value);
    }
  }

  /** Whether more entries wait to be settled than memory is meant to hold. */
  #isOver(): boolean {
    const entries = this.#active.entries + (this.#settling?.entries ?? 0);
    const bytes = this.#active.bytes + (this.#settling?.bytes ?? 0);
    return entries > this.#limits.entries * GENERATIONS_MAX || bytes > this.#limits.bytes * GENERATIONS_MAX;
  }

  /** Waits for settling, starting it again when it had failed; refuses when that did not help. */
  async #makeRoom(): Promise<void> {
    for (let attempt = 0; attempt < 2 && this.#isOver(); attempt++) {
      this.#startSettling();
      await this.#running;
    }
    if (this.#isOver()) throw new StoreFailure("Too many entries wait to be settled.");
  }

  #startSettling(): void {
    if (!this.#open || this.#running !== undefined) return;
    this.#running = this.#settle().finally(() => {
      this.#running = undefined;
    });
  }

  #isFree({ room, offset }: Entry): boolean {
    let tail = this.#tails.get(room);
    if (tail === undefined) {
      // Staged batches have raised the tail, unless a failure made all tails forgotten; then none is staged.
      tail = Math.max(
        this.#settled.lastOffset(room),
        this.#active.lastOffset(room),
        this.#settling?.lastOffset(room) ?? 0,
      );
      this.#raiseTail(room, tail);
    }
    if (offset > tail) return true;
    if (this.#active.has(room, offset) || this.#settling?.has(room, offset)) return false;
    for (const batch of this.#staged)
      for (const other of batch) if (other.offset === offset && other.room === room) return false;
    return !this.#settled.has(room, offset);
  }

  #raiseTail(room: string, offset: number): void {
    if ((this.#tails.get(room) ?? 0) < offset || !this.#tails.has(room)) this.#tails.set(room, offset);
  }

  /** After the commit: what was staged can be read. */
  #publish(batch: readonly Entry[], { packed, starts, ends }: Staging, lastRow: number): void {
    const active = this.#active;
    // What was refused behind them is not held with them.
    const whole = batch.length === ends.length;
    active.add(batch, whole ? packed : Buffer.from(packed.subarray(0, ends[batch.length - 1] ?? 0)), starts);
    if (batch.length > 0) active.lastRow = lastRow;
    this.#inserted += batch.length;
    if (this.#tails.size > TAILS_MAX && this.#staged.size === 0) this.#tails.clear();
    const full = active.entries >= this.#limits.entries || active.bytes >= this.#limits.bytes;
    if (full || this.#settling) this.#startSettling();
  }

  /** Settles one generation. After a failure the next insert that succeeds starts it again from its first entry. */
  async #settle(): Promise<void> {
    if (!this.#settling) {
      this.#settling = this.#active;
      this.#active = new Generation();
    }
    const generation = this.#settling;
    try {
      await this.#inSlices(generation.places(), (placed) => this.#settled.put(placed), placedBytes);
      await this.#inSlices(generation.names(), (named) => this.#settled.putKey(named), keyBytes);
      await this.#dropRows(generation);
      if (this.#open) this.#settling = undefined;
    } catch {
      // The entries are durable in the journal and readable from memory; `insert` refuses beyond the bound.
      this.settleFailures++;
    }
  }

  /** Writes entries in several transactions, at the pace of the inserts, so that no turn is long. */
  async #inSlices<T>(entries: Iterator<T>, write: (one: T) => void, bytesOf: (one: T) => number): Promise<void> {
    let before = this.#inserted;
    for (;;) {
      const inserted = this.#inserted - before;
      before = this.#inserted;
      const slice = nextOf(entries, Math.max(this.#limits.slice, inserted * SETTLE_PACE));
      if (slice.length === 0) return;
      for (const { entries: part, bytes } of partsBy(slice, bytesOf)) {
        if (!this.#open) return;
        await this.#store.write(() => part.forEach(write), { rows: part.length, bytes });
      }
    }
  }

  /** Removes a settled generation from the journal, from its oldest row on, in several transactions. */
  async #dropRows({ lastRow }: Generation): Promise<void> {
    const { slice } = this.#limits;
    const range = { from: offsetBytes(0), to: offsetBytes(lastRow + 1), limit: 1 };
    const [oldest] = this.#store.read(() => [...this.#journal.range(range)]);
    if (!oldest) return;
    for (let row = readOffset(oldest.key); row <= lastRow && this.#open; row += slice) {
      const end = Math.min(row + slice, lastRow + 1);
      await this.#store.write(() => this.#drop(row, end), { rows: end - row });
    }
  }

  #drop(from: number, to: number): void {
    for (let row = from; row < to; row++) this.#journal.remove(offsetBytes(row));
  }

  /** Whether everything of the room from this offset on is in memory: no settled entry is above it. */
  #memoryHoldsFrom(room: string, offset: number): boolean {
    return this.#settled.lastOffset(room) < offset;
  }

  #inMemory(room: string, sender: string, key: string): Entry | undefined {
    return this.#active.byKey(room, sender, key) ?? this.#settling?.byKey(room, sender, key);
  }
}
