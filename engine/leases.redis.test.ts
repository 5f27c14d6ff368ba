import assert from "node:assert/strict";
import { test } from "node:test";
import { leasesConformance } from "../actors/leases.conformance.ts";
import { LEASE_MS } from "../actors/leases.memory.ts";
import type { Leases } from "../actors/leases.ts";
import { nextPrefix, openNode, openRaw, serverOrReason } from "./bus.redis.fixture.ts";
import type { RedisHandles } from "./bus.redis.ts";
import { systemClock } from "./clock.ts";

const found = await serverOrReason();

if (typeof found === "string") {
  test("The leases on Redis.", { skip: found }, () => {});
} else {
  const { url } = found;
  leasesConformance("Redis", async () => {
    const prefix = nextPrefix();
    const nodes = [await openNode(url, prefix), await openNode(url, prefix)] as const;
    return {
      first: ofNode(nodes[0]),
      second: ofNode(nodes[1]),
      now: () => systemClock.monotonic(),
      expire: () => expireLocks(url, prefix),
    };
  });

  test("A lease is given up half a second before its lock runs out.", async () => {
    const prefix = nextPrefix();
    const { leases, close } = await openNode(url, prefix);
    const raw = openRaw(url);
    const before = systemClock.monotonic();
    const lease = await leases.acquire(1);
    assert.ok(lease && lease.untilMs >= before + LEASE_MS - 500);
    const left = await raw.pttl(`${prefix}{1}:lock`);
    const lockUntil = systemClock.monotonic() + left;
    // The server tells whole milliseconds, up to one more than are left.
    assert.ok(lease.untilMs <= lockUntil - 500 + 2, `${lease.untilMs} is too near to ${lockUntil}`);
    raw.disconnect();
    await close();
  });

  test("A lock is in the database that the URL names.", async () => {
    const prefix = nextPrefix();
    const { leases, close } = await openNode(`${url}/3`, prefix);
    const raw = openRaw(`${url}/3`);
    const lease = await leases.acquire(1);
    assert.equal(await raw.get(`${prefix}{1}:lock`), lease?.value);
    raw.disconnect();
    await close();
  });
}

/** The leases of a node, which close all of it. */
function ofNode({ leases, close }: RedisHandles): Leases {
  return {
    acquire: (shard) => leases.acquire(shard),
    renew: (lease) => leases.renew(lease),
    adopt: (shard, value) => leases.adopt(shard, value),
    release: (lease) => leases.release(lease),
    close,
  };
}

/** Lets the locks run out now, by the server's own clock. */
async function expireLocks(url: string, prefix: string): Promise<void> {
  const raw = openRaw(url);
  const locks = await raw.keys(`${prefix}*:lock`);
  for (const lock of locks) await raw.pexpire(lock, 1);
  while ((await raw.exists(...locks)) > 0) await raw.ping();
  raw.disconnect();
}
