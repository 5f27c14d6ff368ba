/** Conformance of an archive: pages with a bound in bytes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { archiveTest, sampleEntry, sampleLog } from "./archive.conformance.samples.ts";
import { itemBytes, pageBytes } from "./archive.page.ts";
import type { Archive, PageQuery } from "./archive.ts";

type Open = () => Promise<Archive>;

/** A log of small and large entries in no order, of some of which an edited body is large too. */
async function mixed(archive: Archive): Promise<void> {
  const sizes = [0, 10, 60_000, 5, 200_000, 0, 0, 30_000, 1_000_000, 1, 2, 3, 90_000, 0, 4_000, 0];
  const entries = sizes.map((size, i) => sampleEntry("a", i + 1, { body: new Uint8Array(size) }));
  await archive.insert(entries);
  const fate = (offset: number, size: number) =>
    ({ kind: "fate", roomId: "a", offset, fate: { rev: 16, editedAt: 1, body: new Uint8Array(size) } }) as const;
  await archive.derive([fate(2, 150_000), fate(14, 70_000)]);
}

/** Pages that end early for their bytes. */
export function bounded(open: Open): void {
  archiveTest(
    open,
    "ends a page with the entry by which it has its bytes, whichever end it is read from",
    async (archive) => {
      await mixed(archive);
      const all = await archive.page("a", { limit: 100, end: "first" });
      const bound = fc.option(fc.integer({ min: 0, max: 18 }), { nil: undefined });
      const end = fc.constantFrom("first" as const, "last" as const);
      const bytes = fc.oneof(fc.integer({ min: 1, max: 4_000 }), fc.integer({ min: 1, max: 1_600_000 }));
      await fc.assert(
        fc.asyncProperty(
          bound,
          bound,
          end,
          fc.tuple(bytes, fc.integer({ min: 1, max: 20 })),
          async (after, before, from, [most, limit]) => {
            const range = { ...(after === undefined ? {} : { after }), ...(before === undefined ? {} : { before }) };
            const query: PageQuery = { ...range, limit, bytes: most, end: from };
            const page = await archive.page("a", query);
            const wanted = all.filter(({ entry: { offset } }) => offset > (after ?? 0) && offset < (before ?? 100));
            const nearest = from === "first" ? wanted : wanted.toReversed();
            const expected: number[] = [];
            let sum = 0;
            for (const item of nearest) {
              if (expected.length === limit || sum >= most) break;
              expected.push(item.entry.offset);
              sum += itemBytes(item);
            }
            assert.deepEqual(
              page.map(({ entry }) => entry.offset),
              from === "first" ? expected : expected.reverse(),
            );
            assert.equal(pageBytes(page), sum);
          },
        ),
        { numRuns: 60 },
      );
    },
  );

  archiveTest(open, "gives out a whole log, part by part, from either end", async (archive) => {
    await mixed(archive);
    await archive.insert(sampleLog("a", 17, 200));
    for (const end of ["first", "last"] as const) {
      const offsets: number[] = [];
      let query: PageQuery = { limit: 50, bytes: 100_000, end };
      for (;;) {
        const page = await archive.page("a", query);
        const [first, last] = [page[0]?.entry.offset, page.at(-1)?.entry.offset];
        if (first === undefined || last === undefined) break;
        const part = page.map(({ entry }) => entry.offset);
        if (end === "first") offsets.push(...part);
        else offsets.unshift(...part);
        query = { limit: 50, bytes: 100_000, end, ...(end === "first" ? { after: last } : { before: first }) };
      }
      assert.deepEqual(
        offsets,
        Array.from({ length: 200 }, (_, i) => i + 1),
      );
    }
  });
}
