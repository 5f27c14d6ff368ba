import assert from "node:assert/strict";
import { test } from "node:test";
import { Latch, once } from "./latch.fixture.ts";
import { Stage } from "./node.fixture.ts";

/** Long enough for a room that nobody uses to be put to sleep, ms. */
const IDLE_MS = 60_000;

test("A room that sleeps is off the hot log, and wakes up where it was.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const alice = stage.connect("alice");
  alice.send("general", "before");
  await stage.clock.advance(IDLE_MS);
  assert.deepEqual([stage.node.rooms.size, (await stage.node.bus.heads(0)).size, stage.hub.bytes], [0, 0, 0]);
  const receipt = alice.send("general", "after");
  await stage.clock.advance(100);
  assert.equal(alice.receiptOf(receipt)?.entry?.offset, 3);
});

test("A room that wakes up while it is put away keeps its head in the hot log.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const alice = stage.connect("alice");
  alice.send("general", "before");
  await stage.clock.advance(1_000);
  const latch = new Latch();
  once(stage.node.bus, "stored", async (stored) => {
    await latch.opened;
    return stored();
  });
  await stage.clock.advance(IDLE_MS);
  assert.equal(stage.node.rooms.size, 0);
  const { term } = stage.node.shardOf("general");
  await stage.run(stage.node.room("general").ask(() => 1));
  latch.open();
  await stage.clock.advance(10);
  assert.deepEqual((await stage.node.bus.heads(0)).get("general"), { offset: 2, term });
  const receipt = alice.send("general", "after");
  await stage.clock.advance(1_000);
  const { entry } = alice.receiptOf(receipt) ?? {};
  assert.deepEqual([entry?.offset, entry?.term, stage.node.shardOf("general").term], [3, term, term]);
});

test("A hot log that does not answer is asked again until the room is put away.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const alice = stage.connect("alice");
  alice.send("general", "before");
  await stage.clock.advance(1_000);
  once(stage.node.bus, "sleep", () => Promise.reject(new Error("The hot log is away.")));
  await stage.clock.advance(IDLE_MS);
  assert.equal(stage.hub.bytes, 0);
});

test("A room whose entries are on their way to the hot log stays awake: opened again it would give their places twice.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(1_000);
  const { term } = stage.node.shardOf("general");
  const latch = new Latch();
  once(stage.node.bus, "append", async (append) => {
    await latch.opened;
    return append();
  });
  const first = alice.send("general", "on its way");
  await stage.clock.advance(IDLE_MS);
  const second = alice.send("general", "behind it");
  await stage.clock.advance(1_000);
  latch.open();
  await stage.clock.advance(1_000);
  assert.deepEqual(
    [first, second].map((receipt) => alice.receiptOf(receipt)?.entry?.offset),
    [3, 4],
  );
  // Given twice, the place would be found taken in the archive, and the shard owned again.
  assert.equal(stage.node.shardOf("general").term, term);
});
