import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock } from "./clock.ts";
import { Lap } from "./lap.ts";
import { Latch } from "./latch.fixture.ts";
import type { Log } from "./log.ts";

/** A lap every 100 ms whose runs are counted. */
function scene(work: () => void | Promise<void> = () => undefined) {
  const clock = new SimulatedClock();
  const said: string[] = [];
  const log: Log = { debug() {}, info() {}, warn: (_, message) => void said.push(message), error() {} };
  const late: number[] = [];
  const run = (lateMs: number): void | Promise<void> => {
    late.push(lateMs);
    return work();
  };
  const lap = new Lap({ clock, log, pauseMs: 100, run, failed: "a run failed" });
  return { clock, lap, said, late };
}

test("A lap runs after each pause until it is stopped, once however often it is started.", async () => {
  const { clock, lap, late } = scene();
  lap.start();
  lap.start();
  await clock.advance(350);
  assert.equal(late.length, 3);
  lap.stop();
  lap.stop();
  await clock.advance(1_000);
  assert.equal(late.length, 3);
  lap.start();
  await clock.advance(100);
  assert.equal(late.length, 4);
});

test("No two runs of a lap go at once: who wants one now joins the one that is under way.", async () => {
  let latch = new Latch();
  const { clock, lap, late } = scene(() => latch.opened);
  lap.start();
  await clock.advance(1_000);
  assert.equal(late.length, 1);
  const [one, other] = [lap.now(), lap.now()];
  assert.equal(one, other);
  lap.stop();
  lap.start();
  const { open } = latch;
  latch = new Latch();
  open();
  await one;
  await lap.over();
  await clock.advance(100);
  assert.equal(late.length, 2);
  await clock.advance(1_000);
  assert.equal(late.length, 2);
});

test("A run that fails is logged, and the next one comes all the same; who asked for it hears why.", async () => {
  let error: Error | undefined = new Error("The store is away.");
  const { clock, lap, said, late } = scene(() => {
    if (error) throw error;
  });
  await assert.rejects(lap.now(), /away/);
  lap.start();
  await clock.advance(250);
  assert.deepEqual([late.length, said], [3, ["a run failed", "a run failed"]]);
  error = undefined;
  await clock.advance(100);
  assert.deepEqual([late.length, said.length], [4, 2]);
  await lap.over();
});

test("A lap that is stopped in a run does not go on after it.", async () => {
  const latch = new Latch();
  const { clock, lap, late } = scene(() => latch.opened);
  lap.start();
  await clock.advance(100);
  lap.stop();
  latch.open();
  await lap.over();
  await clock.advance(1_000);
  assert.equal(late.length, 1);
});

test("A run hears how late it is.", async () => {
  const { clock, lap, late } = scene();
  lap.start();
  const monotonic = clock.monotonic.bind(clock);
  clock.monotonic = () => monotonic() + 5_000;
  await clock.advance(100);
  clock.monotonic = monotonic;
  assert.deepEqual(late, [5_000]);
});
