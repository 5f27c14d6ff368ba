import assert from "node:assert/strict";
import { test } from "node:test";
import { difference } from "./difference.ts";
import type { Figure, Report } from "./report.ts";

const figure: Figure = {
  scenario: "fanout",
  name: "window 1",
  unit: "deliveries/s",
  confab: 200_000,
  bare: 210_000,
  ratio: 0.95,
  spread: { confab: [190_000, 205_000], ratio: [0.93, 0.97] },
  bar: null,
  faults: [],
  facts: {},
};

function report(figures: readonly Figure[]): Report {
  return { date: "2026-01-02", quick: false, machine: { cpu: "a processor", cores: 2, node: "v20.0.0" }, figures };
}

function rowOf(a: readonly Figure[], b: readonly Figure[], what = "window 1,"): string {
  const row = difference(report(a), report(b))
    .split("\n")
    .find((line) => line.includes(what));
  return row?.replaceAll(/ {2,}/g, " | ") ?? "";
}

test("A ratio whose rounds do not meet those of the other file has changed beyond noise, and by how much is said.", () => {
  const better = { ...figure, confab: 220_000, ratio: 1.045, spread: { ratio: [1.0, 1.06] } } as const;
  assert.equal(
    rowOf([figure], [better]),
    "fanout | window 1, deliveries/s | 200k | 220k | +10.0% | bare | 0.95 | 1.04 | +10.0% | BEYOND NOISE",
  );
  assert.match(rowOf([better], [figure]), /-9\.1% \| BEYOND NOISE$/);
});

test("Rounds that overlap are noise, whatever the medians say.", () => {
  const other = { ...figure, ratio: 0.99, spread: { ratio: [0.96, 1.0] } } as const;
  assert.match(rowOf([figure], [other]), /within noise$/);
});

test("Without a ratio the verdict is on Confab's own figure.", () => {
  const alone: Figure = { ...figure, bare: null, ratio: null, spread: { confab: [190_000, 205_000] } };
  const less: Figure = { ...alone, confab: 150_000, spread: { confab: [140_000, 160_000] } };
  assert.match(rowOf([alone], [less]), /200k \| 150k \| -25\.0% .* BEYOND NOISE$/);
});

test("A figure of one file only, and one without a spread, are shown and not judged.", () => {
  const { spread: _, ...plain } = figure;
  assert.match(rowOf([figure], []), /200k \| - \| - .*not in both$/);
  assert.match(rowOf([], [figure]), /- \| 200k \| - .*not in both$/);
  assert.match(rowOf([figure], [plain]), /spread not known$/);
  assert.match(rowOf([figure], [{ ...figure, spread: { ratio: [2, 2] } }]), /spread not known$/);
});

test("The same figure against two rivals is two lines.", () => {
  const rival = { ...figure, rival: "NATS" };
  const lines = difference(report([figure, rival]), report([figure, rival])).split("\n");
  assert.equal(lines.filter((line) => line.includes("window 1,")).length, 2);
});
