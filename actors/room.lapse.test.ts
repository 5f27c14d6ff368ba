import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { Latch, once } from "./latch.fixture.ts";
import { LEASE_MS } from "./leases.memory.ts";
import { caller, Stage } from "./node.fixture.ts";

/** A node of one shard whose lock has lapsed, as its leases do not answer; alice is a member of `general`. */
async function scene() {
  const stage = await Stage.open({ shards: 1, shared: true });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  const { leases } = stage.node;
  const own = { renew: leases.renew, acquire: leases.acquire };
  const unanswered = (): Promise<never> => Promise.reject(new Error("The locks do not answer."));
  Object.assign(leases, { renew: unanswered, acquire: unanswered });
  await stage.clock.advance(LEASE_MS);
  const shard = stage.node.shardOf("general");
  assert.equal(shard.holds, false);
  return { stage, alice, shard, term: shard.term, answer: () => void Object.assign(leases, own) };
}

test("While the lock is lapsed SENDs and changes wait in their order, and questions wait for at most 2 s.", async () => {
  const { stage, alice, shard, term, answer } = await scene();
  const room = stage.node.room("general");
  const leave = stage.chat.leave(caller("alice"), "general");
  const receipt = alice.send("general", "after");
  await stage.clock.advance(500);
  const tooLong = assert.rejects(
    room.read((state) => state.offset),
    { code: "store-unavailable" },
  );
  await stage.clock.advance(2_000);
  await tooLong;
  const answered = room.read((state) => state.record.id);
  const fault = assert.rejects(
    room.read(() => {
      throw new TypeError("a fault of ours");
    }),
    TypeError,
  );
  answer();
  assert.equal(await stage.run(answered), "general");
  await fault;
  await stage.run(leave);
  await stage.clock.advance(500);
  assert.ok(alice.receiptOf(receipt));
  assert.deepEqual(
    (await stage.log("general")).map(({ event, body }) => (event === "member" ? event : String(Buffer.from(body)))),
    ["member", "joins", "member", "member", "after"],
  );
  assert.equal(shard.term, term);
});

test("A question waits for the opening of its room and for the lock, and for no SEND.", async () => {
  const { stage, alice, shard, answer } = await scene();
  const before = stage.node.room("general");
  before.close();
  const opening = new Latch();
  once(stage.store, "head", async (head) => {
    await opening.opened;
    return head();
  });
  const receipt = alice.send("general", "waits");
  const room = stage.node.room("general");
  assert.notEqual(room, before);
  const asked = room.read((state) => state.offset);
  await stage.clock.advance(10);
  opening.open();
  await stage.clock.advance(10);
  assert.deepEqual([shard.holds, alice.receiptOf(receipt)], [false, undefined]);
  answer();
  assert.equal(await stage.run(asked), 2);
  await stage.clock.advance(1_000);
  assert.ok(alice.receiptOf(receipt));
});

test("Questions to a room that opens count in the bound of its mailbox, and are refused with it.", async () => {
  const stage = await Stage.open({ limits: { roomMailbox: 2 } });
  const room = stage.node.room("general");
  const waiting = [room.read(() => 1), room.read(() => 2)];
  await assert.rejects(
    room.read(() => 3),
    { code: "queue-full" },
  );
  await assert.rejects(
    room.ask(() => 4),
    { code: "queue-full" },
  );
  assert.deepEqual(await stage.run(Promise.all(waiting)), [1, 2]);
  const nowhere = stage.node.room("nowhere").read(() => 5);
  await assert.rejects(stage.run(nowhere), { code: "room-not-found" });
  room.close();
  await assert.rejects(
    room.read(() => 6),
    { code: "store-unavailable" },
  );
});
