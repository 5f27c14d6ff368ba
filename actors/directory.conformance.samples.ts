/** What the directory's suite is made of: a way to open one, users, sessions, times. */
import assert from "node:assert/strict";
import type { Directory, Ending, NewSession } from "./directory.ts";

/** Opens an empty directory of its own for each test; the test closes it. */
export type OpenDirectory = (loginAuditEntries: number) => Promise<Directory>;

/** Time of the suite's beginning, ms since 1970. */
export const START_MS = 1_700_000_000_000;

/** An ending at `START_MS + ms` whose tokens live an hour. */
export function ending(ms: number): Ending {
  return { nowMs: START_MS + ms, keepUntilMs: START_MS + ms + 3_600_000 };
}

/** A session of a user whose password hash is `hash`. */
export function sampleSession(user: string, id: string, changes: Partial<NewSession> = {}): NewSession {
  return {
    ...ending(0),
    id,
    user,
    passwordHash: "hash",
    handle: `handle of ${id}`,
    current: `${id}/0`,
    expiresAtMs: START_MS + 10_000_000,
    sessions: 3,
    ...changes,
  };
}

/** A user `id` whose email is made of the id, with password hash `hash`. */
export async function addUser(directory: Directory, id: string, name = id): Promise<void> {
  const email = `${id}@example.org`;
  assert.equal(await directory.createUser({ id, email, name, createdAt: START_MS }, "hash"), true);
}

/** Opens a directory, runs the test on it, closes it. */
export async function withDirectory(
  open: OpenDirectory,
  run: (directory: Directory) => Promise<void>,
  loginAuditEntries = 100,
): Promise<void> {
  const directory = await open(loginAuditEntries);
  try {
    await run(directory);
  } finally {
    await directory.close();
  }
}
