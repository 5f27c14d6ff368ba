import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import { packOf } from "./bus.conformance.wire.ts";
import { StoreFailure } from "./codes.ts";
import type { Entry } from "./entry.ts";
import { Latch, once } from "./latch.fixture.ts";
import { type Client, Stage } from "./node.fixture.ts";

/** A client that listens at offset 1, and a log in the archive that goes on to `last`. */
async function behind(last: number): Promise<{ stage: Stage; client: Client; other: Client }> {
  const stage = await Stage.open();
  const [client, other] = [stage.connect("alice"), stage.connect("bob")];
  client.subscribe("log", "general", { id: "s" });
  await stage.makeRoom("public", "bob");
  client.send("general", "first");
  await stage.clock.advance(100);
  const { offset, term } = stage.node.audiences.get("general")?.position ?? { offset: 0, term: 0 };
  const more = Array.from({ length: last - offset }, (_, i) =>
    sampleEntry("general", offset + 1 + i, { term, prevTerm: term }),
  );
  await stage.store.insert(more);
  return { stage, client, other };
}

const heardOf = (client: Client): number[] => client.all("entry").map(({ entry }) => entry.offset);

/** A pack that is far ahead of what the node has. */
function ahead(stage: Stage, offset: number): void {
  const term = stage.node.audiences.get("general")?.position?.term ?? 0;
  stage.node.onPack(packOf("general", offset, offset, { term }));
}

test("A gap of some thousand entries is filled in order, without one missing.", async () => {
  const { stage, client } = await behind(12_000);
  ahead(stage, 12_000);
  await stage.clock.advance(1_000);
  assert.deepEqual(
    heardOf(client),
    Array.from({ length: 12_000 }, (_, i) => i + 1),
  );
  assert.equal(client.open, true);
});

test("Who waits for a gap that is longer than its laps is sent away to resume, and nobody else.", async () => {
  const { stage, client, other } = await behind(40_000);
  ahead(stage, 40_000);
  await stage.clock.advance(1_000);
  const heard = heardOf(client);
  assert.deepEqual(
    heard,
    Array.from({ length: heard.length }, (_, i) => i + 1),
    "what it heard has no gap",
  );
  assert.ok(heard.length < 20_000);
  assert.deepEqual(
    client.all("closed").map(({ code }) => code),
    ["gap-unfilled"],
  );
  assert.equal(other.open, true);
});

test("A gap of a room in which something comes with every page is filled all the same.", async () => {
  const { stage, client } = await behind(300);
  const { term } = stage.node.audiences.get("general")?.position ?? { term: 0 };
  const log = stage.node.bus.log.bind(stage.node.bus);
  let last = 300;
  stage.node.bus.log = async (...query): Promise<readonly Entry[]> => {
    if (last < 500) {
      last++;
      await stage.store.insert([sampleEntry("general", last, { term, prevTerm: term })]);
      const coming = last;
      queueMicrotask(() => ahead(stage, coming));
    }
    return log(...query);
  };
  ahead(stage, 300);
  await stage.clock.advance(5_000);
  assert.equal(client.open, true);
  assert.deepEqual(
    heardOf(client),
    Array.from({ length: last }, (_, i) => i + 1),
  );
});

test("A gap that the stores do not answer for is asked for again, ever more seldom, and filled in the end.", async () => {
  const { stage, client } = await behind(300);
  const audience = stage.node.audiences.get("general");
  const log = stage.node.bus.log.bind(stage.node.bus);
  let asked = 0;
  stage.node.bus.log = async (): Promise<readonly Entry[]> => {
    asked++;
    throw new StoreFailure("It is away.");
  };
  ahead(stage, 300);
  await stage.clock.advance(30_000);
  assert.ok(asked > 5 && asked < 20, `${asked} times`);
  stage.node.bus.log = log;
  await stage.clock.advance(4_000);
  assert.equal(audience?.position?.offset, 300);
  assert.equal(heardOf(client).length, 300);
});

test("A gap that was being filled when the last listener went says nothing to who came since.", async () => {
  const { stage, client } = await behind(2);
  const gone = stage.node.audiences.get("general");
  assert.ok(gone?.position);
  const { offset, term } = gone.position;
  // To the one that is gone the log looks broken; who comes is granted where it goes on.
  const fetching = new Latch();
  once(stage.node.bus, "log", async () => {
    await fetching.opened;
    return [sampleEntry("general", offset + 1, { term: term + 1, prevTerm: term + 1 })];
  });
  gone.fill();
  const waiting = gone.reach(offset + 1, 60_000);
  client.connection.unsubscribe("s", undefined);
  assert.equal(await stage.run(waiting), false);
  client.subscribe("log", "general", { id: "t" });
  await stage.clock.advance(100);
  const here = stage.node.audiences.get("general");
  assert.ok(here && here !== gone && here.position?.offset === offset);
  fetching.open();
  await stage.clock.advance(100);
  gone.lost({ offset: offset + 1, term: term + 1 });
  assert.equal(await gone.reach(offset + 1, 60_000), true, "nothing to wait for");
  assert.deepEqual(client.all("resumed"), []);
  client.send("general", "second");
  await stage.clock.advance(100);
  assert.deepEqual(client.heard("t"), ["second"]);
});

test("Who is stirred while a page without the news is being read reads once more.", async () => {
  const { stage, client } = await behind(4);
  const audience = stage.node.audiences.get("general");
  const reading = new Latch();
  once(stage.node.bus, "log", async () => {
    await reading.opened;
    return [];
  });
  once(stage.node.archive, "page", async () => []);
  audience?.fill();
  await stage.clock.advance(10);
  audience?.stirred();
  reading.open();
  await stage.clock.advance(10);
  assert.deepEqual(heardOf(client), [1, 2, 3, 4]);
});

test("Who is stirred before the owner's answer fetches from it on.", async () => {
  const { stage } = await behind(2);
  const { node } = stage;
  const audience = node.audiences.of("elsewhere");
  const entries = [1, 2].map((offset) => sampleEntry("elsewhere", offset, { term: 1, prevTerm: offset - 1 }));
  await stage.store.insert(entries);
  audience.stirred();
  await stage.clock.advance(10);
  assert.equal(node.counters.gaps, 0, "there is nothing to fetch from");
  audience.grant({ offset: 1, term: 1 });
  await stage.clock.advance(10);
  assert.deepEqual([audience.position?.offset, node.counters.gaps], [2, 1]);
});

test("Who is stirred while a page is read that has all that packs told of reads once more, too.", async () => {
  const { stage, client } = await behind(4);
  const audience = stage.node.audiences.get("general");
  const { term } = audience?.position ?? { term: 0 };
  const reading = new Latch();
  once(stage.node.bus, "log", async () => {
    await reading.opened;
    return [3, 4].map((offset) => sampleEntry("general", offset, { term, prevTerm: term }));
  });
  audience?.fill();
  await stage.clock.advance(10);
  ahead(stage, 4);
  await stage.store.insert([sampleEntry("general", 5, { term, prevTerm: term })]);
  audience?.stirred();
  reading.open();
  await stage.clock.advance(10);
  assert.deepEqual(heardOf(client), [1, 2, 3, 4, 5]);
});
