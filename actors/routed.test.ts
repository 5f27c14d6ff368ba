import assert from "node:assert/strict";
import { test } from "node:test";
import { type CodeWord, Refusal } from "./codes.ts";
import { caller, message, Stage } from "./node.fixture.ts";
import { roomAt, twoNodes } from "./two.fixture.ts";

const code = (word: CodeWord) => (error: unknown) => error instanceof Refusal && error.code === word;
const [ALICE, BOB, EVE] = [caller("alice"), caller("bob"), caller("eve")];

async function bodies(stage: Stage, room: string): Promise<string[]> {
  const log = await stage.log(room);
  return log.filter(({ event }) => event === "message").map(({ body }) => new TextDecoder().decode(body));
}

test("Whatever is asked of a room at another node is done by its owner.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  const { chat } = b;
  assert.equal(b.node.rooms.has(id), false);
  assert.equal((await b.run(chat.renameRoom(ALICE, id, "ours"))).name, "ours");
  assert.equal((await b.run(chat.room(BOB, id))).name, "ours");
  await b.run(chat.addMember(ALICE, id, { id: "eve", name: "Eve", role: "member" }));
  assert.equal((await b.run(chat.join(EVE, id))).role, "member");
  assert.equal((await b.run(chat.setRole(ALICE, id, "bob", "admin"))).role, "admin");
  const { entry } = await b.run(chat.post(EVE, id, message("hi")));
  assert.deepEqual([entry.sender, new TextDecoder().decode(entry.body)], ["eve", "hi"]);
  const edited = await b.run(chat.edit(EVE, id, entry.offset, message("ho")));
  assert.equal(new TextDecoder().decode(edited.fate?.body), "ho");
  const reacted = await b.run(chat.react(BOB, id, entry.offset, { reaction: "+", on: true }));
  assert.deepEqual(reacted.fate?.reactions, { "+": ["bob"] });
  assert.equal((await b.run(chat.markRead(BOB, id, entry.offset))).unread, 0);
  await b.run(chat.deleteMessage(EVE, id, entry.offset));
  await b.run(chat.leave(EVE, id));
  await b.run(chat.removeMember(ALICE, id, "bob"));
  assert.deepEqual(
    (await b.run(chat.members(ALICE, id, { limit: 9 }))).items.map(({ user }) => user),
    ["alice"],
  );
  const there = await b.run(chat.history(ALICE, id, { limit: 50 }));
  assert.deepEqual(there, await a.run(a.chat.history(ALICE, id, { limit: 50 })));
  assert.equal(there.items.length, 10);
  assert.equal(b.node.rooms.has(id), false);
});

test("A refusal of the owner comes to who asked elsewhere.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  await assert.rejects(b.run(b.chat.leave(ALICE, id)), code("last-admin"));
  await assert.rejects(b.run(b.chat.room(EVE, id)), code("room-not-found"));
  await assert.rejects(b.run(b.chat.post(EVE, id, message("x"))), code("room-not-found"));
  await assert.rejects(b.run(b.chat.deleteRoom(BOB, id)), code("forbidden"));
  await assert.rejects(b.run(b.chat.room(ALICE, "no such room")), code("room-not-found"));
});

test("A message is one message, whatever is lost between the nodes.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "public", "alice");
  a.faults.wordsLost = 0.5;
  b.faults.wordsLost = 0.5;
  const wanted = Array.from({ length: 12 }, (_, at) => `m${at}`);
  const outcomes = await b.run(Promise.allSettled(wanted.map((text) => b.chat.post(ALICE, id, message(text)))));
  const answered = wanted.filter((_, at) => outcomes[at]?.status === "fulfilled");
  const said = await bodies(a, id);
  assert.equal(new Set(said).size, said.length);
  assert.ok(answered.length > 6);
  for (const text of answered) assert.ok(said.includes(text), text);
});

test("A message whose owner dies is asked of the next owner, under the same key.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "public", "alice");
  // What it did is done, and its answers are lost.
  a.faults.wordsLost = 1;
  const posted = b.chat.post(ALICE, id, message("once"));
  await b.clock.advance(500);
  assert.deepEqual(await bodies(a, id), ["once"]);
  a.die();
  const outcome = await b.run(posted.catch((error: unknown) => error));
  if (outcome instanceof Refusal) assert.equal(outcome.code, "store-unavailable");
  const again = await b.run(b.chat.post(ALICE, id, message("after")));
  assert.ok(again.entry.offset > 0);
  assert.deepEqual(await bodies(b, id), ["once", "after"]);
});

test("What may not be done twice is refused with its outcome unknown when its owner dies over it.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  a.faults.wordsLost = 1;
  const removed = b.chat.removeMember(ALICE, id, "bob");
  const refused = assert.rejects(removed, (error) => code("store-unavailable")(error) && /ask again/.test(`${error}`));
  await b.clock.advance(300);
  a.die();
  await b.clock.advance(8_000);
  await refused;
  assert.equal((await b.run(b.chat.members(ALICE, id, { limit: 9 }))).items.length, 1);
});

test("Rooms are made at any node: the record there, the first members by the owner.", async () => {
  const { a, b } = await twoNodes();
  for (let i = 0; i < 6; i++) {
    const at = i % 2 === 0 ? a : b;
    const made = await at.run(at.chat.createRoom(ALICE, { name: `r${i}`, type: "private", members: ["bob"] }));
    assert.deepEqual([made.role, made.headOffset], ["admin", 2]);
    assert.equal((await b.run(b.chat.room(BOB, made.id))).name, `r${i}`);
  }
});

test("Two users have one direct room, whichever nodes make it, and a private message finds it.", async () => {
  const { a, b } = await twoNodes();
  const direct = (at: Stage, by: typeof ALICE, other: string) =>
    at.chat.createRoom(by, { name: "", type: "direct", members: [other] });
  const rooms = await a.run(Promise.all([direct(a, ALICE, "bob"), direct(b, BOB, "alice")]));
  assert.equal(rooms[0]?.id, rooms[1]?.id);
  const [alice, bob] = [a.connect("alice"), b.connect("bob")];
  bob.subscribe("queue", "bob");
  const receipt = alice.send({ user: "bob" }, "psst");
  await a.clock.advance(1_000);
  assert.equal(alice.receiptOf(receipt)?.entry?.room, rooms[0]?.id);
  assert.equal(bob.all("notice").filter(({ notice }) => notice.kind === "entry").length, 1);
});

test("A list asks each owner once for its rooms, and the archive where an owner is silent.", async () => {
  const { a, b } = await twoNodes();
  const ids = [
    await roomAt(a, "public", "alice"),
    await roomAt(a, "public", "alice"),
    await roomAt(b, "public", "alice"),
  ];
  for (const id of ids) await b.run(b.chat.post(BOB, id, message("hi")));
  const before = b.node.calls.counts.asked;
  const mine = await b.run(b.chat.myRooms(BOB, { limit: 50 }));
  assert.ok(b.node.calls.counts.asked - before <= 1);
  assert.deepEqual(mine.items.map(({ id }) => id).sort(), ids.sort());
  assert.deepEqual(mine, await a.run(a.chat.myRooms(BOB, { limit: 50 })));
  a.faults.wordsLost = 1;
  const started = b.clock.monotonic();
  const shown = await b.run(b.chat.publicRooms(ALICE, { limit: 50 }));
  assert.ok(b.clock.monotonic() - started <= 1_100);
  for (const { id, storedOffset } of mine.items)
    assert.equal(shown.items.find((view) => view.id === id)?.storedOffset, storedOffset);
});

test("Counts come from the owners.", async () => {
  const { a, b } = await twoNodes();
  const [here, there, secret] = [
    await roomAt(b, "public", "x"),
    await roomAt(a, "public", "x"),
    await roomAt(a, "private", "x"),
  ];
  a.connect("alice").subscribe("log", there);
  b.connect("bob").subscribe("log", here);
  await a.clock.advance(100);
  const ids = [here, there, secret, "room-404"];
  assert.deepEqual(await b.run(b.chat.counts(BOB, ids)), { [here]: 1, [there]: 1 });
});

test("A room that is deleted from another node ends its subscriptions everywhere.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  const [alice, bob] = [a.connect("alice"), b.connect("bob")];
  alice.subscribe("log", id, { id: "s" });
  bob.subscribe("log", id, { id: "s" });
  await a.clock.advance(100);
  await b.run(b.chat.deleteRoom(ALICE, id));
  for (const client of [alice, bob]) assert.equal(client.all("ended")[0]?.code, "room-deleted");
  await assert.rejects(a.run(a.chat.room(ALICE, id)), code("room-not-found"));
});

test("While shards move to a node that joins, what is asked at any node waits and is not refused.", async () => {
  const { a, b } = await twoNodes();
  const ids: string[] = [];
  for (let i = 0; i < 6; i++) ids.push(await roomAt(i % 2 === 0 ? a : b, "public", "alice"));
  const posts: Promise<unknown>[] = [];
  const reads: Promise<unknown>[] = [];
  const opening = Stage.open({ beside: a });
  for (let lap = 0; lap < 60; lap++) {
    for (const [at, id] of ids.entries()) {
      const stage = (at + lap) % 2 === 0 ? a : b;
      posts.push(stage.chat.post(BOB, id, message(`${lap}`)));
      reads.push(stage.chat.room(BOB, id), stage.chat.join(EVE, id));
    }
    await a.clock.advance(50);
  }
  const c = await a.run(opening);
  assert.ok(ids.some((id) => c.node.ownerOf(id) === c.node.name));
  const outcomes = await a.run(Promise.allSettled([...posts, ...reads]));
  const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [`${outcome.reason}`] : []));
  assert.deepEqual(refused, []);
  for (const id of ids) assert.equal(new Set(await bodies(a, id)).size, 60);
  for (const id of ids) assert.equal((await bodies(a, id)).length, 60);
});
