import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { MongoBulkWriteError, MongoClient } from "mongodb";
import { type InsertFault, MongoProxy } from "./mongo.proxy.ts";
import type { Fields } from "./mongo.scripted.documents.ts";
import { ScriptedMongo } from "./mongo.scripted.ts";

interface Thing {
  readonly _id: string;
  readonly bytes?: Uint8Array;
  readonly large?: number;
}

/** A standalone: the driver repeats nothing by itself. */
let store: ScriptedMongo;
let proxy: MongoProxy;
let client: MongoClient;

before(async () => {
  store = await ScriptedMongo.open({ standalone: true });
  proxy = await MongoProxy.open(Number(new URL(store.url).port), "things");
  client = new MongoClient(proxy.through(store.url));
});

beforeEach(() => store.documents("things").clear());

after(async () => {
  await client.close();
  await proxy.close();
  await store.close();
});

const things = (...ids: readonly string[]): Thing[] => ids.map((_id) => ({ _id }));
const ids = (documents: Iterable<Fields>): unknown[] => [...documents].map((document) => document["_id"]);
const stored = (): unknown[] => ids(store.documents("things").values());
const insert = (documents: Thing[], collection = "things") =>
  client.db("test").collection<Thing>(collection).insertMany(documents, { ordered: true });
const spoil = (fault: InsertFault) => proxy.spoil((documents) => (documents.length > 1 ? fault : undefined));

/** What an insert that must fail was told. */
async function failure(documents: Thing[]): Promise<MongoBulkWriteError> {
  const error = await insert(documents).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof MongoBulkWriteError);
  return error;
}

test("What is not to be spoilt passes as it is: other collections, inserts that are not chosen, and reads.", async () => {
  const spoilt = spoil({ kind: "drop", landed: 0 });
  await insert(things("x", "y"), "others");
  await insert(things("alone"));
  assert.deepEqual(await client.db("test").collection<Thing>("things").find().toArray(), [{ _id: "alone" }]);
  proxy.disarm();
  await assert.rejects(spoilt, /never came/);
  await insert(things("a", "b"));
  assert.deepEqual(stored(), ["alone", "a", "b"]);
});

test("A drop in the middle lets the first documents land as they were, and cuts the connection.", async () => {
  const spoilt = spoil({ kind: "drop", landed: 2 });
  const first = { _id: "a", bytes: Uint8Array.of(0, 1, 255), large: 1_700_000_000_000 };
  await assert.rejects(insert([first, ...things("b", "c")]), /closed/);
  assert.deepEqual(ids(await spoilt), ["a", "b", "c"]);
  assert.deepEqual(stored(), ["a", "b"]);
  const { bytes, large } = store.documents("things").get("a") as unknown as Thing;
  assert.deepEqual([[...(bytes ?? [])], large], [[0, 1, 255], 1_700_000_000_000]);
  assert.equal((await failure([first])).code, 11_000);
  assert.equal(proxy.met.at(-1), "a");
});

test("A write-concern error tells of all documents, and keeps what landed.", async () => {
  const spoilt = spoil({ kind: "write-concern", landed: 1 });
  const error = await failure(things("a", "b", "c"));
  await spoilt;
  assert.equal(error.result.getWriteConcernError()?.code, 64);
  assert.equal(error.insertedCount, 3);
  assert.deepEqual(stored(), ["a"]);
});

test("Another that goes between is met at its place in the whole batch, and what follows stays out.", async () => {
  const work = async (): Promise<void> => void store.documents("things").set("c", { _id: "c", large: 9 });
  const spoilt = spoil({ kind: "between", landed: 2, work });
  const error = await failure(things("a", "b", "c", "d"));
  await spoilt;
  assert.deepEqual([error.code, error.insertedCount], [11_000, 2]);
  assert.deepEqual(
    [error.writeErrors].flat().map(({ index }) => index),
    [2],
  );
  assert.deepEqual(stored(), ["a", "b", "c"]);
  assert.equal(proxy.met.at(-1), "c");
});

test("A slow answer comes once its time is over, after the documents have landed.", async () => {
  const spoilt = spoil({ kind: "slow", delayMs: 80 });
  const since = performance.now();
  await insert(things("a", "b"));
  assert.ok(performance.now() - since >= 79);
  assert.deepEqual(ids(await spoilt), stored());
});

test("A slow store answers greetings in time and all else late, until it is healed.", async () => {
  proxy.slow(80);
  const url = proxy.through(store.url);
  const another = new MongoClient(url, { connectTimeoutMS: 60, serverSelectionTimeoutMS: 60, retryReads: false });
  try {
    await another.connect();
    const since = performance.now();
    await insert(things("a"));
    assert.ok(performance.now() - since >= 79);
    proxy.slow(0);
    await another.db("test").collection("things").findOne({}, { timeoutMS: 60 });
  } finally {
    proxy.slow(0);
    await another.close();
  }
});

test("A fault whose store goes away in the middle rejects.", async () => {
  const spoilt = spoil({
    kind: "between",
    landed: 1,
    work: async () => {
      await store.refuse();
      await store.accept();
    },
  });
  await Promise.all([assert.rejects(spoilt, /went away/), assert.rejects(insert(things("a", "b")), /closed/)]);
});
