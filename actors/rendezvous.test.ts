import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { rendezvous } from "./rendezvous.ts";

const SHARDS = Array.from({ length: 256 }, (_, shard) => shard);
/** Names as nodes have them. */
const NAMES = fc.uniqueArray(fc.stringMatching(/^[0-9a-f]{8}$/), { minLength: 1, maxLength: 9 });

test("Nobody should own a shard where nobody is.", () => {
  assert.equal(rendezvous(7, []), undefined);
});

test("All nodes name the same one, in whatever order they know each other.", () => {
  fc.assert(
    fc.property(NAMES, fc.nat(4_095), (names, shard) => {
      const wanted = rendezvous(shard, names);
      assert.ok(wanted !== undefined && names.includes(wanted));
      assert.equal(rendezvous(shard, [...names].reverse()), wanted);
      assert.equal(rendezvous(shard, [...names].sort()), wanted);
    }),
  );
});

test("When a node goes its shards move and no others; when it comes it gets those again and no others move.", () => {
  fc.assert(
    fc.property(NAMES, fc.stringMatching(/^[0-9a-f]{9}$/), (names, one) => {
      for (const shard of SHARDS) {
        const without = rendezvous(shard, names);
        const withOne = rendezvous(shard, [one, ...names]);
        assert.ok(withOne === one || withOne === without);
      }
    }),
    { numRuns: 30 },
  );
});

test("Each of three nodes gets about a third of the shards.", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.stringMatching(/^[0-9a-f]{8}$/), { minLength: 3, maxLength: 3 }), (names) => {
      for (const name of names) {
        const own = SHARDS.filter((shard) => rendezvous(shard, names) === name).length;
        // A third is 85; six standard deviations are 45.
        assert.ok(own > 40 && own < 131, `${name} of ${names.join()} has ${own}`);
      }
    }),
    { numRuns: 50 },
  );
});
