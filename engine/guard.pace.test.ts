import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { offsets, sampleLog, sampleMember } from "../actors/archive.conformance.samples.ts";
import type { Archive } from "../actors/archive.ts";
import { StoreFailure } from "../actors/codes.ts";
import type { Entry } from "../actors/entry.ts";
import { SILENT } from "../actors/log.ts";
import { type Posting, posting } from "../actors/posting.ts";
import { READ_BYTES } from "../actors/reading.ts";
import { storeBatch } from "../actors/writer.batch.ts";
import { ScriptedMongo } from "../ops/stores/mongo.scripted.ts";
import { openMongoArchive } from "./archive.mongo.ts";
import { systemClock } from "./clock.ts";
import { LeftAlone } from "./guard.gate.ts";
import { Pace } from "./guard.pace.ts";
import { StoreStats } from "./guard.stats.ts";
import { guardArchive } from "./guard.ts";

/** Without an answer for so long the driver gives a call up, ms. */
const SOCKET_MS = 400;
/** What each document then takes, ms: of a batch of a hundred nothing would ever be answered in time. */
const SLOW_MS = 20;

test("A pace halves with each failure, and doubles again with each answer of as much as it allows.", async () => {
  const pace = new Pace({ most: 64, least: 4 });
  const fail = (error: Error) => async (): Promise<never> => {
    throw error;
  };
  const sizes: number[] = [];
  for (let i = 0; i < 6; i++) {
    await assert.rejects(pace.run(Math.min(40, pace.allowed), fail(new StoreFailure("late"))));
    sizes.push(pace.allowed);
  }
  assert.deepEqual(sizes, [20, 10, 5, 4, 4, 4]);
  await assert.rejects(pace.run(4, fail(new LeftAlone("It was not asked."))));
  assert.equal(await pace.run(3, async () => "less than allowed"), "less than allowed");
  assert.equal(pace.allowed, 4);
  for (let i = 0; i < 16; i++) await pace.run(pace.allowed, async () => undefined);
  assert.equal(pace.allowed, 4, "it has patience after a failure");
  for (let i = 0; i < 6; i++) await pace.run(pace.allowed, async () => undefined);
  assert.equal(pace.allowed, 64);
});

test("Who needs many answers gets through: where more does not go well, what went well is asked for at once.", async () => {
  const pace = new Pace({ most: 64, least: 1 });
  const bear = async (size: number): Promise<number> => {
    if (size > 5) throw new StoreFailure("late");
    return size;
  };
  let failures = 0;
  while (pace.allowed > 5) await pace.insist(64, bear).catch(() => failures++);
  assert.equal(failures, 4);
  for (let i = 0; i < 200; i++) assert.equal(await pace.insist(64, bear), 4);
  await assert.rejects(
    pace.insist(64, async () => {
      throw new StoreFailure("It is away.");
    }),
  );
});

interface Setting {
  readonly server: ScriptedMongo;
  readonly archive: Archive;
}

async function slowServer(t: TestContext): Promise<Setting> {
  const server = await ScriptedMongo.open({ standalone: true });
  const raw = await openMongoArchive({ url: server.url, log: SILENT, timeouts: { socketMs: SOCKET_MS } });
  const archive = guardArchive(raw, { clock: systemClock, log: SILENT, stats: new StoreStats("archive") });
  t.after(async () => {
    await archive.close();
    await server.close();
  });
  return { server, archive };
}

function postingOf(entry: Entry): Posting {
  const item = posting({ ...entry }, undefined);
  item.entry = entry;
  return item;
}

/** The documents of each command of a name. */
const sizesOf = (server: ScriptedMongo, name: string, field: string): number[] =>
  server.seen.filter((one) => one.name === name).map(({ body }) => (body[field] as unknown[]).length);

test("A batch that a slow archive never takes in time is stored in smaller ones, which grow again with it.", async (t) => {
  const { server, archive } = await slowServer(t);
  const room = { onStored() {}, onConflict() {} };
  const pause = (): Promise<void> => new Promise((resolve) => void systemClock.after(50, resolve));
  const store = async (first: number, last: number): Promise<number> => {
    const jobs = sampleLog("a", first, last).map((entry) => ({ room, posting: postingOf(entry), urgent: false }));
    const [result] = await storeBatch({ jobs, archive, pause });
    assert.deepEqual(result?.conflicted, []);
    return result?.stored.length ?? 0;
  };
  server.slow("insert", SLOW_MS);
  assert.equal(await store(1, 100), 100);
  const slow = sizesOf(server, "insert", "documents");
  assert.equal(slow[0], 100);
  assert.ok(slow.length < 30, slow.join(" "));
  server.slow("insert", 0);
  assert.equal(await store(101, 1_000), 900);
  const sizes = sizesOf(server, "insert", "documents").slice(slow.length);
  assert.ok(Math.max(...sizes) > 100, sizes.join(" "));
  assert.deepEqual(
    await offsets(archive, "a", { limit: 2_000, end: "first" }),
    Array.from({ length: 1_000 }, (_, i) => i + 1),
  );
});

test("A page that a slow archive never reads in time comes in smaller ones, which grow again with it.", async (t) => {
  const { server, archive } = await slowServer(t);
  await archive.insert(sampleLog("a", 1, 100));
  for (const command of ["find", "getMore"]) server.slow(command, SLOW_MS);
  const read = async (): Promise<{ offsets: number[]; tries: number }> => {
    const found: number[] = [];
    for (let tries = 1; ; tries++) {
      try {
        const page = await archive.page("a", { after: found.at(-1) ?? 0, limit: 100, bytes: READ_BYTES, end: "first" });
        if (page.length === 0) return { offsets: found, tries };
        found.push(...page.map(({ entry }) => entry.offset));
      } catch (error) {
        assert.ok(error instanceof StoreFailure);
        assert.ok(tries < 60, "it is read some day");
      }
    }
  };
  const slow = await read();
  assert.equal(slow.offsets.length, 100);
  for (const command of ["find", "getMore"]) server.slow(command, 0);
  for (let i = 0; i < 40; i++) await read();
  const quick = await read();
  assert.deepEqual([quick.offsets.length, quick.tries], [100, 2]);
});

test("Derived writes that a slow archive never takes in time are written in smaller parts, all of them.", async (t) => {
  const { server, archive } = await slowServer(t);
  server.slow("update", SLOW_MS);
  const users = Array.from({ length: 60 }, (_, i) => `u${String(i).padStart(2, "0")}`);
  const writes = users.map((user) => ({ kind: "member", member: sampleMember("a", user) }) as const);
  for (;;) {
    try {
      await archive.derive(writes);
      break;
    } catch (error) {
      assert.ok(error instanceof StoreFailure);
      assert.ok(sizesOf(server, "update", "updates").length < 200, "they are written some day");
      await new Promise<void>((resolve) => void systemClock.after(50, resolve));
    }
  }
  const members = await archive.members("a", { limit: 100 });
  assert.deepEqual(
    members.map(({ user }) => user),
    users,
  );
  for (const size of sizesOf(server, "update", "updates")) assert.ok(size <= 32, `${size} updates of one command`);
});
