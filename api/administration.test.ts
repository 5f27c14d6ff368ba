import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AdministrationSample, startApp, startChat, type TestApp } from "./app.fixture.ts";

let it: TestApp;
let stop: () => Promise<void>;
const administration = new AdministrationSample();

before(async () => {
  const engine = await startChat();
  stop = engine.stop;
  it = await startApp(engine.chat, { administration });
});

after(async () => {
  await it.app.close();
  await stop();
});

test("Only a token with the administrators' group may administer; without a group configured, none.", async () => {
  for (const part of ["nodes", "shards", "rooms", "connections"]) {
    const url = `/api/admin/${part}`;
    assert.equal((await it.ask(undefined, "GET", url)).status, 401);
    assert.equal((await it.ask("alice", "GET", url)).json.code, "forbidden");
    assert.equal((await it.ask("alice,users,operators", "GET", url)).status, 200);
  }
  const engine = await startChat();
  const closed = await startApp(engine.chat, { adminGroup: undefined });
  assert.equal((await closed.ask("alice,operators,", "GET", "/api/admin/shards")).json.code, "forbidden");
  await closed.app.close();
  await engine.stop();
});

test("A user or one token is revoked.", async () => {
  const path = "/api/admin/revocations";
  assert.equal((await it.ask("root,operators", "POST", path, { user: "mallory" })).status, 204);
  assert.equal((await it.ask("root,operators", "POST", path, { user: "mallory", token: "t1" })).status, 204);
  assert.deepEqual(administration.revoked, [
    ["mallory", undefined],
    ["mallory", "t1"],
  ]);
  assert.equal((await it.ask("root,operators", "POST", path, { token: "t1" })).json.code, "bad-request");
});

test("Connections are listed in pages and closed by id.", async () => {
  const first = await it.ask("root,operators", "GET", "/api/admin/connections?limit=1");
  assert.equal(first.json.items[0].id, "c1");
  assert.equal(first.json.items[0].connectedAt, "1970-01-01T00:00:00.000Z");
  const second = await it.ask("root,operators", "GET", `/api/admin/connections?limit=1&cursor=${first.json.next}`);
  assert.deepEqual([second.json.items[0].id, second.json.next], ["c2", undefined]);
  assert.equal((await it.ask("root,operators", "DELETE", "/api/admin/connections/c1")).status, 204);
  assert.equal((await it.ask("root,operators", "DELETE", "/api/admin/connections/c9")).json.code, "not-found");
});

test("Lists over all nodes may be asked of one; of a node that does not live nothing is known.", async () => {
  const ask = async (url: string) => it.ask("root,operators", "GET", `/api/admin/${url}`);
  assert.equal((await ask("connections?node=n1")).json.items[0].node, "n1");
  assert.equal((await ask("connections?node=n2")).json.code, "not-found");
});

test("Shards are shown with their owners as far as they are known, and nodes with what they have.", async () => {
  const ask = async (url: string) => it.ask("root,operators", "GET", `/api/admin/${url}`);
  const { items, moves } = (await ask("shards")).json;
  assert.deepEqual([items[0].owner, items[0].term, "owner" in items[1], moves], ["n1", 1, false, 1]);
  const [node] = (await ask("nodes")).json.items;
  assert.deepEqual([node.node, node.here, node.since, node.connections], ["n1", true, "1970-01-01T00:00:00.000Z", 2]);
});
