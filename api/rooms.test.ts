import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startApp, startChat, type TestApp } from "./app.fixture.ts";

let it: TestApp;
let stop: () => Promise<void>;

before(async () => {
  const engine = await startChat();
  stop = engine.stop;
  it = await startApp(engine.chat);
});

after(async () => {
  await it.app.close();
  await stop();
});

async function makeRoom(token: string, body: object): Promise<string> {
  const { status, json } = await it.ask(token, "POST", "/api/rooms", body);
  assert.equal(status, 201, JSON.stringify(json));
  return json.id;
}

test("A room is made, described, renamed and deleted by its admin.", async () => {
  const made = await it.ask("alice", "POST", "/api/rooms", { name: "  Tea  ", type: "public" });
  assert.equal(made.status, 201);
  assert.equal(made.json.name, "Tea");
  assert.equal(made.json.role, "admin");
  const path = `/api/rooms/${made.json.id}`;
  assert.equal((await it.ask("bob", "GET", path)).json.role, "none");
  assert.equal((await it.ask("bob", "PATCH", path, { name: "Mine" })).json.code, "forbidden");
  assert.equal((await it.ask("alice", "PATCH", path, { name: "Coffee" })).json.name, "Coffee");
  const gone = await it.ask("alice", "DELETE", path);
  assert.deepEqual([gone.status, gone.text], [204, ""]);
  assert.equal((await it.ask("alice", "GET", path)).json.code, "room-not-found");
});

test("A room id that cannot be one, one that is not there and a private one of others are refused alike.", async () => {
  const id = await makeRoom("alice", { name: "Secret", type: "private" });
  const answers = [];
  for (const room of ["NOT%20AN%20ID", "no-such-room", id]) {
    const { status, json } = await it.ask("bob", "GET", `/api/rooms/${room}`);
    answers.push(JSON.stringify([status, json]));
  }
  assert.equal(new Set(answers).size, 1, answers.join("\n"));
});

test("A room without a name, with control characters in it or of a strange type is refused.", async () => {
  for (const body of [
    { type: "public" },
    { type: "public", name: " " },
    { type: "public", name: "a\u0000b" },
    { type: "public", name: "\ud800" },
    { type: "public", name: "a\u202eb" },
    { type: "public", name: "x".repeat(129) },
    { type: "open", name: "a" },
    { type: "direct", members: [] },
    { type: "direct", name: "zz", members: ["bob"] },
    { type: "direct", members: ["bob", "carol"] },
    { type: "private", name: "a", members: ["\u0007"] },
    { type: "private", name: "a", members: ["bob", "bob"] },
  ]) {
    const { status, json } = await it.ask("alice", "POST", "/api/rooms", body);
    assert.deepEqual([status, json.code], [400, "bad-request"], JSON.stringify(body));
  }
});

test("Two users have one direct room, whoever asks.", async () => {
  const one = await it.ask("dora", "POST", "/api/rooms", { type: "direct", members: ["emil"] });
  const two = await it.ask("emil", "POST", "/api/rooms", { type: "direct", members: ["dora"] });
  assert.equal(one.json.id, two.json.id);
  assert.equal(one.json.peer, "emil");
  assert.equal(two.json.peer, "dora");
});

test("Nobody makes a room with a deleted account, or adds it to one.", async () => {
  for (const room of [
    { type: "direct", members: ["deleted"] },
    { type: "private", name: "Past", members: ["bob", "deleted"] },
  ]) {
    const { status, json } = await it.ask("alice", "POST", "/api/rooms", room);
    assert.deepEqual([status, json.code], [404, "user-not-found"]);
  }
  const id = await makeRoom("alice", { name: "Present", type: "private" });
  const added = await it.ask("alice", "POST", `/api/rooms/${id}/members`, { user: "deleted" });
  assert.deepEqual([added.status, added.json.code], [404, "user-not-found"]);
});

test("Adding a member again is harmless, but with another role it is refused and says which they have.", async () => {
  const id = await makeRoom("alice", { name: "Twice", type: "private" });
  const add = (member: object) => it.ask("alice", "POST", `/api/rooms/${id}/members`, member);
  const first = await add({ user: "bob" });
  for (const again of [{ user: "bob" }, { user: "bob", role: "member" }]) {
    const { status, json } = await add(again);
    assert.deepEqual([status, json], [201, first.json]);
  }
  const promoted = await add({ user: "bob", role: "admin" });
  assert.deepEqual([promoted.status, promoted.json.code], [409, "conflict"]);
  assert.match(promoted.json.detail, /with the role `member`/);
});

test("My rooms come in pages whose cursor says nothing.", async () => {
  const ids = new Set<string>();
  for (let i = 0; i < 5; i++) ids.add(await makeRoom("pager", { name: `Room ${i}`, type: "private" }));
  const seen: string[] = [];
  let cursor = "";
  for (let pages = 0; pages < 10; pages++) {
    const { json } = await it.ask("pager", "GET", `/api/rooms?limit=2${cursor}`);
    seen.push(...json.items.map((room: { id: string }) => room.id));
    if (json.next === undefined) break;
    assert.ok(![...ids].some((id) => json.next.includes(id)));
    cursor = `&cursor=${json.next}`;
  }
  assert.equal(seen.length, 5);
  assert.deepEqual(new Set(seen), ids);
  assert.equal((await it.ask("pager", "GET", "/api/rooms?cursor=***")).json.code, "bad-request");
  for (const limit of ["0", "201", "x"])
    assert.equal((await it.ask("pager", "GET", `/api/rooms?limit=${limit}`)).status, 400);
  const open = await it.ask("pager", "GET", "/api/rooms?scope=public");
  assert.ok(open.json.items.some((room: { id: string }) => room.id === "general"));
});

test("Joining makes a member, leaving ends it; a member may be added, promoted and removed.", async () => {
  const id = await makeRoom("alice", { name: "Club", type: "public" });
  assert.equal((await it.ask("bob", "POST", `/api/rooms/${id}/join`)).json.role, "member");
  const odd = "https://issuer.example/users?id=7&x";
  const added = await it.ask("alice", "POST", `/api/rooms/${id}/members`, { user: odd });
  assert.deepEqual([added.status, added.json.user, added.json.name, added.json.role], [201, odd, odd, "member"]);
  assert.match(added.json.joinedAt, /^\d{4}-\d\d-\d\dT.*Z$/);
  const path = `/api/rooms/${id}/members/${encodeURIComponent(odd)}`;
  assert.equal((await it.ask("bob", "PATCH", path, { role: "admin" })).json.code, "forbidden");
  assert.equal((await it.ask("alice", "PATCH", path, { role: "admin" })).json.role, "admin");
  assert.equal((await it.ask("alice", "PATCH", path, { role: "none" })).json.code, "bad-request");
  const list = await it.ask("bob", "GET", `/api/rooms/${id}/members`);
  assert.deepEqual(
    list.json.items.map((member: { user: string; role: string }) => [member.user, member.role]),
    [
      ["alice", "admin"],
      ["bob", "member"],
      [odd, "admin"],
    ],
  );
  assert.equal((await it.ask("alice", "DELETE", path)).status, 204);
  assert.equal((await it.ask("bob", "POST", `/api/rooms/${id}/leave`)).status, 204);
  assert.equal((await it.ask("alice", "GET", `/api/rooms/${id}/members`)).json.items.length, 1);
});

test("A private room is never left without an admin.", async () => {
  const id = await makeRoom("alice", { name: "Board", type: "private", members: ["bob"] });
  assert.equal((await it.ask("alice", "POST", `/api/rooms/${id}/leave`)).json.code, "last-admin");
  assert.equal(
    (await it.ask("alice", "PATCH", `/api/rooms/${id}/members/alice`, { role: "member" })).json.code,
    "last-admin",
  );
});

test("A user id that cannot be one is refused by name.", async () => {
  const long = encodeURIComponent("\u00fc".repeat(65));
  for (const user of ["%00", long]) {
    const { status, json } = await it.ask("alice", "DELETE", `/api/rooms/general/members/${user}`);
    assert.deepEqual([status, json.code], [400, "bad-request"]);
    assert.match(json.detail, /path\.user/);
  }
  // The longest id: 128 bytes, each percent-encoded.
  const longest = encodeURIComponent("\u00fc".repeat(64));
  assert.notEqual(
    (await it.ask("alice", "DELETE", `/api/rooms/general/members/${longest}`)).json?.code,
    "method-not-allowed",
  );
});

test("Reading moves the marker up, never down, and the unread count with it.", async () => {
  const id = await makeRoom("alice", { name: "News", type: "private", members: ["bob"] });
  for (const body of ["one", "two", "three"]) await it.ask("alice", "POST", `/api/rooms/${id}/messages`, { body });
  const before = await it.ask("bob", "GET", `/api/rooms/${id}`);
  assert.equal(before.json.unread, 3);
  assert.equal(before.json.lastMessage.body, "three");
  const { headOffset } = before.json;
  const read = await it.ask("bob", "PUT", `/api/rooms/${id}/read`, { offset: headOffset });
  assert.deepEqual(read.json, { readOffset: headOffset, unread: 0 });
  const back = await it.ask("bob", "PUT", `/api/rooms/${id}/read`, { offset: 1 });
  assert.equal(back.json.readOffset, headOffset);
  assert.equal((await it.ask("bob", "PUT", `/api/rooms/${id}/read`, { offset: -1 })).json.code, "bad-request");
});

test("Presence and counts answer for rooms one may see.", async () => {
  const secret = await makeRoom("alice", { name: "Hidden", type: "private" });
  assert.deepEqual((await it.ask("bob", "GET", "/api/rooms/general/presence")).json, { count: 0, users: [] });
  const { json } = await it.ask("bob", "POST", "/api/rooms/counts", {
    rooms: ["general", secret, "nope", "NOT AN ID"],
  });
  assert.deepEqual(json, { counts: { general: 0 } });
  assert.equal((await it.ask("bob", "GET", `/api/rooms/${secret}/presence`)).json.code, "room-not-found");
});
