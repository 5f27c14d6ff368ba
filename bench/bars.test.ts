import assert from "node:assert/strict";
import { test } from "node:test";
import { BARS, barOf, owed, reasonOf, unmeasured } from "./bars.ts";
import { type Figure, met, summary } from "./report.ts";

const reached: Figure = {
  scenario: "chat",
  name: "window 1,000",
  unit: "SENDs/s",
  confab: 1,
  bare: 1,
  ratio: 1,
  bar: barOf("chat", "window 1,000"),
  faults: [],
  facts: {},
};

test("No bar is stated twice, and each has one limit.", () => {
  assert.equal(new Set(BARS.map(({ scenario, name }) => `${scenario} ${name}`)).size, BARS.length);
  for (const { bar } of BARS) assert.equal(Number(bar.least === undefined) + Number(bar.most === undefined), 1);
});

test("A bar that a scenario did not measure is missed, never left out.", () => {
  assert.deepEqual(owed("chat", [reached]), []);
  const [missing, ...others] = owed("chat", []);
  assert.deepEqual(others, []);
  assert.equal(missing?.name, "window 1,000");
  assert.equal(missing === undefined ? null : met(missing), false);
});

test("A scenario that fails owes all its bars, or one figure at fault if it has none left.", () => {
  const bars = BARS.filter(({ scenario }) => scenario === "growth").length;
  assert.equal(owed("growth", [], "it fell over").length, bars);
  const [fault] = owed("ceiling", [], "it fell over");
  assert.deepEqual(fault?.faults, ["not measured: it fell over"]);
  assert.match(summary(owed("chat", [reached], "it fell over")), /1 missed or at fault/);
});

test("A reason is one line of bounded length.", () => {
  assert.equal(reasonOf(new Error("one\ntwo")), "one");
  assert.equal(reasonOf("x".repeat(500)).length, 120);
  assert.equal(unmeasured("ceiling", "window 1", "why").bar, null);
});
