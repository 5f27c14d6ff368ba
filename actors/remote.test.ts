import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pack } from "./bus.ts";
import { type Client, caller, message, type Stage } from "./node.fixture.ts";
import type { Grant, Remote } from "./remote.ts";
import { roomAt, twoNodes } from "./two.fixture.ts";

const ALICE = caller("alice");

/** Holds what owners answer to grants at a node back until told. */
function holdGrants(stage: Stage): () => void {
  const { remote } = stage.node;
  const asked = remote.grant.bind(remote);
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const grant: Remote["grant"] = async (room, user, heard) => {
    const answer: Grant = await asked(room, user, () => {});
    await held;
    heard(answer);
    return answer;
  };
  Object.assign(remote, { grant });
  return () => {
    Object.assign(remote, { grant: asked });
    release();
  };
}

/** Loses all packs on their way to a node, until told. */
function losePacks(stage: Stage): () => void {
  const { node } = stage;
  const take = node.onPack.bind(node);
  Object.assign(node, { onPack: (_pack: Pack) => {} });
  return () => void Object.assign(node, { onPack: take });
}

/** Offsets heard on a subscription must follow its head without gap or repeat. */
function assertWhole(client: Client, on: string, head: number, last: number): void {
  const offsets = client.all("entry").filter((told) => told.on === on);
  assert.deepEqual(
    offsets.map(({ entry }) => entry.offset),
    Array.from({ length: last - head }, (_, at) => head + 1 + at),
  );
}

test("A subscription to a room that is owned elsewhere is granted by its owner, and goes live at its head.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  await a.run(a.chat.post(ALICE, id, message("before")));
  const [bob, eve] = [b.connect("bob"), b.connect("eve")];
  const on = bob.subscribe("log", id);
  eve.subscribe("log", id);
  eve.subscribe("log", "room-404");
  await b.clock.advance(50);
  const head = bob.receiptOf(on)?.head;
  assert.equal(head?.offset, 3);
  assert.deepEqual(
    eve.all("refused").map(({ code }) => code),
    ["room-not-found", "room-not-found"],
  );
  await a.run(a.chat.post(ALICE, id, message("live")));
  assert.deepEqual(bob.heard(on), ["live"]);
  const replay = bob.subscribe("log", id, { from: { kind: "last", entries: 2 } });
  await b.clock.advance(50);
  assert.deepEqual(bob.heard(replay), ["before", "live"]);
});

test("What is published between the owner's answer and its arrival is shown.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  const bob = b.connect("bob");
  const release = holdGrants(b);
  const on = bob.subscribe("log", id);
  await b.clock.advance(50);
  for (const text of ["m1", "m2"]) await a.run(a.chat.post(ALICE, id, message(text)));
  release();
  await b.clock.advance(50);
  assert.equal(bob.receiptOf(on)?.head?.offset, 2);
  assertWhole(bob, on, 2, 4);
  await a.run(a.chat.post(ALICE, id, message("m3")));
  await b.clock.advance(50);
  assertWhole(bob, on, 2, 5);
});

test("Who is removed between the owner's answer and its arrival is refused.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob", "carol"]);
  const [bob, carol] = [b.connect("bob"), b.connect("carol")];
  carol.subscribe("log", id);
  await b.clock.advance(50);
  const release = holdGrants(b);
  const on = bob.subscribe("log", id);
  const signals = bob.subscribe("signals", id);
  await b.clock.advance(50);
  await a.run(a.chat.removeMember(ALICE, id, "bob"));
  release();
  await a.run(a.chat.post(ALICE, id, message("secret")));
  assert.deepEqual(
    bob.all("refused").map(({ code, receipt }) => [code, receipt]),
    [
      ["room-not-found", on],
      ["room-not-found", signals],
    ],
  );
  assert.deepEqual(bob.heard(on), []);
  assert.equal(b.fanout.size, 1);
});

test("An audience that missed entries takes all up to the grant, removals included, before a subscription attaches.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob", "carol"]);
  const [bob, carol] = [b.connect("bob"), b.connect("carol")];
  const of = bob.subscribe("log", id);
  await b.clock.advance(10);
  const find = losePacks(b);
  await a.run(a.chat.removeMember(ALICE, id, "bob"));
  await a.run(a.chat.post(ALICE, id, message("secret")));
  // Before the heads are looked at.
  const on = carol.subscribe("log", id);
  await b.clock.turn();
  find();
  await b.clock.advance(20);
  assert.equal(carol.receiptOf(on)?.head?.offset, 5);
  assert.deepEqual(carol.heard(on), []);
  assert.deepEqual(bob.heard(of), ["member"]);
  assert.equal(bob.all("ended")[0]?.code, "removed");
});

test("A SUBSCRIBE outlives its owner: the next one grants it.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  const bob = b.connect("bob");
  a.die();
  const on = bob.subscribe("log", id);
  await b.clock.advance(8_000);
  assert.equal(bob.receiptOf(on)?.head?.offset, 2);
  assert.equal(bob.connection.pending, 0);
  await b.run(b.chat.post(ALICE, id, message("on")));
  assert.deepEqual(bob.heard(on), ["on"]);
});

test("A subscription or a connection that ends while another node is asked leaves nothing behind.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  const bob = b.connect("bob");
  const release = holdGrants(b);
  const one = bob.subscribe("log", id);
  await b.clock.advance(10);
  bob.connection.unsubscribe(one, "gone");
  bob.subscribe("signals", id);
  await b.clock.advance(10);
  bob.lose();
  release();
  await b.clock.advance(50);
  assert.ok(bob.receiptOf("gone"));
  assert.deepEqual([b.fanout.size, b.node.audiences.has(id), bob.connection.pending], [0, false, 0]);
});

test("Who was removed by an entry that a broken chain swallowed is ended, and the others go on.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob", "carol"]);
  const [bob, carol] = [b.connect("bob"), b.connect("carol")];
  bob.subscribe("log", id, { id: "s" });
  carol.subscribe("log", id, { id: "s" });
  await b.clock.advance(10);
  const find = losePacks(b);
  await a.run(a.chat.removeMember(ALICE, id, "bob"));
  find();
  b.node.audiences.get(id)?.lost({ offset: 4, term: a.node.shardOf(id).term });
  await b.clock.advance(50);
  assert.equal(bob.all("ended")[0]?.code, "removed");
  assert.equal(carol.all("ended").length, 0);
  assert.equal(carol.all("resumed")[0]?.recovered, false);
});

test("An owner that decided less than was seen before it was asked proves that the log lost its end.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "public", "alice");
  const [bob, carol] = [b.connect("bob"), b.connect("carol")];
  bob.subscribe("log", id, { id: "s" });
  await b.clock.advance(10);
  const { term } = a.node.shardOf(id);
  const audience = b.node.audiences.get(id);
  assert.ok(audience?.position);
  audience.position = { offset: 7, term };
  const on = carol.subscribe("log", id);
  await b.clock.turn();
  assert.deepEqual(carol.receiptOf(on)?.head, { offset: 1, term });
  assert.equal(bob.all("resumed")[0]?.recovered, false);
});

test("An answer under a lower term than what was seen is none.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "public", "alice");
  const [bob, carol] = [b.connect("bob"), b.connect("carol")];
  bob.subscribe("log", id);
  await b.clock.advance(10);
  const { term } = a.node.shardOf(id);
  const audience = b.node.audiences.get(id);
  assert.ok(audience?.position);
  audience.position = { offset: 1, term: term + 1 };
  const on = carol.subscribe("log", id);
  await b.clock.advance(200);
  assert.equal(carol.receiptOf(on), undefined);
  audience.position = { offset: 1, term };
  await b.clock.advance(200);
  assert.deepEqual(carol.receiptOf(on)?.head, { offset: 1, term });
});

test("Typing and marks of a room that is owned elsewhere are its owner's, and refused to who may not see it.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  const [alice, bob] = [a.connect("alice"), b.connect("bob")];
  alice.subscribe("signals", id);
  bob.subscribe("log", id);
  await a.clock.advance(1_000);
  const { entry } = await a.run(a.chat.post(ALICE, id, message("hi")));
  await b.run(b.node.typing(id, "bob", true));
  await b.run(b.node.mark(id, "bob", { kind: "read", offset: entry.offset }));
  await a.clock.advance(200);
  const heard = alice.signalsHeard();
  assert.ok(heard.includes("typing bob start"), heard.join());
  assert.ok(heard.includes(`read bob ${entry.offset}`), heard.join());
  await assert.rejects(b.run(b.node.typing(id, "eve", true)), /room/);
  await assert.rejects(b.run(b.node.mark(id, "eve", { kind: "read", offset: 1 })), /room/);
});

test("Typing is dropped where its owner does not answer; a mark waits for it.", async () => {
  const { a, b } = await twoNodes();
  const id = await roomAt(a, "private", "alice", ["bob"]);
  a.faults.wordsLost = 1;
  await b.run(b.node.typing(id, "bob", true));
  assert.equal(b.node.counters.signalsDropped, 1);
  const marked = b.node.mark(id, "bob", { kind: "read", offset: 2 });
  await b.clock.advance(1_000);
  a.faults.wordsLost = 0;
  await b.run(marked);
});
