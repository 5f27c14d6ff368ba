import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type Figure, json, load, median, met, type Report, save, short, spread, summary, table } from "./report.ts";

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
  assert.match(table([{ ...figure, faults: ["Confab: 1 lost"] }]), /MISSED, FAULT .*Confab: 1 lost/);
  assert.match(table([{ ...figure, bar: null, faults: ["Confab: 1 lost"] }]), / FAULT .*Confab: 1 lost/);
});

test("Numbers are shown with three digits that matter.", () => {
  assert.equal(short(2_345_678), "2.35M");
  assert.equal(short(346_000), "346k");
  assert.equal(short(1.234), "1.23");
  assert.equal(short(null), "-");
});

test("The table names the rival, and the summary every bar that was missed.", () => {
  const figures = [figure, { ...figure, name: "window 16", ratio: 0.8, rival: "Socket.IO" }];
  assert.match(table(figures), /window 1, .* bare .* met/);
  assert.match(table(figures), /window 16, .* Socket\.IO .* MISSED/);
  assert.equal(summary(figures), "1 bars met, 1 missed or at fault: fanout window 16");
});

test("A file of results reads back as it was, and another file is refused by its name.", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "confab-report-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const report: Report = {
    date: "2026-01-02T03:04:05.000Z",
    quick: false,
    machine: { cores: 2 },
    figures: [{ ...figure, spread: { ratio: spread([0.91, 0.89]) } }],
  };
  save(join(folder, "deep", "a.json"), json(report));
  assert.deepEqual(load(join(folder, "deep", "a.json")), report);
  writeFileSync(join(folder, "b.json"), "[]");
  assert.throws(() => load(join(folder, "b.json")), /b\.json is no file of results/);
});
