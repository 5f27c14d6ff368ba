import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
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
