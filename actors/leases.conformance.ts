/** What every leases backend must pass: the guarantees of `leases.ts`, as tests. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Lease, Leases } from "./leases.ts";

/** An empty table of leases of its own for one test. */
export interface LeasesUnderTest {
  /** Two nodes on it. */
  readonly first: Leases;
  readonly second: Leases;
  /** Monotonic ms, as the nodes see it. */
  now(): number;
  /** Lets more time pass than a lease lasts without renewal. */
  expire(): Promise<void>;
}

/** Registers the suite for one backend. `name` heads its titles. */
export function leasesConformance(name: string, open: () => Promise<LeasesUnderTest>): void {
  const check = (title: string, body: (table: LeasesUnderTest) => Promise<void>): void => {
    test(title, async () => {
      const table = await open();
      try {
        await body(table);
      } finally {
        await table.first.close();
        await table.second.close();
      }
    });
  };
  describe(`The ${name} leases`, () => {
    check("give a free shard to one holder and to no other.", async ({ first, second, now }) => {
      const before = now();
      const lease = await held(first, 1);
      assert.equal(lease.shard, 1);
      assert.ok(lease.untilMs > before);
      assert.equal(await second.acquire(1), undefined);
      assert.equal(await first.acquire(1), undefined, "a lock is no counter: the holder gets no second one");
      await held(second, 2);
    });

    check("give a shard to one of many that ask at once.", async ({ first, second }) => {
      const asked = await Promise.all([first, second, first, second].map((leases) => leases.acquire(3)));
      assert.equal(asked.filter((lease) => lease !== undefined).length, 1);
    });

    check("renew a held lease under its value, further than before.", async ({ first, second }) => {
      const lease = await held(first, 1);
      const renewed = await first.renew(lease);
      assert.equal(renewed?.value, lease.value);
      assert.ok((renewed as Lease).untilMs >= lease.untilMs);
      assert.equal(await second.acquire(1), undefined);
    });

    check("free a shard when its lease is given back, and again without harm.", async ({ first, second }) => {
      const lease = await held(first, 1);
      await first.release(lease);
      const next = await held(second, 1);
      assert.notEqual(next.value, lease.value, "every holding has a value of its own");
      await first.release(lease);
      assert.equal(await first.acquire(1), undefined, "a late release does not end another holding");
    });

    check("free a shard whose lease ran out, and renew it no more.", async ({ first, second, expire }) => {
      const lease = await held(first, 1);
      await expire();
      assert.equal(await first.renew(lease), undefined);
      const next = await held(second, 1);
      assert.equal(await first.renew(lease), undefined);
      await first.release(lease);
      assert.equal((await second.renew(next))?.value, next.value);
    });
  });
}

async function held(leases: Leases, shard: number): Promise<Lease> {
  const lease = await leases.acquire(shard);
  assert.ok(lease, `the shard ${shard} is free`);
  return lease;
}
