import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { type CpuProfile, spendingOf, spendingText } from "./profile.ts";

const frame = (id: number, functionName: string, url = ""): CpuProfile["nodes"][number] => ({
  id,
  callFrame: { functionName, url, lineNumber: 0 },
});

const profile: CpuProfile = {
  nodes: [
    frame(1, "(idle)"),
    frame(2, "publish"),
    frame(3, "encode", pathToFileURL("/elsewhere/encoder.js").href),
    frame(4, "put", "file:///elsewhere/node_modules/@some/store/index.js"),
    frame(5, "(garbage collector)"),
  ],
  samples: [1, 2, 3, 4, 5, 1],
  timeDeltas: [0, 1_000_000, 40_000, 30_000, 20_000, 10_000],
};
const alone = { profiles: [profile], used: [] };

test("A sample stands for the time until the next, idle time is left out, and files are named by where they lie.", () => {
  const { seconds, files, functions } = spendingOf(alone);
  assert.ok(Math.abs(seconds - 0.1) < 1e-9);
  assert.deepEqual(
    files.map(({ name, share }) => [name, Math.round(share * 100)]),
    [
      ["native code", 40],
      ["/elsewhere/encoder.ts", 30],
      ["package @some/store", 20],
      ["(garbage collector)", 10],
    ],
  );
  assert.equal(functions[1]?.name, "/elsewhere/encoder.ts  encode");
});

test("CPU time that no sample tells is of the main thread between calls, or of other threads.", () => {
  const { seconds, files } = spendingOf({ profiles: [profile], used: [{ seconds: 0.5, mainSeconds: 0.3 }] });
  assert.ok(Math.abs(seconds - 0.5) < 1e-9);
  const [first, second, third] = files.map(({ name, share }) => `${Math.round(share * 100)} ${name.slice(0, 11)}`);
  assert.deepEqual([first, second].sort(), ["40 main thread", "40 other threa"]);
  assert.equal(third, "8 native code");
});

test("Two profiles are summed up as one, and none is nothing.", () => {
  const [one, two] = [spendingOf(alone), spendingOf({ profiles: [profile, profile], used: [] })];
  assert.ok(Math.abs(two.seconds - 2 * one.seconds) < 1e-9);
  assert.deepEqual(two.files, one.files);
  assert.deepEqual(spendingOf({ profiles: [], used: [] }).files, []);
});

test("Where a cost is known, each share is shown as its part of it.", () => {
  const text = spendingText(spendingOf(alone), { name: "window 1,000", us: 50 });
  assert.match(text, /40\.0%\s+20\.0\s+native code/);
  assert.match(spendingText(spendingOf(alone)), /40\.0%\s+native code/);
});
