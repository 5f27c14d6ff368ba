import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage } from "./node.fixture.ts";

test("A process that stood still reads what came meanwhile before it ends silent connections.", async () => {
  const stage = await Stage.open();
  const [alive, silent] = [stage.connect("alice"), stage.connect("bob")];
  for (const { connection } of [alive, silent]) connection.silenceMs = 5_000;
  const monotonic = stage.clock.monotonic.bind(stage.clock);
  stage.clock.monotonic = () => monotonic() + 60_000;
  await stage.clock.advance(600);
  assert.deepEqual([alive.open, silent.open], [true, true]);
  // What waited in the sockets.
  alive.connection.seenAt = stage.clock.monotonic();
  await stage.clock.advance(1_000);
  assert.deepEqual([alive.open, silent.open], [true, false]);
});

test("Each user who left is offline when the own grace is over, one who returned and left again too.", async () => {
  const stage = await Stage.open();
  const { registry, limits } = stage.node;
  const online = (): string => ["alice", "bob"].filter((user) => registry.isOnline(user)).join();
  const [alice, bob] = [stage.connect("alice"), stage.connect("bob")];
  alice.connection.lost();
  await stage.clock.advance(2_000);
  bob.connection.lost();
  await stage.clock.advance(1_000);
  stage.connect("alice").connection.lost();
  await stage.clock.advance(limits.presenceGraceMs - 1_000);
  assert.equal(online(), "alice,bob");
  // A look at the list is up to half a second late.
  await stage.clock.advance(500);
  assert.equal(online(), "alice");
  await stage.clock.advance(1_000);
  assert.equal(online(), "");
});
