/**
 * The directory port: users, credentials, sessions (refresh-token families), revocations and the login
 * audit. Embedded: LMDB; production: PostgreSQL; for tests: memory. The guarantees below are what
 * `directory.conformance.ts` checks on every backend.
 *
 * A session is one login: its id is the `sid` of its access tokens. Its refresh token changes with every
 * refresh and has two parts: the first names the session and stays, the second is new each time. The
 * directory keeps SHA-256 hashes only: `handle`, of the first part, and `current`, of the whole token in
 * force. So one row per session tells a token in force from one used before, however long ago.
 */

/** A user. */
export interface UserRecord {
  /** Random UUID. */
  readonly id: string;
  /** As `normalEmail` makes it; empty once deleted. */
  readonly email: string;
  /** 1 to 128 bytes, no control characters; kept when deleted, as histories show it anyway. */
  readonly name: string;
  /** ms since 1970. */
  readonly createdAt: number;
  /** ms since 1970; the record of a deleted user stays as a tombstone, so that its id is never another's. */
  readonly deletedAt: number | undefined;
}

/** A user with the hash of the password. */
export interface Credentials {
  readonly user: UserRecord;
  readonly passwordHash: string;
}

/** A user that may be found by name. */
export interface FoundUser {
  readonly id: string;
  readonly name: string;
}

/** The end of tokens before their expiry. */
export interface Revocation {
  /** Rising, never reused. */
  readonly id: number;
  /** User id, of this directory or of another issuer. */
  readonly user: string;
  /** A `jti` or `sid`: only tokens that bear it. Undefined: all tokens of the user issued before `beforeMs`. */
  readonly token: string | undefined;
  /** ms since 1970. Every token that the revocation is about was issued before it. */
  readonly beforeMs: number;
  /** ms since 1970: when no token that it is about can be alive any more. */
  readonly keepUntilMs: number;
}

/** When something ends: the present, and until when tokens issued so far may live. Both ms since 1970. */
export interface Ending {
  readonly nowMs: number;
  readonly keepUntilMs: number;
}

/** A session to open. */
export interface NewSession extends Ending {
  /** Random, never used before. */
  readonly id: string;
  readonly user: string;
  /** The hash that the password was compared with: a session opens only while it is still in force. */
  readonly passwordHash: string;
  readonly handle: string;
  readonly current: string;
  /** ms since 1970. */
  readonly expiresAtMs: number;
  /** Most sessions of the user; the oldest end for a new one. */
  readonly sessions: number;
}

/** An opened session. */
export interface Opened {
  /** `iat` for its access token, ms since 1970. */
  readonly issuedAtMs: number;
  /** Sessions that ended for it. */
  readonly ended: readonly Revocation[];
}

/** A refresh: exchange `from` for `to`. */
export interface Exchange extends Ending {
  readonly handle: string;
  readonly from: string;
  readonly to: string;
  /** ms since 1970. */
  readonly expiresAtMs: number;
}

/**
 * - `exchanged`: `to` is in force now.
 * - `unknown`: no such session, or it has expired.
 * - `reused`: the session is there, but `from` is not in force: it was exchanged before, so two parties
 *   hold it. The session has ended with this call.
 */
export type Exchanged =
  | { readonly kind: "exchanged"; readonly user: UserRecord; readonly session: string; readonly issuedAtMs: number }
  | { readonly kind: "unknown" }
  | { readonly kind: "reused"; readonly user: string; readonly revocation: Revocation };

/** One line of the login audit. */
export interface Login {
  /** ms since 1970. */
  readonly at: number;
  readonly success: boolean;
  /** User id, or a hash of the email when no account has it. */
  readonly account: string;
  /** Network address of the client. */
  readonly address: string;
  /** Cut to 256 characters. */
  readonly agent: string;
}

/**
 * The directory. Every promise of a write resolves only when the write is durable, and rejects with
 * `StoreFailure` when the outcome is unclear. Each method is atomic: of two at once, one is before the
 * other. Reads see all writes resolved before them.
 *
 * On time: `issuedAtMs` of `open` and `exchange` is never before a `beforeMs` that the directory gave for
 * all tokens of the user before, and `beforeMs` is after every `issuedAtMs` given before, whatever the
 * clocks of the nodes say. So a revocation hits all tokens from before it and none from after it.
 */
export interface Directory {
  /** Adds a user; false when another has the email. */
  createUser(
    user: { id: string; email: string; name: string; createdAt: number },
    passwordHash: string,
  ): Promise<boolean>;
  /** A user by id, tombstones included. */
  user(id: string): Promise<UserRecord | undefined>;
  /** Credentials by normalised email. */
  credentialsByEmail(email: string): Promise<Credentials | undefined>;
  /** Credentials by id; none once deleted. */
  credentials(id: string): Promise<Credentials | undefined>;
  /** Users whose name begins with the text, whatever its case, by name; deleted ones left out. Never by email. */
  findUsers(prefix: string, limit: number): Promise<FoundUser[]>;
  /** Changes the name; answers the user as it is now, undefined when deleted or unknown. */
  rename(id: string, name: string): Promise<UserRecord | undefined>;
  /**
   * Replaces the password if `from` is still in force, and ends all sessions but `keep`. Undefined when
   * `from` is not in force or the user is gone: nothing has changed.
   */
  changePassword(
    id: string,
    change: Ending & { from: string; to: string; keep: string | undefined },
  ): Promise<Revocation[] | undefined>;
  /**
   * Deletes a user: email, credentials, sessions and audit lines go, id and name stay as a tombstone; all
   * tokens are revoked. Undefined when there is none.
   */
  deleteUser(id: string, ending: Ending): Promise<Revocation | undefined>;

  /** Opens a session; undefined when the password has changed meanwhile or the user is gone. */
  openSession(session: NewSession): Promise<Opened | undefined>;
  /** Exchanges a refresh token: of two calls at once with one `from`, one has `exchanged`, the other `reused`. */
  exchange(exchange: Exchange): Promise<Exchanged>;

  /**
   * Revokes tokens of a user, known here or not. `token` a session's id: that session ends too. `token`
   * undefined: all sessions of the user end.
   */
  revoke(user: string, token: string | undefined, ending: Ending): Promise<Revocation>;
  /** Revocations with a higher id, rising, at most `limit`. Who has seen an id never misses a lower one later. */
  revocationsAfter(id: number, limit: number): Promise<Revocation[]>;

  /** Adds to the login audit, which keeps the last `LIMIT_LOGIN_AUDIT_ENTRIES` lines. */
  audit(login: Login): Promise<void>;
  /** The audit's last lines about an account, or about all, newest first. */
  logins(account: string | undefined, limit: number): Promise<Login[]>;

  /**
   * Removes what is over at `nowMs`: expired sessions, revocations whose `keepUntilMs` has passed, audit
   * lines before `auditFromMs`. At most `limit` of each, so that a call stays short; answers how many went.
   */
  prune(nowMs: number, auditFromMs: number, limit: number): Promise<number>;
  /** Ends what is open; writes under way are finished first. */
  close(): Promise<void>;
}

/** The one spelling of an email under which its account is kept: trimmed, NFC, lower case. */
export function normalEmail(text: string): string {
  return text.trim().normalize("NFC").toLowerCase().normalize("NFC");
}

/** The spelling of a name under which it is searched: NFC, lower case. */
export function foldName(text: string): string {
  return text.normalize("NFC").toLowerCase().normalize("NFC");
}
