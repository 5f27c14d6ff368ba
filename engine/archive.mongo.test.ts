import assert from "node:assert/strict";
import { after, test } from "node:test";
import { assertSameEntries, offsets, sampleEntry, sampleLog } from "../actors/archive.conformance.samples.ts";
import { archiveConformance } from "../actors/archive.conformance.ts";
import type { Archive } from "../actors/archive.ts";
import { StoreFailure } from "../actors/codes.ts";
import { LIMITS } from "../actors/limits.ts";
import { SILENT } from "../actors/log.ts";
import { sparePort } from "../ops/ports.ts";
import { startFerretdb } from "../ops/stores/ferretdb.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { openMongoArchive } from "./archive.mongo.ts";

let missing: string | undefined;
const ferretdb = await startFerretdb().catch((error: unknown) => {
  if (!(error instanceof StoreMissing)) throw error;
  missing = error.message;
  return undefined;
});
after(() => ferretdb?.close());

let opened = 0;
/** A new database of the server. */
const fresh = (): string => `${(ferretdb as StoreServer).url}archive${opened++}`;
const open = (url = fresh()): Promise<Archive> => openMongoArchive({ url, log: SILENT });

if (ferretdb) archiveConformance("MongoDB", () => open());
else test("The MongoDB archive passes the conformance suite on FerretDB.", { skip: missing ?? false }, () => {});

const needsServer = { skip: missing ?? false };

test("Everything resolved is there for the next one that opens the archive.", needsServer, async () => {
  const url = fresh();
  for (let round = 0; round < 3; round++) {
    const archive = await open(url);
    assert.equal((await archive.head("a"))?.offset ?? 0, round * 4);
    assert.equal(await archive.claimTerm(3, "n", "x"), round + 1);
    assert.equal(await archive.shardCount(256 + round), 256);
    await archive.insert(sampleLog("a", round * 4 + 1, round * 4 + 4));
    await archive.close();
  }
});

test("Two nodes that claim terms and insert at once share no term and no place.", needsServer, async () => {
  const url = fresh();
  const nodes = [await open(url), await open(url)];
  try {
    const claims = nodes.flatMap((node, i) =>
      Array.from({ length: 10 }, (_, n) => node.claimTerm(0, `node-${i}`, `${n}`)),
    );
    const terms = await Promise.all(claims);
    assert.deepEqual(
      terms.sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    const logs = nodes.map((_, term) => sampleLog("a", 1, 20).map((entry) => ({ ...entry, term: term + 1 })));
    const outcomes = await Promise.all(nodes.map((node, i) => node.insert(logs[i] as (typeof logs)[0])));
    assert.deepEqual(outcomes.map(({ conflict }) => conflict).sort(), [false, true]);
    const won = outcomes[0]?.conflict ? 1 : 0;
    assert.deepEqual(outcomes[1 - won], { stored: 0, conflict: true });
    const standing = (await (nodes[0] as Archive).page("a", { limit: 100, end: "first" })).map(({ entry }) => entry);
    assertSameEntries(standing, logs[won] as (typeof logs)[0]);
  } finally {
    for (const node of nodes) await node.close();
  }
});

test("A batch of the writer's full size stops at the first place taken, whatever follows.", needsServer, async () => {
  const archive = await open();
  try {
    const { batchEntries } = LIMITS;
    const log = sampleLog("a", 1, batchEntries);
    const foreign = sampleEntry("a", 21, { term: 9, key: "c/foreign" });
    await archive.insert([foreign]);
    assert.deepEqual(await archive.insert(log), { stored: 20, conflict: true });
    const found = await offsets(archive, "a", { limit: batchEntries, end: "first" });
    assert.deepEqual(
      found,
      [...log.slice(0, 20), foreign].map(({ offset }) => offset),
    );
  } finally {
    await archive.close();
  }
});

test("A body read from MongoDB owns its bytes alone.", needsServer, async () => {
  const archive = await open();
  await archive.insert(sampleLog("a", 1, 5));
  await archive.derive([{ kind: "fate", roomId: "a", offset: 2, fate: { rev: 5, body: Uint8Array.of(1, 2) } }]);
  for (const { entry, fate } of await archive.page("a", { limit: 20, end: "first" })) {
    assert.equal(entry.body.buffer.byteLength, entry.body.byteLength);
    if (fate?.body) assert.equal(fate.body.buffer.byteLength, 2);
  }
  await archive.close();
});

test(
  "An archive outlives its server: calls reject while it is killed, and go on once it is back.",
  needsServer,
  async () => {
    const server = await startFerretdb();
    const archive = await openMongoArchive({ url: server.url, log: SILENT, timeouts: { selectMs: 1_000 } });
    try {
      assert.deepEqual(await archive.insert(sampleLog("a", 1, 3)), { stored: 3, conflict: false });
      await archive.mark([{ room: "a", user: "u", read: 2, readCount: 2, delivered: 3 }]);
      await server.kill();
      await assert.rejects(archive.insert([sampleEntry("a", 4)]), StoreFailure);
      await assert.rejects(archive.head("a"), StoreFailure);
      await assert.rejects(archive.derive([{ kind: "fate", roomId: "a", offset: 1, fate: { rev: 9 } }]), StoreFailure);
      await server.start();
      const outcome = await untilAnswered(() => archive.insert([sampleEntry("a", 4)]));
      assert.deepEqual(outcome, { stored: 1, conflict: false });
      assert.deepEqual(await offsets(archive, "a", { limit: 10, end: "first" }), [1, 2, 3, 4]);
      assert.equal((await archive.marker("a", "u"))?.read, 2);
    } finally {
      await archive.close();
      await server.close();
    }
  },
);

/** The first answer of a call that is repeated while it rejects; each try waits in the driver. */
async function untilAnswered<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StoreFailure) || attempt === 50) throw error;
    }
  }
}

test("Opening while nobody listens, or by a wrong URL, rejects in a full sentence without the password.", async () => {
  const port = await sparePort();
  const url = `mongodb://name:secret@127.0.0.1:${port}/chat`;
  const away = openMongoArchive({ url, log: SILENT, timeouts: { selectMs: 200 } });
  await assert.rejects(away, (error: Error) => {
    assert.ok(error instanceof StoreFailure);
    assert.match(error.message, new RegExp(`^The archive could not be opened on MongoDB at 127.0.0.1:${port}: .+\\.$`));
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
  for (const wrong of ["nonsense://x:secret@y", "mongodb://"]) {
    const opening = openMongoArchive({ url: wrong, log: SILENT });
    await assert.rejects(opening, (error: Error) => {
      assert.match(error.message, /^The URL of MongoDB can not be used: .+\.$/);
      assert.doesNotMatch(error.message, /secret/);
      return error instanceof StoreFailure;
    });
  }
});
