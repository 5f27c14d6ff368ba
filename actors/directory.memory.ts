/** The directory in memory: for tests and the simulator. Nothing outlives the process. */
import { compareKeys } from "./archive.memory.ts";
import type { StoredSession, StoredUser, Table, Tables } from "./directory.tables.ts";
import { TableDirectory } from "./directory.tables.ts";
import type { Login, Revocation } from "./directory.ts";
import { LIMITS } from "./limits.ts";

/** Keys are sorted when a range asks for them, once after each change of the keys. */
class MemoryTable<V> implements Table<V> {
  readonly #values = new Map<string, V>();
  #sorted: string[] | undefined;

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  put(key: string, value: V): void {
    if (!this.#values.has(key)) this.#sorted = undefined;
    this.#values.set(key, value);
  }

  remove(key: string): void {
    if (this.#values.delete(key)) this.#sorted = undefined;
  }

  *range(range: { from: string; to: string; limit: number; backwards?: boolean }): Iterable<{ key: string; value: V }> {
    this.#sorted ??= [...this.#values.keys()].sort(compareKeys);
    const within = this.#sorted.filter((key) => compareKeys(key, range.from) >= 0 && compareKeys(key, range.to) < 0);
    if (range.backwards === true) within.reverse();
    for (const key of within.slice(0, range.limit)) yield { key, value: this.#values.get(key) as V };
  }
}

class MemoryTables implements Tables {
  readonly users = new MemoryTable<StoredUser>();
  readonly emails = new MemoryTable<string>();
  readonly names = new MemoryTable<string>();
  readonly sessions = new MemoryTable<StoredSession>();
  readonly handles = new MemoryTable<string>();
  readonly userSessions = new MemoryTable<string>();
  readonly expiries = new MemoryTable<string>();
  readonly revocations = new MemoryTable<Revocation>();
  readonly logins = new MemoryTable<Login>();
  readonly counters = new MemoryTable<number>();

  async write<T>(work: () => T): Promise<T> {
    return work();
  }

  async read<T>(work: () => T): Promise<T> {
    return work();
  }

  async close(): Promise<void> {}
}

/** A complete directory in memory. */
export class MemoryDirectory extends TableDirectory {
  constructor(bounds: { loginAuditEntries: number } = LIMITS) {
    super(new MemoryTables(), bounds);
  }
}
