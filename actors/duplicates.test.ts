import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { StoreFailure } from "./codes.ts";
import { Latch } from "./latch.fixture.ts";
import { type Client, Stage } from "./node.fixture.ts";
import { type Posting, posting } from "./posting.ts";

/** Sends and lets it be stored; answers the offset of the receipt. */
async function sent(stage: Stage, client: Client, body: string, id: string): Promise<number | undefined> {
  const receipt = client.send("general", body, { id });
  await stage.clock.advance(100);
  return client.receiptOf(receipt)?.entry?.offset;
}

test("A retry is answered with the first one's coordinates, whatever its body, and is shown to nobody.", async () => {
  const stage = await Stage.open();
  const [alice, bob] = [stage.connect("alice"), stage.connect("bob")];
  const log = bob.subscribe("log", "general");
  await stage.clock.advance(10);
  assert.equal(await sent(stage, alice, "first", "x"), 2);
  assert.equal(await sent(stage, alice, "other body", "x"), 2);
  assert.equal(await sent(stage, bob, "another user's", "x"), 4);
  assert.deepEqual(bob.heard(log), ["member", "first", "member", "another user's"]);
  assert.equal(stage.node.counters.duplicates, 1);
});

test("A retry while the first is under way joins it, and both are answered once it is stored.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  const phone = stage.connect("alice");
  stage.faults.delayMs = 50;
  const receipts = [alice.send("general", "a", { id: "x" }), alice.send("general", "b", { id: "x" })];
  const other = phone.send("general", "c", { id: "x" });
  await stage.clock.advance(1_000);
  for (const receipt of receipts) assert.equal(alice.receiptOf(receipt)?.entry?.offset, 2);
  assert.equal(phone.receiptOf(other)?.entry?.offset, 2);
  assert.deepEqual([alice.connection.pending, phone.connection.pending], [0, 0]);
});

test("As many retries as a SEND may have join it while it is not stored; one more is refused.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  await sent(stage, alice, "joins", "w");
  stage.faults.delayMs = 5_000;
  const receipts = Array.from({ length: 66 }, () => alice.send("general", "a", { id: "x" }));
  await stage.clock.advance(1_000);
  assert.deepEqual(
    alice.all("refused").map(({ code, receipt }) => [code, receipt]),
    [["queue-full", receipts[65]]],
  );
  await stage.clock.advance(20_000);
  for (const receipt of receipts.slice(0, 65)) assert.equal(alice.receiptOf(receipt)?.entry?.offset, 3);
});

test("The window outlives sleep and death of the process.", async () => {
  const stage = await Stage.open();
  await sent(stage, stage.connect("alice"), "first", "x");
  await stage.crash();
  const alice = stage.connect("alice");
  assert.equal(await sent(stage, alice, "again", "x"), 2);
  await stage.clock.advance(60_000);
  assert.equal(stage.node.rooms.size, 0);
  assert.equal(await sent(stage, alice, "again", "x"), 2);
  assert.equal((await stage.log("general")).length, 2);
});

test("An id is free again after the window's time, and after its number of entries.", async () => {
  for (const wake of [false, true]) {
    const stage = await Stage.open({ limits: { windowMs: 10_000, windowEntries: 5, roomIdleMs: wake ? 1 : 60_000 } });
    const alice = stage.connect("alice");
    assert.equal(await sent(stage, alice, "first", "x"), 2);
    await stage.clock.advance(9_000);
    assert.equal(await sent(stage, alice, "in time", "x"), 2);
    await stage.clock.advance(1_500);
    assert.equal(await sent(stage, alice, "too late", "x"), 3);
    for (let i = 0; i < 4; i++) await sent(stage, alice, "other", `y${i}`);
    assert.equal(await sent(stage, alice, "within five", "x"), 3);
    await sent(stage, alice, "other", "z");
    assert.equal(await sent(stage, alice, "beyond five", "x"), 9);
    assert.equal(await sent(stage, alice, "counts from its last use", "x"), 9);
  }
});

test("Beyond the node's bound ids are looked up in the archive, and memory stays within it.", async () => {
  const limits = { windowBytes: 2_000, windowMs: 60_000 };
  const stage = await Stage.open({ limits });
  const alice = stage.connect("alice");
  for (let i = 0; i < 40; i++) assert.equal(await sent(stage, alice, "m", `x${i}`), i + 2);
  for (let i = 0; i < 40; i++) assert.equal(await sent(stage, alice, "again", `x${i}`), i + 2);
  assert.equal(await sent(stage, alice, "fresh", "y"), 42);
  assert.ok(stage.node.windowBudget.bytes <= limits.windowBytes, `${stage.node.windowBudget.bytes} bytes`);
  await stage.clock.advance(limits.windowMs);
  assert.equal(await sent(stage, alice, "too late", "x0"), 43);
});

/** A node that looks ids up in the archive, a message of alice for each in `general`, and what is looked up. */
async function looking(ids: readonly string[]) {
  const stage = await Stage.open({ limits: { windowBytes: 0 } });
  const alice = stage.connect("alice");
  for (const id of ids) await sent(stage, alice, "m", id);
  const asked: string[] = [];
  const failing = new Set<string>();
  const byKey = stage.store.byKey.bind(stage.store);
  stage.store.byKey = async (room, sender, key) => {
    asked.push(key);
    if (failing.delete(key)) throw new StoreFailure("It is away.");
    return byKey(room, sender, key);
  };
  return { stage, alice, asked, failing };
}

test("Retries that wait are looked up together, each id once.", async () => {
  const ids = Array.from({ length: 20 }, (_, i) => `x${i}`);
  const { stage, alice, asked } = await looking(ids);
  const receipts = [...ids, ...ids, "y", "y"].map((id) => alice.send("general", "again", { id }));
  await stage.clock.advance(100);
  const offsets = receipts.map((receipt) => alice.receiptOf(receipt)?.entry?.offset);
  const first = ids.map((_, i) => i + 2);
  assert.deepEqual(offsets, [...first, ...first, 22, 22]);
  // The first is asked about alone, and may be again with those that wait.
  assert.ok(asked.length <= ids.length + 2, asked.join());
});

test("A look ahead that fails costs nobody anything: it is looked up again in its turn.", async () => {
  const ids = ["a", "b", "c", "d"];
  const { stage, alice, failing } = await looking(ids);
  failing.add("c/c");
  const receipts = ids.map((id) => alice.send("general", "again", { id }));
  await stage.clock.advance(100);
  const offsets = receipts.map((receipt) => alice.receiptOf(receipt)?.entry?.offset);
  assert.deepEqual([offsets, alice.all("refused"), failing.size], [[2, 3, 4, 5], [], 0]);
});

test("What was looked up before it was decided is looked up again once it is stored: its retry is no second one.", async () => {
  const { stage, alice, asked } = await looking(["x"]);
  const storing = new Latch();
  alice.send("general", "again", { id: "x" });
  const first = alice.send("general", "fresh", { id: "y" });
  const held = stage.node.room("general").ask(() => storing.opened);
  const retry = alice.send("general", "fresh", { id: "y" });
  await stage.clock.advance(100);
  assert.equal(alice.receiptOf(first)?.entry?.offset, 3, "it is stored, and its retry waits");
  assert.deepEqual([alice.receiptOf(retry), asked], [undefined, ["c/x", "c/y"]]);
  storing.open();
  await stage.run(held);
  await stage.clock.advance(100);
  assert.deepEqual([alice.receiptOf(retry)?.entry?.offset, (await stage.log("general")).length], [3, 3]);
});

test("When the archive cannot be asked, the SEND is refused and the next one is not.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  await sent(stage, alice, "m", "x");
  stage.hub.wipe();
  await stage.crash();
  const again = stage.connect("alice");
  await stage.run(stage.node.typing("general", "alice", true));
  stage.faults.archiveAway = true;
  const receipt = again.send("general", "b", { id: "y" });
  await stage.clock.advance(100);
  const [refused] = again.all("refused");
  assert.deepEqual([refused?.receipt, refused?.code], [receipt, "store-unavailable"]);
  assert.ok((refused?.retryAfterMs ?? 0) > 0);
  stage.faults.archiveAway = false;
  assert.equal(await sent(stage, again, "b", "y"), 3);
  assert.equal(await sent(stage, again, "b", "x"), 2);
});

/** What became of SENDs of alice that come again together, in order, once some of them are on the log of `general`. */
async function resentAfter(keys: readonly string[], logged: readonly string[], windowBytes?: number) {
  const stage = await Stage.open(windowBytes === undefined ? {} : { limits: { windowBytes } });
  const outcomes = keys.map(() => "");
  const items = keys.map((key, at) => {
    const draft = { event: "message", sender: "alice", senderName: "Alice", key, ref: 0, contentType: "" } as const;
    const over = (what: string) => (): void => void outcomes.splice(at, 1, what);
    const reply = { urgent: true, accepted() {}, stored: over("stored"), refused: over("refused") };
    return posting({ ...draft, headers: [], body: Buffer.from(key), text: true }, reply);
  });
  for (const [at, key] of keys.entries()) if (logged.includes(key)) stage.node.post("general", items[at] as Posting);
  await stage.clock.advance(100);
  await stage.crash();
  const resent = items.map(({ draft }) => draft);
  for (const { draft, reply } of items) {
    const again = Object.assign(posting(draft, reply), { keyed: true, again: true, resent });
    stage.node.room("general").repost(again);
  }
  await stage.clock.advance(100);
  const log = (await stage.log("general")).filter(({ event }) => event === "message");
  return { outcomes: outcomes.join(), log: log.map(({ key }) => key).join() };
}

test("What its sender was passed with is refused where what followed it is on the log, and else decided.", async () => {
  const keys = ["c/1", "e/x/2", "c/3", "e/x/4", "c/5"];
  for (const windowBytes of [undefined, 0]) {
    assert.deepEqual(await resentAfter(keys, ["c/1", "e/x/4"], windowBytes), {
      outcomes: "stored,refused,refused,stored,stored",
      log: "c/1,e/x/4,c/5",
    });
    assert.deepEqual(await resentAfter(keys, ["c/3"], windowBytes), {
      outcomes: "refused,refused,stored,stored,stored",
      log: "c/3,e/x/4,c/5",
    });
    assert.deepEqual(await resentAfter(keys, ["c/1"], windowBytes), {
      outcomes: "stored,stored,stored,stored,stored",
      log: "c/1,e/x/2,c/3,e/x/4,c/5",
    });
  }
});
