import assert from "node:assert/strict";
import { test } from "node:test";
import type { Position } from "./entry.ts";
import { type Client, caller, message, Stage } from "./node.fixture.ts";

const after = (position: Position) => ({ from: { kind: "after", position } }) as const;
const last = (entries: number) => ({ from: { kind: "last", entries } }) as const;

/** A node and `count` messages `m1` to `m…` behind alice's join, stored. */
async function talked(count: number, limits = {}): Promise<Stage> {
  const stage = await Stage.open({ limits });
  const alice = stage.connect("alice");
  for (let i = 1; i <= count; i++) {
    alice.send("general", `m${i}`);
    if (i % 50 === 0) await stage.clock.advance(100);
  }
  await stage.clock.advance(1_000);
  return stage;
}

function resumedOf(client: Client, on: string): boolean | undefined {
  return client.all("resumed").find((told) => told.on === on)?.recovered;
}

test("A resume replays what was missed and goes live, from memory and from the archive.", async () => {
  const stage = await talked(600);
  for (const offset of [0, 1, 100, 590, 601]) {
    const bob = stage.connect("bob");
    const on = bob.subscribe("log", "general", after({ offset, term: offset === 0 ? 0 : 1 }));
    await stage.clock.advance(100);
    assert.equal(resumedOf(bob, on), true);
    assert.equal(bob.heard(on).length, 601 - offset);
    assert.deepEqual(bob.told[bob.told.findIndex((told) => told.kind === "resumed") - 1]?.kind, "receipt");
    bob.lose();
  }
});

test("A position that is not on the log is told, and nothing is replayed.", async () => {
  const stage = await talked(300);
  for (const position of [
    { offset: 302, term: 1 },
    { offset: 301, term: 2 },
    { offset: 5, term: 2 },
    { offset: 5, term: 0 },
  ]) {
    const bob = stage.connect("bob");
    const on = bob.subscribe("log", "general", after(position));
    await stage.clock.advance(100);
    assert.equal(resumedOf(bob, on), false, JSON.stringify(position));
    assert.deepEqual(bob.heard(on), []);
    bob.lose();
  }
});

test("Further behind than the bound is told, and the last N are replayed.", async () => {
  const stage = await talked(60, { replayEntries: 20 });
  const bob = stage.connect("bob");
  const far = bob.subscribe("log", "general", after({ offset: 40, term: 1 }));
  const near = bob.subscribe("log", "general", after({ offset: 41, term: 1 }));
  const two = bob.subscribe("log", "general", last(2));
  const none = bob.subscribe("log", "general", last(0));
  await stage.clock.advance(100);
  assert.deepEqual(
    [far, near, two, none].map((on) => [resumedOf(bob, on), bob.heard(on).length]),
    [
      [false, 0],
      [true, 20],
      [true, 2],
      [true, 0],
    ],
  );
  assert.deepEqual(bob.heard(two), ["m59", "m60"]);
});

test("A subscription that ends while its grant is under way is answered, and leaves nothing behind.", async () => {
  const stage = await talked(3);
  await stage.clock.advance(60_000);
  stage.faults.delayMs = 100;
  const bob = stage.connect("bob");
  bob.subscribe("log", "general", { id: "a" });
  await stage.clock.advance(10);
  bob.connection.unsubscribe("a", "gone");
  assert.equal(stage.node.audiences.has("general"), false);
  bob.subscribe("log", "general", { id: "b" });
  await stage.clock.advance(2_000);
  assert.ok(bob.receiptOf("a") && bob.receiptOf("gone") && bob.receiptOf("b")?.head);
  assert.equal(stage.fanout.size, 1);
  await stage.run(stage.chat.post(caller("alice"), "general", message("live")));
  assert.deepEqual(bob.heard("a"), []);
  assert.deepEqual(bob.heard("b"), ["live"]);
  bob.lose();
  assert.equal(stage.node.audiences.has("general"), false);
  assert.equal(bob.connection.pending, 0);
});

test("A connection that is lost while its grant is under way leaves nothing behind.", async () => {
  const stage = await talked(3);
  await stage.clock.advance(60_000);
  stage.faults.delayMs = 100;
  const bob = stage.connect("bob");
  bob.subscribe("log", "general");
  bob.subscribe("signals", "general");
  await stage.clock.advance(10);
  bob.lose();
  await stage.clock.advance(1_000);
  assert.deepEqual([stage.fanout.size, stage.node.audiences.has("general"), bob.connection.pending], [0, false, 0]);
});

test("What is accepted between a first grant and its attachment is shown.", async () => {
  const stage = await talked(1);
  const [alice, bob] = [stage.connect("alice"), stage.connect("bob")];
  for (let i = 0; i < 5; i++) {
    alice.send("general", `n${i}`);
    const on = bob.subscribe("log", "general");
    await stage.clock.turn();
    alice.send("general", "after");
    await stage.clock.advance(50);
    const head = bob.receiptOf(on)?.head?.offset ?? 0;
    const entries = bob.all("entry").filter((told) => told.on === on);
    assert.deepEqual(
      entries.map(({ entry }) => entry.offset),
      Array.from({ length: entries.length }, (_, at) => head + 1 + at),
    );
    assert.equal(entries.at(-1)?.entry.offset, stage.node.room("general").state.offset);
    bob.connection.unsubscribe(on, undefined);
  }
  assert.equal(stage.node.counters.gaps, 0);
});

test("A removed member sees the removal and nothing after it, also while a replay is under way.", async () => {
  const stage = await Stage.open();
  const club = await stage.makeRoom("private", "alice", ["bob"]);
  const alice = stage.connect("alice");
  for (let i = 0; i < 400; i++) {
    alice.send(club, `m${i}`);
    if (i % 50 === 0) await stage.clock.advance(100);
  }
  await stage.clock.advance(1_000);
  const bob = stage.connect("bob");
  const live = bob.subscribe("log", club);
  const signals = bob.subscribe("signals", club);
  await stage.clock.advance(10);
  stage.faults.delayMs = 50;
  const replaying = bob.subscribe("log", club, after({ offset: 5, term: 1 }));
  const removal = stage.chat.removeMember(caller("alice"), club, "bob");
  alice.send(club, "secret");
  await stage.run(removal);
  alice.send(club, "secret too");
  await stage.clock.advance(5_000);
  assert.equal(bob.heard(live).at(-1), "member");
  for (const on of [live, signals, replaying]) {
    assert.equal(
      bob.heard(on).some((said) => said.startsWith("secret")),
      false,
    );
    assert.equal(bob.all("ended").find((told) => told.on === on)?.code, "removed");
  }
  stage.faults.delayMs = 0;
  bob.subscribe("log", club, { id: "again" });
  await stage.clock.advance(100);
  assert.equal(bob.all("refused").at(-1)?.code, "room-not-found");
  assert.equal(stage.fanout.size, 0);
});

test("A deleted room ends its subscriptions, waiting ones too, and leaves nothing in the hot log.", async () => {
  const stage = await Stage.open();
  const club = await stage.makeRoom("private", "alice", ["bob"]);
  const bob = stage.connect("bob");
  const on = bob.subscribe("log", club);
  await stage.clock.advance(10);
  bob.send(club, "last");
  await stage.run(stage.chat.deleteRoom(caller("alice"), club));
  assert.equal(bob.all("ended").find((told) => told.on === on)?.code, "room-deleted");
  bob.send(club, "too late");
  await stage.clock.advance(2_000);
  assert.deepEqual(
    bob.all("refused").map((told) => told.code),
    ["room-not-found"],
  );
  assert.equal(stage.hub.bytes, 0);
});

test("A connection has no more subscriptions than it may, and each id once.", async () => {
  const stage = await Stage.open({ limits: { subscriptions: 2 } });
  const bob = stage.connect("bob");
  bob.subscribe("log", "general", { id: "a" });
  assert.throws(() => bob.subscribe("log", "general", { id: "a" }), /already open/);
  bob.subscribe("log", "general", { id: "b" });
  assert.equal(bob.all("refused")[0]?.code, "too-many-subscriptions");
});

test("A position that died with the process is told, also when another entry stands there now.", async () => {
  const stage = await talked(3);
  const bob = stage.connect("bob");
  bob.subscribe("log", "general", { id: "s" });
  await stage.clock.advance(10);
  stage.faults.archiveAway = true;
  stage.connect("alice").send("general", "shown, never stored");
  await stage.clock.advance(10);
  const seen = bob.all("entry").at(-1)?.entry;
  assert.deepEqual([seen?.offset, seen?.term], [5, 1]);
  stage.faults.archiveAway = false;
  await stage.crash();
  const back = stage.connect("bob");
  const beyond = back.subscribe("log", "general", after({ offset: 5, term: 1 }));
  await stage.clock.advance(100);
  for (const body of ["other", "and on"]) await stage.run(stage.chat.post(caller("alice"), "general", message(body)));
  const lost = back.subscribe("log", "general", after({ offset: 5, term: 1 }));
  const kept = back.subscribe("log", "general", after({ offset: 4, term: 1 }));
  await stage.clock.advance(100);
  assert.deepEqual(
    [beyond, lost, kept].map((on) => resumedOf(back, on)),
    [false, false, true],
  );
  assert.deepEqual(back.heard(beyond), ["other", "and on"]);
  assert.deepEqual(back.heard(lost), []);
  assert.deepEqual(back.heard(kept), ["other", "and on"]);
});
