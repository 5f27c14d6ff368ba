import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryArchive } from "../archive.memory.ts";
import { StoreFailure } from "../codes.ts";
import { Chance } from "./chance.ts";
import { SimulatedMongo } from "./mongo.ts";
import { Network, type Weather } from "./network.ts";
import { SimulatedTime } from "./time.ts";

const CALM: Weather = {
  leastMs: 1,
  moreMs: 1,
  slow: 0,
  slowMs: 0,
  archiveMs: 0,
  replicationMs: 50,
  lost: 0,
  failed: 0,
};

function server(seed: number): { time: SimulatedTime; mongo: SimulatedMongo } {
  const time = new SimulatedTime();
  return { time, mongo: new SimulatedMongo(new MemoryArchive(), new Network(time, new Chance(seed), CALM)) };
}

test("A write is seen and answered when a majority has it, in the order in which the primary took it.", async () => {
  const { time, mongo } = server(1);
  const seen: number[] = [];
  const writes = [0, 1, 2].map((one) => mongo.write(async () => seen.push(one)));
  assert.deepEqual(seen, [], "the primary alone has them");
  await time.run(50);
  assert.deepEqual(await Promise.all(writes), [1, 2, 3]);
  assert.deepEqual(seen, [0, 1, 2]);
});

test("What no majority has when the primary steps down vanishes from some write on, and is never answered.", async () => {
  const kept = new Set<number>();
  for (let seed = 1; seed <= 20; seed++) {
    const { time, mongo } = server(seed);
    const seen: number[] = [];
    const writes = [0, 1, 2].map((one) => mongo.write(async () => seen.push(one)));
    mongo.stepDown();
    for (const { reason } of (await Promise.allSettled(writes)) as PromiseRejectedResult[])
      assert.ok(reason instanceof StoreFailure);
    await time.run(100);
    assert.deepEqual(seen, [0, 1, 2].slice(0, seen.length));
    kept.add(seen.length);
  }
  assert.deepEqual([...kept].sort(), [0, 1, 2, 3]);
});
