import assert from "node:assert/strict";
import { test } from "node:test";
import { barsTable, besidePicture, besideTable, ceilingTable } from "./beside.ts";
import type { Figure, Report } from "./report.ts";

const nothing = { unit: "deliveries/s", bar: null, faults: [], facts: {} };
const fanout: Figure = {
  ...nothing,
  scenario: "fanout",
  name: "window 16",
  confab: 2_000_000,
  bare: 2_100_000,
  ratio: 0.95,
};
const peer: Figure = {
  ...nothing,
  scenario: "peers",
  name: "Some Peer, window 16",
  rival: "Some Peer 1.2",
  confab: 2_200_000,
  bare: 100_000,
  ratio: 22,
};
const resident: Figure = { ...peer, name: "Some Peer, resident with everybody in", unit: "MB", confab: 80, bare: 120 };
const skipped: Figure = { ...peer, name: "Another skipped: no tool", confab: null, bare: null, ratio: null };
const slower: Figure = { ...peer, name: "Slow Peer, window 16", rival: "Slow Peer 3", bare: 50_000, ratio: 44 };
const rest: Figure = {
  ...peer,
  scenario: "rest",
  name: "GET",
  rival: "fastify",
  confab: 30_000,
  bare: 20_000,
  ratio: 1.5,
};
const report: Report = {
  date: "2026-01-02T03:04:05.000Z",
  quick: false,
  machine: { cpu: "a processor", cores: 2, kernel: "6.1", node: "v20" },
  figures: [fanout, slower, peer, resident, skipped, rest],
};

test("Each rival has a row with its rate and Confab's over it, and Confab what it had beside the bare server.", () => {
  const lines = besideTable(report).split("\n");
  assert.equal(lines[2], "| **Confab** | – | **2.00M** | – | 80 MB |");
  assert.equal(lines[3], "| bare uWebSockets.js | – | 2.10M (0.95) | – | – |");
  assert.equal(lines[4], "| Some Peer 1.2 | – | 100k (22.0) | – | 120 MB |");
  assert.match(lines[5] ?? "", /Slow Peer 3/, "slower ones come later");
  assert.equal(lines[6], "", "a peer that was skipped has no row");
  assert.match(besideTable(report), /a small GET: 30\.0k requests\/s; plain fastify on node:http 20\.0k \(1\.50\)/);
  assert.match(besideTable(report), /`npm run bench`, 2026-01-02, 2 cores of a processor, Linux 6\.1, Node v20\./);
});

test("The picture has a bar for each server at each window that was measured, as long as its rate.", () => {
  const drawn = besidePicture(report);
  const widths = [...drawn.matchAll(/<rect class="(?:confab|rival)" [^>]*width="([\d.]+)"/g)].map(([, width]) =>
    Number(width),
  );
  assert.equal(widths.length, 4);
  const [confab = 0, bare = 0] = widths;
  assert.ok(Math.abs(confab / bare - 2 / 2.1) < 0.01);
});

test("A file without figures of rooms still gives a table and a picture.", () => {
  assert.match(besideTable({ ...report, figures: [] }), /\*\*Confab\*\* \| – \|/);
  assert.match(besidePicture({ ...report, figures: [] }), /<\/svg>/);
});

test("Every figure with a bar or a rival has its line, and the load client's ceiling a table of its own.", () => {
  const missed: Figure = { ...fanout, ratio: 0.8, bar: { on: "ratio", least: 0.9 } };
  const ceiling: Figure = {
    ...fanout,
    scenario: "ceiling",
    confab: null,
    ratio: null,
    bare: 4_000_000,
    facts: { barePerSecond: 2_000_000, bareClientShare: 0.5 },
  };
  const all = { ...report, figures: [missed, ceiling, skipped] };
  const [, , line, end] = barsTable(all).split("\n");
  assert.equal(line, "| `fanout` window 16, deliveries/s | 2.00M | 2.10M bare | 0.80 | ≥ 0.9 | MISSED |");
  assert.equal(end, "");
  assert.match(ceilingTable(all), /\| window 16 \| 2\.00M \| 50 % \| 4\.00M \|/);
});
