import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import type { AppendAnswer, Bus } from "./bus.ts";
import { StoreFailure } from "./codes.ts";
import { type Client, caller, Stage } from "./node.fixture.ts";
import { roomAt, twoNodes } from "./two.fixture.ts";

/** A node of one shard, and alice as a member of `general`, stored. */
async function scene(): Promise<{ stage: Stage; alice: Client }> {
  const stage = await Stage.open({ shards: 1 });
  const alice = stage.connect("alice");
  alice.subscribe("log", "general", { id: "log" });
  alice.send("general", "joins");
  await stage.clock.advance(100);
  return { stage, alice };
}

/** Puts `append` in the place of the bus's own for one call. */
function once(stage: Stage, append: (own: () => Promise<AppendAnswer>) => Promise<AppendAnswer>): void {
  const bus = stage.node.bus as { append: Bus["append"] };
  const own = bus.append;
  bus.append = (...call) => {
    bus.append = own;
    return append(() => own(...call));
  };
}

async function bodies(stage: Stage): Promise<string[]> {
  return (await stage.log("general")).slice(1).map((entry) => new TextDecoder().decode(entry.body));
}

/** Holds the next append's answer back until `land` is called; unless it is lost, it happens. */
function heldBack(stage: Stage, answer: "ok" | "lost" | "unheard"): { land: () => void } {
  let land: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    land = resolve;
  });
  once(stage, async (own) => {
    const given = answer === "lost" ? answer : await own();
    await gate;
    if (answer === "unheard") throw new StoreFailure(answer);
    return given;
  });
  return { land };
}

/** Another node's entry at the third place of `general`, where the next of this node is to be stored. */
async function taken(stage: Stage, term: number): Promise<void> {
  const prevTerm = stage.node.shardOf("general").term;
  await stage.store.insert([sampleEntry("general", 3, { term, prevTerm, key: "e/other/1", count: 2 })]);
}

/** Alice says each in a SEND of its own, all in one turn. */
async function say(stage: Stage, alice: Client, said: readonly string[]): Promise<void> {
  for (const body of said) alice.send("general", body);
  await stage.clock.turn();
}

test("An append that was accepted unheard has one effect, also when the shard is owned again before it is repeated.", async () => {
  for (const reown of [false, true]) {
    for (const happens of [false, true]) {
      const { stage, alice } = await scene();
      once(stage, async (own) => {
        if (happens) await own();
        throw new StoreFailure("unheard");
      });
      const receipts = ["one", "two"].map((body) => alice.send("general", body));
      receipts.push(alice.send("general", "three", { id: "three", level: "accepted" }));
      await stage.clock.advance(1);
      const shard = stage.node.shardOf("general");
      if (reown) shard.lost(shard.term, "as a renewal says");
      receipts.push(alice.send("general", "later"));
      receipts.push(alice.send("general", "a retry", { id: "three" }));
      await stage.clock.advance(2_000);
      assert.deepEqual(await bodies(stage), ["joins", "one", "two", "three", "later"]);
      assert.deepEqual(alice.heard("log"), ["member", "joins", "one", "two", "three", "later"]);
      for (const receipt of receipts)
        assert.equal(
          alice.all("receipt").filter(({ id }) => id === receipt).length,
          1,
          `${receipt} ${reown} ${happens}`,
        );
      assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, alice.connection.pending], [0, 0, 0]);
      assert.equal(alice.all("resumed").length, 0);
    }
  }
});

test("A room is not opened under a new term before what is on its way under the old one has landed.", async () => {
  const { stage, alice } = await scene();
  const { land } = heldBack(stage, "ok");
  alice.send("general", "on its way");
  await stage.clock.advance(1);
  const shard = stage.node.shardOf("general");
  const { term } = shard;
  shard.lost(term, "as a renewal says");
  alice.send("general", "waits");
  await stage.clock.advance(500);
  assert.equal(shard.term, term + 1);
  assert.deepEqual(await bodies(stage), ["joins"]);
  land();
  await stage.clock.advance(500);
  assert.deepEqual(await bodies(stage), ["joins", "on its way", "waits"]);
  assert.deepEqual(alice.heard("log"), ["member", "joins", "on its way", "waits"]);
});

test("After a conflict nothing that follows is stored out of its place, also what was on its way then.", async () => {
  for (const sameTerm of [false, true]) {
    const { stage, alice } = await scene();
    const { term } = stage.node.shardOf("general");
    await taken(stage, sameTerm ? term : await stage.store.claimTerm(0, "other", "x"));
    alice.send("general", "meets it", { id: "a" });
    await stage.clock.turn();
    const { land } = heldBack(stage, "ok");
    alice.send("general", "on its way", { id: "b" });
    await stage.clock.advance(100);
    land();
    await stage.clock.advance(2_000);
    const log = await stage.log("general");
    assert.deepEqual(
      log.map(({ offset }) => offset),
      [1, 2, 3, 4, 5],
    );
    assert.deepEqual(
      log.map(({ prevTerm }) => prevTerm),
      log.map((_, at) => log[at - 1]?.term ?? 0),
    );
    const said = (await bodies(stage)).slice(2);
    // No two owners share a term: where an entry of our own stood there, what the hot log has would follow it.
    assert.deepEqual(sameTerm ? said.reverse() : said, ["meets it", "on its way"]);
    assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, alice.connection.pending], [0, 0, 0]);
  }
});

test("After a conflict all is decided again as it was said: what met it, what was on its way, what was decided and what waits.", async () => {
  for (const answer of ["ok", "lost", "unheard"] as const) {
    const { stage, alice } = await scene();
    await taken(stage, await stage.store.claimTerm(0, "other", "x"));
    await say(stage, alice, ["1", "2"]);
    const { land } = heldBack(stage, answer);
    await say(stage, alice, ["3", "4"]);
    await say(stage, alice, ["5", "6"]);
    await stage.clock.advance(100);
    await say(stage, alice, ["7", "8"]);
    land();
    await say(stage, alice, ["9"]);
    await stage.clock.advance(3_000);
    assert.deepEqual((await bodies(stage)).slice(2), ["1", "2", "3", "4", "5", "6", "7", "8", "9"], answer);
    assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, alice.connection.pending], [0, 0, 0]);
  }
});

test("What an earlier process said and met a conflict is decided again before what was said to this one.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const early = stage.connect("alice");
  await say(stage, early, ["joins"]);
  await stage.clock.advance(100);
  stage.faults.archiveAway = true;
  await say(stage, early, ["1", "2"]);
  await stage.clock.advance(10);
  early.lose();
  stage.faults.archiveAway = false;
  const { insert } = stage.store;
  stage.store.insert = async (entries) => {
    stage.store.insert = insert;
    await taken(stage, await stage.store.claimTerm(0, "other", "x"));
    return stage.store.insert(entries);
  };
  await stage.crash({ keepHub: true });
  const alice = stage.connect("alice");
  while (!stage.node.owns("general") || stage.node.room("general").status === "opening") await stage.clock.advance(1);
  const { land } = heldBack(stage, "ok");
  await say(stage, alice, ["3"]);
  await say(stage, alice, ["4"]);
  await stage.clock.advance(500);
  await say(stage, alice, ["5"]);
  land();
  await stage.clock.advance(3_000);
  assert.deepEqual((await bodies(stage)).slice(2), ["1", "2", "3", "4", "5"]);
  assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, alice.connection.pending], [0, 0, 0]);
});

test("A trim that comes late under an old term does not cost the shard its new one.", async () => {
  const { stage } = await scene();
  const shard = stage.node.shardOf("general");
  const { term } = shard;
  shard.lost(term, "as a renewal says");
  await stage.clock.advance(500);
  shard.lost(term, "a late trim");
  await stage.clock.advance(500);
  assert.deepEqual([shard.term, shard.state], [term + 1, "owning"]);
});

test("While the archive is away a shard that lost its hot log waits, and its rooms take up again what was asked.", async () => {
  const { stage, alice } = await scene();
  stage.hub.wipe();
  stage.faults.archiveAway = true;
  const receipt = alice.send("general", "waits");
  await stage.clock.advance(1_000);
  assert.notEqual(stage.node.shardOf("general").state, "owning");
  assert.equal(alice.receiptOf(receipt), undefined);
  stage.faults.archiveAway = false;
  await stage.clock.advance(2_000);
  assert.ok(alice.receiptOf(receipt));
  assert.deepEqual(alice.heard("log"), ["member", "joins", "waits"]);
});

test("What is decided while something is shown leaves with what the turn after it brings, in one append.", async () => {
  const { stage, alice } = await scene();
  const appended: string[][] = [];
  const bus = stage.node.bus as { append: Bus["append"] };
  const own = bus.append;
  let answer = (): void => assert.fail("nothing was appended");
  bus.append = async (shard, term, packs) => {
    appended.push(packs.flatMap(({ entries }) => entries.map(({ body }) => new TextDecoder().decode(body))));
    if (appended.length === 1) await new Promise<void>((resolve) => (answer = resolve));
    return own(shard, term, packs);
  };
  alice.send("general", "one");
  await stage.clock.turn();
  alice.send("general", "while it is on its way");
  alice.onHear = () => {
    alice.onHear = undefined;
    alice.send("general", "as it is shown");
    stage.clock.endOfTurn(() => queueMicrotask(() => alice.send("general", "after it was written")));
  };
  answer();
  await stage.clock.advance(100);
  assert.deepEqual(appended, [["one"], ["while it is on its way", "as it is shown", "after it was written"]]);
  assert.deepEqual(alice.heard("log").slice(2), appended.flat());
});

/** Notes the bodies of each append. */
function appendsOf(stage: Stage, alter: (call: number) => AppendAnswer | undefined = () => undefined): string[][] {
  const appended: string[][] = [];
  const bus = stage.node.bus as { append: Bus["append"] };
  const own = bus.append;
  bus.append = async (shard, term, packs) => {
    appended.push(packs.flatMap(({ entries }) => entries.map(({ body }) => new TextDecoder().decode(body))));
    return alter(appended.length) ?? own(shard, term, packs);
  };
  return appended;
}

/** So many come to the room as make a crowd. */
async function crowded(stage: Stage): Promise<void> {
  for (const name of said(0, 64)) stage.connect(`user${name}`).subscribe("log", "general");
  await stage.clock.advance(100);
}

const said = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `${from + i}`);

test("In a room of few, all messages of a turn leave with it.", async () => {
  const { stage, alice } = await scene();
  const appended = appendsOf(stage);
  for (const body of said(0, 70)) alice.send("general", body);
  await stage.clock.advance(100);
  assert.deepEqual(appended, [said(0, 70)]);
});

test("Before a crowd, of more messages than a write holds those that would not fill one leave with what the next turn brings.", async () => {
  const { stage, alice } = await scene();
  await crowded(stage);
  const appended = appendsOf(stage);
  for (const body of said(0, 70)) alice.send("general", body);
  stage.clock.endOfTurn(() => said(70, 75).forEach((body) => void alice.send("general", body)));
  await stage.clock.advance(100);
  for (const body of said(75, 107)) alice.send("general", body);
  await stage.clock.advance(100);
  for (const body of said(107, 138)) alice.send("general", body);
  await stage.clock.advance(100);
  assert.deepEqual(appended, [said(0, 64), said(64, 75), said(75, 107), said(107, 138)]);
  assert.deepEqual(alice.heard("log").slice(2), said(0, 138));
});

test("What waits for the next turn keeps its place when the append before it was not accepted.", async () => {
  const { stage, alice } = await scene();
  await crowded(stage);
  const appended = appendsOf(stage, (call) => (call === 1 ? "lost" : undefined));
  const receipts = said(0, 40).map((body) => alice.send("general", body));
  await stage.clock.advance(5_000);
  assert.deepEqual(appended[0], said(0, 32));
  assert.deepEqual(alice.heard("log").slice(2), said(0, 40));
  assert.deepEqual(await bodies(stage), ["joins", ...said(0, 40)]);
  for (const receipt of receipts) assert.ok(alice.receiptOf(receipt));
});

test("A shard is let go at the first try though more was decided than is on its way, all of which the next owner decides.", async () => {
  const { a, b } = await twoNodes();
  const room = await roomAt(a, "public", "alice");
  const [alice, bob] = [a.connect("alice"), b.connect("bob")];
  bob.subscribe("log", room, { id: "log" });
  alice.send(room, "first");
  await a.clock.advance(500);
  const slow =
    <T>(call: (...args: never[]) => Promise<T>) =>
    (...args: never[]): Promise<T> =>
      new Promise((resolve, reject) => void a.clock.after(5, () => call(...args).then(resolve, reject)));
  const { bus, leases } = a.node;
  Object.assign(bus, { append: slow(bus.append.bind(bus) as never) });
  Object.assign(leases, { renew: slow(leases.renew.bind(leases) as never) });
  const receipts = [alice.send(room, "on its way")];
  await a.clock.turn();
  receipts.push(alice.send(room, "decided"));
  const lock = await a.run(a.node.shardOf(room).letGo());
  assert.ok(lock !== undefined);
  receipts.push(alice.send(room, "after it"));
  assert.equal(await a.run(b.node.shardOf(room).receive(lock)), true);
  await a.clock.advance(3_000);
  assert.deepEqual(bob.heard("log"), ["first", "on its way", "decided", "after it"]);
  for (const receipt of receipts) assert.ok(alice.receiptOf(receipt));
});

test("What is decided leaves when the shard stays after all.", async () => {
  const { a } = await twoNodes();
  const room = await roomAt(a, "public", "alice");
  const alice = a.connect("alice");
  alice.subscribe("log", room, { id: "log" });
  await a.clock.advance(500);
  alice.send(room, "first");
  await a.clock.advance(500);
  const { leases } = a.node;
  let land: () => void = () => {};
  const landing = new Promise<void>((resolve) => {
    land = resolve;
  });
  once(a, async (own) => {
    const answer = await own();
    await landing;
    return answer;
  });
  alice.send(room, "on its way");
  await a.clock.turn();
  alice.send(room, "decided");
  const going = a.node.shardOf(room).letGo();
  const { renew } = leases;
  const unheard = (): Promise<never> =>
    new Promise((_, reject) => void a.clock.after(5, () => reject(new StoreFailure("unheard"))));
  Object.assign(leases, { renew: unheard });
  land();
  await assert.rejects(a.run(going), StoreFailure);
  Object.assign(leases, { renew });
  await a.clock.advance(500);
  assert.deepEqual(alice.heard("log"), ["first", "on its way", "decided"]);
});

test("A room that is deleted with more decided than is on its way, none of which is accepted, stops no other and leaves nothing.", async () => {
  for (const own of [true, false]) {
    const stage = await Stage.open({ shards: 1 });
    const room = await stage.makeRoom("public", "alice");
    const [alice, bob] = [stage.connect("alice"), stage.connect("bob")];
    alice.subscribe("queue", "alice");
    bob.subscribe("log", "general", { id: "log" });
    for (const id of [room, "general"]) alice.send(id, "first");
    await stage.clock.advance(500);
    let land: () => void = () => {};
    const landing = new Promise<void>((resolve) => {
      land = resolve;
    });
    once(stage, async () => {
      await landing;
      return "lost";
    });
    const sent = [alice.send(own ? room : "general", "on its way")];
    await stage.clock.turn();
    sent.push(alice.send(room, "decided"));
    await stage.clock.turn();
    const { node } = stage;
    const deleted = stage.chat.deleteRoom(caller("alice"), room);
    await stage.clock.advance(100);
    await deleted;
    land();
    await stage.clock.advance(3_000);
    sent.push(alice.send("general", "another"));
    await stage.clock.advance(3_000);
    assert.equal(bob.heard("log").at(-1), "another");
    const answered = [
      ...alice.all("receipt").map(({ id }) => id),
      ...alice.all("refused").map(({ receipt }) => receipt),
    ];
    for (const receipt of sent) assert.equal(answered.filter((one) => one === receipt).length, 1, receipt);
    assert.deepEqual([node.writer.entries, node.writer.bytes, alice.connection.pending], [0, 0, 0]);
  }
});
