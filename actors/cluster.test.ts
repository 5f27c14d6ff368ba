import assert from "node:assert/strict";
import { test } from "node:test";
import { type Client, Stage } from "./node.fixture.ts";

/** So many nodes on shared stores, and time enough for the shards to have moved. */
async function nodes(count: number, shards = 8): Promise<[Stage, ...Stage[]]> {
  const first = await Stage.open({ shared: true, shards });
  const all: [Stage, ...Stage[]] = [first];
  while (all.length < count) all.push(await Stage.open({ beside: first }));
  await first.clock.advance(3_000);
  return all;
}

/** The stage whose node owns a room. */
function ownerOf(stages: readonly Stage[], room: string): Stage {
  const owners = stages.filter(({ node }) => node.owns(room));
  assert.equal(owners.length, 1, `${room} has ${owners.length} owners`);
  return owners[0] as Stage;
}

function bodies(client: Client, on = "log"): string[] {
  return client.heard(on).filter((body) => body !== "member");
}

test("Every shard has one owner, each node owns some, and all agree on whom.", async () => {
  const stages = await nodes(3, 32);
  const shards = stages.map(({ node }) => node.shards.filter(({ mine }) => mine).map(({ id }) => id));
  assert.deepEqual(
    shards.flat().sort((a, b) => a - b),
    Array.from({ length: 32 }, (_, id) => id),
  );
  for (const own of shards) assert.ok(own.length > 3, JSON.stringify(shards));
  for (const { node } of stages) {
    for (const [at, own] of shards.entries()) {
      for (const id of own) assert.equal(node.cluster.owners.of(id), stages[at]?.node.name);
    }
  }
});

test("Clients of any node talk in any room, each SEND is receipted as stored, and none can tell who owns it.", async () => {
  const stages = await nodes(3);
  const clients = stages.map((stage, at) => stage.connect(`user${at}`));
  for (const client of clients) client.subscribe("log", "general", { id: "log" });
  await stages[0].clock.advance(100);
  const receipts = clients.map((client, at) => [client.send("general", `a${at}`), client.send("general", `b${at}`)]);
  await stages[0].clock.advance(500);
  const stored = await stages[0].log("general");
  for (const [at, client] of clients.entries()) {
    for (const receipt of receipts[at] ?? []) {
      const entry = client.receiptOf(receipt)?.entry;
      assert.ok(entry, `${receipt} of ${at}`);
      assert.equal(stored[entry.offset - 1]?.sender, `user${at}`);
    }
    assert.deepEqual(bodies(client).sort(), ["a0", "a1", "a2", "b0", "b1", "b2"]);
    assert.deepEqual(bodies(client), bodies(clients[0] as Client));
    assert.ok(bodies(client).indexOf(`a${at}`) < bodies(client).indexOf(`b${at}`));
  }
});

test("A node that joins gets its shards while all talk on: nobody is refused, disconnected or told of a loss.", async () => {
  const [first] = await nodes(1, 32);
  const rooms = ["general", ...(await Promise.all([1, 2, 3, 4, 5, 6].map(() => first.makeRoom("public", "owner"))))];
  const talker = first.connect("talker");
  for (const room of rooms) talker.subscribe("log", room, { id: room });
  await first.clock.advance(100);
  const second = Stage.open({ beside: first });
  const receipts: string[] = [];
  for (let at = 0; at < 100; at++) {
    for (const room of rooms) receipts.push(talker.send(room, `${at}`));
    await first.clock.advance(20);
  }
  const other = await second;
  await first.clock.advance(5_000);
  assert.ok(other.node.shards.filter(({ mine }) => mine).length > 8);
  assert.ok(
    rooms.some((room) => other.node.owns(room)),
    "a room moved",
  );
  assert.deepEqual(
    receipts.filter((receipt) => !talker.receiptOf(receipt)),
    [],
  );
  const expected = Array.from({ length: 100 }, (_, at) => `${at}`);
  for (const room of rooms) assert.deepEqual(bodies(talker, room), expected, room);
  assert.deepEqual([talker.all("refused"), talker.all("resumed"), talker.all("closed")], [[], [], []]);
});

test("A killed node's rooms are taken over when its lease ends; what it had logged is stored by the new owner.", async () => {
  const stages = await nodes(3);
  const owner = ownerOf(stages, "general");
  const others = stages.filter((stage) => stage !== owner) as [Stage, Stage];
  const clients = others.map((stage, at) => stage.connect(`user${at}`)) as [Client, Client];
  for (const client of clients) client.subscribe("log", "general", { id: "log" });
  const local = owner.connect("local");
  await owner.clock.advance(100);
  clients[0].send("general", "before");
  await owner.clock.advance(200);
  // Logged and shown, and never stored by the node that took it.
  owner.faults.archiveAway = true;
  local.send("general", "logged");
  await owner.clock.advance(20);
  assert.deepEqual(bodies(clients[1]), ["before", "logged"]);
  owner.die();
  const receipt = clients[1].send("general", "meanwhile", { id: "m" });
  await owner.clock.advance(5_000);
  assert.ok(clients[1].receiptOf(receipt)?.entry);
  assert.deepEqual(bodies(clients[0]), ["before", "logged", "meanwhile"]);
  assert.deepEqual(bodies(clients[1]), ["before", "logged", "meanwhile"]);
  assert.equal((await owner.log("general")).filter(({ event }) => event === "message").length, 3);
  for (const client of clients) assert.deepEqual(client.all("resumed"), []);
});

test("A node that ends in order hands its shards over first; who remains goes on within moments.", async () => {
  const stages = await nodes(2);
  const owner = ownerOf(stages, "general");
  const other = stages.find((stage) => stage !== owner) as Stage;
  const client = other.connect("user");
  client.subscribe("log", "general", { id: "log" });
  await other.clock.advance(100);
  const ended = owner.node.stop();
  const receipts: string[] = [];
  for (let at = 0; at < 20; at++) {
    receipts.push(client.send("general", `${at}`));
    await other.clock.advance(20);
  }
  await owner.run(ended);
  await other.clock.advance(500);
  assert.deepEqual(
    receipts.filter((receipt) => !client.receiptOf(receipt)?.entry),
    [],
  );
  assert.deepEqual(
    bodies(client),
    receipts.map((_, at) => `${at}`),
  );
  assert.equal(
    other.node.shards.every(({ mine }) => mine),
    true,
  );
  assert.deepEqual(client.all("resumed"), []);
});
