import assert from "node:assert/strict";
import { test } from "node:test";
import { type Alike, Likeness } from "./alike.ts";
import type { Beat, Bus } from "./bus.ts";
import { Cluster, type ClusterHost } from "./cluster.ts";
import { type Log, SILENT } from "./log.ts";
import { Stage } from "./node.fixture.ts";

const OWN: Alike = { shards: 256, dataSet: "one", signs: "key", takes: ["key", "former"] };

const beat = (alike: Alike | undefined, over: Partial<Beat> = {}): Beat => ({
  ...{ node: "other", draining: false, since: 0, connections: 0, shards: 0, alike },
  ...over,
});

test("A node of another number of shards or of another archive must not join; the sentence says which and why.", () => {
  const likeness = new Likeness(OWN, SILENT);
  const shards = beat({ ...OWN, shards: 64 });
  assert.equal(
    likeness.refusal([beat(OWN, { node: "self" }), shards]),
    "Node other, which shares REDIS_URL, has 64 shards and this one 256; all nodes need the same MONGODB_URL.",
  );
  assert.match(likeness.refusal([beat({ ...OWN, dataSet: "another" })]) ?? "", /uses another archive/);
});

test("It may join where all are alike, keys aside, and beside a version that says nothing of itself.", () => {
  const likeness = new Likeness(OWN, SILENT);
  const beats = [beat(OWN), beat(undefined), beat({ ...OWN, signs: "another", takes: [] })];
  assert.equal(likeness.refusal(beats), undefined);
  assert.equal(new Likeness(undefined, SILENT).refusal([beat({ ...OWN, shards: 1 })]), undefined);
});

test("One that is about to be refused itself keeps nobody from starting.", () => {
  const starting = beat({ ...OWN, shards: 64 }, { draining: true });
  assert.equal(new Likeness(OWN, SILENT).refusal([starting]), undefined);
});

test("Nodes that refuse each other's tokens are told of loudly, once for each, and again when they come back.", () => {
  const said: unknown[] = [];
  const log: Log = { ...SILENT, error: (fields) => void said.push(fields) };
  const likeness = new Likeness(OWN, log);
  const other = beat({ ...OWN, signs: "another", takes: ["another"] });
  for (let lap = 0; lap < 3; lap++) likeness.look([beat(OWN, { node: "self" }), other]);
  assert.deepEqual(said, [
    {
      other: "other",
      what: [
        "its tokens are refused here: JWT_SECRET or the keys, JWT_ISSUER or JWT_AUDIENCE differ",
        "it refuses the tokens of this node: JWT_SECRET or the keys, JWT_ISSUER or JWT_AUDIENCE differ",
      ],
    },
  ]);
  likeness.look([]);
  likeness.look([other]);
  assert.equal(said.length, 2);
});

test("While keys are changed, one node after the other, each taking the other's, nothing is said.", () => {
  const log: Log = { ...SILENT, error: () => assert.fail("they take each other's tokens") };
  const likeness = new Likeness(OWN, log);
  likeness.look([beat({ ...OWN, signs: "former", takes: ["former", "key"] })]);
  likeness.look([beat({ ...OWN, signs: undefined })]);
});

/** A node that is about to join a node that says what it is, and all that it says of itself meanwhile. */
async function joining(other: Alike) {
  const stage = await Stage.open({ shared: true, shards: 8 });
  const beats: Beat[] = [];
  const name = "newcomer";
  const bus: Bus = {
    ...stage.node.bus,
    beat: (self, lifeMs) => {
      beats.push(self);
      return stage.node.bus.beat(self, lifeMs);
    },
  };
  const options = { ...stage.node.options, alike: OWN };
  const host = Object.create(stage.node, { name: { value: name }, bus: { value: bus }, options: { value: options } });
  await stage.node.bus.beat(beat(other, { node: "other" }), 60_000);
  const cluster = new Cluster(host as ClusterHost, 8);
  const names = async (): Promise<string[]> => {
    const { nodes } = await stage.node.bus.beat(beat(other, { node: "other" }), 60_000);
    return nodes.map(({ node }) => node);
  };
  return { stage, cluster, beats, name, names };
}

test("A node beside those of another data set ends its start with the sentence; nobody gave it anything, and it is gone.", async () => {
  const { stage, cluster, beats, name, names } = await joining({ ...OWN, shards: 64 });
  await assert.rejects(stage.run(cluster.start()), /has 64 shards and this one 256/);
  assert.deepEqual(
    beats.map(({ draining }) => draining),
    [true],
  );
  assert.equal((await names()).includes(name), false);
  await stage.clock.advance(5_000);
  assert.equal(beats.length, 1);
});

test("A node like the others takes shards from its second beat on, and tells what it is.", async () => {
  const { stage, cluster, beats } = await joining(OWN);
  void cluster.start();
  await stage.clock.advance(1_000);
  assert.deepEqual(
    beats.slice(0, 2).map(({ draining, alike }) => ({ draining, alike })),
    [
      { draining: true, alike: OWN },
      { draining: false, alike: OWN },
    ],
  );
  await cluster.stop();
});
