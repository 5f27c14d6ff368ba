import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Client } from "pg";
import { StoreFailure } from "../actors/codes.ts";
import { addUser, ending, START_MS, sampleSession } from "../actors/directory.conformance.samples.ts";
import { directoryConformance } from "../actors/directory.conformance.ts";
import type { Directory } from "../actors/directory.ts";
import { type Log, SILENT } from "../actors/log.ts";
import { newDatabase, startPostgres } from "../ops/stores/postgres.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { openPgDirectory } from "./directory.pg.ts";
import { PG_POLICY } from "./policy.ts";

let missing: string | false = false;
const server = await startPostgres().catch((error: unknown) => {
  if (!(error instanceof StoreMissing)) throw error;
  missing = error.message;
  return undefined;
});
after(() => server?.close());

const running = (): StoreServer => {
  assert.ok(server);
  return server;
};
const open = (url: string, log: Log = SILENT): Promise<Directory> =>
  openPgDirectory({ url, loginAuditEntries: 100, log });

/** Runs one statement beside the directory. */
async function query(url: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

/** A log that resolves when a line with this message comes. */
function waitingFor(message: string): { log: Log; seen: Promise<void> } {
  let resolve = (): void => undefined;
  const seen = new Promise<void>((done) => {
    resolve = done;
  });
  const look = (_: object, text: string): void => {
    if (text === message) resolve();
  };
  return { log: { debug: look, info: look, warn: look, error: look }, seen };
}

/** Asks until the directory answers again, each time once the last answer is there. */
async function untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      assert.ok(error instanceof StoreFailure);
      if (performance.now() > deadline) throw error;
    }
  }
}

if (missing === false) {
  directoryConformance("PostgreSQL", async (loginAuditEntries) =>
    openPgDirectory({ url: await newDatabase(running()), loginAuditEntries, log: SILENT }),
  );
}

describe("The PostgreSQL directory of many nodes", { skip: missing }, () => {
  test("is one directory, whose guarantees hold across handles that migrated it at once.", async () => {
    const url = await newDatabase(running());
    const nodes = await Promise.all([open(url), open(url), open(url)]);
    const [one, two, three] = nodes as [Directory, Directory, Directory];
    await addUser(one, "ann");
    assert.equal(
      await two.createUser({ id: "b", email: "ann@example.org", name: "B", createdAt: START_MS }, "hash"),
      false,
    );
    await two.openSession(sampleSession("ann", "s1"));
    const exchange = (node: Directory, to: string) =>
      node.exchange({ ...ending(1), handle: "handle of s1", from: "s1/0", to, expiresAtMs: START_MS + 1e7 });
    const kinds = (await Promise.all([exchange(one, "x"), exchange(two, "y"), exchange(three, "z")])).map(
      ({ kind }) => kind,
    );
    assert.deepEqual(kinds.sort(), ["exchanged", "reused", "unknown"]);
    await Promise.all(nodes.map((node) => node.close()));
  });

  test("never shows a higher revocation before a lower one, while many nodes revoke.", async () => {
    const url = await newDatabase(running());
    const nodes = await Promise.all([open(url), open(url), open(url)]);
    // One of its own: its reads are not queued behind the writes.
    const reader = await open(url);
    const total = 240;
    for (const id of ["u0", "u1", "u2"]) await addUser(reader, id);
    const revoking = Promise.all(
      Array.from({ length: total }, (_, i) => {
        const node = nodes[i % nodes.length] as Directory;
        return node.revoke(`u${i % 5}`, i % 2 === 0 ? undefined : `token ${i}`, ending(i));
      }),
    );
    let over = false;
    const settled = revoking.then(() => {
      over = true;
    });
    const seen: number[] = [];
    for (;;) {
      const last = over;
      const page = await reader.revocationsAfter(seen.at(-1) ?? 0, 7);
      if (last && page.length === 0) break;
      seen.push(...page.map(({ id }) => id));
    }
    await settled;
    assert.deepEqual(
      seen,
      Array.from({ length: total }, (_, i) => i + 1),
    );
    assert.equal(new Set((await revoking).map(({ id }) => id)).size, total);
    await Promise.all([reader, ...nodes].map((node) => node.close()));
  });

  test("orders tokens and revocations of a user, whichever node and clock they are from.", async () => {
    const url = await newDatabase(running());
    const nodes = await Promise.all([open(url), open(url)]);
    await addUser(nodes[0] as Directory, "ann");
    // What was issued and what was revoked, in the order that the answers tell: a node is seconds ahead or behind.
    const work = Array.from({ length: 40 }, async (_, i) => {
      const node = nodes[i % 2] as Directory;
      const nowMs = START_MS + (i % 7) * 1_000;
      if (i % 4 === 3) return { revoked: await node.revoke("ann", undefined, { nowMs, keepUntilMs: nowMs + 9 }) };
      return { opened: await node.openSession(sampleSession("ann", `s${i}`, { nowMs, sessions: 64 })), id: `s${i}` };
    });
    const done = await Promise.all(work);
    const revocations = done.flatMap(({ revoked }) => revoked ?? []).sort((a, b) => a.id - b.id);
    assert.ok(revocations.every(({ beforeMs }, i) => i === 0 || beforeMs >= (revocations[i - 1]?.beforeMs ?? 0)));
    const last = revocations.at(-1)?.beforeMs ?? 0;
    const alive = await query(url, "SELECT id FROM sessions");
    for (const { opened, id } of done) {
      if (opened === undefined) continue;
      const lives = alive.some((row) => row["id"] === id);
      assert.equal(opened.issuedAtMs >= last, lives, `${id}: issued ${opened.issuedAtMs - last} ms after the last end`);
    }
    await Promise.all(nodes.map((node) => node.close()));
  });
});

describe("The PostgreSQL directory", { skip: missing }, () => {
  test("takes text that PostgreSQL can not hold.", async () => {
    const directory = await open(await newDatabase(running()));
    assert.equal(await directory.user("a\0b"), undefined);
    assert.deepEqual(await directory.findUsers("\0", 10), []);
    assert.equal(await directory.credentialsByEmail("\ud800"), undefined);
    await directory.audit({ at: START_MS, success: false, account: "x", address: "192.0.2.1", agent: "a\0b" });
    assert.equal((await directory.logins("x", 1))[0]?.agent, "a\uFFFDb");
    await directory.close();
  });

  test("refuses rows that it did not write.", async () => {
    const url = await newDatabase(running());
    const directory = await open(url);
    await addUser(directory, "ann");
    await query(url, "UPDATE users SET created_at = 9007199254740993");
    await assert.rejects(directory.user("ann"), /holds a row that the directory did not write/);
    await query(url, "UPDATE users SET created_at = 1");
    assert.equal((await directory.user("ann"))?.createdAt, 1);
    await directory.close();
  });

  test("has no more connections than its pool, whatever is asked of it at once, and refuses what is too much.", async () => {
    const url = await newDatabase(running());
    const directory = await openPgDirectory({ url, loginAuditEntries: 100, log: SILENT, poolSize: 2 });
    const many = await Promise.allSettled(
      Array.from({ length: 2 + PG_POLICY.callsWaiting + 5 }, () => directory.user("a")),
    );
    const refused = many.filter(({ status }) => status === "rejected");
    assert.equal(refused.length, 5);
    assert.ok(refused.every((call) => call.status === "rejected" && call.reason instanceof StoreFailure));
    const sessions = await query(
      url,
      "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'confab'",
    );
    assert.equal(sessions.length, 2);
    await directory.close();
  });

  test("gives up on a lock that another holds, and goes on after it.", async () => {
    const url = await newDatabase(running());
    const directory = await open(url);
    await addUser(directory, "ann");
    const other = new Client({ connectionString: url });
    await other.connect();
    await other.query("BEGIN");
    await other.query("SELECT 1 FROM users FOR UPDATE");
    await assert.rejects(directory.rename("ann", "An"), StoreFailure);
    assert.equal((await directory.user("ann"))?.name, "ann", "reads are not held up");
    await other.query("ROLLBACK");
    await other.end();
    assert.equal((await directory.rename("ann", "An"))?.name, "An");
    await directory.close();
  });

  test("finishes what is under way before it closes, and takes nothing after.", async () => {
    const url = await newDatabase(running());
    const directory = await open(url);
    await addUser(directory, "ann");
    const opening = directory.openSession(sampleSession("ann", "s1"));
    await directory.close();
    assert.deepEqual(await opening, { issuedAtMs: START_MS, ended: [] });
    await assert.rejects(directory.user("ann"), StoreFailure);
  });

  test("is refused with a sentence that does not tell the password, when its URL is none.", async () => {
    for (const url of ["mysql://ann:secret@host/db", "postgres://ann:secret@host:no/db"]) {
      await assert.rejects(open(url), (error: Error) => {
        assert.match(error.message, /is not of the form postgres:/);
        assert.ok(!`${error.stack}${String(error.cause)}`.includes("secret"));
        return true;
      });
    }
  });

  test("is refused with a sentence that names the file, when its URL names one that is not there.", async () => {
    await assert.rejects(
      open("postgres://me:hunter2@127.0.0.1:1/db?sslrootcert=/no/such.pem"),
      /^Error: The URL of PostgreSQL names the file \/no\/such\.pem, which can not be read\.$/,
    );
  });

  test("says of a server that gives it no tables why, without the password.", async () => {
    const url = await newDatabase(running());
    await query(url, "CREATE TABLE users (of_another text)");
    const { log, seen } = waitingFor("the tables of the directory are up to date");
    const directory = await open(url, log);
    await assert.rejects(directory.user("ann"), {
      name: "StoreFailure",
      message: 'PostgreSQL has been away since the start: relation "users" already exists.',
    });
    await query(url, "DROP TABLE users");
    await seen;
    assert.equal(await directory.user("ann"), undefined);
    await directory.close();
  });

  test("is refused at the start when the history of its migrations was edited.", async () => {
    const url = await newDatabase(running());
    await (await open(url)).close();
    await query(url, "UPDATE confab_migrations SET sha256 = 'another'");
    await assert.rejects(open(url), /001-directory\.sql was applied with the SHA-256 another/);
  });
});

describe("A PostgreSQL that goes away", { skip: missing }, () => {
  test("fails the calls meanwhile, and they work again when it is back, with all that was confirmed.", async () => {
    const directory = await open(await newDatabase(running()));
    await addUser(directory, "ann");
    await directory.openSession(sampleSession("ann", "s1"));
    const given = await directory.revoke("ann", "jti", ending(1));
    await running().kill();
    const calls = [
      directory.user("ann"),
      directory.revoke("ann", undefined, ending(2)),
      directory.audit({ at: 1, success: true, account: "ann", address: "", agent: "" }),
      ...Array.from({ length: 30 }, () => directory.user("ann")),
    ];
    for (const call of await Promise.allSettled(calls)) {
      assert.ok(call.status === "rejected" && call.reason instanceof StoreFailure, String(call));
    }
    await running().start();
    assert.equal((await untilAnswered(() => directory.user("ann")))?.id, "ann");
    assert.deepEqual(await directory.revocationsAfter(0, 10), [given]);
    assert.ok((await directory.revoke("ann", "jti", ending(3))).id > given.id);
    await directory.close();
  });

  test("takes no connection of the pool with it when it ends in the middle of a statement.", async () => {
    const url = await newDatabase(running());
    const directory = await openPgDirectory({ url, loginAuditEntries: 100, log: SILENT, poolSize: 1 });
    await addUser(directory, "ann");
    for (const name of ["one", "two"]) {
      const other = new Client({ connectionString: url });
      other.on("error", () => undefined);
      await other.connect();
      await other.query("BEGIN");
      await other.query("SELECT 1 FROM users FOR UPDATE");
      const call = assert.rejects(directory.rename("ann", name), StoreFailure);
      const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
      while ((await query(url, waiting)).length === 0);
      await running().kill();
      await call;
      await running().start();
      assert.equal((await untilAnswered(() => directory.user("ann")))?.name, "ann");
    }
    await directory.close();
  });

  test("fails the calls in time when it stands still, and they work again when it goes on.", async () => {
    const directory = await open(await newDatabase(running()));
    await addUser(directory, "ann");
    running().pause();
    const began = performance.now();
    const calls = [
      ...Array.from({ length: 12 }, () => directory.user("ann")),
      directory.revoke("ann", undefined, ending(1)),
    ];
    const answers = await Promise.allSettled(calls);
    running().resume();
    for (const call of answers) assert.ok(call.status === "rejected" && call.reason instanceof StoreFailure);
    assert.ok(performance.now() - began < PG_POLICY.callMs, "connections that are not answered are given up");
    assert.equal((await untilAnswered(() => directory.user("ann")))?.id, "ann");
    await directory.close();
  });

  test("may be away at the start: calls fail until it is there, and the tables are made then.", async () => {
    const url = await newDatabase(running());
    await running().stop();
    const { log, seen } = waitingFor("the tables of the directory are up to date");
    const directory = await open(url, log);
    await assert.rejects(directory.user("ann"), /away since the start/);
    await running().start();
    await seen;
    await addUser(directory, "ann");
    assert.equal((await directory.user("ann"))?.id, "ann");
    await directory.close();
  });

  test("may stay away: the directory closes all the same.", async () => {
    const url = await newDatabase(running());
    await running().stop();
    const directory = await open(url);
    await directory.close();
    await assert.rejects(directory.user("ann"), /is closed/);
    await running().start();
  });
});

if (missing !== false) test("The suite of the directory runs against PostgreSQL.", { skip: missing }, () => undefined);
