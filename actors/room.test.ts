import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import { type CodeWord, Refusal } from "./codes.ts";
import { shardOf } from "./entry.ts";
import { reactionDraft } from "./fate.ts";
import { caller, message, Stage } from "./node.fixture.ts";
import { type Draft, posting } from "./posting.ts";
import { memberDraft } from "./room.state.ts";
import { DERIVED_RUN } from "./writer.ts";

/** A matcher of a refusal by its code. */
const code = (word: CodeWord) => (error: unknown) => error instanceof Refusal && error.code === word;

const DRAFT: Omit<Draft, "key"> = {
  event: "message",
  sender: "alice",
  senderName: "Alice",
  ref: 0,
  contentType: "",
  headers: [],
  body: Buffer.from("x"),
  text: true,
};

/** A posting, and what it is answered. */
function post(stage: Stage, key: string): string[] {
  const heard: string[] = [];
  const reply = {
    urgent: true,
    accepted: () => void heard.push("accepted"),
    stored: () => void heard.push("stored"),
    refused: (refusal: Refusal) => void heard.push(refusal.code),
  };
  stage.node.post("general", posting({ ...DRAFT, key }, reply));
  return heard;
}

test("Commands that wait for a room which cannot be opened are refused, and the next ones are not.", async () => {
  const stage = await Stage.open();
  stage.faults.archiveAway = true;
  const heard = post(stage, "e/1");
  const asked = stage.node.room("general").ask(() => "opened");
  await assert.rejects(stage.run(asked), code("store-unavailable"));
  assert.deepEqual(heard, ["store-unavailable"]);
  assert.equal(stage.node.rooms.size, 0);
  stage.faults.archiveAway = false;
  assert.equal(await stage.run(stage.node.room("general").ask(() => "opened")), "opened");
  assert.equal(stage.node.writer.entries, 0);
});

test("A room that is not there refuses all who wait for it, and is forgotten.", async () => {
  const stage = await Stage.open();
  await assert.rejects(stage.run(stage.node.room("nowhere").ask(() => 1)), code("room-not-found"));
  assert.throws(() => stage.node.room("No Room"), code("room-not-found"));
  assert.equal(stage.node.rooms.size, 0);
});

test("A room that is closed while it opens never comes back, and the next one serves.", async () => {
  const stage = await Stage.open();
  const first = stage.node.room("general");
  first.close();
  await stage.clock.advance(100);
  assert.equal(first.status, "closed");
  assert.notEqual(stage.node.room("general"), first);
  const heard = post(stage, "e/1");
  await stage.clock.advance(100);
  assert.deepEqual(heard, ["accepted", "stored"]);
});

test("Work that goes on in a closed room, or is asked of one, decides nothing.", async () => {
  const stage = await Stage.open();
  const room = stage.node.room("general");
  let go: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const work = room.ask(async () => {
    await gate;
    room.join("alice", "Alice");
  });
  await stage.clock.advance(10);
  room.close();
  go();
  await assert.rejects(stage.run(work), code("store-unavailable"));
  await assert.rejects(
    room.ask(() => 1),
    code("store-unavailable"),
  );
  const again = stage.node.room("general");
  await stage.run(again.ask(() => again.join("bob", "Bob")));
  await stage.clock.advance(100);
  assert.deepEqual(
    (await stage.log("general")).map((entry) => entry.sender),
    ["bob"],
  );
});

test("A fault of ours in a command is told to its caller alone, and the room goes on.", async () => {
  const stage = await Stage.open();
  const room = stage.node.room("general");
  const broken = room.ask(() => {
    throw new TypeError("a fault of ours");
  });
  await assert.rejects(stage.run(broken), TypeError);
  const refused = new Promise((_, reject) => {
    const impossible = { ...DRAFT, key: "e/1", body: undefined as unknown as Uint8Array };
    room.post(posting(impossible, { urgent: true, accepted() {}, stored() {}, refused: reject }));
  });
  await assert.rejects(refused, code("internal"));
  const good = post(stage, "e/2");
  await stage.clock.advance(100);
  assert.deepEqual(good, ["accepted", "stored"]);
  assert.equal(stage.node.writer.entries, 0);
});

test("A room has no more commands waiting than it may have.", async () => {
  const stage = await Stage.open({ limits: { roomMailbox: 2 } });
  const room = stage.node.room("general");
  const waiting = [room.ask(() => 1), room.ask(() => 2)];
  await assert.rejects(
    room.ask(() => 3),
    code("queue-full"),
  );
  assert.deepEqual(post(stage, "e/1"), ["queue-full"]);
  assert.deepEqual(await stage.run(Promise.all(waiting)), [1, 2]);
});

test("A first SEND that has no place makes no member either.", async () => {
  const stage = await Stage.open({ limits: { pendingEntries: 1 } });
  await stage.run(stage.node.room("general").ask(() => 1));
  assert.deepEqual(post(stage, "e/1"), ["queue-full"]);
  assert.equal(stage.node.writer.entries, 0);
  await stage.run(stage.chat.join(caller("alice"), "general"));
  const heard = post(stage, "e/2");
  await stage.clock.advance(100);
  assert.deepEqual(heard, ["accepted", "stored"]);
});

test("What follows from the last stored entries is derived again when the process died before it was.", async () => {
  const stage = await Stage.open();
  await stage.run(stage.chat.post(caller("alice"), "general", message("m")));
  await stage.crash();
  // As the writer leaves them when it dies between insert and derive: the most that one batch may hold.
  const term = (await stage.store.head("general"))?.term ?? 0;
  const entries = Array.from({ length: DERIVED_RUN }, (_, i) => {
    const base = sampleEntry("general", 3 + i, { term, prevTerm: term, sender: `u${i}`, key: `e/x/${i}`, count: 1 });
    if (i === 0) {
      return { ...base, ...memberDraft({ user: "bob", change: "joined", by: "bob" }, "member", "Bob"), sender: "bob" };
    }
    return { ...base, ...reactionDraft(2, { reaction: i % 2 === 0 ? "+" : "-", on: true }) };
  });
  await stage.store.insert(entries);
  const history = await stage.run(stage.chat.history(caller("alice"), "general", { limit: 200 }));
  const { fate } = history.items[1] ?? {};
  assert.equal(fate?.rev, entries.at(-1)?.offset);
  assert.deepEqual([fate?.reactions?.["+"]?.length, fate?.reactions?.["-"]?.length], [31, 32]);
  const { items } = await stage.run(stage.chat.members(caller("alice"), "general", { limit: 10 }));
  assert.deepEqual(
    items.map(({ user }) => user),
    ["alice", "bob"],
  );
});

test("A batch holds no more derived entries of a room at its end than an opening derives again.", async () => {
  const stage = await Stage.open();
  await stage.run(stage.chat.post(caller("alice"), "general", message("m")));
  const batches: string[][] = [];
  const insert = stage.store.insert.bind(stage.store);
  stage.store.insert = (entries) => {
    batches.push(entries.map((entry) => entry.event));
    return insert(entries);
  };
  stage.faults.delayMs = 30;
  const reacting = Array.from({ length: DERIVED_RUN + 20 }, (_, i) =>
    stage.chat.react(caller(`u${i % 40}`), "general", 2, { reaction: i < 40 ? "+" : i < 80 ? "-" : "*", on: true }),
  );
  await stage.run(Promise.all(reacting));
  for (const batch of batches) {
    const run = batch.slice(batch.lastIndexOf("message") + 1).length;
    assert.ok(run <= DERIVED_RUN, `${run} derived entries end a batch`);
    assert.equal(batch.indexOf("reaction") === -1 || !batch.slice(batch.indexOf("reaction")).includes("message"), true);
  }
  const [item] = (await stage.store.page("general", { after: 1, limit: 1, end: "first" })) ?? [];
  assert.equal(item?.fate?.reactions?.["+"]?.length, 40);
});

test("A deletion leaves no body in history, in the archive's fate, or in a replay.", async () => {
  const stage = await Stage.open();
  const alice = caller("alice");
  const { entry } = await stage.run(stage.chat.post(alice, "general", message("secret")));
  await stage.run(stage.chat.deleteMessage(alice, "general", entry.offset));
  for (let i = 0; i < 300; i++) post(stage, `e/${i}`);
  await stage.clock.advance(1_000);
  await stage.clock.advance(60_000);
  const client = stage.connect("bob");
  const on = client.subscribe("log", "general", { from: { kind: "after", position: { offset: 0, term: 0 } } });
  await stage.clock.advance(1_000);
  assert.equal(client.heard(on).length, 303);
  assert.equal(client.heard(on).includes("secret"), false);
  await assert.rejects(
    stage.run(stage.chat.react(alice, "general", entry.offset, { reaction: "+", on: true })),
    code("message-not-found"),
  );
});

test("A foreign entry in the archive is met as a conflict: the room reopens, and what was decided is decided again.", async () => {
  const stage = await Stage.open();
  const [alice, bob] = [stage.connect("alice"), stage.connect("bob")];
  const log = bob.subscribe("log", "general");
  const first = alice.send("general", "before");
  await stage.clock.advance(100);
  assert.ok(alice.receiptOf(first));
  // Another owner came between, and its first entry is stored: ours may not be.
  const shard = shardOf("general", stage.node.shards.length);
  const theirs = await stage.store.claimTerm(shard, "other", "x");
  const { term } = (await stage.store.head("general")) ?? { term: 0 };
  await stage.store.insert([sampleEntry("general", 3, { term: theirs, prevTerm: term, key: "e/other/1", count: 2 })]);
  const receipts = ["one", "two", "three"].map((body) => alice.send("general", body, { id: body }));
  await stage.clock.advance(3);
  receipts.push(alice.send("general", "four"));
  await stage.clock.advance(3_000);
  const stored = await stage.log("general");
  assert.deepEqual(
    stored.map((entry) => entry.offset),
    [1, 2, 3, 4, 5, 6, 7],
  );
  for (const [at, receipt] of receipts.entries()) {
    const { entry } = alice.receiptOf(receipt) ?? {};
    assert.deepEqual([entry?.offset, entry?.term], [at + 4, theirs + 1]);
    assert.equal(alice.all("receipt").filter(({ id }) => id === receipt).length, 1);
  }
  for (const [at, entry] of stored.entries()) assert.equal(entry.prevTerm, stored[at - 1]?.term ?? 0);
  assert.ok(
    bob.all("resumed").some(({ on, recovered }) => on === log && !recovered),
    "the loss is told",
  );
  assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, alice.connection.pending], [0, 0, 0]);
  await stage.clock.advance(100);
  alice.lose();
  bob.lose();
  await stage.clock.advance(60_000);
  assert.deepEqual([stage.node.rooms.size, stage.hub.bytes], [0, 0]);
});

test("An edit that is decided again after an owner change keeps the reactions of its message.", async () => {
  const stage = await Stage.open();
  const alice = caller("alice");
  await stage.run(stage.chat.post(alice, "general", message("m")));
  await stage.run(stage.chat.react(caller("bob"), "general", 2, { reaction: "+", on: true }));
  stage.hub.wipe();
  await stage.run(stage.chat.edit(alice, "general", 2, message("edited")));
  const [item] = await stage.store.page("general", { after: 1, limit: 1, end: "first" });
  assert.deepEqual(item?.fate?.reactions, { "+": ["bob"] });
  assert.equal(Buffer.from(item?.fate?.body ?? []).toString(), "edited");
});

test("A private room that meets an owner change while it is made has its admin.", async () => {
  const stage = await Stage.open({ shards: 1 });
  await stage.run(stage.chat.post(caller("alice"), "general", message("m")));
  stage.hub.wipe();
  const id = await stage.makeRoom("private", "alice", ["bob"]);
  const { items } = await stage.run(stage.chat.members(caller("bob"), id, { limit: 10 }));
  assert.deepEqual(
    items.map(({ user, role }) => `${user} ${role}`),
    ["alice admin", "bob member"],
  );
});
