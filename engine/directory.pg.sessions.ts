/**
 * Sessions and revocations in PostgreSQL, as steps of a transaction. Every change of a user's sessions and of
 * the times of its tokens is made under the lock of the user's row, so of two at once one is before the other,
 * whichever nodes they come from. Locks are taken in one order: the user, its sessions, the counter.
 */
import type { DatabaseTransactionConnection, FragmentSqlToken } from "slonik";
import type { Ending, Exchange, Exchanged, NewSession, Opened, Revocation } from "../actors/directory.ts";
import {
  endedRow,
  type LockedUser,
  lockedUserRow,
  revocationRow,
  sessionRow,
  sql,
  USER_COLUMNS,
} from "./directory.pg.rows.ts";

type Transaction = DatabaseTransactionConnection;

/** Locks a user's row until the end of the transaction; null when there is none. Tombstones included. */
export function lockUser(tx: Transaction, id: string): Promise<LockedUser | null> {
  return tx.maybeOne(
    sql.type(lockedUserRow)`SELECT ${USER_COLUMNS}, password_hash, valid_from FROM users WHERE id = ${id} FOR UPDATE`,
  );
}

/** Locks a user's row; null when there is none or it is deleted. */
export async function lockLiveUser(tx: Transaction, id: string): Promise<LockedUser | null> {
  const user = await lockUser(tx, id);
  return user?.record.deletedAt === undefined ? user : null;
}

/** `Directory.openSession`. */
export async function openSession(tx: Transaction, session: NewSession): Promise<Opened | undefined> {
  const user = await lockLiveUser(tx, session.user);
  if (user === null || user.passwordHash !== session.passwordHash) return undefined;
  const kept = Math.max(0, session.sessions - 1);
  const surplus = sql.fragment`id NOT IN (
    SELECT id FROM sessions WHERE user_id = ${session.user} ORDER BY opened_at DESC, id DESC LIMIT ${kept})`;
  const ended = await endSessions(tx, session.user, { which: surplus, ...session });
  const issuedAtMs = Math.max(session.nowMs, user.validFromMs);
  await tx.query(sql.typeAlias("nothing")`
    INSERT INTO sessions (id, user_id, handle, current, opened_at, expires_at, issued_at)
    VALUES (${session.id}, ${session.user}, ${session.handle}, ${session.current}, ${session.nowMs},
      ${session.expiresAtMs}, ${issuedAtMs})`);
  return { issuedAtMs, ended };
}

/** `Directory.exchange`. */
export async function exchangeToken(tx: Transaction, exchange: Exchange): Promise<Exchanged> {
  const user = await tx.maybeOne(sql.type(lockedUserRow)`
    SELECT ${USER_COLUMNS}, password_hash, valid_from FROM users
    WHERE id = (SELECT user_id FROM sessions WHERE handle = ${exchange.handle}) AND deleted_at IS NULL
    FOR UPDATE`);
  if (user === null) return { kind: "unknown" };
  // Read after the lock: what the statement that waited for it saw of the session may be out of date.
  const session = await tx.maybeOne(sql.type(sessionRow)`
    SELECT id, current, expires_at, issued_at FROM sessions WHERE handle = ${exchange.handle} FOR UPDATE`);
  if (session === null || session.expiresAtMs <= exchange.nowMs) return { kind: "unknown" };
  if (session.current !== exchange.from) {
    const which = sql.fragment`id = ${session.id}`;
    const [revocation] = await endSessions(tx, user.record.id, { which, ...exchange });
    if (revocation === undefined) throw new Error("A session went away under its lock.");
    return { kind: "reused", user: user.record.id, revocation };
  }
  const issuedAtMs = Math.max(exchange.nowMs, user.validFromMs, session.issuedAtMs);
  await tx.query(sql.typeAlias("nothing")`
    UPDATE sessions SET current = ${exchange.to}, expires_at = ${exchange.expiresAtMs}, issued_at = ${issuedAtMs}
    WHERE id = ${session.id}`);
  return { kind: "exchanged", user: user.record, session: session.id, issuedAtMs };
}

/** `Directory.revoke` of one token: when it is a session of the user, that ends. */
export async function revokeToken(tx: Transaction, user: string, end: Ending & { token: string }): Promise<Revocation> {
  await lockUser(tx, user);
  const { token, nowMs, keepUntilMs } = end;
  const [ended] = await endSessions(tx, user, { which: sql.fragment`id = ${token}`, ...end });
  return ended ?? addRevocation(tx, { user, token, beforeMs: nowMs + 1, keepUntilMs });
}

/** Ends all sessions of a user, who need not be known here, with one revocation after the last token given. */
export async function revokeAll(tx: Transaction, user: string, { nowMs, keepUntilMs }: Ending): Promise<Revocation> {
  const known = await lockUser(tx, user);
  const ended = await removeSessions(tx, user, sql.fragment`true`);
  const given = ended.map(({ issuedAtMs }) => issuedAtMs);
  const beforeMs = Math.max(nowMs, (known?.validFromMs ?? 0) - 1, ...given) + 1;
  await tx.query(sql.typeAlias("nothing")`UPDATE users SET valid_from = ${beforeMs} WHERE id = ${user}`);
  return addRevocation(tx, { user, token: undefined, beforeMs, keepUntilMs });
}

/** Ends the sessions of a user that a condition holds for; their revocations in the order they were opened in. */
export async function endSessions(
  tx: Transaction,
  user: string,
  end: Ending & { readonly which: FragmentSqlToken },
): Promise<Revocation[]> {
  const ended = await removeSessions(tx, user, end.which);
  const revocations = ended.map(({ id, issuedAtMs }) => ({
    user,
    token: id,
    beforeMs: Math.max(end.nowMs, issuedAtMs) + 1,
    keepUntilMs: end.keepUntilMs,
  }));
  return addRevocations(tx, revocations);
}

async function removeSessions(tx: Transaction, user: string, which: FragmentSqlToken) {
  const removed = await tx.any(sql.type(endedRow)`
    DELETE FROM sessions WHERE user_id = ${user} AND ${which} RETURNING id, opened_at, issued_at`);
  return removed.toSorted((a, b) => a.openedAt - b.openedAt || (a.id < b.id ? -1 : 1));
}

async function addRevocation(tx: Transaction, revocation: Omit<Revocation, "id">): Promise<Revocation> {
  const [added] = await addRevocations(tx, [revocation]);
  if (added === undefined) throw new Error("A revocation was not added.");
  return added;
}

/**
 * Adds revocations in their order. The counter's row stays locked until the commit, so whoever has seen an id
 * has seen, or can see, all lower ones.
 */
async function addRevocations(tx: Transaction, revocations: readonly Omit<Revocation, "id">[]): Promise<Revocation[]> {
  if (revocations.length === 0) return [];
  const rows = revocations.map((row) => [row.user, row.token ?? null, row.beforeMs, row.keepUntilMs]);
  const added = await tx.many(sql.type(revocationRow)`
    WITH counter AS (UPDATE revocation_counter SET last = last + ${rows.length} RETURNING last)
    INSERT INTO revocations (id, user_id, token, before_ms, keep_until)
    SELECT counter.last - ${rows.length} + added.nth, added.user_id, added.token, added.before_ms, added.keep_until
    FROM counter, ${sql.unnest(rows, ["text", "text", "int8", "int8"])}
      WITH ORDINALITY AS added (user_id, token, before_ms, keep_until, nth)
    RETURNING id, user_id, token, before_ms, keep_until`);
  return added.toSorted((a, b) => a.id - b.id);
}
