import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "./codes.ts";
import { caller, message, Stage } from "./node.fixture.ts";

const ALICE = caller("alice");
const BOB = caller("bob");

/** A node, and five messages of bob's in `general` after his join (offset 1), all stored. */
async function talked(): Promise<Stage> {
  const stage = await Stage.open();
  for (let i = 1; i <= 5; i++) await stage.run(stage.chat.post(BOB, "general", message(`m${i}`)));
  await stage.run(stage.chat.join(ALICE, "general"));
  return stage;
}

async function unread(stage: Stage, who: typeof ALICE): Promise<number> {
  return (await stage.run(stage.chat.room(who, "general"))).unread;
}

test("Unread counts the messages of others after the read mark, and no other entries.", async () => {
  const stage = await talked();
  assert.equal(await unread(stage, ALICE), 5);
  assert.deepEqual(await stage.run(stage.chat.markRead(ALICE, "general", 3)), { readOffset: 3, unread: 3 });
  await stage.run(stage.chat.react(BOB, "general", 2, { reaction: "+", on: true }));
  assert.equal(await unread(stage, ALICE), 3);
});

test("Own messages never count as unread.", async () => {
  const stage = await talked();
  assert.equal(await unread(stage, BOB), 0);
  await stage.run(stage.chat.post(ALICE, "general", message("mine")));
  assert.equal(await unread(stage, ALICE), 0);
  assert.equal(await unread(stage, BOB), 1);
});

test("A mark only rises, is clamped to what is stored, and outlives the process.", async () => {
  const stage = await talked();
  assert.equal((await stage.run(stage.chat.markRead(ALICE, "general", 4))).readOffset, 4);
  assert.equal((await stage.run(stage.chat.markRead(ALICE, "general", 2))).readOffset, 4);
  assert.equal((await stage.run(stage.chat.markRead(ALICE, "general", 1_000))).readOffset, 7);
  await stage.crash();
  const view = await stage.run(stage.chat.room(ALICE, "general"));
  assert.deepEqual([view.readOffset, view.unread], [7, 0]);
});

test("A mark on a message that is shown but not stored yet is set once it is stored.", async () => {
  const stage = await talked();
  const bob = stage.connect("bob");
  const alice = stage.connect("alice");
  alice.subscribe("log", "general");
  alice.subscribe("signals", "general");
  await stage.clock.advance(10);
  stage.faults.archiveAway = true;
  bob.send("general", "shown");
  await stage.clock.advance(10);
  assert.deepEqual(alice.heard("log-0"), ["shown"]);
  stage.faults.archiveAway = false;
  await stage.node.mark("general", "alice", { kind: "read", offset: 8 });
  assert.equal((await stage.node.markers.of("general", "alice")).read, 7);
  await stage.clock.advance(3_000);
  assert.equal((await stage.node.markers.of("general", "alice")).read, 8);
  assert.equal(alice.signalsHeard().at(-1), "read alice 8");
});

test("Marks said to the room never fall, whichever of two is ready first.", async () => {
  const stage = await talked();
  const bob = stage.connect("bob");
  bob.subscribe("signals", "general");
  await stage.clock.advance(10);
  // The count at the head is known; that at an older offset is asked for, and comes later.
  stage.faults.delayMs = 100;
  const older = stage.node.mark("general", "alice", { kind: "read", offset: 3 });
  const newer = stage.node.mark("general", "alice", { kind: "read", offset: 7 });
  await stage.run(Promise.all([older, newer]));
  await stage.clock.advance(1_000);
  const said = bob.signalsHeard().filter((one) => one.startsWith("read"));
  assert.deepEqual(said, ["read alice 7"]);
  assert.equal((await stage.run(stage.node.markers.of("general", "alice"))).read, 7);
});

test("Markers wait while the archive fails, and a caller who wants them durable is refused.", async () => {
  const stage = await talked();
  await stage.run(stage.chat.markRead(ALICE, "general", 2));
  const mark = stage.node.mark("general", "alice", { kind: "delivered", offset: 5 });
  await stage.run(mark);
  stage.faults.archiveAway = true;
  await stage.clock.advance(5_000);
  assert.equal(stage.node.markers.pending, 1);
  const refused = stage.run(stage.chat.markRead(ALICE, "general", 7));
  await assert.rejects(refused, (error) => !(error instanceof TypeError));
  stage.faults.archiveAway = false;
  await stage.clock.advance(3_000);
  assert.equal(stage.node.markers.pending, 0);
  assert.equal((await stage.store.marker("general", "alice"))?.delivered, 5);
});

test("Markers beyond the bound are refused with the time to come back.", async () => {
  const stage = await Stage.open({ limits: { markersPending: 1 } });
  const marker = { room: "general", user: "a", read: 1, readCount: 1, delivered: 1 };
  stage.node.markers.raise(marker);
  stage.node.markers.raise({ ...marker, read: 2 });
  assert.throws(
    () => stage.node.markers.raise({ ...marker, user: "b" }),
    (error) => error instanceof Refusal && error.code === "queue-full" && (error.retryAfterMs ?? 0) > 0,
  );
  await stage.clock.advance(2_000);
  stage.node.markers.raise({ ...marker, user: "b" });
});
