/** Conformance of an archive: terms, the number of shards, markers, and its end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { archiveTest, HARD_USERS, PREFIX_ROOMS, sampleEntry, sampleMarker } from "./archive.conformance.samples.ts";
import type { Archive, MarkerRecord } from "./archive.ts";
import { StoreFailure } from "./codes.ts";

type Open = () => Promise<Archive>;

/** Terms and shards. */
export function terms(open: Open): void {
  archiveTest(
    open,
    "gives every one of 50 concurrent claims of a shard a term of its own, from 1 on",
    async (archive) => {
      const claims = Array.from({ length: 50 }, (_, i) => archive.claimTerm(7, `node-${i % 3}`, `nonce-${i}`));
      const given = (await Promise.all(claims)).sort((a, b) => a - b);
      assert.deepEqual(
        given,
        Array.from({ length: 50 }, (_, i) => i + 1),
      );
    },
  );

  archiveTest(open, "gives a new term even to the same node and nonce", async (archive) => {
    assert.equal(await archive.claimTerm(0, "node", "nonce"), 1);
    assert.equal(await archive.claimTerm(0, "node", "nonce"), 2);
  });

  archiveTest(open, "counts terms per shard and answers the highest of each, 0 where none", async (archive) => {
    await Promise.all([archive.claimTerm(1, "n", "a"), archive.claimTerm(1, "n", "b"), archive.claimTerm(3, "n", "c")]);
    assert.deepEqual(await archive.highestTerms(5), [0, 2, 0, 1, 0]);
    assert.deepEqual(await archive.highestTerms(2), [0, 2]);
  });

  archiveTest(open, "keeps the first number of shards proposed", async (archive) => {
    const answers = await Promise.all([archive.shardCount(256), archive.shardCount(16), archive.shardCount(8)]);
    assert.equal(new Set(answers).size, 1);
    assert.equal(await archive.shardCount(1024), answers[0]);
  });
}

/** Markers. */
export function markers(open: Open): void {
  archiveTest(open, "raises markers and never lowers them, each by itself", async (archive) => {
    assert.equal(await archive.marker("a", "u"), undefined);
    await archive.mark([sampleMarker("a", "u", { read: 5, readCount: 4, delivered: 6 })]);
    await archive.mark([sampleMarker("a", "u", { read: 3, readCount: 9, delivered: 8 })]);
    assert.deepEqual(await archive.marker("a", "u"), { room: "a", user: "u", read: 5, readCount: 4, delivered: 8 });
    await archive.mark([
      sampleMarker("a", "u", { read: 7, readCount: 5, delivered: 1 }),
      sampleMarker("a", "u", { read: 6, readCount: 99, delivered: 2 }),
    ]);
    assert.deepEqual(await archive.marker("a", "u"), { room: "a", user: "u", read: 7, readCount: 5, delivered: 8 });
  });

  archiveTest(open, "pages the markers of a room by user id and none of another room's", async (archive) => {
    await archive.mark(PREFIX_ROOMS.flatMap((room) => HARD_USERS.toReversed().map((user) => sampleMarker(room, user))));
    for (const room of PREFIX_ROOMS) {
      const found: MarkerRecord[] = [];
      for (let after: string | undefined; ; after = found.at(-1)?.user) {
        const page = await archive.markers(room, after === undefined ? { limit: 4 } : { after, limit: 4 });
        found.push(...page);
        if (page.length < 4) break;
      }
      assert.deepEqual(
        found,
        HARD_USERS.map((user) => sampleMarker(room, user)),
      );
    }
    assert.deepEqual(await archive.markers("nowhere", { limit: 10 }), []);
  });

  archiveTest(open, "ends with the highest of every marker whatever order they come in", async (archive) => {
    let round = 0;
    const steps = fc.array(fc.record({ read: fc.nat(50), delivered: fc.nat(50) }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(steps, async (writes) => {
        const room = `r${round++}`;
        // As in a log, the count is a function of the offset.
        await Promise.all(writes.map((w) => archive.mark([{ room, user: "u", ...w, readCount: w.read * 2 }])));
        const read = Math.max(...writes.map((w) => w.read));
        const delivered = Math.max(...writes.map((w) => w.delivered));
        assert.deepEqual(await archive.marker(room, "u"), { room, user: "u", read, readCount: read * 2, delivered });
      }),
      { numRuns: 40 },
    );
  });
}

/** The end of an archive. */
export function ending(open: Open): void {
  test("finishes the writes under way when it is closed, and refuses what comes after.", async () => {
    const archive = await open();
    const insert = archive.insert([sampleEntry("a", 1)]);
    const claim = archive.claimTerm(0, "n", "x");
    await archive.close();
    assert.deepEqual(await insert, { stored: 1, conflict: false });
    assert.equal(await claim, 1);
    await assert.rejects(archive.insert([sampleEntry("a", 2)]), StoreFailure);
    await assert.rejects(archive.derive([]), StoreFailure);
    await assert.rejects(archive.mark([]), StoreFailure);
    await assert.rejects(archive.head("a"), StoreFailure);
    await assert.rejects(archive.page("a", { limit: 1, end: "last" }), StoreFailure);
    await archive.close();
  });
}
