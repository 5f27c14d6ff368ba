import assert from "node:assert/strict";
import { test } from "node:test";
import { Latch, once } from "./latch.fixture.ts";
import { Stage } from "./node.fixture.ts";

test("A shard that is given up while it is tried to be owned again is not taken any more.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const shard = stage.node.shardOf("general");
  const { term } = shard;
  stage.faults.archiveAway = true;
  shard.lost(term, "as a renewal says");
  await stage.clock.advance(200);
  assert.notEqual(shard.state, "owning");
  await shard.release();
  stage.faults.archiveAway = false;
  // Nobody tries any more, either.
  await stage.run(shard.ready);
  await stage.clock.advance(5_000);
  assert.deepEqual(await stage.node.bus.terms([0]), [term]);
  assert.ok(await stage.node.leases.acquire(0), "the lock is free");
});

test("A shard that is given up while its term is claimed is not fenced under it.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const shard = stage.node.shardOf("general");
  const { term } = shard;
  const latch = new Latch();
  once(stage.store, "claimTerm", async (claim) => {
    const claimed = await claim();
    await latch.opened;
    return claimed;
  });
  shard.lost(term, "as a renewal says");
  await stage.clock.advance(10);
  await shard.release();
  const lock = await stage.node.leases.acquire(0);
  assert.ok(lock, "the lock is free");
  latch.open();
  await stage.run(shard.ready);
  await stage.clock.advance(1_000);
  assert.deepEqual(await stage.node.bus.terms([0]), [term]);
  assert.ok(await stage.node.leases.renew(lock), "the lock is still the other's");
});
