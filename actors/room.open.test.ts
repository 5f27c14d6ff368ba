import assert from "node:assert/strict";
import { test } from "node:test";
import { Latch, once } from "./latch.fixture.ts";
import { Stage } from "./node.fixture.ts";

test("An opening that goes on after its room was closed does not clear the hot log of the next one.", async () => {
  const limits = { replayKeep: 0, replayKeepBytes: 0 };
  const stage = await Stage.open({ shards: 1, shared: true, limits });
  const before = stage.connect("alice");
  before.send("general", "joins");
  await stage.clock.advance(100);
  // What is logged here is stored by the next owner, which reads it from the hot log.
  stage.faults.archiveAway = true;
  before.send("general", "logged", { level: "accepted" });
  await stage.clock.advance(100);
  before.lose();
  stage.faults.archiveAway = false;
  const latch = new Latch();
  const reading = new Latch();
  const connect = stage.hub.connect.bind(stage.hub);
  stage.hub.connect = () => {
    const bus = connect();
    once(bus, "log", async (log) => {
      reading.open();
      await latch.opened;
      return log();
    });
    return bus;
  };
  await stage.crash({ keepHub: true });
  await stage.run(reading.opened);
  const [slow] = stage.node.rooms.values();
  slow?.close();
  const room = stage.node.room("general");
  assert.notEqual(room, slow);
  await stage.run(room.ask(() => 1));
  await stage.clock.advance(1_000);
  const { term } = stage.node.shardOf("general");
  const head = { offset: 3, term: term - 1 };
  assert.deepEqual([room.state.stored, (await stage.node.bus.log("general", 0, 10)).length], [head, 0]);
  latch.open();
  await stage.clock.advance(100);
  assert.deepEqual((await stage.node.bus.heads(0)).get("general"), head);
  const alice = stage.connect("alice");
  const receipt = alice.send("general", "after");
  await stage.clock.advance(1_000);
  assert.deepEqual([alice.receiptOf(receipt)?.entry?.offset, stage.node.shardOf("general").term], [4, term]);
});
