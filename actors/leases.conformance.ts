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

    check("pass a lock on to one who names its value, and from then on only that one has it.", async (table) => {
      const { first, second, now } = table;
      const given = await held(first, 1);
      const lease = (await second.adopt(1, given.value)) as Lease;
      assert.equal(lease.shard, 1);
      assert.notEqual(lease.value, given.value);
      assert.ok(lease.untilMs > now());
      assert.equal(await first.renew(given), undefined);
      await first.release(given);
      assert.equal(await first.acquire(1), undefined, "the giver ends it no more");
      assert.equal((await second.renew(lease))?.value, lease.value);
      await second.release(lease);
      await held(first, 1);
    });

    check(
      "answer who takes a passed lock again, as the answer was lost, what it took, until another has it.",
      async (table) => {
        const { first, second, expire } = table;
        const given = await held(first, 1);
        const asked = await Promise.all([second.adopt(1, given.value), second.adopt(1, given.value)]);
        const [lease, same] = asked as [Lease, Lease];
        assert.equal(same.value, lease.value);
        assert.equal((await second.renew(lease))?.value, lease.value);
        assert.equal(
          await first.adopt(1, given.value),
          undefined,
          "the giver takes back by the value that it was passed",
        );
        await first.adopt(1, lease.value);
        assert.equal(await second.adopt(1, given.value), undefined);
        await expire();
        assert.equal(await second.adopt(1, given.value), undefined);
      },
    );

    check("pass a lock on from hand to hand, and back.", async ({ first, second }) => {
      const given = await held(first, 1);
      const there = await second.adopt(1, given.value);
      const back = await first.adopt(1, there?.value as string);
      assert.equal(await second.renew(there as Lease), undefined);
      assert.equal((await first.renew(back as Lease))?.value, back?.value);
    });

    check("pass no lock on under a value that it has not, nor one that is free or ran out.", async (table) => {
      const { first, second, expire } = table;
      const given = await held(first, 1);
      assert.equal(await second.adopt(1, "another"), undefined);
      assert.equal(await second.adopt(2, given.value), undefined);
      assert.equal((await first.renew(given))?.value, given.value, "a refused one takes nothing");
      await expire();
      assert.equal(await second.adopt(1, given.value), undefined);
      await held(second, 1);
    });

    check("let an adopted lock run out as any other.", async ({ first, second, expire }) => {
      const given = await held(first, 1);
      const lease = await second.adopt(1, given.value);
      await expire();
      assert.equal(await second.renew(lease as Lease), undefined);
      await held(first, 1);
    });
  });
}

async function held(leases: Leases, shard: number): Promise<Lease> {
  const lease = await leases.acquire(shard);
  assert.ok(lease, `the shard ${shard} is free`);
  return lease;
}
