import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { caller, message, Stage } from "./node.fixture.ts";
import { posting, type Reply } from "./posting.ts";
import { roomAt, twoNodes } from "./two.fixture.ts";

/** What the rooms and shards of the node log as an error from now on. */
function errorsOf(stage: Stage): string[] {
  const errors: string[] = [];
  const error = (_: object, text: string): void => void errors.push(text);
  const { host } = stage.node.room("general");
  Object.assign(host, { log: { ...host.log, error } });
  return errors;
}

/** Posts as alice, and keeps what is answered; `over` changes the reply. */
function post(stage: Stage, room: string, key: string, over: Partial<Reply> = {}): string[] {
  const heard: string[] = [];
  const reply: Reply = {
    urgent: false,
    accepted: () => void heard.push("accepted"),
    stored: () => void heard.push("stored"),
    refused: ({ code }) => void heard.push(code),
  };
  const draft = { event: "message", sender: "alice", senderName: "Alice", key, ref: 0, contentType: "" } as const;
  const given = Object.create(reply, Object.getOwnPropertyDescriptors(over)) as Reply;
  stage.node.post(room, posting({ ...draft, headers: [], body: Buffer.from(key), text: true }, given));
  return heard;
}

const fault = (): never => {
  throw new TypeError("a fault of ours");
};
const answered = ["accepted", "stored"];

/** A node of one shard whose rooms `general` and another are awake, and know alice. */
async function scene(shared: boolean): Promise<{ stage: Stage; other: string; errors: string[] }> {
  const stage = await Stage.open({ shards: 1, shared });
  const other = await stage.makeRoom("public", "alice");
  await stage.run(stage.chat.post(caller("alice"), "general", message("joins")));
  return { stage, other, errors: errorsOf(stage) };
}

async function keys(stage: Stage, room: string): Promise<string[]> {
  return (await stage.log(room))
    .filter(({ event }) => event === "message")
    .map(({ body }) => String(Buffer.from(body)));
}

test("A room whose accepted pack meets a fault of ours is opened again and stores it, and the others of the pack do not notice.", async () => {
  for (const shared of [false, true]) {
    const { stage, other, errors } = await scene(shared);
    const { term } = stage.node.shardOf("general");
    const broken = {
      get urgent(): boolean {
        return errors.length === 0 ? fault() : true;
      },
    };
    const heard = [
      post(stage, "general", "e/x/1"),
      post(stage, "general", "e/x/2", broken),
      post(stage, other, "e/x/3"),
      post(stage, "general", "e/x/4"),
    ];
    await stage.clock.advance(2_000);
    assert.deepEqual(heard, [answered, answered, answered, answered]);
    assert.deepEqual(errors, ["a pack met a fault of ours"]);
    assert.deepEqual(await keys(stage, "general"), ["joins", "e/x/1", "e/x/2", "e/x/4"]);
    assert.deepEqual(await keys(stage, other), ["e/x/3"]);
    assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes], [0, 0]);
    const last = post(stage, "general", "e/x/5");
    await stage.clock.advance(500);
    assert.deepEqual([last, stage.node.shardOf("general").term], [answered, term]);
  }
});

test("An answer that meets a fault of ours costs the other answers of its pack nothing.", async () => {
  for (const when of ["accepted", "stored"] as const) {
    const { stage, other, errors } = await scene(false);
    const heard = [post(stage, "general", "e/x/1", { [when]: fault }), post(stage, "general", "e/x/2")];
    heard.push(post(stage, other, "e/x/3"));
    await stage.clock.advance(500);
    assert.deepEqual(heard.slice(1), [answered, answered]);
    assert.deepEqual(errors, ["what became of a posting could not be told"]);
    assert.deepEqual(await keys(stage, "general"), ["joins", "e/x/1", "e/x/2"]);
    assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes], [0, 0]);
    // All of it counts as stored: the room can sleep.
    await stage.clock.advance(60_000);
    assert.equal(stage.node.rooms.size, 0);
  }
});

test("A publish that meets a fault of ours in one room reaches the audiences of the others, and all is stored.", async () => {
  const { stage, other, errors } = await scene(false);
  const bob = stage.connect("bob");
  const [, log] = [bob.subscribe("log", "general"), bob.subscribe("log", other)];
  await stage.clock.advance(10);
  const { entries } = stage.fanout;
  stage.fanout.entries = (room, list) => (room === "general" ? fault() : entries.call(stage.fanout, room, list));
  const heard = [post(stage, "general", "e/x/1"), post(stage, other, "e/x/2")];
  await stage.clock.advance(500);
  assert.deepEqual(heard, [answered, answered]);
  assert.deepEqual(bob.heard(log), ["e/x/2"]);
  assert.deepEqual(errors, ["a publish met a fault of ours"]);
});

test("What the hot log lost after its room went elsewhere is not decided there after what its sender said since.", async () => {
  const { a, b } = await twoNodes();
  const room = await roomAt(a, "public", "alice");
  const alice = a.connect("alice");
  const shard = a.node.shardOf(room);
  a.faults.archiveAway = true;
  const early = alice.send(room, "one", { level: "accepted" });
  const lost = alice.send(room, "two");
  await a.clock.advance(50);
  assert.ok(alice.receiptOf(early));
  a.hub.wipe();
  const lock = await a.run(shard.letGo());
  assert.equal(await a.run(b.node.shardOf(room).receive(lock ?? "")), true);
  const kept = alice.send(room, "three");
  await a.clock.advance(1_000);
  assert.ok(alice.receiptOf(kept));
  a.faults.archiveAway = false;
  await a.clock.advance(3_000);
  assert.deepEqual(await keys(a, room), ["three"]);
  assert.deepEqual(
    alice.all("refused").map(({ code, receipt }) => [code, receipt]),
    [["store-unavailable", lost]],
  );
  assert.deepEqual([alice.all("receipt").filter(({ id }) => id === early).length, alice.connection.pending], [1, 0]);
});

test("Whoever has said something has read up to it, whatever others say, or are, in the same batch.", async () => {
  const stage = await Stage.open({ shards: 1 });
  const id = await stage.makeRoom("private", "alice", ["bob"]);
  const [alice, bob] = [stage.connect("alice"), stage.connect("bob")];
  const unread = async (user: string): Promise<number | undefined> => {
    const { items } = await stage.run(stage.chat.myRooms(caller(user), { limit: 9 }));
    return items.find((view) => view.id === id)?.unread;
  };
  const say = (by: typeof alice, text: string): void => void by.send(id, text, { level: "accepted" });
  for (const text of ["one", "two"]) say(alice, text);
  say(bob, "three");
  say(alice, "four");
  await stage.clock.advance(200);
  assert.deepEqual([await unread("alice"), await unread("bob")], [0, 1]);
  say(alice, "five");
  await stage.run(stage.chat.addMember(caller("alice"), id, { id: "carl", name: "Carl", role: "member" }));
  await stage.clock.advance(200);
  assert.deepEqual([await unread("alice"), await unread("bob")], [0, 2]);
});
