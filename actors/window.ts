/**
 * The duplicate window of one room: a view of its log (rule 9). Holds sender and key of the entries of the
 * last `windowMs` or `windowEntries`, whichever is fewer; pending entries are in it from their decision on.
 */
import type { Entry } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Posting } from "./posting.ts";

/** One remembered entry: pending while `posting` is set, else stored at these coordinates. */
export interface Remembered {
  readonly offset: number;
  readonly at: number;
  readonly bytes: number;
  entry: Entry | undefined;
  posting: Posting | undefined;
}

/** Bytes that all windows of a node hold together. */
export interface WindowBudget {
  bytes: number;
}

/** Sender and key as one string; the sender has no control characters, so the split is unambiguous. */
export function windowKey(sender: string, key: string): string {
  return `${sender}\n${key}`;
}

/** The window of one room. */
export class Window {
  readonly #limits: Limits;
  readonly #budget: WindowBudget;
  /** In the order of offsets, as `Map` keeps the order of insertion. */
  readonly #byKey = new Map<string, Remembered>();

  constructor(limits: Limits, budget: WindowBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** What is remembered under sender and key, unless it is older than the window. `now` in ms since 1970. */
  find(key: string, head: number, now: number): Remembered | undefined {
    const found = this.#byKey.get(key);
    if (!found) return undefined;
    if (found.posting) return found;
    return this.#isOld(found, head, now) ? undefined : found;
  }

  /** Remembers a decided posting. */
  add(key: string, posting: Posting): void {
    const entry = posting.entry as Entry;
    this.#put(key, { offset: entry.offset, at: entry.at, bytes: bytesOf(key), entry: undefined, posting });
  }

  /** Remembers an entry of the log. */
  load(entry: Entry): void {
    const key = windowKey(entry.sender, entry.key);
    const bytes = bytesOf(key) + SLIM_BYTES;
    this.#put(key, { offset: entry.offset, at: entry.at, bytes, entry: slim(entry), posting: undefined });
  }

  /** Remembers entries that are older than all that is remembered, rising. */
  loadOlder(entries: readonly Entry[]): void {
    const newer = [...this.#byKey];
    this.clear();
    for (const entry of entries) this.load(entry);
    for (const [key, remembered] of newer) this.#put(key, remembered);
  }

  /** The posting is stored: from now on only its coordinates are kept. */
  settle(key: string, posting: Posting): void {
    const found = this.#byKey.get(key);
    if (!found || found.posting !== posting) return;
    found.posting = undefined;
    found.entry = slim(posting.entry as Entry);
  }

  /** Forgets what is older than the window. */
  prune(head: number, now: number): void {
    for (const [key, found] of this.#byKey) {
      if (found.posting || !this.#isOld(found, head, now)) return;
      this.#byKey.delete(key);
      this.#budget.bytes -= found.bytes;
    }
  }

  /** Forgets one pending posting that came to nothing. */
  drop(key: string): void {
    const found = this.#byKey.get(key);
    if (found && this.#byKey.delete(key)) this.#budget.bytes -= found.bytes;
  }

  /** Forgets all but what is pending. */
  forgetStored(): void {
    for (const [key, found] of this.#byKey) if (!found.posting) this.drop(key);
  }

  /** Forgets everything and gives its bytes back. */
  clear(): void {
    for (const found of this.#byKey.values()) this.#budget.bytes -= found.bytes;
    this.#byKey.clear();
  }

  #put(key: string, remembered: Remembered): void {
    const before = this.#byKey.get(key);
    // A key met again (its first use is older than the window) counts from its last use on.
    if (before) this.#byKey.delete(key);
    this.#budget.bytes += remembered.bytes - (before?.bytes ?? 0);
    this.#byKey.set(key, remembered);
  }

  #isOld(found: Remembered, head: number, now: number): boolean {
    return found.offset <= head - this.#limits.windowEntries || found.at <= now - this.#limits.windowMs;
  }
}

const SLIM_BYTES = 120;
const NO_BYTES = new Uint8Array(0);

function bytesOf(key: string): number {
  return key.length * 2 + 160;
}

/** The entry without body and headers: all that a RECEIPT needs. */
export function slim(entry: Entry): Entry {
  return { ...entry, headers: [], body: NO_BYTES };
}
