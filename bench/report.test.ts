import assert from "node:assert/strict";
import { test } from "node:test";
import { type Figure, median, met, short, table } from "./report.ts";

const figure: Figure = {
  scenario: "fanout",
  name: "window 1",
  unit: "deliveries/s",
  confab: 90,
  bare: 100,
  ratio: 0.9,
  bar: { on: "ratio", least: 0.9 },
  faults: [],
  facts: {},
};

test("The median of an even number of values is the mean of the middle two.", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
});

test("A bar is met by the value it is on, from either side, and by its limit itself.", () => {
  assert.equal(met(figure), true);
  assert.equal(met({ ...figure, ratio: 0.899 }), false);
  assert.equal(met({ ...figure, bar: { on: "confab", most: 90 } }), true);
  assert.equal(met({ ...figure, bar: { on: "confab", most: 89 } }), false);
  assert.equal(met({ ...figure, bar: null }), null);
});

test("A figure with a fault or without a value reaches no bar.", () => {
  assert.equal(met({ ...figure, faults: ["Confab: 1 lost"] }), false);
  assert.equal(met({ ...figure, bar: null, faults: ["Confab: 1 lost"] }), false);
  assert.equal(met({ ...figure, ratio: null }), false);
  assert.match(table([{ ...figure, faults: ["Confab: 1 lost"] }]), /FAULT: Confab: 1 lost/);
});

test("Numbers are shown with three digits that matter.", () => {
  assert.equal(short(2_345_678), "2.35M");
  assert.equal(short(346_000), "346k");
  assert.equal(short(1.234), "1.23");
  assert.equal(short(null), "-");
});
