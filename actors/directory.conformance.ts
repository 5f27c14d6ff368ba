/** What every directory backend must pass: the guarantees of `directory.ts`, as tests. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  addUser,
  ending,
  type OpenDirectory,
  START_MS,
  sampleSession,
  withDirectory,
} from "./directory.conformance.samples.ts";
import { sessions } from "./directory.conformance.sessions.ts";
import { type Login, normalEmail } from "./directory.ts";

/** Registers the suite for one backend. `name` heads its titles. */
export function directoryConformance(name: string, open: OpenDirectory): void {
  describe(`The ${name} directory`, () => {
    users(open);
    finding(open);
    deleting(open);
    sessions(open);
    auditing(open);
  });
}

function users(open: OpenDirectory): void {
  test("keeps a user under its id and its email.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann", "Ann");
      const user = { id: "ann", email: "ann@example.org", name: "Ann", createdAt: START_MS, deletedAt: undefined };
      assert.deepEqual(await directory.user("ann"), user);
      assert.deepEqual(await directory.credentials("ann"), { user, passwordHash: "hash" });
      assert.deepEqual(await directory.credentialsByEmail("ann@example.org"), { user, passwordHash: "hash" });
      assert.equal(await directory.user("bob"), undefined);
      assert.equal(await directory.user(""), undefined);
      assert.equal(await directory.user("x".repeat(5_000)), undefined);
      assert.equal(await directory.credentialsByEmail(""), undefined);
      assert.equal(await directory.credentialsByEmail("bob@example.org"), undefined);
    }));

  test("gives an email to one user only, also of many at once.", () =>
    withDirectory(open, async (directory) => {
      const email = normalEmail(" Ann@Example.ORG ");
      const tries = Array.from({ length: 8 }, (_, i) =>
        directory.createUser({ id: `u${i}`, email, name: `n${i}`, createdAt: START_MS }, `h${i}`),
      );
      const made = (await Promise.all(tries)).flatMap((won, i) => (won ? [`u${i}`] : []));
      assert.equal(made.length, 1);
      assert.equal((await directory.credentialsByEmail("ann@example.org"))?.user.id, made[0]);
      const left = await Promise.all(Array.from({ length: 8 }, (_, i) => directory.user(`u${i}`)));
      assert.equal(left.filter((user) => user !== undefined).length, 1);
      assert.equal((await directory.findUsers("n", 10)).length, 1);
    }));

  test("renames a user, who is then found by the new name alone.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann", "Ann");
      assert.equal((await directory.rename("ann", "Zoë"))?.name, "Zoë");
      assert.equal((await directory.user("ann"))?.name, "Zoë");
      assert.deepEqual(await directory.findUsers("ann", 10), []);
      assert.deepEqual(await directory.findUsers("zoë", 10), [{ id: "ann", name: "Zoë" }]);
      assert.equal(await directory.rename("bob", "Bob"), undefined);
    }));
}

function finding(open: OpenDirectory): void {
  test("finds users by the beginning of their name in any case, by name, and never by email.", () =>
    withDirectory(open, async (directory) => {
      for (const [id, name] of [
        ["u1", "Émile"],
        ["u2", "ann"],
        ["u3", "ANN B"],
        ["u4", "Anna"],
        ["u5", "ann"],
        ["u6", "Bert"],
      ] as const) {
        await addUser(directory, id, name);
      }
      const names = async (prefix: string, limit = 10) =>
        (await directory.findUsers(prefix, limit)).map(({ name }) => name);
      assert.deepEqual(await names("Ann"), ["ann", "ann", "ANN B", "Anna"]);
      assert.deepEqual(await names("ANN", 2), ["ann", "ann"]);
      assert.deepEqual(await names("e\u0301"), ["Émile"]);
      assert.deepEqual(await names("u1@"), []);
      assert.deepEqual(await names("x".repeat(3_000)), []);
      assert.deepEqual(new Set((await directory.findUsers("ann", 2)).map(({ id }) => id)), new Set(["u2", "u5"]));
    }));
}

function deleting(open: OpenDirectory): void {
  test("keeps only id and name of a deleted user, whose email is free again and whose tokens are revoked.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann", "Ann");
      const opened = await directory.openSession(sampleSession("ann", "s1"));
      await directory.audit(loginOf("ann", 1));
      await directory.audit(loginOf("bob", 2));
      const revocation = await directory.deleteUser("ann", ending(50));
      assert.ok(opened && revocation);
      assert.equal(revocation.token, undefined);
      assert.ok(revocation.beforeMs > opened.issuedAtMs);
      assert.deepEqual(await directory.user("ann"), {
        id: "ann",
        email: "",
        name: "Ann",
        createdAt: START_MS,
        deletedAt: START_MS + 50,
      });
      assert.equal(await directory.credentials("ann"), undefined);
      assert.equal(await directory.credentialsByEmail("ann@example.org"), undefined);
      assert.deepEqual(await directory.findUsers("ann", 10), []);
      assert.deepEqual(
        (await directory.logins(undefined, 10)).map(({ account }) => account),
        ["bob"],
      );
      const exchange = { ...ending(60), handle: "handle of s1", from: "s1/0", to: "s1/1", expiresAtMs: START_MS + 1e7 };
      assert.deepEqual(await directory.exchange(exchange), { kind: "unknown" });
      assert.equal(await directory.openSession(sampleSession("ann", "s2")), undefined);
      assert.equal(await directory.rename("ann", "Anna"), undefined);
      assert.equal(await directory.deleteUser("ann", ending(70)), undefined);
      const again = { id: "ann2", email: "ann@example.org", name: "Ann", createdAt: START_MS };
      assert.equal(await directory.createUser(again, "hash"), true);
    }));
}

function loginOf(account: string, at: number): Login {
  return { at: START_MS + at, success: true, account, address: "192.0.2.1", agent: "test" };
}

function auditing(open: OpenDirectory): void {
  test("keeps the last lines of the login audit, and shows the newest first.", () =>
    withDirectory(
      open,
      async (directory) => {
        for (let i = 0; i < 15; i++) await directory.audit(loginOf(i % 2 === 0 ? "even" : "odd", i));
        const all = await directory.logins(undefined, 100);
        assert.deepEqual(
          all.map(({ at }) => at - START_MS),
          [14, 13, 12, 11, 10, 9, 8, 7, 6, 5],
        );
        assert.deepEqual(all[0], loginOf("even", 14));
        assert.deepEqual(
          (await directory.logins("odd", 2)).map(({ at }) => at - START_MS),
          [13, 11],
        );
      },
      10,
    ));

  test("prunes what is over, and no more at once than it is told.", () =>
    withDirectory(open, async (directory) => {
      await addUser(directory, "ann");
      for (const id of ["s1", "s2"])
        await directory.openSession(sampleSession("ann", id, { expiresAtMs: START_MS + 5 }));
      await directory.openSession(sampleSession("ann", "s3", { expiresAtMs: START_MS + 99 }));
      const short = await directory.revoke("bob", "t1", { nowMs: START_MS, keepUntilMs: START_MS + 5 });
      const long = await directory.revoke("bob", "t2", { nowMs: START_MS, keepUntilMs: START_MS + 99 });
      for (let i = 0; i < 4; i++) await directory.audit(loginOf("ann", i));
      assert.equal(await directory.prune(START_MS + 4, START_MS, 10), 0);
      assert.equal(await directory.prune(START_MS + 5, START_MS + 3, 2), 4);
      assert.equal(await directory.prune(START_MS + 5, START_MS + 3, 2), 2);
      assert.equal(await directory.prune(START_MS + 5, START_MS + 3, 2), 0);
      assert.equal((await directory.logins("ann", 10)).length, 1);
      assert.deepEqual(await directory.revocationsAfter(0, 10), [long]);
      const kind = async (id: string) => {
        const exchange = { handle: `handle of ${id}`, from: `${id}/0`, to: `${id}/1`, expiresAtMs: START_MS + 1e7 };
        return (await directory.exchange({ ...ending(0), ...exchange })).kind;
      };
      assert.deepEqual(await Promise.all(["s1", "s2", "s3"].map(kind)), ["unknown", "unknown", "exchanged"]);
      const later = await directory.revoke("bob", "t3", ending(0));
      assert.ok(later.id > long.id && long.id > short.id);
    }));
}
