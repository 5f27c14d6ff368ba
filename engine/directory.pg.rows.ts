/** The rows of the directory's tables as PostgreSQL gives them, checked, and as the port speaks of them. */
import { createSqlTag } from "slonik";
import { z } from "zod";
import type { Credentials, FoundUser, Login, Revocation, UserRecord } from "../actors/directory.ts";

/** Writes statements; `nothing` is for those that give no rows. */
export const sql = createSqlTag({ typeAliases: { nothing: z.object({}).strict() } });

/** ms since 1970, or an id: a whole number that a JavaScript number holds exactly. */
const whole = z.number().int().safe();

const userColumns = {
  id: z.string(),
  email: z.string().nullable(),
  name: z.string(),
  created_at: whole,
  deleted_at: whole.nullable(),
};

/** The columns of a `UserRecord`. */
export const USER_COLUMNS = sql.fragment`id, email, name, created_at, deleted_at`;

const recordOf = (row: z.infer<z.ZodObject<typeof userColumns>>): UserRecord => ({
  id: row.id,
  email: row.email ?? "",
  name: row.name,
  createdAt: row.created_at,
  deletedAt: row.deleted_at ?? undefined,
});

/** `USER_COLUMNS`. */
export const userRow = z.object(userColumns).strict().transform(recordOf);

/** `USER_COLUMNS`, password_hash. */
export const credentialsRow = z
  .object({ ...userColumns, password_hash: z.string() })
  .strict()
  .transform((row): Credentials => ({ user: recordOf(row), passwordHash: row.password_hash }));

/** A user whose row is locked: `USER_COLUMNS`, password_hash, valid_from. */
export const lockedUserRow = z
  .object({ ...userColumns, password_hash: z.string(), valid_from: whole })
  .strict()
  .transform((row) => ({ record: recordOf(row), passwordHash: row.password_hash, validFromMs: row.valid_from }));

/** A user whose row is locked. */
export type LockedUser = z.infer<typeof lockedUserRow>;

/** id, name. */
export const foundUserRow: z.ZodType<FoundUser> = z.object({ id: z.string(), name: z.string() }).strict();

/** id, current, expires_at, issued_at. */
export const sessionRow = z
  .object({ id: z.string(), current: z.string(), expires_at: whole, issued_at: whole })
  .strict()
  .transform((row) => ({
    id: row.id,
    current: row.current,
    expiresAtMs: row.expires_at,
    issuedAtMs: row.issued_at,
  }));

/** A session that has ended: id, opened_at, issued_at. */
export const endedRow = z
  .object({ id: z.string(), opened_at: whole, issued_at: whole })
  .strict()
  .transform((row) => ({ id: row.id, openedAt: row.opened_at, issuedAtMs: row.issued_at }));

/** id, user_id, token, before_ms, keep_until. */
export const revocationRow = z
  .object({ id: whole, user_id: z.string(), token: z.string().nullable(), before_ms: whole, keep_until: whole })
  .strict()
  .transform(
    (row): Revocation => ({
      id: row.id,
      user: row.user_id,
      token: row.token ?? undefined,
      beforeMs: row.before_ms,
      keepUntilMs: row.keep_until,
    }),
  );

/** at, success, account, address, agent. */
export const loginRow: z.ZodType<Login> = z
  .object({ at: whole, success: z.boolean(), account: z.string(), address: z.string(), agent: z.string() })
  .strict();

/** count. */
export const countRow = z.object({ count: whole }).strict();
