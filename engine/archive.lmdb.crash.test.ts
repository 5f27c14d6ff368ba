import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { assertSameEntry, sampleEntry } from "../actors/archive.conformance.samples.ts";
import { openLmdbArchive } from "./archive.lmdb.ts";

const ROOMS = 5;
const base = await mkdtemp(join(tmpdir(), "confab-archive-crash-"));
const children = new Set<ChildProcess>();
after(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(base, { recursive: true, force: true });
});

/** A process that inserts into every room without end, and says each offset once its insert has resolved. */
function startWriter(folder: string): ChildProcess {
  const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const script = `
    import { openLmdbArchive } from ${module("./archive.lmdb.js")};
    import { sampleEntry } from ${module("../actors/archive.conformance.samples.js")};
    const settle = { entries: 50, bytes: 1e6, slice: 7 };
    const archive = await openLmdbArchive({ folder: ${JSON.stringify(folder)}, settle });
    await Promise.all(Array.from({ length: ${ROOMS} }, async (_, i) => {
      const room = "room-" + i;
      for (let next = ((await archive.head(room))?.offset ?? 0) + 1; ; next += 3) {
        const { conflict } = await archive.insert([0, 1, 2].map((j) => sampleEntry(room, next + j)));
        if (conflict) throw new Error("a place above the head was taken");
        process.stdout.write(i + " " + (next + 2) + "\\n");
      }
    }));`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.add(child);
  return child;
}

test("What was resolved before a SIGKILL is there after it, without gaps, round after round.", async () => {
  const resolved = new Array<number>(ROOMS).fill(0);
  for (let round = 0; round < 4; round++) {
    const child = startWriter(base);
    const exit = once(child, "exit");
    let lines = 0;
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      const [room, offset] = line.split(" ").map(Number) as [number, number];
      resolved[room] = Math.max(resolved[room] ?? 0, offset);
      if (++lines === 150 + round * 37) child.kill("SIGKILL");
    }
    assert.deepEqual(await exit, [null, "SIGKILL"]);
    children.delete(child);
    const archive = await openLmdbArchive({ folder: base });
    for (const [i, offset] of resolved.entries()) {
      const room = `room-${i}`;
      const head = (await archive.head(room))?.offset ?? 0;
      assert.ok(head >= offset, `${room}: the head ${head} is not below ${offset}`);
      const log = await archive.page(room, { limit: head + 1, end: "first" });
      assert.equal(log.length, head);
      for (const [at, { entry }] of log.entries()) assertSameEntry(entry, sampleEntry(room, at + 1));
      assert.equal((await archive.byKey(room, "alice", `c/${room}-${head}`))?.offset, head);
      assert.equal((await archive.byKey(room, "alice", `c/${room}-1`))?.offset, 1);
    }
    await archive.close();
  }
});
