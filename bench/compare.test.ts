import assert from "node:assert/strict";
import { test } from "node:test";
import type { Paced } from "./client/messages.ts";
import { faultsAtRate, inTurn, losses, versus, versusP99 } from "./compare.ts";
import type { Outcome } from "./crowd.ts";

/** A run in which all went well, but for what is said. */
function outcome(load: Partial<Paced>, tally: Partial<Outcome["tally"]> = {}): Outcome<Paced> {
  return {
    load: {
      seconds: 1,
      messages: 100,
      due: 100,
      serverCpuSeconds: 0.5,
      clientCpuSeconds: 0.3,
      p50Ms: 1,
      p99Ms: 2,
      lateP99Ms: 0.1,
      sent: {},
      refused: 0,
      unanswered: 0,
      ...load,
    },
    tally: {
      deliveries: 0,
      lost: 0,
      doubled: 0,
      disordered: 0,
      sampled: 1,
      messageBytes: 0,
      receiptBytes: 0,
      ...tally,
    },
  };
}

test("What is lost, doubled, out of order, refused or unanswered is a fault with its number, summed over the rounds.", () => {
  assert.deepEqual(losses("Confab", [outcome({}), outcome({})]), []);
  const rounds = [
    outcome({ refused: 2 }, { lost: 1 }),
    outcome({ refused: 3, unanswered: 4 }, { doubled: 5, disordered: 6 }),
  ];
  assert.deepEqual(losses("Confab", rounds), [
    "Confab: 1 lost",
    "Confab: 5 doubled",
    "Confab: 6 out of order",
    "Confab: 5 refused",
    "Confab: 4 unanswered",
  ]);
});

test("At a rate, a server that brings back less than was due is at fault, and load clients that fill their core are.", () => {
  assert.deepEqual(faultsAtRate("bare", [outcome({})]), []);
  assert.match(faultsAtRate("bare", [outcome({ messages: 90 })]).join(), /only 90% came back in time/);
  assert.match(
    faultsAtRate("bare", [outcome({ clientCpuSeconds: 0.97 })]).join(),
    /the load clients used 97% of their core/,
  );
});

test("The ratio is the median of those of each round, not that of the medians.", () => {
  const figure = versus({
    scenario: "fanout",
    name: "window 16",
    unit: "deliveries/s",
    ours: [10, 90, 30],
    theirs: [20, 100, 40],
    faults: [],
    facts: {},
  });
  assert.deepEqual([figure.confab, figure.bare, figure.ratio], [30, 40, 0.75]);
  assert.deepEqual(figure.spread, { confab: [10, 90], ratio: [0.5, 0.9] });
  assert.deepEqual(figure.bar, { on: "ratio", least: 0.9 });
  assert.equal("rival" in figure, false, "the bare server is not named");
});

test("A figure of latencies names its sides in its faults, and adds those of its scenario.", () => {
  const [ours, theirs] = [[outcome({ p99Ms: 3, refused: 1 })], [outcome({ p99Ms: 2 })]];
  const wish = { scenario: "slow", name: "p99", sides: ["one slow", "nobody slow"], ours, theirs, weight: 10 } as const;
  const figure = versusP99({ ...wish, faults: ["it moved"], facts: { offeredPerSecond: 7 } });
  assert.deepEqual([figure.unit, figure.confab, figure.bare, figure.ratio], ["ms", 3, 2, 1.5]);
  assert.deepEqual(figure.faults, ["one slow: 1 refused", "it moved"]);
  assert.equal(figure.facts["offeredPerSecond"], 7);
  assert.equal(figure.facts["confabServerUs"], 500);
});

test("Both sides run in turn, so that what disturbs the machine disturbs both.", async () => {
  const order: string[] = [];
  const side = (name: string) => async (round: number) => {
    order.push(`${name}${round}`);
    return round;
  };
  assert.deepEqual(await inTurn(2, side("a"), side("b")), [
    [1, 2],
    [1, 2],
  ]);
  assert.deepEqual(order, ["a1", "b1", "a2", "b2"]);
});
