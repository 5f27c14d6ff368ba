import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "../actors/archive.conformance.samples.ts";
import { MemoryArchive } from "../actors/archive.memory.ts";
import type { Archive } from "../actors/archive.ts";
import { MemoryHub } from "../actors/bus.memory.ts";
import { type Clock, SimulatedClock } from "../actors/clock.ts";
import { DamagedRow, StoreFailure } from "../actors/codes.ts";
import { MemoryLeases, MemoryLeaseTable } from "../actors/leases.memory.ts";
import { LIMITS } from "../actors/limits.ts";
import { SILENT } from "../actors/log.ts";
import { moody } from "./guard.fixture.ts";
import { BREAKER, StoreStats } from "./guard.stats.ts";
import { guardArchive, guardBus, guardLeases } from "./guard.ts";
import { POLICIES } from "./policy.ts";

const { reads, writes, breaker, probeMs } = POLICIES.archive;

interface Scene {
  readonly archive: Archive;
  readonly mood: ReturnType<typeof moody>["mood"];
  readonly clock: SimulatedClock;
  readonly stats: StoreStats;
}

function scene(clockOf: (clock: SimulatedClock) => Clock = (clock) => clock): Scene {
  const clock = new SimulatedClock();
  const { port, mood } = moody<Archive>(new MemoryArchive());
  const stats = new StoreStats("archive");
  const archive = guardArchive(port, { clock: clockOf(clock), log: SILENT, stats });
  return { archive, mood, clock, stats };
}

/** What became of a promise, so that time can be moved while it is open. */
function outcome<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const seen: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => {
      seen.value = value;
    },
    (error: unknown) => {
      seen.error = error;
    },
  );
  return seen;
}

/** Opens the breaker of writes. */
async function failWrites({ archive, mood, clock }: Scene): Promise<void> {
  mood.now = "away";
  for (let i = 0; i < breaker.failures; i++) await assert.rejects(archive.mark([]), StoreFailure);
  await clock.turn();
  mood.heard.length = 0;
}

test("A read that fails at once is tried again after a pause, and its caller sees only the answer.", async () => {
  const { archive, mood, clock, stats } = scene();
  await archive.insert([sampleEntry("a", 1)]);
  mood.now = "away";
  const head = outcome(archive.head("a"));
  await clock.advance(reads.pauseFirstMs / 2 - 1);
  assert.deepEqual([mood.heard.length, head], [2, {}], "half of the pause at least");
  mood.now = "well";
  await clock.advance(reads.pauseFirstMs / 2 + 1);
  assert.equal(head.value?.offset, 1);
  assert.deepEqual([stats.calls, stats.failures, stats.retries], [3, 1, 1]);
});

test("A read is tried a bounded number of times, and then says what the store said.", async () => {
  const { archive, mood, clock, stats } = scene();
  mood.now = "away";
  const head = outcome(archive.head("a"));
  await clock.advance(reads.pauseLongestMs * reads.retries);
  assert.ok(head.error instanceof StoreFailure && head.error.message === "Nobody is there.");
  assert.equal(mood.heard.length, 1 + reads.retries);
  assert.equal(stats.retries, reads.retries);
});

test("A write that fails is not repeated here.", async () => {
  const { archive, mood, clock, stats } = scene();
  mood.now = "away";
  const insert = outcome(archive.insert([sampleEntry("a", 1)]));
  await clock.advance(1_000);
  assert.ok(insert.error instanceof StoreFailure);
  assert.deepEqual(mood.heard, ["insert"]);
  assert.deepEqual([stats.failures, stats.retries], [1, 0]);
});

test("A call that is not answered in time fails once, and what comes later is told to nobody.", async () => {
  const { archive, mood, clock, stats } = scene();
  mood.now = "silent";
  const insert = outcome(archive.insert([sampleEntry("a", 1)]));
  const head = outcome(archive.head("a"));
  await clock.advance(reads.timeoutMs - 1);
  assert.deepEqual(head, {});
  await clock.advance(1);
  assert.match(String(head.error), /StoreFailure: The archive did not answer within 5000 ms\.$/);
  assert.deepEqual(insert, {}, "writes have longer");
  await clock.advance(writes.timeoutMs - reads.timeoutMs);
  assert.match(String(insert.error), /what was asked may have happened/);
  mood.now = "well";
  mood.speak();
  await clock.turn();
  assert.equal(insert.value, undefined);
  assert.equal((await archive.head("a"))?.offset, 1, "it had happened");
  assert.equal(mood.heard.filter((name) => name === "head").length, 2, "silence is not repeated");
  assert.equal(stats.timeouts, stats.failures);
  assert.equal(stats.latency.count, stats.calls, "each once");
  assert.ok(stats.latency.sum >= (reads.timeoutMs + writes.timeoutMs) / 1_000);
});

test("A probe that is under way when the store is closed is the last.", async () => {
  const { archive, mood, clock } = scene();
  mood.now = "silent";
  await clock.advance(probeMs);
  assert.deepEqual(mood.heard, ["room"]);
  mood.now = "well";
  await archive.close();
  mood.speak();
  await clock.advance(probeMs * 4);
  assert.deepEqual(mood.heard, ["room", "close"]);
});

test("Calls with the same time-out each get all of it, in whatever order they end.", async () => {
  const { archive, mood, clock } = scene();
  mood.now = "silent";
  const first = outcome(archive.mark([]));
  await clock.advance(10);
  mood.now = "well";
  assert.equal(await archive.mark([]), undefined, "one between two that wait");
  mood.now = "silent";
  const last = outcome(archive.mark([]));
  await clock.advance(writes.timeoutMs - 10);
  assert.ok(first.error instanceof StoreFailure);
  assert.deepEqual(last, {});
  await clock.advance(10);
  assert.ok(last.error instanceof StoreFailure);
});

test("A process that stood still itself first looks whether the answers are there.", async () => {
  let stoodMs = 0;
  const { archive, mood, clock, stats } = scene((inner) => ({
    now: () => inner.now(),
    monotonic: () => inner.monotonic() + stoodMs,
    after: (delayMs, task) => inner.after(delayMs, task),
    cancel: (timer) => inner.cancel(timer),
    endOfTurn: (task) => inner.endOfTurn(task),
  }));
  mood.now = "silent";
  const answered = outcome(archive.mark([]));
  stoodMs = 60_000;
  await clock.advance(writes.timeoutMs);
  assert.deepEqual(answered, {});
  mood.speak();
  await clock.turn();
  assert.deepEqual(answered, { value: undefined });
  const unanswered = outcome(archive.mark([]));
  stoodMs = 120_000;
  await clock.advance(writes.timeoutMs + 1_000);
  assert.ok(unanswered.error instanceof StoreFailure, "the grace has an end");
  assert.equal(stats.breakers.writes, BREAKER.closed);
});

test("After some failures in a row the store is left alone, and calls fail at once.", async () => {
  const it = scene();
  await failWrites(it);
  assert.equal(it.stats.breakers.writes, BREAKER.open);
  assert.equal(it.stats.away, "Nobody is there.");
  it.mood.now = "well";
  await assert.rejects(it.archive.mark([]), /StoreFailure: The archive is left alone for a moment.*Nobody is there/);
  assert.deepEqual(it.mood.heard, []);
  assert.equal(it.stats.refused, 1);
});

test("An answer between failures closes the count of them.", async () => {
  const { archive, mood, clock, stats } = scene();
  for (let i = 0; i < breaker.failures * 3; i++) {
    mood.now = i % breaker.failures === breaker.failures - 1 ? "well" : "away";
    await archive.mark([]).catch(() => undefined);
  }
  await clock.turn();
  assert.equal(stats.breakers.writes, BREAKER.closed);
});

test("When the time is over one call finds out, and the others wait for what it finds.", async () => {
  const it = scene();
  await failWrites(it);
  await it.clock.advance(breaker.openMs);
  it.mood.now = "silent";
  const calls = [1, 2, 3].map(() => outcome(it.archive.mark([])));
  await it.clock.turn();
  assert.equal(it.mood.heard.length, 1);
  assert.equal(it.stats.breakers.writes, BREAKER.halfOpen);
  assert.notEqual(it.stats.away, undefined, "not yet");
  it.mood.now = "well";
  it.mood.speak();
  await it.clock.turn();
  assert.deepEqual(calls, [{ value: undefined }, { value: undefined }, { value: undefined }]);
  assert.deepEqual([it.stats.breakers.writes, it.stats.away], [BREAKER.closed, undefined]);
});

test("When the one call fails, the store is left alone again.", async () => {
  const it = scene();
  await failWrites(it);
  await it.clock.advance(breaker.openMs);
  const calls = [1, 2].map(() => outcome(it.archive.mark([])));
  await it.clock.turn();
  assert.ok(calls.every(({ error }) => error instanceof StoreFailure));
  assert.equal(it.mood.heard.length, 1);
  assert.equal(it.stats.breakers.writes, BREAKER.open);
});

test("An error that is no failure of the store passes as it is, and opens nothing.", async () => {
  const { archive, mood, stats } = scene();
  mood.now = "broken";
  for (let i = 0; i < breaker.failures * 2; i++) {
    await assert.rejects(archive.mark([]), TypeError);
    await assert.rejects(archive.head("a"), TypeError);
  }
  assert.deepEqual([stats.failures, stats.retries, stats.away], [0, 0, undefined]);
});

test("A damaged row is counted, is not asked for again, and closes the store to nobody.", async () => {
  const { archive, mood, clock, stats } = scene();
  mood.now = "damaged";
  const most = breaker.failures * 2;
  for (let i = 0; i < most; i++) await assert.rejects(archive.head("a"), DamagedRow);
  assert.deepEqual([stats.damaged, stats.failures, stats.retries, stats.away], [most, most, 0, undefined]);
  mood.now = "well";
  assert.equal(await archive.head("b"), undefined);
  // Where the breaker is open, it tells that the store is back.
  mood.now = "away";
  for (let i = 0; i < breaker.failures; i++) {
    const failing = assert.rejects(archive.head("a"), StoreFailure);
    await clock.advance(60_000);
    await failing;
  }
  mood.now = "damaged";
  await clock.advance(breaker.openMs * 2);
  await assert.rejects(archive.head("a"), DamagedRow);
  assert.equal(stats.away, undefined);
});

test("While writes fail, reads go on; when nobody writes any more, that is forgotten.", async () => {
  const it = scene();
  await failWrites(it);
  it.mood.now = "well";
  assert.equal(await it.archive.head("a"), undefined);
  await it.clock.advance(probeMs);
  assert.equal(it.stats.breakers.writes, BREAKER.open, "somebody tried since the last look");
  await it.clock.advance(probeMs);
  assert.equal(it.stats.away, undefined);
});

test("A store that nobody calls is asked now and then, until it is closed.", async () => {
  const { archive, mood, clock, stats } = scene();
  mood.now = "away";
  await clock.advance(probeMs * 4);
  assert.equal(stats.breakers.reads, BREAKER.open, "nobody had to need it");
  mood.now = "well";
  await clock.advance(probeMs * 2);
  assert.equal(stats.away, undefined);
  await archive.close();
  const heard = mood.heard.length;
  await clock.advance(probeMs * 4);
  assert.equal(mood.heard.length, heard);
});

test("Changes are logged once, not with every try.", async () => {
  const lines: string[] = [];
  const log = {
    ...SILENT,
    warn: (_: object, message: string) => void lines.push(message),
    info: (_: object, message: string) => void lines.push(message),
  };
  const clock = new SimulatedClock();
  const { port, mood } = moody<Archive>(new MemoryArchive());
  guardArchive(port, { clock, log, stats: new StoreStats("archive") });
  mood.now = "away";
  await clock.advance(probeMs * 10);
  assert.deepEqual(lines, ["a store is left alone as it failed"]);
  mood.now = "well";
  await clock.advance(probeMs * 2);
  assert.deepEqual(lines, ["a store is left alone as it failed", "a store is used again"]);
});

test("What the bus sends at most once, and joins, never wait for the breaker.", async () => {
  const clock = new SimulatedClock();
  const { port, mood } = moody(new MemoryHub(8, LIMITS).connect());
  const stats = new StoreStats("bus");
  const bus = guardBus(port, { clock, log: SILENT, stats });
  mood.now = "away";
  for (let i = 0; i < POLICIES.bus.breaker.failures; i++) await assert.rejects(bus.append(0, 1, []), StoreFailure);
  await clock.turn();
  assert.equal(stats.breakers.writes, BREAKER.open);
  mood.now = "well";
  mood.heard.length = 0;
  const joined = bus.join("a");
  bus.leave("a");
  bus.publish([]);
  bus.signal([]);
  assert.deepEqual(mood.heard, ["join", "leave", "publish", "signal"], "in order, in the turn of the calls");
  await joined;
  await bus.close();
});

test("Renewals of all shards that meet a store that is back all go through.", async () => {
  const clock = new SimulatedClock();
  const { port, mood } = moody(new MemoryLeases(new MemoryLeaseTable(), clock, "node"));
  const stats = new StoreStats("leases");
  const leases = guardLeases(port, { clock, log: SILENT, stats });
  mood.now = "away";
  const shards = Array.from({ length: 64 }, (_, shard) => shard);
  await Promise.allSettled(shards.map((shard) => leases.acquire(shard)));
  await clock.turn();
  assert.equal(stats.breakers.writes, BREAKER.open);
  mood.now = "well";
  await clock.advance(POLICIES.leases.breaker.openMs);
  const held = await Promise.all(shards.map((shard) => leases.acquire(shard)));
  assert.ok(held.every((lease) => lease !== undefined));
});
