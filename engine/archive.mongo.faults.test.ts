/** The MongoDB archive under faults that only a scripted server shows, alone and below the batched writer's step. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { offsets, sampleEntry, sampleLog, sampleMember, sampleRoom } from "../actors/archive.conformance.samples.ts";
import type { Archive } from "../actors/archive.ts";
import { StoreFailure } from "../actors/codes.ts";
import { SILENT } from "../actors/log.ts";
import { type MongoFault, ScriptedMongo } from "../ops/stores/mongo.scripted.ts";
import { entryDocument } from "./archive.mongo.codec.ts";
import { openMongoArchive } from "./archive.mongo.ts";

interface Setting {
  readonly server: ScriptedMongo;
  readonly archive: Archive;
  /** What it logged. */
  readonly told: readonly string[];
}

async function setting(
  t: TestContext,
  options: { standalone?: boolean; socket?: number; query?: string } = {},
): Promise<Setting> {
  const server = await ScriptedMongo.open(options);
  const url = `${server.url}${options.query ?? ""}`;
  const timeouts = { selectMs: 1_500, ...(options.socket && { socketMs: options.socket }) };
  const told: string[] = [];
  const tell = (_: object, line: string): void => void told.push(line);
  const archive = await openMongoArchive({ url, log: { ...SILENT, warn: tell, info: tell }, timeouts });
  t.after(async () => {
    await archive.close();
    await server.close();
  });
  return { server, archive, told };
}

const ALL = { limit: 100, end: "first" } as const;
const batch = sampleLog("a", 1, 5);
const drop = (landed: number): MongoFault => ({ kind: "drop", landed });

/** URLs as operators write them: what a receipt means is not theirs to lower. */
const QUERIES = ["", "?w=1&journal=false&wtimeoutMS=1&readConcernLevel=local&readPreference=secondary"];

for (const query of QUERIES) {
  test(`Inserts ask for the majority's journal in order, reads for what the majority has (URL with "${query}").`, async (t) => {
    const { server, archive } = await setting(t, { query });
    assert.deepEqual(await archive.insert(batch), { stored: 5, conflict: false });
    await archive.head("a");
    const insert = server.seen.find(({ name }) => name === "insert")?.body;
    assert.deepEqual(insert?.["writeConcern"], { w: "majority", j: true, wtimeout: 4_000 });
    assert.equal(insert?.["ordered"], true);
    const find = server.seen.find(({ name }) => name === "find")?.body;
    assert.deepEqual(find?.["readConcern"], { level: "majority" });
    const indexes = server.seen.filter(({ name }) => name === "createIndexes").map(({ body }) => body["indexes"]);
    assert.deepEqual(
      indexes.flat().map((index) => Object.keys((index as { key: object }).key).join(" ")),
      ["room sender key", "room at _id", "user room", "type _id"],
    );
  });
}

test("A connection dropped in the middle of a batch is hidden by the driver's own retry, exactly once.", async (t) => {
  const { server, archive } = await setting(t);
  server.script("insert", drop(3));
  assert.deepEqual(await archive.insert(batch), { stored: 5, conflict: false });
  assert.deepEqual(await offsets(archive, "a", ALL), [1, 2, 3, 4, 5]);
});

test("Dropped again, the insert rejects; repeated, it meets its own first entry as a conflict.", async (t) => {
  const { server, archive } = await setting(t);
  server.script("insert", drop(3), drop(0));
  await assert.rejects(archive.insert(batch), StoreFailure);
  assert.deepEqual(await offsets(archive, "a", ALL), [1, 2, 3]);
  assert.deepEqual(await archive.insert(batch), { stored: 0, conflict: true });
  assert.equal((await archive.page("a", { limit: 1, end: "first" }))[0]?.entry.key, batch[0]?.key);
  assert.deepEqual(await archive.insert(batch.slice(3)), { stored: 2, conflict: false });
});

test("A standalone server's drop is never resent by the driver: the insert rejects.", async (t) => {
  const { server, archive } = await setting(t, { standalone: true });
  server.script("insert", drop(5));
  await assert.rejects(archive.insert(batch), StoreFailure);
  assert.equal(server.seen.filter(({ name }) => name === "insert").length, 1);
  assert.deepEqual(await archive.insert(batch), { stored: 0, conflict: true });
});

test("A write-concern error rejects although all has landed, with a duplicate key beside it too.", async (t) => {
  const { server, archive } = await setting(t);
  server.script("insert", { kind: "write-concern" }, { kind: "write-concern" });
  await assert.rejects(archive.insert(batch), StoreFailure);
  assert.equal(server.documents("entries").size, 5);
  await assert.rejects(archive.insert(batch), StoreFailure);
  assert.deepEqual(await archive.insert(batch), { stored: 0, conflict: true });
});

test("A write-concern error of a claim, a room, a derived write or a marker rejects it.", async (t) => {
  const { server, archive } = await setting(t);
  const fault: MongoFault = { kind: "write-concern" };
  server.script("insert", fault, fault);
  await assert.rejects(archive.claimTerm(0, "n", "x"), StoreFailure);
  await assert.rejects(archive.createRoom(sampleRoom("r")), StoreFailure);
  server.script("update", fault, fault);
  await assert.rejects(archive.derive([{ kind: "member", member: sampleMember("a", "u") }]), StoreFailure);
  await assert.rejects(archive.mark([{ room: "a", user: "u", read: 1, readCount: 1, delivered: 1 }]), StoreFailure);
  assert.equal(await archive.claimTerm(0, "n", "x"), 2);
});

test("An entry of another at a place stops the batch there, is left as it is, and is counted exactly.", async (t) => {
  const { server, archive } = await setting(t);
  const foreign = entryDocument(sampleEntry("a", 4, { term: 9, key: "c/foreign" }));
  server.documents("entries").set(foreign._id, { ...foreign });
  assert.deepEqual(await archive.insert(batch), { stored: 3, conflict: true });
  const there = (await archive.page("a", { after: 3, limit: 1, end: "first" }))[0]?.entry;
  assert.equal(there?.key, "c/foreign");
  assert.equal(there?.term, 9);
  assert.equal(server.documents("entries").size, 4);
});

test("A server that hangs is given up after the socket's time-out, and the next call works.", async (t) => {
  const { server, archive } = await setting(t, { standalone: true, socket: 200 });
  server.script("insert", { kind: "hang" });
  server.script("find", { kind: "hang" }, { kind: "hang" });
  const hung = server.faulted();
  const insert = archive.insert(batch);
  await hung;
  await assert.rejects(insert, StoreFailure);
  await assert.rejects(archive.head("a"), StoreFailure);
  assert.deepEqual(await archive.insert(batch), { stored: 5, conflict: false });
});

test("A slow answer is waited for, and closing waits for it too.", async (t) => {
  const { server, archive } = await setting(t);
  server.script("insert", { kind: "slow", delayMs: 120 });
  const insert = archive.insert(batch);
  const closed = archive.close();
  assert.deepEqual(await insert, { stored: 5, conflict: false });
  await closed;
  await assert.rejects(archive.head("a"), StoreFailure);
});

test("A server that steps down rejects or is retried, and never counts as a conflict.", async (t) => {
  const { server, archive } = await setting(t);
  const down: MongoFault = { kind: "error", code: 10_107, labels: ["RetryableWriteError"] };
  server.script("insert", down);
  assert.deepEqual(await archive.insert(batch), { stored: 5, conflict: false });
  server.script("insert", down, down);
  await assert.rejects(archive.insert(sampleLog("b", 1, 2)), StoreFailure);
  server.script("insert", { kind: "error", code: 13 });
  await assert.rejects(archive.insert(sampleLog("b", 1, 2)), StoreFailure);
  assert.deepEqual(await archive.insert(sampleLog("b", 1, 2)), { stored: 2, conflict: false });
});

test("Refused connections reject calls in a sentence; the same archive works when they are taken again, and it says so.", async (t) => {
  const { server, archive, told } = await setting(t);
  await archive.insert(batch);
  await server.refuse();
  await assert.rejects(archive.insert(sampleLog("b", 1, 1)), (error: Error) => {
    assert.match(error.message, /^MongoDB failed: .+\.$/);
    return error instanceof StoreFailure;
  });
  await server.accept();
  assert.deepEqual(await archive.insert(sampleLog("b", 1, 1)), { stored: 1, conflict: false });
  assert.deepEqual(told, ["MongoDB is away", "MongoDB is there again"]);
});

test("A claim whose answer is lost is not given again: the next one is higher.", async (t) => {
  const { server, archive } = await setting(t, { standalone: true });
  server.script("insert", drop(1));
  await assert.rejects(archive.claimTerm(4, "n", "x"), StoreFailure);
  assert.equal(await archive.claimTerm(4, "n", "x"), 2);
});

test("A pair whose maker died before its room is made by the next that asks, as the same room.", async (t) => {
  const { server, archive } = await setting(t, { standalone: true });
  const first = sampleRoom("d-1", { type: "direct", pair: ["a", "b"] });
  server.script("insert", { kind: "slow", delayMs: 0 }, drop(0));
  await assert.rejects(archive.createRoom(first), StoreFailure);
  assert.equal(await archive.room("d-1"), undefined);
  const second = await archive.createRoom(sampleRoom("d-2", { type: "direct", pair: ["a", "b"] }));
  assert.deepEqual(second, { room: first, created: false });
  assert.deepEqual(await archive.room("d-1"), first);
  assert.equal(await archive.room("d-2"), undefined);
});

test("Derived writes of one document never travel at once, and those that wait are merged into one.", async (t) => {
  const { server, archive } = await setting(t);
  server.script("update", { kind: "slow", delayMs: 300 });
  const updates = (): number => server.seen.filter(({ name }) => name === "update").length;
  const derive = (rev: number): Promise<void> =>
    archive.derive([{ kind: "member", member: sampleMember("a", "u", { rev, name: `n${rev}` }) }]);
  const met = server.faulted();
  const calls = [derive(3)];
  await met;
  calls.push(...[1, 9, 4, 7].map(derive));
  // Round trips behind them: had they left, they would be there.
  for (let i = 0; i < 10; i++) await archive.head("a");
  assert.equal(updates(), 1);
  await Promise.all(calls);
  assert.equal(updates(), 2);
  assert.equal((await archive.member("a", "u"))?.rev, 9);
});

test("A derived batch that failed in part is refused to each of its callers, and repeats whole.", async (t) => {
  const { server, archive } = await setting(t, { standalone: true });
  await archive.insert(batch);
  server.script("update", drop(1));
  const calls = [1, 2, 3].map((offset) =>
    archive.derive([{ kind: "fate", roomId: "a", offset, fate: { rev: 6, editedAt: offset } }]),
  );
  for (const result of await Promise.allSettled(calls)) assert.equal(result.status, "rejected");
  const fates = [1, 2, 3].map((offset) => ({
    kind: "fate" as const,
    roomId: "a",
    offset,
    fate: { rev: 6, editedAt: offset },
  }));
  await archive.derive(fates);
  const found = await archive.page("a", ALL);
  assert.deepEqual(
    found.map(({ fate }) => fate?.editedAt),
    [1, 2, 3, undefined, undefined],
  );
});
