import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { LEASE_MS } from "../actors/leases.memory.ts";
import { MONGO_POLICY, PG_POLICY, POLICIES, REDIS_POLICY } from "./policy.ts";

test("Every number of the policies has its unit and its reason.", () => {
  const numbers = readFileSync("engine/policy.ts", "utf8")
    .split("\n")
    .filter((line) => /^\s+\w+: [\d_]+,/.test(line));
  assert.ok(numbers.length >= 40);
  for (const line of numbers) assert.match(line, /, \/\/ (ms|tries|failures|calls|connections); \S.{10,}/);
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

test("What a guard gives up its driver has given up before, so that nothing is under way any more.", () => {
  const { selectMs, connectMs, queueMs, writeMs, socketMs } = MONGO_POLICY;
  assert.ok(selectMs + queueMs + socketMs <= POLICIES.archive.writes.timeoutMs);
  assert.ok(connectMs <= queueMs, "who waits for a connection waits for the opening of one");
  assert.ok(writeMs < socketMs);
  assert.ok(PG_POLICY.callMs < POLICIES.directory.writes.timeoutMs);
  assert.ok(PG_POLICY.connectMs + PG_POLICY.answerMs < PG_POLICY.callMs);
  assert.ok(PG_POLICY.statementMs < PG_POLICY.answerMs, "the server is the first to end a statement");
  assert.ok(REDIS_POLICY.callMs * 2 < POLICIES.bus.writes.timeoutMs, "the wait for a connection, and the answer");
  assert.ok(REDIS_POLICY.retryFirstMs <= REDIS_POLICY.retryLongestMs);
});

test("A node learns that it cannot renew a lease before it ends.", () => {
  const { writes, breaker } = POLICIES.leases;
  const marginMs = 500;
  const everyMs = 1_000;
  assert.ok(everyMs + writes.timeoutMs + breaker.openMs < LEASE_MS - marginMs);
});
