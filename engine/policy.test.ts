import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { LEASE_MS } from "../actors/leases.memory.ts";
import { POLICIES } from "./policy.ts";

test("Every number of the policies has its unit and its reason.", () => {
  const numbers = readFileSync("engine/policy.ts", "utf8")
    .split("\n")
    .filter((line) => /^\s+\w+: [\d_]+,/.test(line));
  assert.ok(numbers.length >= 20);
  for (const line of numbers) assert.match(line, /, \/\/ (ms|tries|failures); \S.{10,}/);
});

test("The policies fit each other.", () => {
  for (const [store, policy] of Object.entries(POLICIES)) {
    assert.ok(policy.breaker.openMs > 0 && policy.breaker.failures > 1, `${store}: one failure is no outage`);
    if (!("reads" in policy)) continue;
    const { reads, breaker, probeMs } = policy;
    assert.ok(reads.pauseFirstMs <= reads.pauseLongestMs, `${store}: the first pause is the shortest`);
    assert.ok(reads.retries * reads.pauseLongestMs < reads.timeoutMs, `${store}: pauses are short against the answer`);
    assert.ok(probeMs >= breaker.openMs, `${store}: a probe meets a breaker that is due`);
  }
});

test("A node learns that it cannot renew a lease before it ends.", () => {
  const { writes, breaker } = POLICIES.leases;
  const marginMs = 500;
  const everyMs = 1_000;
  assert.ok(everyMs + writes.timeoutMs + breaker.openMs < LEASE_MS - marginMs);
});
