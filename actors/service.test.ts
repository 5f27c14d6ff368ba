import assert from "node:assert/strict";
import { test } from "node:test";
import { type CodeWord, Refusal } from "./codes.ts";
import { ChatService } from "./messages.ts";
import { caller, message, Stage } from "./node.fixture.ts";

const code = (word: CodeWord) => (error: unknown) => error instanceof Refusal && error.code === word;
const [ALICE, BOB, EVE] = [caller("alice"), caller("bob"), caller("eve")];

/** A node with a private room of alice and bob. */
async function club(): Promise<{ stage: Stage; id: string }> {
  const stage = await Stage.open();
  return { stage, id: await stage.makeRoom("private", "alice", ["bob"]) };
}

async function roles(stage: Stage, room: string): Promise<string[]> {
  const { items } = await stage.run(stage.chat.members(ALICE, room, { limit: 50 }));
  return items.map(({ user, role }) => `${user} ${role}`);
}

test("A private room is never left without an admin.", async () => {
  const { stage, id } = await club();
  const { chat } = stage;
  await assert.rejects(stage.run(chat.leave(ALICE, id)), code("last-admin"));
  await assert.rejects(stage.run(chat.removeMember(ALICE, id, "alice")), code("last-admin"));
  await assert.rejects(stage.run(chat.setRole(ALICE, id, "alice", "member")), code("last-admin"));
  await stage.run(chat.setRole(ALICE, id, "bob", "admin"));
  const both = await stage.run(Promise.allSettled([chat.leave(ALICE, id), chat.leave(BOB, id)]));
  assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
});

test("A room that an owner before this one renamed or deleted meanwhile keeps that: nothing is lost without a word.", async () => {
  const { stage, id } = await club();
  const { chat, store, node } = stage;
  const record = await store.room(id);
  assert.ok(record);
  await store.derive([{ kind: "room", room: { ...record, name: "theirs", rev: record.rev + 1 } }]);
  await assert.rejects(stage.run(chat.renameRoom(ALICE, id, "ours")), code("conflict"));
  assert.equal((await stage.run(chat.room(ALICE, id))).name, "theirs");
  assert.equal((await stage.run(chat.renameRoom(ALICE, id, "ours"))).name, "ours");

  const now = await store.room(id);
  assert.ok(now);
  await store.derive([{ kind: "room", room: { ...now, deletedAt: 1, rev: now.rev + 1 } }]);
  node.onNotice({ kind: "dissolved", room: id });
  await assert.rejects(stage.run(chat.post(ALICE, id, message("to nobody"))), code("room-not-found"));
});

test("A late copy of the question that made a room brings nobody back.", async () => {
  const { stage, id } = await club();
  const local = new ChatService(stage.node, () => id);
  const again = (): Promise<boolean> => stage.run(local.addFirst(ALICE, id, { first: "admin", others: ["bob"] }));
  await stage.run(stage.chat.removeMember(ALICE, id, "bob"));
  await stage.clock.advance(11_000);
  assert.equal(await again(), false);
  assert.deepEqual(await roles(stage, id), ["alice admin"]);
});

test("Two admins who remove each other at once leave one.", async () => {
  const { stage, id } = await club();
  await stage.run(stage.chat.setRole(ALICE, id, "bob", "admin"));
  const tries = [stage.chat.removeMember(ALICE, id, "bob"), stage.chat.removeMember(BOB, id, "alice")];
  const outcomes = await stage.run(Promise.allSettled(tries));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["fulfilled", "rejected"],
  );
  assert.deepEqual(await roles(stage, id), ["alice admin"]);
});

test("Only admins change members, name and being of a room.", async () => {
  const { stage, id } = await club();
  const { chat } = stage;
  for (const refused of [
    () => chat.addMember(BOB, id, { id: "eve", name: "", role: "member" }),
    () => chat.removeMember(BOB, id, "alice"),
    () => chat.setRole(BOB, id, "bob", "admin"),
    () => chat.renameRoom(BOB, id, "mine"),
    () => chat.deleteRoom(BOB, id),
  ])
    await assert.rejects(stage.run<unknown>(refused()), code("forbidden"));
  assert.equal((await stage.run(chat.renameRoom(ALICE, id, "ours"))).name, "ours");
  await assert.rejects(stage.run(chat.removeMember(ALICE, id, "eve")), code("user-not-found"));
});

test("A private room looks to others like one that is not there.", async () => {
  const { stage, id } = await club();
  const { chat } = stage;
  for (const room of [id, "room-404", "No Room"]) {
    for (const refused of [
      async () => chat.room(EVE, room),
      async () => chat.join(EVE, room),
      async () => chat.leave(EVE, room),
      async () => chat.members(EVE, room, { limit: 1 }),
      async () => chat.presence(EVE, room),
      async () => chat.markRead(EVE, room, 1),
      async () => chat.history(EVE, room, { limit: 1 }),
      async () => chat.post(EVE, room, message("x")),
      async () => chat.edit(EVE, room, 1, message("x")),
      async () => chat.deleteMessage(EVE, room, 1),
      async () => chat.react(EVE, room, 1, { reaction: "+", on: true }),
      async () => chat.addMember(EVE, room, { id: "eve", name: "", role: "admin" }),
      async () => chat.renameRoom(EVE, room, "x"),
      async () => chat.deleteRoom(EVE, room),
      async () => stage.node.typing(room, "eve", true),
      async () => stage.node.mark(room, "eve", { kind: "read", offset: 1 }),
    ])
      await assert.rejects(stage.run<unknown>(refused()), code("room-not-found"), `${refused} of ${room}`);
  }
  assert.deepEqual(await stage.run(chat.counts(EVE, [id, "room-404", "general"])), { general: 0 });
  assert.equal((await stage.run(chat.publicRooms(EVE, { limit: 10 }))).items.length, 1);
});

test("The room general cannot be deleted, nor renamed, as nobody is its admin.", async () => {
  const stage = await Stage.open();
  await stage.run(stage.chat.join(ALICE, "general"));
  await assert.rejects(stage.run(stage.chat.deleteRoom(ALICE, "general")), code("forbidden"));
  await assert.rejects(stage.run(stage.chat.renameRoom(ALICE, "general", "mine")), code("forbidden"));
});

test("Two users have one direct room, also when both make it at once, and it stays as it is.", async () => {
  const stage = await Stage.open();
  const { chat } = stage;
  stage.faults.delayMs = 20;
  const direct = (by: typeof ALICE, other: string) =>
    chat.createRoom(by, { name: "", type: "direct", members: [other] });
  const rooms = await stage.run(Promise.all([direct(ALICE, "bob"), direct(BOB, "alice"), direct(ALICE, "bob")]));
  const [{ id } = { id: "" }] = rooms;
  for (const room of rooms) assert.deepEqual([room.id, room.type, room.role], [id, "direct", "member"]);
  stage.faults.delayMs = 0;
  assert.deepEqual(await roles(stage, id), ["alice member", "bob member"]);
  assert.equal((await stage.run(chat.room(ALICE, id))).peer, "bob");
  for (const refused of [
    () => chat.leave(ALICE, id),
    () => chat.addMember(ALICE, id, { id: "eve", name: "", role: "member" }),
    () => chat.deleteRoom(ALICE, id),
    () => direct(ALICE, "alice"),
    () => chat.createRoom(ALICE, { name: "", type: "direct", members: ["bob", "eve"] }),
  ])
    await assert.rejects(stage.run<unknown>(refused()), Refusal);
});

test("A member change is answered once it is stored, and done again changes nothing.", async () => {
  const { stage, id } = await club();
  const { chat } = stage;
  const eve = { id: "eve", name: "Eve", role: "member" } as const;
  await stage.run(chat.addMember(ALICE, id, eve));
  assert.equal((await stage.store.member(id, "eve"))?.name, "Eve");
  const { length } = await stage.log(id);
  await stage.run(chat.addMember(ALICE, id, eve));
  await stage.run(chat.setRole(ALICE, id, "eve", "member"));
  await stage.run(chat.join(EVE, id));
  assert.equal((await stage.log(id)).length, length);
  await stage.run(chat.leave(EVE, id));
  await assert.rejects(stage.run(chat.room(EVE, id)), code("room-not-found"));
  assert.deepEqual(await roles(stage, id), ["alice admin", "bob member"]);
});

test("What is shown and not stored yet is in history, and the answer says what is stored.", async () => {
  const stage = await Stage.open();
  const { chat } = stage;
  for (let i = 1; i <= 5; i++) await stage.run(chat.post(ALICE, "general", message(`m${i}`)));
  const client = stage.connect("alice");
  for (let i = 6; i <= 8; i++) client.send("general", `m${i}`, { level: "accepted" });
  await stage.clock.advance(1);
  const offsets = async (query: object): Promise<number[]> => {
    const { items, storedOffset } = await chat.history(ALICE, "general", { limit: 4, ...query });
    assert.equal(storedOffset, 6);
    return items.map(({ entry }) => entry.offset);
  };
  assert.deepEqual(await offsets({}), [6, 7, 8, 9]);
  assert.deepEqual(await offsets({ before: 8 }), [4, 5, 6, 7]);
  assert.deepEqual(await offsets({ after: 3 }), [4, 5, 6, 7]);
  assert.deepEqual(await offsets({ after: 7 }), [8, 9]);
  assert.deepEqual(await offsets({ after: 9 }), []);
});

test("Only its sender edits a message, its sender or an admin deletes it, and each reacts for themselves.", async () => {
  const { stage, id } = await club();
  const { chat } = stage;
  const { entry } = await stage.run(chat.post(BOB, id, message("m")));
  await assert.rejects(stage.run(chat.edit(ALICE, id, entry.offset, message("x"))), code("forbidden"));
  const edited = await stage.run(chat.edit(BOB, id, entry.offset, message("better")));
  assert.equal(new TextDecoder().decode(edited.fate?.body), "better");
  const both = [ALICE, BOB].map((by) => chat.react(by, id, entry.offset, { reaction: "+", on: true }));
  await stage.run(Promise.all(both));
  const taken = await stage.run(chat.react(BOB, id, entry.offset, { reaction: "+", on: false }));
  assert.deepEqual(taken.fate?.reactions, { "+": ["alice"] });
  await stage.run(chat.deleteMessage(ALICE, id, entry.offset));
  await assert.rejects(stage.run(chat.edit(BOB, id, entry.offset, message("x"))), code("message-not-found"));
  const [item] = await stage.store.page(id, { after: entry.offset - 1, limit: 1, end: "first" });
  assert.deepEqual([item?.fate?.body, item?.fate?.reactions], [undefined, undefined]);
});
