import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock, type Timer } from "./clock.ts";
import { Owners } from "./owners.ts";

/** Four shards, the changes that were told, and the timers that run. */
function scene() {
  const clock = new SimulatedClock();
  const timers = new Set<Timer>();
  const changed: number[] = [];
  const host = {
    clock: {
      after: (delayMs: number, task: () => void): Timer => {
        const timer = clock.after(delayMs, () => {
          timers.delete(timer);
          task();
        });
        timers.add(timer);
        return timer;
      },
      cancel: (timer: Timer): void => {
        timers.delete(timer);
        clock.cancel(timer);
      },
    },
    ownerChanged: (shard: number) => void changed.push(shard),
  };
  return { clock, timers, changed, owners: new Owners(4, host) };
}

test("Who waits for a change in vain leaves nothing behind, however long no owner changes.", async () => {
  const { clock, timers, owners } = scene();
  for (let lap = 0; lap < 100; lap++) {
    const waits = [owners.changed(500), owners.changed(300)];
    await clock.advance(500);
    await Promise.all(waits);
  }
  assert.deepEqual([owners.waiting, timers.size], [0, 0]);
});

test("A change wakes all who wait, and their timers go with it.", async () => {
  const { timers, owners, changed } = scene();
  const waits = [owners.changed(1_000), owners.changed(5_000)];
  owners.learn(2, "a", 1);
  await Promise.all(waits);
  assert.deepEqual([owners.waiting, timers.size, changed], [0, 0, [2]]);
  const again = owners.changed(1_000);
  owners.forget(2, "a");
  await again;
  assert.deepEqual([owners.waiting, timers.size, changed], [0, 0, [2, 2]]);
});

test("Who is woken and waits again at once waits for the next change.", async () => {
  const { owners } = scene();
  let woken = 0;
  const wait = async (): Promise<void> => {
    for (;;) {
      await owners.changed(60_000);
      woken++;
    }
  };
  void wait();
  for (let term = 1; term <= 3; term++) {
    owners.learn(0, "a", term);
    await new Promise<void>((resolve) => void setImmediate(resolve));
  }
  assert.deepEqual([woken, owners.waiting], [3, 1]);
});

test("Only a higher term is believed, and a shard that there is not is none.", () => {
  const { owners } = scene();
  assert.equal(owners.learn(1, "a", 5), true);
  for (const term of [3, 4, 5]) assert.equal(owners.learn(1, "b", term, { lives: true, record: true }), false);
  assert.deepEqual([owners.of(1), owners.term(1)], ["a", 5]);
  assert.equal(owners.learn(1, "b", 6), true);
  assert.deepEqual([owners.of(1), owners.term(1), owners.moves], ["b", 6, 2]);
  assert.equal(owners.learn(4, "a", 1), false);
  assert.deepEqual([owners.of(4), owners.term(4)], [undefined, 0]);
});

test("What this node owns it owns, whatever terms were heard of.", () => {
  const { owners, changed } = scene();
  owners.learn(3, "ghost", 9);
  owners.own(3, "self", 4);
  assert.deepEqual([owners.of(3), owners.term(3), changed], ["self", 4, [3, 3]]);
});

test("A node that was thought gone and lives owns again what it owned; one that is gone does not.", () => {
  const { owners } = scene();
  owners.learn(0, "a", 3);
  owners.learn(1, "a", 3);
  owners.learn(2, "b", 3);
  assert.equal(owners.countOf("a"), 2);
  owners.gone("a");
  assert.deepEqual([owners.of(0), owners.of(1), owners.of(2), owners.countOf("a")], [undefined, undefined, "b", 0]);
  assert.equal(owners.learn(0, "a", 3), false);
  assert.equal(owners.learn(0, "a", 2, { lives: true }), false);
  assert.equal(owners.learn(0, "a", 3, { lives: true }), true);
  assert.deepEqual([owners.of(0), owners.term(0)], ["a", 3]);
});

test("Where nobody is known to own a shard the bus's record of a living node is believed, also below what was heard.", () => {
  const { owners } = scene();
  owners.learn(0, "ghost", 9);
  owners.forget(0, "another");
  assert.equal(owners.of(0), "ghost");
  assert.equal(owners.learn(0, "a", 3, { lives: true, record: true }), false);
  owners.forget(0, "ghost");
  assert.equal(owners.learn(0, "a", 3, { record: true }), false);
  assert.equal(owners.learn(0, "a", 3, { lives: true }), false);
  assert.equal(owners.learn(0, "a", 3, { lives: true, record: true }), true);
  assert.deepEqual([owners.of(0), owners.term(0)], ["a", 3]);
});
