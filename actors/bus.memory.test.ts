import assert from "node:assert/strict";
import { test } from "node:test";
import { busConformance } from "./bus.conformance.ts";
import { type BusUnderTest, packOf, ROOM } from "./bus.conformance.wire.ts";
import { MemoryHub } from "./bus.memory.ts";
import { shardOf } from "./entry.ts";
import { LIMITS, type Limits } from "./limits.ts";

const SHARDS = 8;

function underTest(limits: Limits, shared: boolean): BusUnderTest {
  let nowMs = 0;
  const hub = new MemoryHub(SHARDS, limits, { shared, now: () => nowMs });
  return {
    shards: hub.shards,
    connect: async () => hub.connect(),
    // One process is its own arbiter: the fence of this backend is the term alone.
    lock: async () => "lock",
    elapse: async (ms) => {
      nowMs += ms;
    },
    wipe: async () => hub.wipe(),
    close: async () => {
      for (const handle of [...hub.handles]) await handle.close();
    },
  };
}

busConformance("memory", async (limits) => underTest(limits, false));
busConformance("shared memory", async (limits) => underTest(limits, true));

const TAKING = { lock: "lock", node: "n1", lossy: false } as const;

test("A hub of one process takes a shard without a term as one that ended in order.", async () => {
  const bus = new MemoryHub(SHARDS, LIMITS).connect();
  assert.equal(bus.shared, false);
  assert.deepEqual(await bus.take(1, { ...TAKING, term: 7 }), { previous: 6, lossy: 0 });
});

test("A shared hub takes a shard without a term as one that was lost.", async () => {
  const hub = new MemoryHub(SHARDS, LIMITS, { shared: true });
  const bus = hub.connect();
  const shard = shardOf(ROOM, SHARDS);
  assert.equal(bus.shared, true);
  assert.deepEqual(await bus.take(shard, { ...TAKING, term: 1 }), { previous: 0, lossy: 0 });
  assert.equal(await bus.append(shard, 1, [packOf(ROOM, 1, 1, { opening: true })]), "ok");
  hub.wipe();
  assert.deepEqual(await bus.terms([shard]), [0]);
  assert.deepEqual(await bus.owners([shard]), [undefined]);
  assert.equal(await bus.append(shard, 1, [packOf(ROOM, 2, 2)]), "lost");
  assert.deepEqual(await bus.take(shard, { ...TAKING, term: 2 }), { previous: 0, lossy: 2 });
});

test("A hub of one process that forgets takes a shard without a term as one that was lost, once.", async () => {
  const bus = new MemoryHub(SHARDS, LIMITS, { forgets: true }).connect();
  assert.equal(bus.shared, false);
  assert.deepEqual(await bus.take(1, { ...TAKING, term: 7 }), { previous: 0, lossy: 7 });
  assert.deepEqual(await bus.take(1, { ...TAKING, term: 8 }), { previous: 7, lossy: 7 });
});
