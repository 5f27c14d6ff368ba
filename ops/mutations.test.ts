import assert from "node:assert/strict";
import { test } from "node:test";
import { edited, hunt, MUTATIONS, QUICK_RUNS, unfit } from "./mutations.ts";

test("Every mutation finds its place in the engine exactly once.", () => {
  assert.equal(new Set(MUTATIONS.map(({ name }) => name)).size, 18);
  assert.deepEqual(unfit(), []);
  assert.throws(() => edited("a b a", { file: "x", find: "a", replace: "c" }), /2 times, not once/);
  assert.throws(() => edited("b", { file: "x", find: "a", replace: "c" }), /0 times, not once/);
  assert.equal(edited("if (a)\n    return;", { file: "x", find: "if (a) return;", replace: "b();" }), "b();");
});

test("The simulator catches the quick mutations, each within its bound of seeds.", async () => {
  const quick = MUTATIONS.filter(({ runs }) => runs <= QUICK_RUNS);
  assert.ok(quick.length >= 5);
  for (const mutation of quick) assert.ok(await hunt(mutation), `${mutation.name} was not caught`);
});
