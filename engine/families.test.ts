import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage } from "../actors/node.fixture.ts";
import { createMetrics } from "../ops/metrics.ts";
import { metricFamilies } from "./families.ts";
import { NativeFanout } from "./fanout.ts";
import { BREAKER, StoreStats } from "./guard.stats.ts";
import { POLICIES, type StoreName } from "./policy.ts";

async function lines(stores: readonly StoreStats[], embedded?: { readonly settleFailures: number }): Promise<string[]> {
  const { node } = await Stage.open({});
  node.writer.retries = 3;
  const families = metricFamilies({
    node,
    fanout: new NativeFanout(() => true),
    version: "0",
    ready: () => 1,
    parts: () => [],
    hashesWaiting: () => 0,
    stores,
    embedded,
  });
  return (await createMetrics(families).render()).body.split("\n");
}

test("Every store has a series of each of its metrics, under its name and no other label that could grow.", async () => {
  const stores = Object.keys(POLICIES).map((name) => new StoreStats(name as StoreName));
  const found = await lines(stores);
  for (const store of Object.keys(POLICIES)) {
    for (const series of [
      `confab_store_up{store="${store}"} 1`,
      `confab_store_breaker_state{store="${store}",calls="reads"} 0`,
      `confab_store_breaker_state{store="${store}",calls="writes"} 0`,
      `confab_store_calls_total{store="${store}"} 0`,
      `confab_store_failures_total{store="${store}"} 0`,
      `confab_store_damaged_total{store="${store}"} 0`,
      `confab_store_timeouts_total{store="${store}"} 0`,
      `confab_store_refused_total{store="${store}"} 0`,
      `confab_store_call_seconds_count{store="${store}"} 0`,
    ])
      assert.ok(found.includes(series), series);
  }
});

test("What was counted of a store is what is shown; the archive's retries are those of reads and of batches.", async () => {
  const archive = new StoreStats("archive");
  Object.assign(archive, { calls: 7, failures: 5, timeouts: 2, refused: 4, retries: 1 });
  archive.breakers.writes = BREAKER.open;
  archive.breakers.reads = BREAKER.halfOpen;
  archive.latency.observe(0.003);
  const bus = new StoreStats("bus");
  bus.retries = 9;
  const found = await lines([archive, bus]);
  for (const series of [
    'confab_store_up{store="archive"} 0',
    'confab_store_up{store="bus"} 1',
    'confab_store_breaker_state{store="archive",calls="reads"} 1',
    'confab_store_breaker_state{store="archive",calls="writes"} 2',
    'confab_store_calls_total{store="archive"} 7',
    'confab_store_failures_total{store="archive"} 5',
    'confab_store_timeouts_total{store="archive"} 2',
    'confab_store_refused_total{store="archive"} 4',
    'confab_store_retries_total{store="archive"} 4',
    'confab_store_retries_total{store="bus"} 9',
    'confab_store_call_seconds_bucket{store="archive",le="0.0025"} 0',
    'confab_store_call_seconds_bucket{store="archive",le="0.005"} 1',
    'confab_store_call_seconds_sum{store="archive"} 0.003',
  ])
    assert.ok(found.includes(series), series);
});

test("Batches of an archive that is not guarded count as retries all the same.", async () => {
  const found = await lines([]);
  assert.ok(found.includes('confab_store_retries_total{store="archive"} 3'));
  assert.ok(!found.some((line) => line.startsWith("confab_store_up{")));
});

test("Entries that stayed in the journal are counted where there is one, and else there were none.", async () => {
  assert.ok((await lines([])).includes("confab_store_settle_failures_total 0"));
  assert.ok((await lines([], { settleFailures: 2 })).includes("confab_store_settle_failures_total 2"));
});
