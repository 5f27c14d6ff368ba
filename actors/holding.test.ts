import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryHub } from "./bus.memory.ts";
import { SimulatedClock } from "./clock.ts";
import { Holding } from "./holding.ts";
import { Latch, once } from "./latch.fixture.ts";
import { LEASE_MS, MemoryLeases, MemoryLeaseTable } from "./leases.memory.ts";
import { LIMITS } from "./limits.ts";
import { SILENT } from "./log.ts";

const unanswered = (): Promise<never> => Promise.reject(new Error("The locks do not answer."));

/** The holding of shard 0 by one node, and the locks as another node sees them. */
function scene() {
  const clock = new SimulatedClock();
  const table = new MemoryLeaseTable();
  const leases = new MemoryLeases(table, clock, "n1");
  const bus = new MemoryHub(1, LIMITS, { shared: true }).connect();
  const lost: string[] = [];
  const told: string[] = [];
  const log = { ...SILENT, warn: (_: object, line: string) => void told.push(line) };
  const holding = new Holding(0, { bus, leases, clock, log }, (why) => void lost.push(why));
  return { clock, leases, bus, holding, lost, told, other: new MemoryLeases(table, clock, "n2") };
}

test("Of two who ask for a lapsed lock at once both get the one that was taken.", async () => {
  const { clock, holding } = scene();
  assert.ok(await holding.get());
  await clock.advance(LEASE_MS + 1);
  assert.equal(holding.valid, false);
  const [first, second] = await Promise.all([holding.get(), holding.get()]);
  assert.ok(first && second);
  assert.equal(first.value, second.value);
  assert.equal(holding.valid, true);
});

test("A renewal that meets a shard which is owned again does not lose it the lock.", async () => {
  const { clock, leases, bus, holding, lost } = scene();
  await holding.get();
  await bus.take(0, { lock: "", term: 1, node: "n1", lossy: false });
  holding.keep(1);
  const latch = new Latch();
  once(leases, "renew", async (renew) => {
    await latch.opened;
    return renew();
  });
  // The renewal waits until the lock has lapsed; then the shard is owned again.
  await clock.advance(LEASE_MS + 1);
  const again = holding.get();
  latch.open();
  await clock.advance(10);
  assert.ok(await again);
  assert.deepEqual([holding.valid, lost], [true, []]);
});

test("A lock that comes after it was given up is given back at once.", async () => {
  const { leases, holding, other } = scene();
  const latch = new Latch();
  once(leases, "acquire", async (acquire) => {
    const lease = await acquire();
    await latch.opened;
    return lease;
  });
  const getting = holding.get();
  await holding.release();
  assert.equal(await other.acquire(0), undefined, "the lock is taken");
  latch.open();
  assert.equal(await getting, undefined);
  assert.deepEqual([holding.valid, holding.released], [false, true]);
  assert.ok(await other.acquire(0));
});

test("A lock that another took meanwhile, or a term that another has in force, is told.", async () => {
  for (const [who, why] of [
    ["lock", "another node holds the lock"],
    ["term", "another term is in force"],
  ]) {
    const { clock, leases, bus, holding, lost, other } = scene();
    await holding.get();
    await bus.take(0, { lock: "", term: 1, node: "n1", lossy: false });
    holding.keep(1);
    if (who === "term") await bus.take(0, { lock: "", term: 2, node: "n2", lossy: false });
    // Nothing is answered until the lock has lapsed.
    const { acquire, renew } = leases;
    Object.assign(leases, { acquire: unanswered, renew: unanswered });
    await clock.advance(LEASE_MS + 1);
    assert.deepEqual([holding.valid, lost], [false, []]);
    if (who === "lock") await other.acquire(0);
    Object.assign(leases, { acquire, renew });
    await clock.advance(1_000);
    assert.deepEqual(lost, [why]);
  }
});

test("Renewals that are not answered are told of once in a row.", async () => {
  const { clock, leases, bus, holding, told } = scene();
  await holding.get();
  await bus.take(0, { lock: "", term: 1, node: "n1", lossy: false });
  holding.keep(1);
  const { acquire, renew } = leases;
  for (let outages = 1; outages <= 2; outages++) {
    Object.assign(leases, { acquire: unanswered, renew: unanswered });
    await clock.advance(60_000);
    assert.deepEqual(told, Array(outages).fill("a lease was not renewed; trying again"));
    Object.assign(leases, { acquire, renew });
    await clock.advance(2_000);
    assert.equal(holding.valid, true);
  }
});
