import assert from "node:assert/strict";
import { test } from "node:test";
import { Latencies } from "./timing.ts";

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
