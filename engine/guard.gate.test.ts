import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock } from "../actors/clock.ts";
import { StoreFailure } from "../actors/codes.ts";
import { SILENT } from "../actors/log.ts";
import { Gate } from "./guard.gate.ts";
import { BREAKER, StoreStats } from "./guard.stats.ts";

test("Failures of calls that waited for the probe are forgotten at the next success, as all others.", async () => {
  const clock = new SimulatedClock();
  const stats = new StoreStats("archive");
  const breaker = { failures: 4, openMs: 200 };
  const gate = new Gate({ kind: "writes", timeoutMs: 100, breaker, stats, clock, log: SILENT });
  const call = (ms: number, good: boolean): void => {
    const work = (): Promise<void> =>
      new Promise((resolve, reject) => {
        clock.after(ms, () => (good ? resolve() : reject(new StoreFailure("It is away."))));
      });
    gate.run(work).catch(() => undefined);
  };
  for (let i = 0; i < breaker.failures; i++) call(1, false);
  await clock.advance(10);
  assert.equal(stats.breakers.writes, BREAKER.open);
  await clock.advance(breaker.openMs);
  // The probe, and three that wait for it; these fail after another call has gone well.
  call(10, true);
  for (let i = 1; i < breaker.failures; i++) call(50, false);
  await clock.advance(20);
  call(1, true);
  await clock.advance(100);
  assert.equal(stats.breakers.writes, BREAKER.closed);
  call(1, true);
  await clock.advance(5);
  call(1, false);
  await clock.advance(5);
  assert.equal(stats.breakers.writes, BREAKER.closed, "one failure in a row");
  for (let i = 1; i < breaker.failures; i++) call(1, false);
  await clock.advance(5);
  assert.equal(stats.breakers.writes, BREAKER.open);
});
