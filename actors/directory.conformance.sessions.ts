/** The part of the directory's suite about sessions, refresh tokens and revocations. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  addUser,
  ending,
  type OpenDirectory,
  START_MS,
  sampleSession,
  withDirectory,
} from "./directory.conformance.samples.ts";
import type { Directory, Exchanged } from "./directory.ts";

/** Exchanges the token `n` of a session for the next one. */
function exchange(directory: Directory, id: string, n: number, atMs = 0): Promise<Exchanged> {
  return directory.exchange({
    ...ending(atMs),
    handle: `handle of ${id}`,
    from: `${id}/${n}`,
    to: `${id}/${n + 1}`,
    expiresAtMs: START_MS + atMs + 10_000_000,
  });
}

/** Registers the tests. */
export function sessions(open: OpenDirectory): void {
  opening(open);
  exchanging(open);
  passwords(open);
  revoking(open);
  times(open);
}

function opening(open: OpenDirectory): void {
  test("opens a session only for the password that is in force.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      assert.equal(await directory.openSession(sampleSession("ann", "s1", { passwordHash: "other" })), undefined);
      assert.equal(await directory.openSession(sampleSession("bob", "s1")), undefined);
      assert.deepEqual(await directory.openSession(sampleSession("ann", "s1")), { issuedAtMs: START_MS, ended: [] });
    }));

  test("ends the oldest session when a user has too many.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      await addUser(directory, "bob");
      for (const [i, id] of ["s1", "s2", "s3"].entries()) {
        await directory.openSession(sampleSession("ann", id, { nowMs: START_MS + i }));
      }
      await directory.openSession(sampleSession("bob", "b1"));
      assert.equal((await exchange(directory, "s1", 0, 5)).kind, "exchanged");
      const opened = await directory.openSession(sampleSession("ann", "s4", { nowMs: START_MS + 9 }));
      assert.deepEqual(
        opened?.ended.map(({ user, token }) => [user, token]),
        [["ann", "s1"]],
      );
      assert.deepEqual(await directory.revocationsAfter(0, 10), opened?.ended);
      assert.equal((await exchange(directory, "s1", 1)).kind, "unknown");
      for (const id of ["s2", "s3", "s4", "b1"]) assert.equal((await exchange(directory, id, 0)).kind, "exchanged", id);
    }));
}

function exchanging(open: OpenDirectory): void {
  test("exchanges a refresh token again and again, and lengthens the session with it.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann", "Ann");
      await directory.openSession(sampleSession("ann", "s1", { expiresAtMs: START_MS + 10 }));
      const first = await exchange(directory, "s1", 0, 9);
      assert.deepEqual(first, {
        kind: "exchanged",
        user: await directory.user("ann"),
        session: "s1",
        issuedAtMs: START_MS + 9,
      });
      assert.equal((await exchange(directory, "s1", 1, 1_000)).kind, "exchanged");
      assert.equal((await exchange(directory, "s1", 2, 20_000_000)).kind, "unknown", "expired meanwhile");
    }));

  test("knows no session by a token that was never one.", () =>
    withDirectory(open, async (directory) => {
      assert.deepEqual(await exchange(directory, "s1", 0), { kind: "unknown" });
    }));

  test("ends the session when a refresh token is used twice, however long ago the first time was.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      await directory.openSession(sampleSession("ann", "s1"));
      await directory.openSession(sampleSession("ann", "s2"));
      for (let n = 0; n < 40; n++) assert.equal((await exchange(directory, "s1", n, n)).kind, "exchanged");
      const reused = await exchange(directory, "s1", 3, 50);
      assert.ok(reused.kind === "reused");
      assert.equal(reused.user, "ann");
      const { id: _, ...revocation } = reused.revocation;
      assert.deepEqual(revocation, {
        ...tokenRevocation("ann", "s1"),
        beforeMs: START_MS + 51,
        keepUntilMs: keepUntil(50),
      });
      assert.deepEqual(await directory.revocationsAfter(0, 10), [reused.revocation]);
      assert.deepEqual(await exchange(directory, "s1", 40, 51), { kind: "unknown" }, "the token in force is dead too");
      assert.equal((await exchange(directory, "s2", 0)).kind, "exchanged", "other sessions live");
    }));

  test("has one winner among exchanges of one token at once.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      await directory.openSession(sampleSession("ann", "s1"));
      const tries = Array.from({ length: 6 }, (_, i) =>
        directory.exchange({
          ...ending(i),
          handle: "handle of s1",
          from: "s1/0",
          to: `to ${i}`,
          expiresAtMs: START_MS + 1e7,
        }),
      );
      const kinds = (await Promise.all(tries)).map(({ kind }) => kind).sort();
      assert.deepEqual(kinds, ["exchanged", "reused", "unknown", "unknown", "unknown", "unknown"]);
    }));
}

const keepUntil = (ms: number): number => ending(ms).keepUntilMs;
const tokenRevocation = (user: string, token: string | undefined) => ({ user, token });

function passwords(open: OpenDirectory): void {
  test("changes a password once per old one, and ends the other sessions.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      for (const id of ["s1", "s2", "s3"]) await directory.openSession(sampleSession("ann", id));
      const change = { ...ending(5), from: "hash", keep: "s2" };
      const [one, two] = await Promise.all([
        directory.changePassword("ann", { ...change, to: "new 1" }),
        directory.changePassword("ann", { ...change, to: "new 2" }),
      ]);
      assert.equal(two, undefined);
      assert.deepEqual(one?.map(({ token }) => token).sort(), ["s1", "s3"]);
      assert.equal((await directory.credentials("ann"))?.passwordHash, "new 1");
      assert.equal((await exchange(directory, "s1", 0)).kind, "unknown");
      assert.equal((await exchange(directory, "s2", 0)).kind, "exchanged");
      assert.equal(
        await directory.openSession(sampleSession("ann", "s4")),
        undefined,
        "the old password opens nothing",
      );
      assert.equal(await directory.changePassword("bob", { ...change, to: "x" }), undefined);
    }));
}

function revoking(open: OpenDirectory): void {
  test("revokes one session, one foreign token, or all tokens of a user.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      for (const id of ["s1", "s2"]) await directory.openSession(sampleSession("ann", id));
      const one = await directory.revoke("ann", "s1", ending(1));
      assert.equal((await exchange(directory, "s1", 0)).kind, "unknown");
      const foreign = await directory.revoke("guest", "jti-1", ending(2));
      const notTheirs = await directory.revoke("guest", "s2", ending(3));
      const unknownUser = await directory.revoke("guest", undefined, ending(4));
      assert.equal((await exchange(directory, "s2", 0)).kind, "exchanged");
      const all = await directory.revoke("ann", undefined, ending(5));
      assert.equal((await exchange(directory, "s2", 1)).kind, "unknown");
      const list = [one, foreign, notTheirs, unknownUser, all];
      assert.deepEqual(
        list.map(({ user, token }) => [user, token]),
        [
          ["ann", "s1"],
          ["guest", "jti-1"],
          ["guest", "s2"],
          ["guest", undefined],
          ["ann", undefined],
        ],
      );
      assert.ok(
        list.every((revocation, i) => i === 0 || revocation.id > (list[i - 1]?.id ?? 0)),
        "ids rise",
      );
      assert.deepEqual(await directory.revocationsAfter(0, 10), list);
      assert.deepEqual(await directory.revocationsAfter(one.id, 2), [foreign, notTheirs]);
      assert.deepEqual(await directory.revocationsAfter(all.id, 10), []);
    }));
}

function times(open: OpenDirectory): void {
  test("revokes all tokens from before and none from after, whatever the clocks say.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      // A node whose clock is a second ahead gave the token.
      const before = await directory.openSession(sampleSession("ann", "s1", { nowMs: START_MS + 1_000 }));
      const all = await directory.revoke("ann", undefined, ending(0));
      const after = await directory.openSession(sampleSession("ann", "s2"));
      assert.ok(before && after);
      assert.ok(before.issuedAtMs < all.beforeMs);
      assert.ok(after.issuedAtMs >= all.beforeMs);
      const refreshed = await exchange(directory, "s2", 0, 3);
      assert.ok(refreshed.kind === "exchanged" && refreshed.issuedAtMs >= all.beforeMs);
      const again = await directory.revoke("ann", undefined, ending(1));
      assert.ok(again.beforeMs > refreshed.issuedAtMs);
      const twice = await directory.revoke("ann", undefined, ending(1));
      assert.ok(twice.beforeMs >= again.beforeMs);
    }));

  test("ends a session after its last token, whatever the clocks say.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      await directory.openSession(sampleSession("ann", "s1"));
      const refreshed = await exchange(directory, "s1", 0, 1_000);
      const ended = await directory.revoke("ann", "s1", ending(10));
      assert.ok(refreshed.kind === "exchanged" && ended.beforeMs > refreshed.issuedAtMs);
    }));
}
