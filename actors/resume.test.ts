import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import { type Entry, entryBytes } from "./entry.ts";
import { type Client, Stage } from "./node.fixture.ts";

/** Bytes of one write of a replay. */
const STEP_BYTES = 65_536;
const BODY_BYTES = 30_000;
const FROM_START = { from: { kind: "after", position: { offset: 0, term: 0 } } } as const;

/** A room of `count` stored messages of 30,000 bytes each, and a client whose socket takes a write when it is told to. */
async function scene(count: number) {
  const stage = await Stage.open({ shards: 1 });
  const body = new Uint8Array(BODY_BYTES);
  await stage.store.insert(Array.from({ length: count }, (_, i) => sampleEntry("general", i + 1, { body })));
  const client = stage.connect("bob");
  const writes: (readonly Entry[])[] = [];
  const unsent: (() => void)[] = [];
  const replay = client.replay.bind(client);
  Object.assign(client, {
    replay: (...[subscription, entries]: Parameters<Client["replay"]>) => {
      writes.push(entries);
      replay(subscription, entries);
    },
    congested: () => true,
    drained: () => new Promise<void>((resolve) => void unsent.push(resolve)),
  });
  /** The socket takes what was written so far. */
  const drain = async (): Promise<void> => {
    for (const resolve of unsent.splice(0)) resolve();
    await stage.clock.advance(10);
  };
  return { stage, client, writes, drain };
}

function offsetsOf(client: Client, on: string): number[] {
  return client
    .all("entry")
    .filter((told) => told.on === on)
    .map(({ entry }) => entry.offset);
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

test("A replay of large bodies is written in small steps, each once the socket took the one before.", async () => {
  const { stage, client, writes, drain } = await scene(40);
  const on = client.subscribe("log", "general", FROM_START);
  await stage.clock.advance(100);
  assert.equal(writes.length, 1);
  for (let written = 1; offsetsOf(client, on).length < 40; written++) {
    assert.equal(writes.length, written);
    await stage.clock.advance(1_000);
    assert.equal(writes.length, written, "nothing is written to a socket that is full");
    await drain();
  }
  for (const write of writes) {
    const bytes = write.reduce((sum, entry) => sum + entryBytes(entry), 0);
    assert.ok(bytes < STEP_BYTES + BODY_BYTES + 1_000, `${bytes} bytes in one write`);
  }
  assert.deepEqual(offsetsOf(client, on), upTo(40));
  assert.equal(stage.node.counters.replayed, 40);
});

test("What is said while a replay waits for its socket follows it once, in its order.", async () => {
  const { stage, client, writes, drain } = await scene(9);
  const alice = stage.connect("alice");
  const on = client.subscribe("log", "general", FROM_START);
  await stage.clock.advance(100);
  alice.send("general", "meanwhile");
  await stage.clock.advance(100);
  assert.equal(writes.length, 1);
  for (let i = 0; i < 20; i++) await drain();
  alice.send("general", "live");
  await stage.clock.advance(100);
  assert.deepEqual(offsetsOf(client, on), upTo(12));
  assert.deepEqual(client.heard(on).slice(9), ["member", "meanwhile", "live"]);
  assert.equal(client.all("entry").at(-1)?.replayed, false);
});

test("A replay whose subscription or socket ends while it waits writes nothing more.", async () => {
  for (const lost of [false, true]) {
    const { stage, client, writes, drain } = await scene(40);
    const on = client.subscribe("log", "general", FROM_START);
    await stage.clock.advance(100);
    assert.equal(writes.length, 1);
    if (lost) client.lose();
    else client.connection.unsubscribe(on, "over");
    for (let i = 0; i < 5; i++) await drain();
    assert.equal(writes.length, 1);
    assert.equal(stage.node.audiences.has("general"), false);
  }
});
