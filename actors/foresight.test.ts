import assert from "node:assert/strict";
import { test } from "node:test";
import { type Client, caller, Stage, type StageOptions } from "./node.fixture.ts";

/** A private room of the owner, bob and carol with one message; the node is about to open it again. */
async function scene(options: StageOptions = {}) {
  const stage = await Stage.open({ shards: 1, shared: true, ...options });
  const room = await stage.makeRoom("private", "owner", ["bob", "carol"]);
  const owner = stage.connect("owner");
  await say(stage, owner, room, "first");
  const { foresight } = stage.node.awake;
  /** How often the archive was asked for members. */
  const asked = { members: 0 };
  const members = stage.store.members.bind(stage.store);
  stage.store.members = (id, page) => {
    asked.members++;
    return members(id, page);
  };
  const reopen = async (): Promise<string> => {
    asked.members = 0;
    stage.node.rooms.get(room)?.close();
    return stage.run(stage.node.room(room).read((state) => [...state.members.keys()].sort().join()));
  };
  return { stage, room, owner, foresight, asked, reopen };
}

/** Says something under an id that is its body; answers its offset. */
async function say(stage: Stage, client: Client, room: string, body: string): Promise<number | undefined> {
  const receipt = client.send(room, body, { id: body });
  await stage.clock.advance(100);
  return client.receiptOf(receipt)?.entry?.offset;
}

test("A room opens from what was read of it and what came since: members, and the window.", async () => {
  const { stage, room, owner, foresight, asked, reopen } = await scene();
  await foresight.read([room]);
  assert.equal(foresight.size, 1);
  await stage.run(stage.chat.removeMember(caller("owner"), room, "bob"));
  await stage.run(stage.chat.addMember(caller("owner"), room, { id: "dave", name: "DAVE", role: "member" }));
  const second = await say(stage, owner, room, "second");
  assert.deepEqual([await reopen(), asked.members], ["carol,dave,owner", 0]);
  assert.equal(foresight.size, 0);
  const page = stage.store.page.bind(stage.store);
  stage.store.page = () => assert.fail("the window is there");
  assert.deepEqual([await say(stage, owner, room, "first"), await say(stage, owner, room, "second")], [4, second]);
  stage.store.page = page;
  assert.equal(await say(stage, owner, room, "third"), (second ?? 0) + 1);
  assert.equal((await stage.log(room)).filter(({ event }) => event === "message").length, 3);
});

test("What was read serves one opening; the next one reads anew.", async () => {
  const { room, foresight, asked, reopen } = await scene();
  await foresight.read([room, room]);
  assert.deepEqual([await reopen(), asked.members], ["bob,carol,owner", 0]);
  assert.deepEqual([await reopen(), asked.members], ["bob,carol,owner", 1]);
});

test("Where the hot log has not all that came since, the room is read anew.", async () => {
  const { stage, room, owner, foresight, asked, reopen } = await scene({
    limits: { replayKeep: 0, replayKeepBytes: 0 },
  });
  await foresight.read([room]);
  await stage.run(stage.chat.removeMember(caller("owner"), room, "bob"));
  await say(stage, owner, room, "second");
  assert.deepEqual([await reopen(), asked.members], ["carol,owner", 1]);
  assert.equal(await say(stage, owner, room, "first"), 4);
});

test("A room that was deleted since it was read is not there, whatever was read.", async () => {
  const { stage, room, foresight } = await scene();
  await foresight.read([room]);
  await stage.run(stage.chat.deleteRoom(caller("owner"), room));
  await assert.rejects(stage.run(stage.node.room(room).read(() => 0)), /room-not-found|does not exist/);
});

test("A room whose last entry changed something beside the log is not read ahead: that may not be written yet.", async () => {
  const { stage, room, foresight } = await scene();
  await stage.run(stage.chat.removeMember(caller("owner"), room, "bob"));
  await stage.clock.advance(100);
  await foresight.read([room]);
  assert.equal(foresight.size, 0);
});

test("What was read and not used is forgotten, and a store that does not answer costs nothing.", async () => {
  const { stage, room, foresight, asked, reopen } = await scene();
  await foresight.read([room]);
  await stage.clock.advance(10_000);
  assert.equal(foresight.size, 0);
  stage.faults.archiveAway = true;
  await foresight.read([room]);
  stage.faults.archiveAway = false;
  assert.equal(foresight.size, 0);
  assert.deepEqual([await reopen(), asked.members], ["bob,carol,owner", 1]);
});

test("A bounded number of rooms is read ahead.", async () => {
  const { stage, room, foresight } = await scene();
  await foresight.read(Array.from({ length: 500 }, (_, at) => `nowhere-${at}`));
  assert.equal(foresight.size, 256);
  await foresight.read([room]);
  assert.equal(foresight.size, 256);
  await stage.clock.advance(10_000);
  await foresight.read([room]);
  assert.equal(foresight.size, 1);
});
