import assert from "node:assert/strict";
import { test } from "node:test";
import { AWAY, Health } from "./health.ts";
import { readText } from "./tidy.tree.ts";

test("A process is ready only between its start and its end, and never goes back.", () => {
  const health = new Health(["archive"], () => 0);
  assert.deepEqual(health.ready(), { status: "starting" });
  health.enter("ready");
  assert.deepEqual(health.ready(), { status: "ok" });
  health.enter("draining");
  health.enter("ready");
  assert.equal(health.phase, "draining");
  assert.deepEqual(health.ready(), { status: "draining" });
});

test("A part that is away degrades; one without which no SEND can be taken makes the process unable.", () => {
  const health = new Health(["archive", "directory"], () => 0);
  health.enter("ready");
  health.report("directory", "degraded", "No answer.");
  const directory = `${AWAY["directory"]} No answer.`;
  assert.deepEqual(health.ready(), { status: "degraded", parts: { directory } });
  health.report("archive", "failed", "The disk is full.");
  const archive = "No SEND is taken. The disk is full.";
  assert.deepEqual(health.ready(), { status: "unable", parts: { archive, directory } });
  health.report("archive", "ok");
  health.report("directory", "ok");
  assert.deepEqual(health.ready(), { status: "ok" });
});

test("A full bound makes the process unable only while a part is away.", () => {
  const health = new Health(["archive"], () => 0);
  let full = true;
  health.judge(() => full);
  health.report("archive", "degraded", "No answer.");
  assert.equal(health.ready().status, "starting", "whatever is away");
  health.enter("ready");
  assert.equal(health.ready().status, "unable");
  full = false;
  assert.equal(health.ready().status, "degraded", "and back by itself");
  full = true;
  health.report("archive", "ok");
  assert.equal(health.ready().status, "ok", "it is load, and every node has it");
});

test("The runbook says of every store that is away what the process says.", () => {
  const rows = [...readText("ops/runbook.md").matchAll(/^\| `(\w+)` away \| (.*?) \|/gm)];
  assert.deepEqual(Object.fromEntries(rows.map(([, store, sentence]) => [store, sentence])), AWAY);
});

test("A report says whether the state changed, and the time of the change is kept.", () => {
  let now = 1;
  const health = new Health(["archive"], () => now);
  now = 2;
  assert.equal(health.report("archive", "failed", "a"), true);
  now = 3;
  assert.equal(health.report("archive", "failed", "b"), false);
  assert.deepEqual(health.components(), [{ name: "archive", state: "failed", since: 2, detail: "b" }]);
});

test("A part that was never named is refused, so that nothing grows.", () => {
  assert.throws(() => new Health([], () => 0).report("x", "ok"), /no part/);
});

test("A process is alive until only a restart would help.", () => {
  const health = new Health([], () => 0);
  assert.equal(health.live(), true);
  health.die();
  assert.equal(health.live(), false);
});
