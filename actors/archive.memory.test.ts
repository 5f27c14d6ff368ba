import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import { archiveConformance } from "./archive.conformance.ts";
import { compareKeys, MemoryArchive } from "./archive.memory.ts";

archiveConformance("memory", async () => new MemoryArchive());

test("A write of the memory archive takes effect at the call and settles on a microtask.", async () => {
  const archive = new MemoryArchive();
  const order: string[] = [];
  setImmediate(() => order.push("immediate"));
  const insert = archive.insert([sampleEntry("a", 1)]).then(() => order.push("insert"));
  const head = archive.head("a").then((found) => order.push(`head ${found?.offset}`));
  await Promise.all([insert, head]);
  assert.deepEqual(order, ["insert", "head 1"]);
});

test("Keys are ordered as their UTF-8 bytes are.", () => {
  const keys = ["", "a", "a\u{0}", "ab", "é", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10000}", "\u{10ffff}"];
  for (const [i, a] of keys.entries())
    for (const [j, b] of keys.entries()) assert.equal(Math.sign(compareKeys(a, b)), Math.sign(i - j), `${i} ${j}`);
});
