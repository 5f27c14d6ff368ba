import assert from "node:assert/strict";
import { test } from "node:test";
import type { Audience } from "./audience.ts";
import { Latch, once } from "./latch.fixture.ts";
import { Stage } from "./node.fixture.ts";
import { roomAt, twoNodes } from "./two.fixture.ts";

/** A node of one shard on a shared hot log, and alice, who listens to `general` and is a member. */
async function scene() {
  const stage = await Stage.open({ shards: 1, shared: true });
  const alice = stage.connect("alice");
  const log = alice.subscribe("log", "general");
  alice.send("general", "one");
  await stage.clock.advance(100);
  const shard = stage.node.shardOf("general");
  return { stage, alice, log, shard, term: shard.term };
}

test("A look that was answered before an append was does not call a sound hot log lost.", async () => {
  const { stage, alice, log, shard, term } = await scene();
  // While a gap is filled the audience stands still, though the room goes on.
  const fetching = new Latch();
  once(stage.node.bus, "log", async (read) => {
    await fetching.opened;
    return read();
  });
  stage.node.audiences.get("general")?.fill();
  const looking = new Latch();
  once(stage.node.bus, "headsOf", async (headsOf) => {
    const heads = await headsOf();
    await looking.opened;
    return heads;
  });
  stage.node.watch.look();
  await stage.clock.turn();
  alice.send("general", "two");
  await stage.clock.advance(10);
  assert.equal(stage.node.room("general").state.accepted.offset, 3);
  assert.equal(stage.node.audiences.get("general")?.position?.offset, 2);
  looking.open();
  await stage.clock.turn();
  assert.deepEqual([shard.state, shard.term], ["owning", term]);
  fetching.open();
  await stage.clock.advance(1_000);
  assert.deepEqual([shard.term, alice.heard(log)], [term, ["member", "one", "two"]]);
});

test("A hot log that lost the head of a room is found though nobody sends, and told to nobody whose entries are stored.", async () => {
  const { stage, alice, log, shard, term } = await scene();
  await stage.clock.advance(1_000);
  const head = stage.node.room("general").state.accepted;
  assert.equal(await stage.node.bus.clear(0, term, "general", head), true);
  await stage.clock.advance(1_000);
  assert.deepEqual([shard.state, shard.term], ["owning", term + 1]);
  alice.send("general", "two");
  await stage.clock.advance(1_000);
  assert.deepEqual([alice.heard(log), alice.all("resumed").length], [["member", "one", "two"], 0]);
});

test("A head that came and vanished again unseen is found when the connection was lost, and under another term.", async () => {
  for (const how of ["gap", "term"] as const) {
    const { a, b } = await twoNodes();
    const room = await roomAt(a, "public", "alice");
    const [alice, bob] = [a.connect("alice"), b.connect("bob")];
    const log = bob.subscribe("log", room);
    alice.send(room, "one");
    await a.clock.advance(1_000);
    const shard = a.node.shardOf(room);
    const vanish = async (): Promise<void> => {
      const awake = a.node.room(room);
      const { accepted } = awake.state;
      // It sleeps, or its owner finds that the hot log lost its head.
      if (how === "gap") awake.close();
      assert.equal(await a.node.bus.clear(shard.id, shard.term, room, accepted), true);
    };
    await vanish();
    await a.clock.advance(1_200);
    // Nothing of it reaches the other node, neither the pack nor, between two looks, the head.
    const { audiences } = b.node;
    const audience = audiences.get(room) as Audience;
    const { take } = audience;
    audience.take = () => {};
    alice.send(room, "two");
    await a.clock.advance(20);
    await vanish();
    audience.take = take;
    if (how === "gap") b.node.onGap();
    await a.clock.advance(3_000);
    assert.deepEqual(bob.heard(log).slice(-2), ["one", "two"], how);
  }
});
