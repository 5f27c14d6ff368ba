import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeAdministration } from "./administration.ts";
import { type CodeWord, Refusal } from "./codes.ts";
import type { Stage } from "./node.fixture.ts";
import { roomAt, twoNodes } from "./two.fixture.ts";

const code = (word: CodeWord) => (error: unknown) => error instanceof Refusal && error.code === word;

async function office(): Promise<{ a: Stage; b: Stage; admin: NodeAdministration }> {
  const { a, b } = await twoNodes();
  const of = (stage: Stage) => new NodeAdministration(stage.node, async () => {});
  of(a);
  return { a, b, admin: of(b) };
}

test("Connections of all nodes are listed in pages without gap or repeat, whoever comes and goes.", async () => {
  const { a, b, admin } = await office();
  for (let i = 0; i < 4; i++) {
    a.connect("alice");
    b.connect("bob");
  }
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await b.run(admin.connections({ limit: 3, cursor }));
    seen.push(...page.items.map(({ node, id }) => `${node} ${id}`));
    cursor = page.next;
    // The one that the cursor names goes away.
    const last = page.items.at(-1);
    const at = last?.node === a.node.name ? a : b;
    if (seen.length === 3 && last) at.node.registry.get(last.id)?.end("done");
  } while (cursor !== undefined);
  assert.equal(seen.length, 8);
  assert.deepEqual(seen, [...new Set(seen)].sort());
  const one = await b.run(admin.connections({ limit: 9, node: a.node.name }));
  assert.ok(one.items.every(({ node, user }) => node === a.node.name && user === "alice"));
  await assert.rejects(b.run(admin.connections({ limit: 9, node: "nobody" })), code("not-found"));
});

test("A connection is closed from any node, also when words are lost, and an unknown one is not there.", async () => {
  const { a, b, admin } = await office();
  const far = a.connect("alice");
  a.faults.wordsLost = 0.6;
  b.faults.wordsLost = 0.6;
  // Both stages count their connections alike.
  const id = "far-away";
  a.node.open(far, { id, address: "::1" }).connect("eve");
  assert.equal(await b.run(admin.closeConnection(id)), true);
  assert.equal(far.all("closed").at(-1)?.code, "closed-by-admin");
  assert.equal(await b.run(admin.closeConnection(id)), false);
});

test("A node that does not answer is named, until it is not heard of any more.", async () => {
  const { a, b, admin } = await office();
  a.connect("alice");
  b.connect("bob");
  a.faults.wordsLost = 1;
  const refused = await b.run(admin.connections({ limit: 9 }).catch((error: unknown) => error as Refusal));
  assert.ok(refused instanceof Refusal);
  assert.match(refused.message, new RegExp(a.node.name));
  await assert.rejects(b.run(admin.closeConnection("unknown")), code("store-unavailable"));
  a.die();
  await b.clock.advance(8_000);
  assert.deepEqual(
    (await b.run(admin.connections({ limit: 9 }))).items.map(({ user }) => user),
    ["bob"],
  );
  assert.equal(await b.run(admin.closeConnection("unknown")), false);
});

test("Rooms are shown at their owners, shards with theirs, and nodes with what they have.", async () => {
  const { a, b, admin } = await office();
  const id = await roomAt(a, "public", "alice");
  const rooms = await b.run(admin.rooms({ limit: 50 }));
  assert.equal(rooms.items.find((room) => room.id === id)?.node, a.node.name);
  const { items, moves } = admin.shards();
  assert.equal(items.length, 8);
  assert.deepEqual(new Set(items.map(({ owner }) => owner)), new Set([a.node.name, b.node.name]));
  for (const { owner, term, shard } of items) {
    const there = owner === a.node.name ? a : b;
    assert.equal(there.node.shards[shard]?.term, term);
  }
  assert.ok(moves >= 8);
  b.connect("bob");
  await b.clock.advance(1_000);
  const nodes = admin.nodes();
  assert.deepEqual(
    nodes.map(({ node, here }) => [node, here]),
    [
      [a.node.name, false],
      [b.node.name, true],
    ],
  );
  assert.equal(nodes[0]?.shards, items.filter(({ owner }) => owner === a.node.name).length);
  assert.equal(nodes[1]?.connections, 1);
});
