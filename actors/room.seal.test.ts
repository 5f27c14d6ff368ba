import assert from "node:assert/strict";
import { test } from "node:test";
import { Latch, once } from "./latch.fixture.ts";
import { type Client, caller, Stage } from "./node.fixture.ts";

/** A private room of alice and bob whose hot log was lost with its owner: the next entry is stored before it is shown. */
async function scene(): Promise<{ stage: Stage; room: string; alice: Client }> {
  const stage = await Stage.open({ shards: 1, shared: true });
  const room = await stage.makeRoom("private", "alice", ["bob"]);
  await stage.crash();
  const alice = stage.connect("alice");
  await stage.run(stage.node.room(room).ask(() => 1));
  assert.equal(stage.node.room(room).whole, false, "the room is not sealed yet");
  return { stage, room, alice };
}

test("A room that is deleted while its first entry is stored answers its SENDs and frees their places.", async () => {
  const { stage, room, alice } = await scene();
  const latch = new Latch();
  once(stage.store, "insert", async (insert) => {
    await latch.opened;
    return insert();
  });
  const receipts = ["one", "two"].map((body) => alice.send(room, body));
  await stage.clock.advance(100);
  assert.equal(stage.node.writer.entries, 2);
  await stage.run(stage.chat.deleteRoom(caller("alice"), room));
  await stage.clock.advance(100);
  assert.deepEqual(
    alice.all("refused").map(({ receipt, code }) => [receipt, code]),
    receipts.map((receipt) => [receipt, "store-unavailable"]),
  );
  assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, alice.connection.pending], [0, 0, 0]);
  latch.open();
  await stage.clock.advance(1_000);
  assert.deepEqual([stage.node.rooms.size, stage.hub.bytes], [0, 0]);
  for (const receipt of receipts) assert.equal(alice.receiptOf(receipt), undefined);
});

test("A room shows its first entry once it is stored, and what follows it in its order.", async () => {
  const { stage, room, alice } = await scene();
  const bob = stage.connect("bob");
  const log = bob.subscribe("log", room);
  await stage.clock.advance(100);
  const latch = new Latch();
  once(stage.store, "insert", async (insert) => {
    await latch.opened;
    return insert();
  });
  const receipts = ["one", "two"].map((body) => alice.send(room, body));
  await stage.clock.advance(500);
  assert.deepEqual([bob.heard(log), alice.receiptOf(receipts[0] as string)], [[], undefined]);
  latch.open();
  await stage.clock.advance(500);
  assert.deepEqual(bob.heard(log), ["one", "two"]);
  for (const receipt of receipts) assert.ok(alice.receiptOf(receipt));
  assert.equal(stage.node.room(room).whole, true);
});
