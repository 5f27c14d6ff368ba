/**
 * The directory over ordered tables: everything but how a table is kept. Memory and LMDB share it, so
 * that the decisions are written once; a SQL backend has its own.
 *
 * ```
 * users        id                      → user, credentials
 * emails       email                   → id
 * names        folded name \n id       → name
 * sessions     sid                     → session
 * handles      handle                  → sid
 * userSessions user \n opened at \n sid → sid      the oldest first
 * expiries     time \n s|r \n key      → key       what prune removes, the earliest first
 * revocations  id                      → revocation
 * logins       number                  → login
 * counters     name                    → last number given
 * ```
 * Numbers in keys are padded, so that keys sort as numbers do. User ids and names have no control
 * characters, so a line feed parts them.
 */
import type {
  Credentials,
  Directory,
  Ending,
  Exchange,
  Exchanged,
  FoundUser,
  Login,
  NewSession,
  Opened,
  Revocation,
  UserRecord,
} from "./directory.ts";
import { foldName } from "./directory.ts";

/** One ordered table. Inside `Tables.write` reads see the writes before them. */
export interface Table<V> {
  get(key: string): V | undefined;
  put(key: string, value: V): void;
  remove(key: string): void;
  /** Entries with `from` ≤ key < `to`, by key (or from the last backwards), at most `limit`. */
  range(range: { from: string; to: string; limit: number; backwards?: boolean }): Iterable<{ key: string; value: V }>;
}

/** A user as kept. */
export interface StoredUser {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly createdAt: number;
  /** 0: not deleted. */
  readonly deletedAt: number;
  readonly passwordHash: string;
  /** No token may be issued before it: `beforeMs` of the last revocation of all tokens. */
  readonly validFromMs: number;
}

/** A session as kept. */
export interface StoredSession {
  readonly id: string;
  readonly user: string;
  readonly handle: string;
  readonly current: string;
  readonly openedAt: number;
  readonly expiresAt: number;
  /** `issuedAtMs` of its last access token. */
  readonly issuedAtMs: number;
}

/** All tables, and the way to change them. */
export interface Tables {
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
  /** Runs `work` as one atomic change; resolves once it is durable, rejects with `StoreFailure` when unclear. */
  write<T>(work: () => T): Promise<T>;
  /** Runs `work`, which only reads. */
  read<T>(work: () => T): Promise<T>;
  close(): Promise<void>;
}

/** Above every key. */
const END = "\u{10ffff}";
/** A user's sessions are bounded when they open; this bounds one look at them. */
const SESSIONS_READ = 100_000;

const padded = (number: number): string => String(number).padStart(16, "0");

/** The directory on any tables. */
export class TableDirectory implements Directory {
  readonly #tables: Tables;
  readonly #auditEntries: number;

  constructor(tables: Tables, bounds: { loginAuditEntries: number }) {
    this.#tables = tables;
    this.#auditEntries = bounds.loginAuditEntries;
  }

  createUser(
    user: { id: string; email: string; name: string; createdAt: number },
    passwordHash: string,
  ): Promise<boolean> {
    const { users, emails, names } = this.#tables;
    return this.#tables.write(() => {
      if (emails.get(user.email) !== undefined) return false;
      const { id, email, name, createdAt } = user;
      users.put(id, { id, email, name, createdAt, deletedAt: 0, passwordHash, validFromMs: 0 });
      emails.put(email, id);
      names.put(nameKey(user), name);
      return true;
    });
  }

  user(id: string): Promise<UserRecord | undefined> {
    return this.#tables.read(() => {
      const found = this.#tables.users.get(id);
      return found === undefined ? undefined : recordOf(found);
    });
  }

  credentialsByEmail(email: string): Promise<Credentials | undefined> {
    return this.#tables.read(() => {
      const id = email === "" ? undefined : this.#tables.emails.get(email);
      return id === undefined ? undefined : credentialsOf(this.#live(id));
    });
  }

  credentials(id: string): Promise<Credentials | undefined> {
    return this.#tables.read(() => credentialsOf(this.#live(id)));
  }

  findUsers(prefix: string, limit: number): Promise<FoundUser[]> {
    const from = foldName(prefix);
    return this.#tables.read(() => {
      const found: FoundUser[] = [];
      for (const { key, value } of this.#tables.names.range({ from, to: from + END, limit })) {
        found.push({ id: key.slice(key.lastIndexOf("\n") + 1), name: value });
      }
      return found;
    });
  }

  rename(id: string, name: string): Promise<UserRecord | undefined> {
    const { users, names } = this.#tables;
    return this.#tables.write(() => {
      const user = this.#live(id);
      if (user === undefined) return undefined;
      const renamed = { ...user, name };
      names.remove(nameKey(user));
      names.put(nameKey(renamed), name);
      users.put(id, renamed);
      return recordOf(renamed);
    });
  }

  changePassword(
    id: string,
    change: Ending & { from: string; to: string; keep: string | undefined },
  ): Promise<Revocation[] | undefined> {
    return this.#tables.write(() => {
      const user = this.#live(id);
      if (user === undefined || user.passwordHash !== change.from) return undefined;
      this.#tables.users.put(id, { ...user, passwordHash: change.to });
      const ended = this.#sessionsOf(id).filter((session) => session.id !== change.keep);
      return ended.map((session) => this.#endSession(session, change));
    });
  }

  deleteUser(id: string, ending: Ending): Promise<Revocation | undefined> {
    const { users, emails, names } = this.#tables;
    return this.#tables.write(() => {
      const user = this.#live(id);
      if (user === undefined) return undefined;
      const revocation = this.#endAll(id, ending);
      emails.remove(user.email);
      names.remove(nameKey(user));
      const deletedAt = Math.max(1, ending.nowMs);
      users.put(id, { ...user, email: "", passwordHash: "", deletedAt, validFromMs: revocation.beforeMs });
      this.#forgetLogins(id);
      return revocation;
    });
  }

  openSession(session: NewSession): Promise<Opened | undefined> {
    return this.#tables.write(() => {
      const user = this.#live(session.user);
      if (user === undefined || user.passwordHash !== session.passwordHash) return undefined;
      const surplus = this.#sessionsOf(user.id);
      const ended = surplus
        .slice(0, Math.max(0, surplus.length + 1 - session.sessions))
        .map((oldest) => this.#endSession(oldest, session));
      const issuedAtMs = Math.max(session.nowMs, user.validFromMs);
      this.#keepSession({
        id: session.id,
        user: user.id,
        handle: session.handle,
        current: session.current,
        openedAt: session.nowMs,
        expiresAt: session.expiresAtMs,
        issuedAtMs,
      });
      return { issuedAtMs, ended };
    });
  }

  exchange(exchange: Exchange): Promise<Exchanged> {
    const { handles, sessions } = this.#tables;
    return this.#tables.write((): Exchanged => {
      const id = handles.get(exchange.handle);
      const session = id === undefined ? undefined : sessions.get(id);
      const user = session === undefined ? undefined : this.#live(session.user);
      if (session === undefined || user === undefined || session.expiresAt <= exchange.nowMs)
        return { kind: "unknown" };
      if (session.current !== exchange.from) {
        return { kind: "reused", user: user.id, revocation: this.#endSession(session, exchange) };
      }
      const issuedAtMs = Math.max(exchange.nowMs, user.validFromMs, session.issuedAtMs);
      this.#dropSession(session);
      this.#keepSession({ ...session, current: exchange.to, expiresAt: exchange.expiresAtMs, issuedAtMs });
      return { kind: "exchanged", user: recordOf(user), session: session.id, issuedAtMs };
    });
  }

  revoke(user: string, token: string | undefined, ending: Ending): Promise<Revocation> {
    return this.#tables.write(() => {
      if (token === undefined) return this.#endAll(user, ending);
      const session = this.#tables.sessions.get(token);
      if (session?.user === user) return this.#endSession(session, ending);
      return this.#addRevocation({ user, token, beforeMs: ending.nowMs + 1, keepUntilMs: ending.keepUntilMs });
    });
  }

  revocationsAfter(id: number, limit: number): Promise<Revocation[]> {
    return this.#tables.read(() => {
      const found = this.#tables.revocations.range({ from: padded(id + 1), to: END, limit });
      return Array.from(found, ({ value }) => value);
    });
  }

  audit(login: Login): Promise<void> {
    const { logins } = this.#tables;
    return this.#tables.write(() => {
      const number = this.#next("login");
      logins.put(padded(number), login);
      // One in, one out; a range, as the bound may have been lowered since.
      const last = number - this.#auditEntries;
      if (last > 0) this.#removeAll(logins, Array.from(logins.range({ from: "", to: padded(last + 1), limit: 100 })));
    });
  }

  logins(account: string | undefined, limit: number): Promise<Login[]> {
    return this.#tables.read(() => {
      const found: Login[] = [];
      const all = { from: "", to: END, limit: this.#auditEntries, backwards: true };
      for (const { value } of this.#tables.logins.range(all)) {
        if (found.length >= limit) break;
        if (account === undefined || value.account === account) found.push(value);
      }
      return found;
    });
  }

  prune(nowMs: number, auditFromMs: number, limit: number): Promise<number> {
    const { expiries, sessions, revocations, logins } = this.#tables;
    return this.#tables.write(() => {
      const over = Array.from(expiries.range({ from: "", to: padded(nowMs + 1), limit }));
      for (const { key, value } of over) {
        expiries.remove(key);
        if (key.includes("\nr\n")) {
          revocations.remove(value);
          continue;
        }
        const session = sessions.get(value);
        if (session !== undefined) this.#dropSession(session);
      }
      const old = Array.from(logins.range({ from: "", to: END, limit })).filter(({ value }) => value.at < auditFromMs);
      this.#removeAll(logins, old);
      return over.length + old.length;
    });
  }

  close(): Promise<void> {
    return this.#tables.close();
  }

  /** A user that is not deleted. */
  #live(id: string): StoredUser | undefined {
    const user = this.#tables.users.get(id);
    return user === undefined || user.deletedAt > 0 ? undefined : user;
  }

  /** A user's sessions, the oldest first. */
  #sessionsOf(user: string): StoredSession[] {
    const range = { from: `${user}\n`, to: `${user}\n${END}`, limit: SESSIONS_READ };
    return Array.from(this.#tables.userSessions.range(range), ({ value }) => this.#tables.sessions.get(value)).filter(
      (session) => session !== undefined,
    );
  }

  #keepSession(session: StoredSession): void {
    const { sessions, handles, userSessions, expiries } = this.#tables;
    sessions.put(session.id, session);
    handles.put(session.handle, session.id);
    userSessions.put(userSessionKey(session), session.id);
    expiries.put(expiryKey(session.expiresAt, "s", session.id), session.id);
  }

  #dropSession(session: StoredSession): void {
    const { sessions, handles, userSessions, expiries } = this.#tables;
    sessions.remove(session.id);
    handles.remove(session.handle);
    userSessions.remove(userSessionKey(session));
    expiries.remove(expiryKey(session.expiresAt, "s", session.id));
  }

  #endSession(session: StoredSession, { nowMs, keepUntilMs }: Ending): Revocation {
    this.#dropSession(session);
    const beforeMs = Math.max(nowMs, session.issuedAtMs) + 1;
    return this.#addRevocation({ user: session.user, token: session.id, beforeMs, keepUntilMs });
  }

  /** Ends all sessions of a user, who need not be known here, with one revocation after the last token given. */
  #endAll(user: string, { nowMs, keepUntilMs }: Ending): Revocation {
    const known = this.#tables.users.get(user);
    let last = Math.max(nowMs, (known?.validFromMs ?? 0) - 1);
    for (const session of this.#sessionsOf(user)) {
      last = Math.max(last, session.issuedAtMs);
      this.#dropSession(session);
    }
    if (known !== undefined) this.#tables.users.put(user, { ...known, validFromMs: last + 1 });
    return this.#addRevocation({ user, token: undefined, beforeMs: last + 1, keepUntilMs });
  }

  #addRevocation(revocation: Omit<Revocation, "id">): Revocation {
    const id = this.#next("revocation");
    const added = { id, ...revocation };
    this.#tables.revocations.put(padded(id), added);
    this.#tables.expiries.put(expiryKey(revocation.keepUntilMs, "r", padded(id)), padded(id));
    return added;
  }

  /** Takes a user's lines out of the audit. */
  #forgetLogins(account: string): void {
    const { logins } = this.#tables;
    const all = Array.from(logins.range({ from: "", to: END, limit: this.#auditEntries }));
    this.#removeAll(
      logins,
      all.filter(({ value }) => value.account === account),
    );
  }

  #removeAll(table: Table<Login>, entries: readonly { key: string }[]): void {
    for (const { key } of entries) table.remove(key);
  }

  /** The next number of a counter; never given twice. */
  #next(counter: "login" | "revocation"): number {
    const next = (this.#tables.counters.get(counter) ?? 0) + 1;
    this.#tables.counters.put(counter, next);
    return next;
  }
}

const nameKey = ({ name, id }: { name: string; id: string }): string => `${foldName(name)}\n${id}`;
const userSessionKey = ({ user, openedAt, id }: StoredSession): string => `${user}\n${padded(openedAt)}\n${id}`;
const expiryKey = (atMs: number, kind: "s" | "r", key: string): string => `${padded(atMs)}\n${kind}\n${key}`;

function recordOf({ id, email, name, createdAt, deletedAt }: StoredUser): UserRecord {
  return { id, email, name, createdAt, deletedAt: deletedAt === 0 ? undefined : deletedAt };
}

function credentialsOf(user: StoredUser | undefined): Credentials | undefined {
  return user === undefined ? undefined : { user: recordOf(user), passwordHash: user.passwordHash };
}
