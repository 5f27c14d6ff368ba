import assert from "node:assert/strict";
import { test } from "node:test";
import { unhooked } from "../unhooked.fixture.ts";
import { simulate } from "./simulate.ts";

/** Seeds of one run of the tests; `npm run simulate` runs others. */
const SEEDS = 500;

/** A late batch that nobody was told of. */
const BROKE_ONCE = [52_806];

await unhooked({
  "On 500 seeds, whatever befalls a cluster, every promise is kept.": async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { breach, faults } = await simulate(seed);
      assert.equal(breach, undefined, `npm run simulate -- --seed ${seed} (${faults.join(", ")}): ${breach}`);
    }
  },

  "Seeds that are beyond those and broke a promise once keep them all.": async () => {
    for (const seed of BROKE_ONCE) assert.equal((await simulate(seed)).breach, undefined, `seed ${seed}`);
  },
});

test("The same seed has the same story, kept or not, and another seed another one.", async () => {
  const [first, again, other] = [
    await simulate(12, { story: true }),
    await simulate(12, { story: true }),
    await simulate(13),
  ];
  assert.ok(first.story.length > 100, "the story tells what happened");
  assert.deepEqual(again.story, first.story);
  assert.equal(again.hash, first.hash);
  assert.equal((await simulate(12)).hash, first.hash);
  assert.notEqual(other.hash, first.hash);
});
