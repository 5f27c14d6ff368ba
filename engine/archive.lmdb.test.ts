import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { assertSameEntry, offsets, sampleEntry, sampleLog } from "../actors/archive.conformance.samples.ts";
import { archiveConformance } from "../actors/archive.conformance.ts";
import type { Archive } from "../actors/archive.ts";
import { DamagedRow, StoreFailure } from "../actors/codes.ts";
import type { Entry } from "../actors/entry.ts";
import { placeKey } from "./archive.lmdb.codec.ts";
import { partsBy, partsOf } from "./archive.lmdb.parts.ts";
import { openLmdbArchive } from "./archive.lmdb.ts";
import { BYTES_PER_COMMIT_MAX, LmdbStore, ROWS_PER_COMMIT_MAX, SPARE_BYTES } from "./lmdb.ts";

const run = promisify(execFile);
const base = await mkdtemp(join(tmpdir(), "confab-archive-"));
let opened = 0;
const freshFolder = (): string => join(base, `${opened++}`);

/** Settles in generations so small that all of it happens while a test reads and writes. */
const settle = { entries: 4, bytes: 4_096, slice: 3 };

archiveConformance("LMDB", () => openLmdbArchive({ folder: freshFolder() }));
archiveConformance("LMDB, soon settled,", () => openLmdbArchive({ folder: freshFolder(), settle }));

test("Everything resolved is there after the archive was closed and opened again, settled or not.", async () => {
  const folder = freshFolder();
  for (let round = 0; round < 6; round++) {
    const archive = await openLmdbArchive({ folder, settle });
    const last = round * 7;
    assert.equal((await archive.head("a"))?.offset ?? 0, last);
    assert.equal(await archive.claimTerm(3, "n", "x"), round + 1);
    for (let offset = last + 1; offset <= last + 7; offset++) {
      await archive.insert([sampleEntry("a", offset), sampleEntry("b", offset, { key: `e/${offset}` })]);
      assert.deepEqual(await archive.insert([sampleEntry("a", Math.ceil(offset / 2))]), { stored: 0, conflict: true });
    }
    for (let offset = 1; offset <= last + 7; offset++) {
      assertSameEntry(await archive.byKey("a", "alice", `c/a-${offset}`), sampleEntry("a", offset));
      assert.equal((await archive.byKey("b", "alice", `e/${offset}`))?.offset, offset);
      assert.equal(await archive.offsetAt("b", sampleEntry("b", offset).at), offset);
    }
    await archive.close();
  }
});

test("Terms begin at the floor of their start, rise by one from there, and never fall.", async () => {
  const folder = freshFolder();
  for (const [termFloor, ...claimed] of [
    [100, 100, 101],
    [500, 500, 501, 502],
    [502, 503],
    [3, 504],
  ]) {
    const archive = await openLmdbArchive({ folder, ...(termFloor === undefined ? {} : { termFloor }) });
    for (const term of claimed) assert.equal(await archive.claimTerm(1, "n", "x"), term);
    await archive.close();
  }
});

test("What was refused is not held in memory, neither alone nor behind what was stored.", async () => {
  const archive = await openLmdbArchive({ folder: freshFolder() });
  const big = (offset: number) => sampleEntry("a", offset, { body: new Uint8Array(1_048_576) });
  await archive.insert([sampleEntry("a", 1), sampleEntry("a", 3)]);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 40; i++) {
    assert.deepEqual(await archive.insert([big(1)]), { stored: 0, conflict: true });
    // The second of the two is refused, as its place is taken.
    const outcome = await archive.insert([sampleEntry("b", i + 1), big(3)]);
    assert.deepEqual(outcome, { stored: 1, conflict: true });
  }
  const held = (): number => process.memoryUsage().arrayBuffers - before;
  // What nobody holds any more is given back a while after it was found to be free.
  for (let turn = 0; turn < 200 && held() > 10 * 1_048_576; turn++) {
    collect();
    await new Promise(setImmediate);
  }
  assert.ok(held() <= 10 * 1_048_576, `${held()} bytes held`);
  await archive.close();
});

test("A body read from the disk owns its bytes alone.", async () => {
  const folder = freshFolder();
  const archive = await openLmdbArchive({ folder, settle });
  for (let offset = 1; offset <= 40; offset++) await archive.insert([sampleEntry("a", offset)]);
  for (const { entry } of await archive.page("a", { limit: 20, end: "first" }))
    assert.equal(entry.body.buffer.byteLength, entry.body.byteLength);
  await archive.close();
});

test("A damaged row rejects what needs it and says which it is; the entries beside it, and other rooms, are read.", async () => {
  const folder = freshFolder();
  const before = await openLmdbArchive({ folder, settle });
  for (const room of ["a", "b"]) for (const entry of sampleLog(room, 1, 40)) await before.insert([entry]);
  await before.close();
  const store = new LmdbStore({ folder: join(folder, "archive"), tables: 24 });
  const entries = store.table("entries");
  const whole = entries.get(placeKey("a", 5)) as Buffer;
  // Cut, of another format, and nothing at all.
  const rows = [whole.subarray(0, 12), Buffer.concat([Buffer.of(0x20), whole.subarray(1)]), Buffer.alloc(0)];
  await store.write(() => {
    for (const [at, row] of rows.entries()) entries.put(placeKey("a", 5 + at), row);
  });
  await store.close();
  const archive = await openLmdbArchive({ folder, settle });
  for (const offset of [5, 6, 7]) {
    await assert.rejects(archive.page("a", { after: offset - 1, limit: 1, end: "first" }), (error: Error) => {
      assert.match(error.message, new RegExp(`^Entry ${offset} of room a in the embedded archive is damaged: .+\\.$`));
      return error instanceof DamagedRow;
    });
  }
  await assert.rejects(archive.page("a", { limit: 100, end: "last" }), DamagedRow);
  assert.deepEqual(await offsets(archive, "a", { before: 5, limit: 9, end: "first" }), [1, 2, 3, 4]);
  assert.equal((await offsets(archive, "a", { after: 7, limit: 99, end: "first" })).length, 33);
  assert.equal((await archive.head("a"))?.offset, 40);
  assert.equal((await offsets(archive, "b", { limit: 99, end: "first" })).length, 40);
  await archive.close();
});

test("A key of an edge is found ten thousand entries back, and not beyond.", async () => {
  const archive = await openLmdbArchive({ folder: freshFolder(), settle: { entries: 64, bytes: 1e9, slice: 512 } });
  const log = sampleLog("a", 1, 10_400).map((entry) => ({ ...entry, key: `e/${entry.offset}` }));
  for (let i = 0; i < log.length; i += 400) await archive.insert(log.slice(i, i + 400));
  assert.equal((await archive.byKey("a", "alice", "e/1200"))?.offset, 1200);
  assert.equal(await archive.byKey("a", "alice", "e/0"), undefined);
  await archive.close();
});

test("A batch of several transactions is stored whole, and up to the first place that is taken.", async () => {
  const archive = await openLmdbArchive({ folder: freshFolder() });
  const log = largeLog("a", 250);
  assert.ok(partsOf(log).length > 2);
  assert.deepEqual(await archive.insert(log), { stored: 250, conflict: false });
  assert.equal((await archive.head("a"))?.offset, 250);
  await archive.insert([sampleEntry("b", 120)]);
  assert.deepEqual(await archive.insert([...largeLog("b", 250), sampleEntry("c", 1)]), { stored: 119, conflict: true });
  assert.equal((await archive.head("b"))?.offset, 120);
  assert.equal(await archive.head("c"), undefined);
  await archive.close();
});

/** Entries of 100 kB. */
function largeLog(room: string, last: number): Entry[] {
  const body = new Uint8Array(100_000);
  return sampleLog(room, 1, last).map((entry) => ({ ...entry, body }));
}

/** Mounts a file system in memory; answers why not when that is not permitted. */
async function mountSmall(folder: string): Promise<string | undefined> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "mounting a tmpfs needs Linux and root";
  try {
    await run("mkdir", ["-p", folder]);
    await run("mount", ["-t", "tmpfs", "-o", `size=${SPARE_BYTES + 33_554_432}`, "tmpfs", folder]);
    return undefined;
  } catch {
    return "mounting a tmpfs is not permitted here";
  }
}

const small = freshFolder();
const refused = await mountSmall(small);
after(async () => {
  if (refused === undefined) await run("umount", ["-l", small]);
  await rm(base, { recursive: true, force: true });
});

/** Takes all of the disk but `bytes` above what a write needs. */
async function leave(bytes: number): Promise<() => Promise<void>> {
  const { bavail, bsize } = await statfs(small);
  const filler = join(small, "filler");
  await writeFile(filler, new Uint8Array(bavail * bsize - SPARE_BYTES - bytes));
  return () => rm(filler);
}

/** Inserts until the disk is full; answers the last offset stored. */
async function fill(archive: Archive, from: number): Promise<number> {
  for (let offset = from; ; offset++) {
    try {
      const body = new Uint8Array(2_000).fill(offset);
      assert.deepEqual(await archive.insert([sampleEntry("a", offset, { body })]), { stored: 1, conflict: false });
    } catch (error) {
      assert.ok(error instanceof StoreFailure, `a StoreFailure, not ${error}`);
      assert.match(error.message, /^The disk of .* has 63 MiB left, and 64 MiB are needed to write\.$/);
      return offset - 1;
    }
  }
}

const onSmallDisk = { skip: refused ?? false };

test(
  "On a full disk inserts reject with StoreFailure and nothing else, reads go on, and room makes inserts work again.",
  onSmallDisk,
  async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", note);
    const folder = join(small, "data");
    const archive = await openLmdbArchive({ folder, settle: { entries: 64, bytes: 1e6, slice: 16 } });
    const makeRoom = await leave(1_048_576);
    try {
      const stored = await fill(archive, 1);
      assert.ok(stored > 20, `some were stored (${stored})`);
      for (let i = 0; i < 5; i++)
        await assert.rejects(archive.insert([sampleEntry("b", 1, { body: new Uint8Array(500_000) })]), StoreFailure);
      await assert.rejects(Promise.all([1, 2, 3].map((n) => archive.insert(largeLog(`c${n}`, 100)))), StoreFailure);
      assert.equal((await archive.head("a"))?.offset, stored);
      assert.equal((await offsets(archive, "a", { limit: 1000, end: "first" })).length, stored);
      assert.equal(await archive.head("b"), undefined);
      assert.equal(await archive.head("c1"), undefined);

      await makeRoom();
      assert.deepEqual(await archive.insert([sampleEntry("a", stored + 1)]), { stored: 1, conflict: false });
      assert.deepEqual(await archive.insert([sampleEntry("a", stored)]), { stored: 0, conflict: true });
      // One turn and more for rejections that nobody handles to be told.
      await new Promise<void>((resolve) => setImmediate(resolve));
      assert.deepEqual(unhandled, []);
      await archive.close();
      const again = await openLmdbArchive({ folder: join(small, "data") });
      assert.deepEqual(
        await offsets(again, "a", { limit: 1000, end: "first" }),
        Array.from({ length: stored + 1 }, (_, i) => i + 1),
      );
      await again.close();
    } finally {
      process.off("unhandledRejection", note);
      await archive.close();
      await makeRoom().catch(() => undefined);
    }
  },
);

test(
  "Where the disk becomes full within a batch, its first parts are stored, and nothing after the first that is not.",
  onSmallDisk,
  async () => {
    const folder = join(small, "parts");
    const archive = await openLmdbArchive({ folder });
    const makeRoom = await leave(12_582_912);
    const log = largeLog("a", 250);
    await assert.rejects(archive.insert([...log, sampleEntry("b", 1)]), StoreFailure);
    const ends: number[] = [];
    for (const { entries } of partsOf(log)) ends.push((ends.at(-1) ?? 0) + entries.length);
    const stored = (await archive.head("a"))?.offset ?? 0;
    assert.ok(ends.includes(stored) && stored < 250, `${stored} is the end of a part`);
    assert.equal((await archive.page("a", { limit: 300, end: "first" })).length, stored);
    assert.equal(await archive.head("b"), undefined);
    await makeRoom();
    assert.deepEqual(await archive.insert(log.slice(stored)), { stored: 250 - stored, conflict: false });
    await archive.close();
    await rm(folder, { recursive: true });
  },
);

test("A disk too full to settle on is counted, and what was stored is there all the same.", onSmallDisk, async () => {
  const folder = join(small, "settling");
  const archive = await openLmdbArchive({ folder, settle });
  const makeRoom = await leave(4_194_304);
  // It finds the space that it takes, and settling does not find any.
  assert.deepEqual(await archive.insert(largeLog("a", 60)), { stored: 60, conflict: false });
  await archive.close();
  assert.equal(archive.settleFailures, 1);
  await makeRoom();
  const again = await openLmdbArchive({ folder });
  assert.equal((await again.head("a"))?.offset, 60);
  await again.close();
  await rm(folder, { recursive: true });
});

test("Parts hold all entries in their order, each as many as fit into a transaction.", () => {
  const sizes = fc.array(fc.nat(BYTES_PER_COMMIT_MAX + 1_000_000), { maxLength: 40 });
  fc.assert(
    fc.property(sizes, (bytes) => {
      const log = bytes.map((_, i) => sampleEntry("a", i + 1));
      const parts = partsBy(log, ({ offset }) => bytes[offset - 1] ?? 0);
      assert.deepEqual(
        parts.flatMap(({ entries }) => [...entries]),
        log,
      );
      for (const [i, part] of parts.entries()) {
        assert.ok(part.entries.length === 1 || part.bytes <= BYTES_PER_COMMIT_MAX);
        const next = parts[i + 1]?.entries[0];
        if (next) assert.ok(part.bytes + (bytes[next.offset - 1] ?? 0) > BYTES_PER_COMMIT_MAX);
      }
    }),
  );
  const rows = partsBy(sampleLog("a", 1, ROWS_PER_COMMIT_MAX * 2 + 1), () => 1).map(({ entries }) => entries.length);
  assert.deepEqual(rows, [ROWS_PER_COMMIT_MAX, ROWS_PER_COMMIT_MAX, 1]);
});
