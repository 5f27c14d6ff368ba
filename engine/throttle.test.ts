import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "../actors/codes.ts";
import { LIMITS } from "../actors/limits.ts";
import { MemoryThrottle, networkOf } from "./throttle.ts";

const limits = { ...LIMITS, loginsPerAccountPerMinute: 3, loginsPerAddressPerMinute: 5, signupsPerAddressPerMinute: 2 };

function limited(error: unknown): boolean {
  assert.ok(error instanceof Refusal);
  assert.equal(error.code, "rate-limited");
  assert.ok((error.retryAfterMs ?? 0) >= 1_000 && (error.retryAfterMs ?? 0) <= 60_000);
  return true;
}

test("Failed logins are limited per account, from wherever they come.", async () => {
  const throttle = new MemoryThrottle(limits);
  for (let i = 0; i < 3; i++) await throttle.attempt("ann@example.org", `192.0.2.${i}`);
  await assert.rejects(throttle.attempt("ann@example.org", "192.0.2.9"), limited);
  await throttle.attempt("bob@example.org", "192.0.2.9");
});

test("Failed logins are limited per address, whichever the account.", async () => {
  const throttle = new MemoryThrottle(limits);
  for (let i = 0; i < 5; i++) await throttle.attempt(`user${i}@example.org`, "192.0.2.1");
  await assert.rejects(throttle.attempt("ann@example.org", "192.0.2.1"), limited);
  await assert.rejects(throttle.attempt("ann@example.org", "::ffff:192.0.2.1"), limited);
  await throttle.attempt("ann@example.org", "192.0.2.2");
});

test("Tries that did not fail are not counted, nor are refused ones.", async () => {
  const throttle = new MemoryThrottle(limits);
  for (let i = 0; i < 20; i++) {
    await throttle.attempt("ann", "192.0.2.1");
    await throttle.giveBack("ann", "192.0.2.1");
  }
  for (let i = 0; i < 3; i++) await throttle.attempt("ann", "192.0.2.1");
  for (let i = 0; i < 20; i++) await assert.rejects(throttle.attempt("ann", "192.0.2.1"), limited);
  await throttle.giveBack("ann", "192.0.2.1");
  await throttle.attempt("ann", "192.0.2.1");
  await throttle.attempt("bob", "192.0.2.1");
});

test("Tries at once cannot pass a limit together.", async () => {
  const throttle = new MemoryThrottle(limits);
  const tries = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => throttle.attempt("ann", `192.0.2.${i}`)));
  assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 3);
});

test("Signups are limited per address; a limit of 0 is off.", async () => {
  const throttle = new MemoryThrottle(limits);
  await throttle.signup("2001:db8::1");
  await throttle.signup("2001:db8::2");
  await assert.rejects(throttle.signup("2001:db8::3"), limited);
  await throttle.signup("2001:db8:0:1::1");
  const off = { ...limits, loginsPerAccountPerMinute: 0, loginsPerAddressPerMinute: 0, signupsPerAddressPerMinute: 0 };
  const free = new MemoryThrottle(off);
  for (let i = 0; i < 100; i++) {
    await free.signup("192.0.2.1");
    await free.attempt("ann", "192.0.2.1");
  }
});

test("Strangers share a fixed number of counters.", async () => {
  const throttle = new MemoryThrottle({ ...limits, throttleBuckets: 4, loginsPerAddressPerMinute: 0 });
  const tries = await Promise.allSettled(Array.from({ length: 500 }, (_, i) => throttle.attempt(`user ${i}`, "")));
  assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 12, "4 counters of 3");
});

test("An address is its IPv4 address, or the network of 64 bits it is in.", () => {
  for (const [address, network] of [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:192.0.2.1", "192.0.2.1"],
    ["::1", "0:0:0:0::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:0DB8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::", "2001:db8:1:2::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["64:ff9b::192.0.2.1", "64:ff9b:0:0::/64"],
    ["", ""],
    ["nonsense", "nonsense"],
  ] as const) {
    assert.equal(networkOf(address), network, address);
  }
});
