import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry, sampleRoom } from "./archive.conformance.samples.ts";
import { MemoryArchive } from "./archive.memory.ts";
import type { PageQuery } from "./archive.ts";
import { MemoryHub } from "./bus.memory.ts";
import { type ArchivedEntry, entryBytes } from "./entry.ts";
import { LIMITS } from "./limits.ts";
import { caller, Stage } from "./node.fixture.ts";
import { fetchAfter, readPage, readWhole } from "./reading.ts";

const MIB = 1_048_576;
/** What a page is ended at, bytes. */
const PAGE_BYTES = 4 * MIB;

/** A log of `count` messages, each with a body of so many bytes. The body is one, so that it costs nothing. */
async function logOf(count: number, bodyBytes: number): Promise<MemoryArchive> {
  const archive = new MemoryArchive();
  await archive.createRoom(sampleRoom("general"));
  await fill(archive, count, bodyBytes);
  return archive;
}

async function fill(archive: MemoryArchive, count: number, bodyBytes: number): Promise<void> {
  const body = new Uint8Array(bodyBytes);
  await archive.insert(Array.from({ length: count }, (_, i) => sampleEntry("general", i + 1, { body })));
}

const bytesOf = (items: readonly ArchivedEntry[]): number =>
  items.reduce((sum, { entry }) => sum + entryBytes(entry), 0);

const offsetsOf = (items: readonly ArchivedEntry[]): number[] => items.map(({ entry }) => entry.offset);

test("A page ends early once its entries are many bytes, whichever end it is read from.", async () => {
  for (const bodyBytes of [0, 1_000, 30_000, 300_000, MIB]) {
    const archive = await logOf(200, bodyBytes);
    const largest = bodyBytes + 400;
    for (const end of ["first", "last"] as const) {
      const steps: number[] = [];
      const page = archive.page.bind(archive);
      archive.page = async (room: string, query: PageQuery) => {
        const items = await page(room, query);
        steps.push(bytesOf(items));
        return items;
      };
      const { items, cut } = await readPage(archive, "general", { limit: 200, end });
      archive.page = page;
      const offsets = offsetsOf(items);
      const from = end === "first" ? 1 : 201 - items.length;
      assert.deepEqual(
        offsets,
        Array.from({ length: items.length }, (_, i) => from + i),
      );
      assert.equal(cut, items.length < 200, `${bodyBytes} bytes from the ${end}`);
      assert.ok(items.length > 0 && bytesOf(items) < PAGE_BYTES + largest);
      assert.ok(cut ? bytesOf(items) >= PAGE_BYTES : bytesOf(items) < PAGE_BYTES + largest);
      for (const step of steps) assert.ok(step < PAGE_BYTES + largest, `${step} bytes at once`);
    }
  }
});

test("Large entries behind many small ones are not read all at once, of history or of a gap.", async () => {
  const archive = await logOf(8, 0);
  const body = new Uint8Array(MIB);
  await archive.insert(Array.from({ length: 192 }, (_, i) => sampleEntry("general", i + 9, { body })));
  const page = archive.page.bind(archive);
  let most = 0;
  archive.page = async (room: string, query: PageQuery) => {
    const items = await page(room, query);
    most = Math.max(most, bytesOf(items));
    return items;
  };
  const { items, cut } = await readPage(archive, "general", { limit: 200, end: "first" });
  assert.deepEqual([items.length, cut], [12, true]);
  const bus = new MemoryHub(1, LIMITS).connect();
  let offset = 0;
  for (let more = true; more; ) {
    const entries = await fetchAfter({ bus, archive }, "general", offset);
    more = entries.length > 0;
    offset = entries.at(-1)?.offset ?? offset;
  }
  assert.equal(offset, 200);
  assert.equal((await readWhole(archive, "general", { limit: 150, end: "last" })).length, 150);
  assert.ok(most < PAGE_BYTES + MIB + 1_000, `${most} bytes at once`);
});

test("A page of one entry has it, however large it is.", async () => {
  const archive = await logOf(3, 6 * MIB);
  for (const limit of [1, 2]) {
    const { items, cut } = await readPage(archive, "general", { after: 1, limit, end: "first" });
    assert.deepEqual([offsetsOf(items), cut], [[2], limit === 2]);
  }
});

test("History pages that end early for their bytes say so, and those after them go on without a gap.", async () => {
  const stage = await Stage.open();
  await fill(stage.store, 60, 500_000);
  const alice = caller("alice");
  const forward: number[] = [];
  for (let more = true, after = 0; more; after = forward.at(-1) ?? 0) {
    const page = await stage.run(stage.chat.history(alice, "general", { after, limit: 50 }));
    assert.ok(page.items.length > 0 && bytesOf(page.items) < PAGE_BYTES + 501_000);
    forward.push(...offsetsOf(page.items));
    more = page.more;
  }
  const backward: number[] = [];
  for (let more = true, before = 61; more; before = backward[0] ?? 1) {
    const page = await stage.run(stage.chat.history(alice, "general", { before, limit: 50 }));
    assert.ok(page.items.length > 0 && bytesOf(page.items) < PAGE_BYTES + 501_000);
    backward.unshift(...offsetsOf(page.items));
    more = page.more;
  }
  const all = Array.from({ length: 60 }, (_, i) => i + 1);
  assert.deepEqual([forward, backward], [all, all]);
});
