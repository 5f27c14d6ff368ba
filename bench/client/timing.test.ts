import assert from "node:assert/strict";
import { test } from "node:test";
import { Dues, Latencies } from "./timing.ts";

test("Quantiles are within half a percent of the samples, and 0 without samples.", () => {
  const latencies = new Latencies();
  assert.equal(latencies.quantile(0.5), 0);
  for (let ms = 1; ms <= 1_000; ms += 1) latencies.add(ms);
  for (const [q, ms] of [
    [0.5, 500],
    [0.99, 990],
    [1, 1_000],
  ] as const) {
    assert.ok(Math.abs(latencies.quantile(q) / ms - 1) <= 0.006, `${q}: ${latencies.quantile(q)}`);
  }
  latencies.clear();
  assert.equal(latencies.quantile(0.99), 0);
});

test("A pause of the server is charged to every message that was due in it, however late it was sent.", () => {
  const [dues, latencies] = [new Dues(100), new Latencies()];
  for (let ms = 0; ms < 100; ms += 1) dues.add(ms);
  dues.arrived({ from: 0, to: 100, now: 100 }, latencies);
  assert.ok(Math.abs(latencies.quantile(0.5) - 50) < 1.5, `${latencies.quantile(0.5)}`);
  assert.ok(Math.abs(latencies.quantile(1) - 100) < 1, `${latencies.quantile(1)}`);
});

test("Times are kept for as many messages as may be out, and more are refused.", () => {
  const [dues, latencies] = [new Dues(4), new Latencies()];
  for (let i = 0; i < 4; i += 1) dues.add(i * 10);
  assert.equal(dues.full(0), true);
  assert.equal(dues.full(1), false);
  dues.arrived({ from: 0, to: 1, now: 1_000 }, latencies);
  dues.add(40);
  dues.arrived({ from: 4, to: 5, now: 50 }, latencies);
  assert.ok(Math.abs(latencies.quantile(0.5) - 10) < 0.1, "the fifth message is timed by its own moment");
});
