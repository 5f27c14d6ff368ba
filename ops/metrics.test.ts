import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics, type Family, type NumberFamily, samplesOf } from "./metrics.ts";

async function lines(families: readonly Family[]): Promise<string[]> {
  return (await createMetrics(families).render()).body.split("\n");
}

test("Numbers are read at the scrape, not before.", async () => {
  let open = 1;
  const metrics = createMetrics([{ name: "things_open", help: "Open.", type: "gauge", read: () => open }]);
  assert.match((await metrics.render()).body, /^things_open 1$/m);
  open = 5;
  const { body, contentType } = await metrics.render();
  assert.match(body, /^# HELP things_open Open\.\n# TYPE things_open gauge\nthings_open 5$/m);
  assert.match(contentType, /^text\/plain; version=0\.0\.4/);
});

test("Counts per word become one series each, with escaped label values.", async () => {
  const counts = new Map([
    ["bad-frame", 2],
    ['a "quote"\n', 1],
  ]);
  const found = await lines([
    { name: "refusals_total", help: "Refused.", type: "counter", labels: ["code"], read: () => samplesOf(counts) },
  ]);
  assert.ok(found.includes('refusals_total{code="bad-frame"} 2'));
  assert.ok(found.includes('refusals_total{code="a \\"quote\\"\\n"} 1'));
});

test("A histogram's buckets are added up as Prometheus wants them.", async () => {
  const value = { bounds: [0.1, 1], buckets: Float64Array.of(3, 2, 1), sum: 4.5, count: 6 };
  const found = await lines([{ name: "wait_seconds", help: "Waited.", type: "histogram", read: () => value }]);
  const own = found.filter((line) => line.startsWith("wait_seconds"));
  assert.deepEqual(own, [
    'wait_seconds_bucket{le="0.1"} 3',
    'wait_seconds_bucket{le="1"} 5',
    'wait_seconds_bucket{le="+Inf"} 6',
    "wait_seconds_sum 4.5",
    "wait_seconds_count 6",
  ]);
});

test("Node's own metrics come along, the event loop lag among them.", async () => {
  const { body } = await createMetrics([]).render();
  for (const name of [
    "nodejs_eventloop_lag_p99_seconds",
    "process_resident_memory_bytes",
    "nodejs_heap_size_used_bytes",
  ]) {
    assert.match(body, new RegExp(`^${name} `, "m"));
  }
});

test("Names that Prometheus would not take, and a name given twice, are refused when the metrics are made.", () => {
  const gauge = (name: string, labels: readonly string[] = []): NumberFamily => ({
    name,
    help: "H.",
    type: "gauge",
    labels,
    read: () => 0,
  });
  assert.throws(() => createMetrics([gauge("bad-name")]), /no name of a metric/);
  assert.throws(() => createMetrics([gauge("x_total")]), /_total/);
  assert.throws(() => createMetrics([{ ...gauge("x"), type: "counter" }]), /_total/);
  assert.throws(() => createMetrics([gauge("x", ["le"])]), /no label/);
  assert.throws(() => createMetrics([gauge("x"), gauge("x")]), /already/);
});

test("A family with too many series is cut, and what was left out is counted.", async () => {
  const many = Array.from({ length: 300 }, (_, at) => ({ labels: [`w${at}`], value: at }));
  const metrics = createMetrics([{ name: "x", help: "H.", type: "gauge", labels: ["w"], read: () => many }]);
  await metrics.render();
  const { body } = await metrics.render();
  assert.equal(body.match(/^x\{/gm)?.length, 256);
  assert.match(body, /^confab_scrape_series_dropped_total 88$/m);
});

test("A scrape of 2,000 series takes less than 20 ms.", async () => {
  const read = () => Array.from({ length: 200 }, (_, at) => ({ labels: [`word-${at}`], value: at }));
  const families = Array.from(
    { length: 10 },
    (_, at): Family => ({ name: `x${at}`, help: "H.", type: "gauge", labels: ["w"], read }),
  );
  const metrics = createMetrics(families);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    await metrics.render();
    best = Math.min(best, performance.now() - start);
  }
  assert.ok(best < 20, `took ${best.toFixed(1)} ms`);
});

test("A histogram with labels is one distribution per combination of them.", async () => {
  const of = (store: string, count: number) => ({
    ...{ labels: [store], bounds: [1], buckets: Float64Array.of(count, 0), sum: 0.5, count },
  });
  const found = await lines([
    { name: "call_seconds", help: "Took.", type: "histogram", labels: ["store"], read: () => [of("a", 1), of("b", 2)] },
  ]);
  const own = found.filter((line) => line.startsWith("call_seconds"));
  assert.deepEqual(own, [
    'call_seconds_bucket{store="a",le="1"} 1',
    'call_seconds_bucket{store="a",le="+Inf"} 1',
    'call_seconds_sum{store="a"} 0.5',
    'call_seconds_count{store="a"} 1',
    'call_seconds_bucket{store="b",le="1"} 2',
    'call_seconds_bucket{store="b",le="+Inf"} 2',
    'call_seconds_sum{store="b"} 0.5',
    'call_seconds_count{store="b"} 2',
  ]);
});
