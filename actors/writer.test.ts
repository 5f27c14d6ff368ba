import assert from "node:assert/strict";
import { test } from "node:test";
import type { Archive } from "./archive.ts";
import { StoreFailure } from "./codes.ts";
import type { Entry } from "./entry.ts";
import { LIMITS } from "./limits.ts";
import { type Client, Stage } from "./node.fixture.ts";

test("Beyond the writer's bound SENDs are refused with the time to come back, and soon taken again.", async () => {
  const stage = await Stage.open({ limits: { pendingEntries: 5 }, refuseWhileFailing: false });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  stage.faults.archiveAway = true;
  for (let i = 0; i < 8; i++) alice.send("general", `m${i}`);
  await stage.clock.advance(100);
  const refused = alice.all("refused");
  assert.deepEqual(
    refused.map((told) => told.code),
    ["queue-full", "queue-full", "queue-full"],
  );
  for (const told of refused) assert.ok((told.retryAfterMs ?? 0) > 0);
  assert.equal(stage.node.writer.entries, 5);
  stage.faults.archiveAway = false;
  await stage.clock.advance(3_000);
  assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, alice.connection.pending], [0, 0, 0]);
  const again = alice.send("general", "again");
  await stage.clock.advance(100);
  assert.equal(alice.receiptOf(again)?.entry?.offset, 8);
});

test("The bound in bytes counts bodies.", async () => {
  const stage = await Stage.open({ limits: { pendingBytes: 4_000 } });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  alice.send("general", "x".repeat(2_000));
  alice.send("general", "x".repeat(2_000));
  await stage.clock.advance(100);
  assert.deepEqual(
    alice.all("refused").map((told) => told.code),
    ["queue-full"],
  );
});

test("Where no hot log outlives the process, SENDs are refused while the archive fails, and health is told.", async () => {
  const stage = await Stage.open();
  const health: (string | undefined)[] = [];
  stage.node.writer.onHealth = (failing) => void health.push(failing);
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  stage.faults.archiveAway = true;
  const waits = alice.send("general", "waits");
  await stage.clock.advance(100);
  alice.send("general", "refused");
  const [refused] = alice.all("refused");
  assert.equal(refused?.code, "store-unavailable");
  assert.ok((refused?.retryAfterMs ?? 0) > 0);
  assert.equal(alice.receiptOf(waits), undefined, "nothing is receipted before it is stored");
  stage.faults.archiveAway = false;
  await stage.clock.advance(2_000);
  assert.equal(alice.receiptOf(waits)?.entry?.offset, 3);
  assert.match(health[0] ?? "", /away/);
  assert.equal(health.at(-1), undefined);
  alice.send("general", "taken");
  await stage.clock.advance(100);
  assert.equal((await stage.log("general")).length, 4);
});

test("A SEND with a RECEIPT is stored sooner than one that nobody waits for.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  const early = alice.send("general", "accepted", { level: "accepted" });
  await stage.clock.advance(1);
  assert.equal(alice.receiptOf(early)?.entry?.offset, 3);
  await stage.clock.advance(LIMITS.batchIdleMs - 2);
  assert.equal((await stage.log("general")).length, 2);
  await stage.clock.advance(2);
  assert.equal((await stage.log("general")).length, 3);
  alice.send("general", "nobody waits", { level: "accepted" });
  const urgent = alice.send("general", "somebody waits");
  await stage.clock.advance(LIMITS.batchReceiptMs + 1);
  assert.equal(alice.receiptOf(urgent)?.entry?.offset, 5);
});

test("Where the hot log outlives the process, what nobody waits for shares its batch with more.", async () => {
  const stage = await Stage.open({ refuseWhileFailing: false });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(LIMITS.batchReceiptMs + 10);
  alice.send("general", "accepted", { level: "accepted" });
  await stage.clock.advance(LIMITS.batchLoggedMs - 2);
  assert.equal((await stage.log("general")).length, 2);
  await stage.clock.advance(4);
  assert.equal((await stage.log("general")).length, 3);
});

test("A backlog in which each message follows a derived write of its room is stored, and flushed, without pauses.", async () => {
  for (const stop of [false, true]) {
    const stage = await Stage.open({ refuseWhileFailing: false });
    // Each joins by the first message: a member entry, and then the message, in batches of their own.
    for (let i = 0; i < 100; i++) stage.connect(`u${i}`).send("general", "hi", { level: "accepted" });
    await stage.clock.advance(1);
    const { writer } = stage.node;
    const startedMs = stage.clock.monotonic();
    if (stop) await stage.run(writer.flushed());
    else while (writer.entries > 0) await stage.clock.advance(1);
    assert.deepEqual([writer.entries, writer.batches], [0, 101]);
    assert.ok(stage.clock.monotonic() - startedMs <= 3 * LIMITS.batchLoggedMs);
  }
});

test("An unclear insert is repeated, and what had landed is known as ours.", async () => {
  const stage = await Stage.open({ seed: 5, refuseWhileFailing: false });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  stage.faults.rate = 0.6;
  const receipts: string[] = [];
  for (let i = 0; i < 20; i++) {
    receipts.push(alice.send("general", `m${i}`));
    await stage.clock.advance(2_000);
  }
  stage.faults.rate = 0;
  await stage.clock.advance(5_000);
  for (const [i, receipt] of receipts.entries()) assert.equal(alice.receiptOf(receipt)?.entry?.offset, i + 3);
  assert.equal((await stage.log("general")).length, 22);
  assert.ok(stage.node.writer.retries > 0);
  assert.equal(stage.node.writer.entries, 0);
});

test("A node that stops has stored everything it took.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  for (let i = 0; i < 50; i++) alice.send("general", `m${i}`, { level: "accepted" });
  await stage.clock.advance(1);
  assert.equal(alice.all("receipt").length, 51, "one of them is the subscription's");
  await stage.run(stage.node.stop());
  assert.equal((await stage.log("general")).length, 51);
});

test("A large batch leaves with the turn that brought it; a smaller one waits for company.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  const few = alice.send("general", "alone");
  await stage.clock.turn();
  assert.equal(alice.receiptOf(few), undefined);
  await stage.clock.advance(100);
  const many = Array.from({ length: 100 }, (_, at) => alice.send("general", `m${at}`));
  const before = stage.node.writer.batches;
  await stage.clock.turn();
  for (const id of many) assert.notEqual(alice.receiptOf(id), undefined);
  assert.equal(stage.node.writer.batches, before + 1);
});

test("As many that nobody waits for go on waiting, until somebody waits for one more.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  const before = stage.node.writer.batches;
  for (let i = 0; i < 100; i++) alice.send("general", `m${i}`, { level: "accepted" });
  await stage.clock.turn();
  assert.equal(stage.node.writer.batches, before);
  const urgent = alice.send("general", "somebody waits");
  await stage.clock.turn();
  assert.equal(stage.node.writer.batches, before + 1);
  assert.equal(alice.receiptOf(urgent)?.entry?.offset, 103);
});

type Insert = Archive["insert"];

/** A room with `count` SENDs of one turn into an archive that inserts as told; counts what it was asked. */
async function batchOf(
  count: number,
  insert: (land: Insert, entries: readonly Entry[], tries: number) => ReturnType<Insert>,
): Promise<{
  stage: Stage;
  alice: Client;
  ids: readonly string[];
  asked: { insert: number; standing: number; page: number };
}> {
  const stage = await Stage.open({ refuseWhileFailing: false });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  const asked = { insert: 0, standing: 0, page: 0 };
  const { store } = stage;
  const [land, standing, page] = [store.insert.bind(store), store.standing.bind(store), store.page.bind(store)];
  store.insert = (entries) => insert(land, entries, ++asked.insert);
  store.standing = (places) => {
    asked.standing++;
    return standing(places);
  };
  store.page = (room, query) => {
    asked.page++;
    return page(room, query);
  };
  const ids = Array.from({ length: count }, (_, at) => alice.send("general", `m${at}`));
  await stage.clock.advance(5_000);
  store.page = page;
  return { stage, alice, ids, asked };
}

test("After a lost answer of a batch that landed whole, one question tells that all of it is stored.", async () => {
  const { stage, alice, ids, asked } = await batchOf(100, async (land, entries, tries) => {
    await land(entries);
    if (tries === 1) throw new StoreFailure("The answer was lost.");
    return { stored: entries.length, conflict: false };
  });
  for (const [at, id] of ids.entries()) assert.equal(alice.receiptOf(id)?.entry?.offset, at + 3);
  assert.deepEqual(asked, { insert: 1, standing: 1, page: 0 });
  assert.equal((await stage.log("general")).length, 102);
});

test("After one that landed in part, the rest of it is inserted, and nothing twice.", async () => {
  const { stage, alice, ids, asked } = await batchOf(100, async (land, entries, tries) => {
    if (tries > 1) return land(entries);
    await land(entries.slice(0, 37));
    throw new StoreFailure("The answer was lost.");
  });
  for (const [at, id] of ids.entries()) assert.equal(alice.receiptOf(id)?.entry?.offset, at + 3);
  assert.deepEqual([asked.insert, asked.standing], [2, 1]);
  assert.equal((await stage.log("general")).length, 102);
});

test("A batch that a slow archive takes in parts is stored part by part, in order.", async () => {
  const { stage, alice, ids, asked } = await batchOf(100, async (land, entries) => {
    const some = entries.slice(0, 30);
    await land(some);
    return { stored: some.length, conflict: false };
  });
  for (const [at, id] of ids.entries()) assert.equal(alice.receiptOf(id)?.entry?.offset, at + 3);
  assert.deepEqual([asked.insert, asked.standing], [4, 0]);
  assert.equal((await stage.log("general")).length, 102);
});

test("A place that is taken and shown as free is asked for again after a pause, and told to nobody as a conflict.", async () => {
  const { stage, alice, ids, asked } = await batchOf(3, async (land, entries, tries) =>
    tries <= 4 ? { stored: 0, conflict: true } : land(entries),
  );
  for (const [at, id] of ids.entries()) assert.equal(alice.receiptOf(id)?.entry?.offset, at + 3);
  assert.deepEqual([asked.insert, asked.standing], [5, 4]);
  assert.ok(stage.node.writer.retries >= 4);
});
