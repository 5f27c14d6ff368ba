import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import { packOf } from "./bus.conformance.wire.ts";
import { StoreFailure } from "./codes.ts";
import type { Entry } from "./entry.ts";
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
