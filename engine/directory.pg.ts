/**
 * The directory on PostgreSQL, with tables made by the migrations. Every node may write: the locks of rows are
 * what orders them, so the guarantees of the port hold whatever the clocks of the nodes say.
 *
 * PostgreSQL may be away, at the start as later: the directory opens all the same, its calls fail with
 * `StoreFailure`, and the migrations are tried again until they have run. Chat asks the directory for nothing.
 */
import { Client } from "pg";
import {
  type Credentials,
  type Directory,
  type Ending,
  type Exchange,
  type Exchanged,
  type FoundUser,
  foldName,
  type Login,
  type NewSession,
  type Opened,
  type Revocation,
  type UserRecord,
} from "../actors/directory.ts";
import type { Log } from "../actors/log.ts";
import { PgPool } from "./directory.pg.pool.ts";
import {
  countRow,
  credentialsRow,
  foundUserRow,
  loginRow,
  revocationRow,
  sql,
  USER_COLUMNS,
  userRow,
} from "./directory.pg.rows.ts";
import { PgSchema } from "./directory.pg.schema.ts";
import {
  endSessions,
  exchangeToken,
  lockLiveUser,
  openSession,
  revokeAll,
  revokeToken,
} from "./directory.pg.sessions.ts";
import { PG_POLICY } from "./policy.ts";

/** Above every text in the collation "C". */
const END = "\u{10ffff}";
/** Lines beyond the bound that one new line takes out of the audit; more than one, as the bound may be lowered. */
const LINES_REMOVED = 100;

/** What `openPgDirectory` needs. */
export interface PgDirectoryOptions {
  /** `postgres://user:password@host:port/database`, with the parameters that `pg` knows. */
  readonly url: string;
  /** Lines of the login audit that are kept. */
  readonly loginAuditEntries: number;
  readonly log: Log;
  /** Most connections; `PG_POLICY.connections` when left out. */
  readonly poolSize?: number;
}

/**
 * Opens the directory on PostgreSQL and runs the migrations. Resolves within a few seconds, also when
 * PostgreSQL is away. Rejects with an `Error` in a full sentence when the URL is none, or when the database's
 * history of migrations does not fit this build.
 */
export async function openPgDirectory(options: PgDirectoryOptions): Promise<Directory> {
  const { url, loginAuditEntries, log, poolSize = PG_POLICY.connections } = options;
  refuseBadUrl(url);
  const pool = await PgPool.create({ url, poolSize, closed: "PostgreSQL has been away since the start." });
  const schema = new PgSchema({ url, pool, log });
  try {
    await schema.start();
  } catch (error) {
    await pool.close();
    throw error;
  }
  return new PgDirectory(pool, schema, loginAuditEntries);
}

function refuseBadUrl(url: string): void {
  const refusal = new Error("The URL of PostgreSQL is not of the form postgres://user:password@host:port/database.");
  if (!/^postgres(ql)?:\/\//.test(url)) throw refusal;
  try {
    new Client({ connectionString: url });
  } catch (error) {
    // The error of pg may hold the URL, and with it the password.
    const file = error instanceof Error && "path" in error ? String(error.path) : undefined;
    throw file === undefined
      ? refusal
      : new Error(`The URL of PostgreSQL names the file ${file}, which can not be read.`);
  }
}

class PgDirectory implements Directory {
  readonly #pool: PgPool;
  readonly #schema: PgSchema;
  readonly #auditEntries: number;

  constructor(pool: PgPool, schema: PgSchema, auditEntries: number) {
    this.#pool = pool;
    this.#schema = schema;
    this.#auditEntries = auditEntries;
  }

  async createUser(
    user: { id: string; email: string; name: string; createdAt: number },
    passwordHash: string,
  ): Promise<boolean> {
    const { rowCount } = await this.#pool.run((pg) =>
      pg.query(sql.typeAlias("nothing")`
        INSERT INTO users (id, email, name, folded_name, created_at, password_hash)
        VALUES (${user.id}, ${user.email}, ${user.name}, ${foldName(user.name)}, ${user.createdAt}, ${passwordHash})
        ON CONFLICT (email) DO NOTHING`),
    );
    return rowCount === 1;
  }

  async user(id: string): Promise<UserRecord | undefined> {
    const found = await this.#pool.run((pg) =>
      pg.maybeOne(sql.type(userRow)`SELECT ${USER_COLUMNS} FROM users WHERE id = ${id}`),
    );
    return found ?? undefined;
  }

  async credentialsByEmail(email: string): Promise<Credentials | undefined> {
    const found = await this.#pool.run((pg) =>
      pg.maybeOne(sql.type(credentialsRow)`SELECT ${USER_COLUMNS}, password_hash FROM users WHERE email = ${email}`),
    );
    return found ?? undefined;
  }

  async credentials(id: string): Promise<Credentials | undefined> {
    const found = await this.#pool.run((pg) =>
      pg.maybeOne(sql.type(credentialsRow)`
        SELECT ${USER_COLUMNS}, password_hash FROM users WHERE id = ${id} AND deleted_at IS NULL`),
    );
    return found ?? undefined;
  }

  async findUsers(prefix: string, limit: number): Promise<FoundUser[]> {
    const from = foldName(prefix);
    const found = await this.#pool.run((pg) =>
      pg.any(sql.type(foundUserRow)`
        SELECT id, name FROM users
        WHERE folded_name >= ${from} AND folded_name < ${from + END} AND deleted_at IS NULL
        ORDER BY folded_name, id LIMIT ${limit}`),
    );
    return [...found];
  }

  async rename(id: string, name: string): Promise<UserRecord | undefined> {
    const renamed = await this.#pool.run((pg) =>
      pg.maybeOne(sql.type(userRow)`
        UPDATE users SET name = ${name}, folded_name = ${foldName(name)}
        WHERE id = ${id} AND deleted_at IS NULL RETURNING ${USER_COLUMNS}`),
    );
    return renamed ?? undefined;
  }

  changePassword(
    id: string,
    change: Ending & { from: string; to: string; keep: string | undefined },
  ): Promise<Revocation[] | undefined> {
    return this.#pool.transaction(async (tx) => {
      const user = await lockLiveUser(tx, id);
      if (user === null || user.passwordHash !== change.from) return undefined;
      await tx.query(sql.typeAlias("nothing")`UPDATE users SET password_hash = ${change.to} WHERE id = ${id}`);
      const which = sql.fragment`id IS DISTINCT FROM ${change.keep ?? null}::text`;
      return endSessions(tx, id, { which, ...change });
    });
  }

  deleteUser(id: string, ending: Ending): Promise<Revocation | undefined> {
    return this.#pool.transaction(async (tx) => {
      if ((await lockLiveUser(tx, id)) === null) return undefined;
      await tx.query(sql.typeAlias("nothing")`DELETE FROM logins WHERE account = ${id}`);
      await tx.query(sql.typeAlias("nothing")`
        UPDATE users SET email = NULL, password_hash = '', deleted_at = ${ending.nowMs} WHERE id = ${id}`);
      return revokeAll(tx, id, ending);
    });
  }

  openSession(session: NewSession): Promise<Opened | undefined> {
    return this.#pool.transaction((tx) => openSession(tx, session));
  }

  exchange(exchange: Exchange): Promise<Exchanged> {
    return this.#pool.transaction((tx) => exchangeToken(tx, exchange));
  }

  revoke(user: string, token: string | undefined, ending: Ending): Promise<Revocation> {
    return this.#pool.transaction((tx) =>
      token === undefined ? revokeAll(tx, user, ending) : revokeToken(tx, user, { token, ...ending }),
    );
  }

  async revocationsAfter(id: number, limit: number): Promise<Revocation[]> {
    const found = await this.#pool.run((pg) =>
      pg.any(sql.type(revocationRow)`
        SELECT id, user_id, token, before_ms, keep_until FROM revocations
        WHERE id > ${id} ORDER BY id LIMIT ${limit}`),
    );
    return [...found];
  }

  async audit({ at, success, account, address, agent }: Login): Promise<void> {
    // Lines that another removes just now are skipped, not waited for: so no two can wait for each other.
    await this.#pool.run((pg) =>
      pg.query(sql.typeAlias("nothing")`
        WITH added AS (
          INSERT INTO logins (at, success, account, address, agent)
          VALUES (${at}, ${success}, ${account}, ${address}, ${agent}) RETURNING number
        ), surplus AS MATERIALIZED (
          SELECT number FROM logins WHERE number <= (SELECT number FROM added) - ${this.#auditEntries}
          ORDER BY number LIMIT ${LINES_REMOVED} FOR UPDATE SKIP LOCKED
        )
        DELETE FROM logins WHERE number IN (SELECT number FROM surplus)`),
    );
  }

  async logins(account: string | undefined, limit: number): Promise<Login[]> {
    const whose = account === undefined ? sql.fragment`true` : sql.fragment`account = ${account}`;
    const found = await this.#pool.run((pg) =>
      pg.any(sql.type(loginRow)`
        SELECT at, success, account, address, agent FROM logins
        WHERE ${whose} AND number > (SELECT coalesce(max(number), 0) FROM logins) - ${this.#auditEntries}
        ORDER BY number DESC LIMIT ${limit}`),
    );
    return [...found];
  }

  async prune(nowMs: number, auditFromMs: number, limit: number): Promise<number> {
    // What another changes just now is left for the next time.
    const gone = await this.#pool.run((pg) =>
      pg.one(sql.type(countRow)`
        WITH over_sessions AS MATERIALIZED (
          SELECT id FROM sessions WHERE expires_at <= ${nowMs}
          ORDER BY expires_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
        ), over_revocations AS MATERIALIZED (
          SELECT id FROM revocations WHERE keep_until <= ${nowMs}
          ORDER BY keep_until LIMIT ${limit} - (SELECT count(*) FROM over_sessions) FOR UPDATE SKIP LOCKED
        ), over_logins AS MATERIALIZED (
          SELECT number FROM logins WHERE at < ${auditFromMs} ORDER BY at LIMIT ${limit} FOR UPDATE SKIP LOCKED
        ),
        gone_sessions AS (DELETE FROM sessions WHERE id IN (SELECT id FROM over_sessions) RETURNING 1),
        gone_revocations AS (DELETE FROM revocations WHERE id IN (SELECT id FROM over_revocations) RETURNING 1),
        gone_logins AS (DELETE FROM logins WHERE number IN (SELECT number FROM over_logins) RETURNING 1)
        SELECT (SELECT count(*) FROM gone_sessions) + (SELECT count(*) FROM gone_revocations)
          + (SELECT count(*) FROM gone_logins) AS count`),
    );
    return gone.count;
  }

  async close(): Promise<void> {
    await this.#schema.stop();
    await this.#pool.close();
  }
}
