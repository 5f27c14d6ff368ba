import assert from "node:assert/strict";
import { test } from "node:test";
import { shardOf } from "./entry.ts";
import { type Client, caller, Stage } from "./node.fixture.ts";
import { rendezvous } from "./rendezvous.ts";

/** Three whole nodes that share every store, and the room `general` on one of them. */
async function nodes(): Promise<Stage[]> {
  const first = await Stage.open({ shared: true, seed: 1, shards: 8 });
  const stages = [first, await Stage.open({ beside: first, seed: 2 }), await Stage.open({ beside: first, seed: 3 })];
  await first.clock.advance(10_000);
  return stages;
}

/** The stage whose node owns the room, and the other ones. */
function ownerOf(stages: readonly Stage[], room: string): { owner: Stage; others: Stage[] } {
  const owner = stages.find((stage) => stage.node.owns(room));
  assert.ok(owner, "the room has an owner");
  return { owner, others: stages.filter((stage) => stage !== owner) };
}

function come(stage: Stage, user: string, room: string): Client {
  const client = stage.connect(user);
  client.subscribe("log", room);
  return client;
}

async function present(stage: Stage, room: string): Promise<string[]> {
  const { users } = await stage.run(stage.chat.presence(caller("root"), room));
  return users.map(({ id }) => id).sort();
}

/** What was said of a user: join and leave, or online and offline. */
function saidOf(client: Client, user: string, of: RegExp = /(join|leave)$/): string[] {
  return client.signalsHeard().filter((said) => said.startsWith(`presence ${user} `) && of.test(said));
}

test("Users at any node are present at every node, and leave there too.", async () => {
  const stages = await nodes();
  const [one, two, three] = stages as [Stage, Stage, Stage];
  const watcher = three.connect("watcher");
  watcher.subscribe("signals", "general");
  await one.clock.advance(1_000);
  const alice = come(one, "alice", "general");
  come(two, "bob", "general");
  await one.clock.advance(2_000);
  for (const stage of stages) assert.deepEqual(await present(stage, "general"), ["alice", "bob"]);
  assert.deepEqual(saidOf(watcher, "alice"), ["presence alice join"]);
  alice.lose();
  await one.clock.advance(7_000);
  assert.deepEqual(saidOf(watcher, "alice"), ["presence alice join", "presence alice leave"]);
  for (const stage of stages) assert.deepEqual(await present(stage, "general"), ["bob"]);
});

test("When the owner dies its own users leave, and nobody else is said to, within 5 s.", async () => {
  const stages = await nodes();
  const { owner, others } = ownerOf(stages, "general");
  const [edge, other] = others as [Stage, Stage];
  const watcher = edge.connect("watcher");
  watcher.subscribe("signals", "general");
  await owner.clock.advance(1_000);
  come(owner, "alice", "general");
  come(edge, "bob", "general");
  come(other, "carol", "general");
  await owner.clock.advance(2_000);
  owner.die();
  await edge.clock.advance(5_000);
  assert.deepEqual(saidOf(watcher, "alice"), ["presence alice join", "presence alice leave"]);
  for (const user of ["bob", "carol"]) assert.ok(!saidOf(watcher, user).includes(`presence ${user} leave`), user);
  for (const stage of others) assert.deepEqual(await present(stage, "general"), ["bob", "carol"]);
});

test("Who only listens to signals, and was there before the others, is told when owner and users die.", async () => {
  const stages = await nodes();
  const { owner, others } = ownerOf(stages, "general");
  const [edge] = others as [Stage, Stage];
  come(owner, "alice", "general");
  await owner.clock.advance(2_000);
  const watcher = edge.connect("watcher");
  watcher.subscribe("signals", "general");
  await owner.clock.advance(2_000);
  assert.deepEqual(saidOf(watcher, "alice"), []);
  owner.die();
  await edge.clock.advance(5_000);
  assert.deepEqual(saidOf(watcher, "alice"), ["presence alice leave"]);
});

test("A new owner asks the nodes before it says that somebody left: the words of one may be lost.", async () => {
  const stages = await nodes();
  const { owner, others } = ownerOf(stages, "general");
  const [edge, next] = others as [Stage, Stage];
  const names = others.map(({ node }) => node.name);
  let club = "";
  do club = await edge.makeRoom("private", "root", ["bob"]);
  while (!owner.node.owns(club) || rendezvous(shardOf(club, 8), names) !== next.node.name);
  const watcher = next.connect("root");
  watcher.subscribe("signals", club);
  come(edge, "bob", club);
  await owner.clock.advance(2_000);
  // Nothing that the edge says is heard until it is asked.
  const { crowds } = edge.node.audiences;
  const answer = crowds.onWhoIsThere.bind(crowds);
  let asked = false;
  crowds.onWhoIsThere = (from, rooms) => {
    asked = true;
    edge.faults.wordsLost = 0;
    answer(from, rooms);
  };
  owner.die();
  edge.faults.wordsLost = 1;
  await edge.clock.advance(5_000);
  assert.ok(asked && next.node.owns(club));
  assert.ok(!saidOf(watcher, "bob").includes("presence bob leave"));
  assert.deepEqual(await present(next, club), ["bob"]);
});

test("A removed member is not present any more within 2 s, where nobody listens at the owner.", async () => {
  const stages = await nodes();
  const { owner, others } = ownerOf(stages, "general");
  const [edge, other] = others as [Stage, Stage];
  let club = "";
  do club = await edge.makeRoom("private", "root", ["alice"]);
  while (!owner.node.owns(club));
  const watcher = other.connect("root");
  watcher.subscribe("signals", club);
  come(edge, "alice", club);
  await owner.clock.advance(2_000);
  assert.deepEqual(saidOf(watcher, "alice"), ["presence alice join"]);
  await edge.run(edge.chat.removeMember(caller("root"), club, "alice"));
  await owner.clock.advance(2_000);
  assert.deepEqual(saidOf(watcher, "alice"), ["presence alice join", "presence alice leave"]);
});

test("A room that reads its log anew as it lies idle says no join again, at no node, and the leaves as ever.", async () => {
  const stages = await nodes();
  const { owner, others } = ownerOf(stages, "general");
  const [edge, other] = others as [Stage, Stage];
  const watchers = stages.map((stage) => stage.connect("watcher"));
  for (const watcher of watchers) watcher.subscribe("signals", "general");
  await owner.clock.advance(1_000);
  const alice = come(owner, "alice", "general");
  come(edge, "bob", "general");
  const carol = come(other, "carol", "general");
  await owner.clock.advance(2_000);
  const before = owner.node.rooms.get("general");
  edge.node.bus.notify({ kind: "changed", what: "entries", rooms: ["general"] });
  await owner.clock.advance(5_000);
  assert.notEqual(owner.node.rooms.get("general"), before);
  assert.deepEqual(await present(edge, "general"), ["alice", "bob", "carol"]);
  for (const gone of [alice, carol]) gone.lose();
  await owner.clock.advance(9_000);
  for (const watcher of watchers) {
    for (const user of ["alice", "carol"]) {
      assert.deepEqual(saidOf(watcher, user), [`presence ${user} join`, `presence ${user} leave`]);
    }
    assert.deepEqual(saidOf(watcher, "bob"), ["presence bob join"]);
  }
});

test("Online and offline are of all nodes: who is left at one of two is online.", async () => {
  const stages = await nodes();
  const { owner, others } = ownerOf(stages, "general");
  const [edge, other] = others as [Stage, Stage];
  let club = "";
  do club = await edge.makeRoom("private", "root", ["alice"]);
  while (!owner.node.owns(club));
  const watcher = other.connect("root");
  watcher.subscribe("signals", club);
  come(other, "root", club);
  await owner.clock.advance(1_000);
  const tab = edge.connect("alice");
  const phone = other.connect("alice");
  await owner.clock.advance(2_000);
  tab.lose();
  await owner.clock.advance(10_000);
  assert.deepEqual(saidOf(watcher, "alice", /line$/), ["presence alice online"]);
  phone.lose();
  await owner.clock.advance(8_000);
  assert.deepEqual(saidOf(watcher, "alice", /line$/), ["presence alice online", "presence alice offline"]);
});
