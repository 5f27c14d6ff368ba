/** The embedded directory: the tables of `directory.tables.ts` in LMDB, in a folder of its own. */
import { Packr } from "msgpackr";
import { StoreFailure } from "../actors/codes.ts";
import {
  type StoredSession,
  type StoredUser,
  type Table,
  TableDirectory,
  type Tables,
} from "../actors/directory.tables.ts";
import type { Directory, Login, Revocation } from "../actors/directory.ts";
import { LIMITS } from "../actors/limits.ts";
import { LmdbStore, type LmdbTable } from "./lmdb.ts";

/** Tables of the environment, with room for later ones. */
const TABLES = 16;
/** What a key of LMDB holds; ours are far shorter, so a longer one is nobody's. */
const KEY_BYTES = 1_900;

/** Plain msgpack without shared records: every value can be read on its own, also by later versions. */
const packr = new Packr({ useRecords: false });

/** A table with text keys, in the order of their UTF-8 bytes. */
class LmdbTextTable<V> implements Table<V> {
  readonly #table: LmdbTable;

  constructor(store: LmdbStore, name: string) {
    this.#table = store.table(name);
  }

  get(key: string): V | undefined {
    const bytes = keyOf(key);
    const value = bytes === undefined ? undefined : this.#table.get(bytes);
    return value === undefined ? undefined : (packr.unpack(value) as V);
  }

  put(key: string, value: V): void {
    const bytes = keyOf(key);
    if (bytes === undefined) throw new Error("A key of the directory is empty or too long.");
    this.#table.put(bytes, packr.pack(value));
  }

  remove(key: string): void {
    const bytes = keyOf(key);
    if (bytes !== undefined) this.#table.remove(bytes);
  }

  *range(range: { from: string; to: string; limit: number; backwards?: boolean }): Iterable<{ key: string; value: V }> {
    const from = range.from === "" ? FIRST : Buffer.from(range.from).subarray(0, KEY_BYTES);
    const to = Buffer.from(range.to).subarray(0, KEY_BYTES);
    const rows = this.#table.range({ from, to, limit: range.limit, reverse: range.backwards === true });
    for (const { key, value } of rows)
      yield { key: Buffer.from(key).toString("utf8"), value: packr.unpack(value) as V };
  }
}

/** Below every key: keys are not empty, and none begins with a zero byte. */
const FIRST = Buffer.from([0]);

/** Undefined when there can be no such key. */
function keyOf(key: string): Buffer | undefined {
  const bytes = Buffer.from(key);
  return bytes.length === 0 || bytes.length > KEY_BYTES ? undefined : bytes;
}

class LmdbTables implements Tables {
  readonly users: Table<StoredUser>;
  readonly emails: Table<string>;
  readonly names: Table<string>;
  readonly sessions: Table<StoredSession>;
  readonly handles: Table<string>;
  readonly userSessions: Table<string>;
  readonly expiries: Table<string>;
  readonly revocations: Table<Revocation>;
  readonly logins: Table<Login>;
  readonly counters: Table<number>;
  readonly #store: LmdbStore;

  constructor(store: LmdbStore) {
    this.#store = store;
    this.users = new LmdbTextTable(store, "users");
    this.emails = new LmdbTextTable(store, "emails");
    this.names = new LmdbTextTable(store, "names");
    this.sessions = new LmdbTextTable(store, "sessions");
    this.handles = new LmdbTextTable(store, "handles");
    this.userSessions = new LmdbTextTable(store, "user-sessions");
    this.expiries = new LmdbTextTable(store, "expiries");
    this.revocations = new LmdbTextTable(store, "revocations");
    this.logins = new LmdbTextTable(store, "logins");
    this.counters = new LmdbTextTable(store, "counters");
  }

  write<T>(work: () => T): Promise<T> {
    return this.#store.write(work);
  }

  async read<T>(work: () => T): Promise<T> {
    return this.#store.read(work);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** What `openLmdbDirectory` needs. */
export interface LmdbDirectoryOptions {
  /** A folder of its own, made when missing; only one process may have it open. */
  readonly folder: string;
  /** Lines of the login audit that are kept. */
  readonly loginAuditEntries?: number;
}

/** Opens or makes the embedded directory. Throws `StoreFailure` when the folder cannot be opened. */
export function openLmdbDirectory(options: LmdbDirectoryOptions): Directory {
  const { folder, loginAuditEntries = LIMITS.loginAuditEntries } = options;
  try {
    const tables = new LmdbTables(new LmdbStore({ folder, tables: TABLES }));
    return new TableDirectory(tables, { loginAuditEntries });
  } catch (error) {
    throw new StoreFailure(`The accounts in ${folder} could not be opened.`, error);
  }
}
