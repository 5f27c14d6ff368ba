import assert from "node:assert/strict";
import { test } from "node:test";
import type { Notice } from "./bus.ts";
import { LEASE_MS } from "./leases.memory.ts";
import { SILENT } from "./log.ts";
import { Stage } from "./node.fixture.ts";
import { LIFE_MS } from "./peers.ts";
import type { Shard } from "./shards.ts";

/** Two nodes of eight shards that have shared them out. */
async function two(): Promise<{ a: Stage; b: Stage }> {
  const a = await Stage.open({ shared: true, shards: 8 });
  const b = await Stage.open({ beside: a });
  await a.clock.advance(5_000);
  return { a, b };
}

/** Three nodes of sixteen shards that have shared them out. */
async function three(): Promise<readonly [Stage, Stage, Stage]> {
  const a = await Stage.open({ shared: true, shards: 16 });
  const [b, c] = [await Stage.open({ beside: a }), await Stage.open({ beside: a })];
  await a.clock.advance(10_000);
  for (const stage of [a, b, c]) assert.ok(ownedBy(stage).length > 1);
  return [a, b, c];
}

const ownedBy = ({ node }: Stage): readonly number[] => node.shards.filter(({ mine }) => mine).map(({ id }) => id);

/** A shard of a node. */
function shardOf({ node }: Stage): Shard {
  const own = node.shards.find(({ mine }) => mine);
  assert.ok(own, "the node owns a shard");
  return own;
}

const announce = (node: string, shard: number, term: number): Notice => ({
  ...{ kind: "owner", node },
  shards: [[shard, term]],
});

test("Whom a node owns is known by the bus's record where the announcement was lost.", async () => {
  const { a, b } = await two();
  const onNotice = b.node.onNotice.bind(b.node);
  b.node.onNotice = (notice) => (notice.kind === "owner" ? undefined : onNotice(notice));
  const c = await Stage.open({ beside: a });
  await a.clock.advance(5_000);
  const moved = c.node.shards.filter(({ mine }) => mine);
  assert.ok(moved.length > 0);
  for (const { id } of moved) assert.equal(b.node.cluster.owners.of(id), c.node.name);
});

test("What a node announces of a shard that this one owns is ignored: the hot log says whose it is.", async () => {
  const { a, b } = await two();
  const { id, term } = shardOf(a);
  a.node.onNotice(announce(b.node.name, id, term + 7));
  assert.deepEqual([a.node.cluster.owners.of(id), a.node.cluster.owners.term(id)], [a.node.name, term]);
  await a.clock.advance(10_000);
  assert.deepEqual([a.node.shards[id]?.mine, a.node.shards[id]?.term], [true, term]);
});

test("An owner that was announced and never lived is forgotten, and the bus's record of a living one believed.", async () => {
  const { a, b } = await two();
  const { id, term } = shardOf(a);
  b.node.onNotice(announce("ghost", id, term + 7));
  await a.clock.advance(3_000);
  assert.equal(b.node.cluster.owners.of(id), "ghost");
  await a.clock.advance(4_000);
  assert.equal(b.node.cluster.owners.of(id), a.node.name);
  assert.deepEqual([a.node.shards[id]?.mine, a.node.shards[id]?.term], [true, term]);
});

test("Of a living node's term above the one on record the record is believed after a while: the bus lost what was since.", async () => {
  const [a, b, c] = await three();
  const { id, term } = shardOf(a);
  for (const said of [c, a]) {
    b.node.onNotice(announce(said.node.name, id, term + 7));
    await a.clock.advance(3_000);
    assert.deepEqual([b.node.cluster.owners.of(id), b.node.cluster.owners.term(id)], [said.node.name, term + 7]);
    await a.clock.advance(4_000);
    assert.deepEqual([b.node.cluster.owners.of(id), b.node.cluster.owners.term(id)], [a.node.name, term]);
  }
  assert.deepEqual([a.node.shards[id]?.mine, a.node.shards[id]?.term], [true, term]);
});

test("A node that is thought gone and comes back in time owns what it owned, under the same terms.", async () => {
  const { a, b } = await two();
  const own = a.node.shards.filter(({ mine }) => mine).map(({ id, term }) => ({ id, term }));
  const { beat } = a.node.bus;
  Object.assign(a.node.bus, { beat: () => Promise.reject(new Error("Beats are not answered.")) });
  await a.clock.advance(LIFE_MS + 1_000);
  assert.deepEqual([b.node.cluster.peers.has(a.node.name), b.node.cluster.unowned], [false, own.length]);
  Object.assign(a.node.bus, { beat });
  await a.clock.advance(1_500);
  for (const { id, term } of own) {
    assert.deepEqual([b.node.cluster.owners.of(id), b.node.cluster.owners.term(id)], [a.node.name, term]);
    assert.equal(a.node.shards[id]?.term, term);
  }
});

test("A shard whose owner on record does not know that it is none comes to whom it should belong.", async () => {
  const { a, b } = await two();
  const shard = shardOf(a);
  const { id, term } = shard;
  // The shard was given to b, which announced it and forgot all about it.
  await a.run(shard.letGo());
  a.node.onNotice(announce(b.node.name, id, term + 1));
  await a.clock.advance(LEASE_MS + 1_000);
  assert.deepEqual([shard.mine, a.node.cluster.owners.of(id)], [false, b.node.name]);
  await a.clock.advance(4_000);
  assert.deepEqual([shard.mine, a.node.cluster.owners.of(id)], [true, a.node.name]);
});

test("When the bus comes back empty a node that held nothing takes nothing for one lease.", async () => {
  const stage = await Stage.open({ shared: true, shards: 8 });
  await stage.clock.advance(60_000);
  stage.die();
  // Its locks are gone, too.
  await stage.clock.advance(LEASE_MS + 100);
  stage.hub.wipe();
  const wiped = stage.clock.monotonic();
  const risen = stage.rise();
  const takes = stage.node.bus.take;
  let first: number | undefined;
  Object.assign(stage.node.bus, {
    take: (...args: Parameters<typeof takes>) => {
      first ??= stage.clock.monotonic() - wiped;
      return takes(...args);
    },
  });
  await risen;
  assert.ok(first !== undefined && first >= LEASE_MS && first < LEASE_MS + 1_500, `${first} ms`);
  assert.equal(
    stage.node.shards.every(({ mine }) => mine),
    true,
  );
});

test("Of a new data set nobody has anything to lose: its first node takes all at once.", async () => {
  const stage = await Stage.open({ shared: true, shards: 8 });
  assert.ok(stage.clock.monotonic() - 1_700_000_000_000 < 500);
});

test("Requests that wait for an owner in vain leave nothing behind.", async () => {
  const { a, b } = await two();
  const { id } = shardOf(a);
  Object.assign(b.node.bus, { take: () => Promise.reject(new Error("The hot log is away.")) });
  a.die();
  await b.clock.advance(LIFE_MS + 2_000);
  assert.equal(b.node.cluster.owners.of(id), undefined);
  const waits = Array.from({ length: 50 }, () => b.node.cluster.ownerKnown(id));
  const outcomes = Promise.allSettled(waits);
  await b.clock.advance(6_000);
  assert.deepEqual(new Set((await outcomes).map(({ status }) => status)), new Set(["rejected"]));
  assert.equal(b.node.cluster.owners.waiting, 0);
});

test("Shards of a dead node go to those who reach the archive; who does not keeps its own, and gets its share after.", async () => {
  const [a, b, c] = await three();
  const before = ownedBy(c);
  c.faults.archiveAway = true;
  await a.clock.advance(1_000);
  a.die();
  await b.clock.advance(LIFE_MS + LEASE_MS);
  assert.equal(b.node.cluster.unowned, 0);
  assert.deepEqual([ownedBy(b).length, ownedBy(c)], [16 - before.length, before]);
  c.faults.archiveAway = false;
  await b.clock.advance(10_000);
  assert.equal(ownedBy(b).length + ownedBy(c).length, 16);
  assert.ok(ownedBy(c).length > before.length);
});

test("A node that ends hands nothing to one that does not reach the archive.", async () => {
  const [a, b, c] = await three();
  const before = ownedBy(c);
  c.faults.archiveAway = true;
  await a.clock.advance(1_000);
  await a.run(a.node.drain());
  assert.deepEqual([ownedBy(a), ownedBy(b).length, ownedBy(c)], [[], 16 - before.length, before]);
});

test("A shard passed to a node that finds only then that it does not reach the archive goes to another.", async () => {
  const [a, b, c] = await three();
  let known = false;
  Object.assign(c.node.options, { archiveAway: () => known });
  c.faults.archiveAway = true;
  const before = ownedBy(c);
  void a.node.drain();
  await a.clock.advance(1_500);
  assert.ok(a.node.cluster.unowned > 0);
  known = true;
  await a.clock.advance(4_000);
  a.die();
  await b.clock.advance(LIFE_MS + LEASE_MS);
  assert.equal(b.node.cluster.unowned, 0);
  assert.deepEqual([ownedBy(b).length, ownedBy(c)], [16 - before.length, before]);
});

test("While nobody reaches the archive shards are for all, and when it is back each takes its share.", async () => {
  const [a, b, c] = await three();
  const lines: string[] = [];
  Object.assign(b.node.awake, { log: { ...SILENT, warn: (_: object, line: string) => void lines.push(line) } });
  for (const stage of [b, c]) stage.faults.archiveAway = true;
  const left = ownedBy(a).length;
  a.die();
  await b.clock.advance(60_000);
  assert.equal(b.node.cluster.unowned, left);
  for (const stage of [b, c]) stage.faults.archiveAway = false;
  await b.clock.advance(10_000);
  assert.equal(ownedBy(b).length + ownedBy(c).length, 16);
  const told = lines.filter((line) => line.startsWith("a shard could not be owned")).length;
  assert.ok(told > 0 && told <= left, `${told} lines of ${left} shards`);
});
