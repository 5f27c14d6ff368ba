import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import type { Chat } from "../actors/chat.ts";
import { startApp, startChat, type TestApp } from "./app.fixture.ts";

const BODY_LIMIT = 2_000;

/** A limit of which six times over is far more than all else in a request. */
const LARGE_LIMIT = 200_000;

let it: TestApp;
let chat: Chat;
let stop: () => Promise<void>;

before(async () => {
  const engine = await startChat();
  chat = engine.chat;
  stop = engine.stop;
  it = await startApp(engine.chat, { bodyLimit: BODY_LIMIT });
});

after(async () => {
  await it.app.close();
  await stop();
});

async function makeRoom(): Promise<string> {
  const { json } = await it.ask("alice", "POST", "/api/rooms", { name: "R", type: "private", members: ["bob"] });
  return `/api/rooms/${json.id}/messages`;
}

test("A message is answered once it is stored, with all of the entry, and history shows the same.", async () => {
  const path = await makeRoom();
  const headers = { "x-mood": "calm", constructor: "odd name" };
  const message = { body: "hello \u{1f600}", contentType: "text/plain", headers, clientMessageId: "m-1" };
  const { status, json } = await it.ask("alice", "POST", path, message);
  assert.equal(status, 201);
  assert.equal(json.id, `${json.room}.${json.term}.${json.offset}`);
  assert.deepEqual(
    [json.event, json.sender, json.senderName, json.body, json.contentType, json.clientMessageId, json.count],
    ["message", "alice", "ALICE", "hello \u{1f600}", "text/plain", "m-1", 1],
  );
  assert.deepEqual(json.headers, headers);
  assert.ok(Math.abs(Date.parse(json.at) - Date.now()) < 60_000);
  const history = await it.ask("bob", "GET", path);
  assert.deepEqual(history.json.items.at(-1), json);
  assert.equal(history.json.storedOffset, json.offset);
});

test("A retry with the same client message id is answered with the first entry.", async () => {
  const path = await makeRoom();
  const first = await it.ask("alice", "POST", path, { body: "once", clientMessageId: "same" });
  const second = await it.ask("alice", "POST", path, { body: "twice", clientMessageId: "same" });
  assert.equal(second.status, 201);
  assert.deepEqual(second.json, first.json);
});

test("Any bytes go in and come out as Base64, and as text where they are text.", async () => {
  const path = await makeRoom();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const bodyBase64 = Buffer.from(bytes).toString("base64");
      const { status, json } = await it.ask("alice", "POST", path, { bodyBase64 });
      assert.equal(status, 201);
      const back = json.body === undefined ? Buffer.from(json.bodyBase64, "base64") : Buffer.from(json.body, "utf8");
      assert.deepEqual(new Uint8Array(back), bytes);
    }),
    { numRuns: 50 },
  );
});

test("A message without a body, with two, or with what cannot be kept is refused and says why.", async () => {
  const path = await makeRoom();
  const many = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`h${i}`, ""]));
  for (const [body, code] of [
    [{}, "bad-request"],
    [{ body: "a", bodyBase64: "YQ==" }, "bad-request"],
    [{ bodyBase64: "YQ=" }, "bad-request"],
    [{ bodyBase64: "not base64!" }, "bad-request"],
    [{ body: "a", headers: { destination: "/x" } }, "bad-request"],
    [{ body: "a", headers: { "": "x" } }, "bad-request"],
    [{ body: "a", headers: { "a\u0000": "x" } }, "bad-request"],
    [{ body: "a", headers: { a: 1 } }, "bad-request"],
    [{ body: "a", headers: many }, "bad-request"],
    [{ body: "a", headers: { a: "x".repeat(8_193) } }, "header-too-long"],
    [{ body: "a", contentType: "text/plain\r\nx: y" }, "bad-request"],
    [{ body: "a", contentType: "\ud800" }, "bad-request"],
    [{ body: "a", headers: { a: "\ud800" } }, "bad-request"],
    [{ body: "a", headers: { "\ud800": "a" } }, "bad-request"],
    [{ body: "a", clientMessageId: "" }, "bad-request"],
    [{ body: "x".repeat(BODY_LIMIT + 1) }, "body-too-large"],
    [{ body: "a", ref: 1 }, "bad-request"],
  ] as const) {
    const { json } = await it.ask("alice", "POST", path, body);
    assert.equal(json.code, code, JSON.stringify(body).slice(0, 80));
  }
  assert.equal((await it.ask("carol", "POST", path, { body: "a" })).json.code, "room-not-found");
  // A body at the limit fits, however Base64 swells it.
  const bodyBase64 = Buffer.alloc(BODY_LIMIT, 255).toString("base64");
  assert.equal((await it.ask("alice", "POST", path, { bodyBase64 })).status, 201);
});

test("A body of up to the limit fits however JSON swells it; one beyond it is told the limit, at whatever length.", async () => {
  const path = await makeRoom();
  const large = await startApp(chat, { bodyLimit: LARGE_LIMIT });
  const post = async (text: string) => {
    const headers = { authorization: "Bearer alice", "content-type": "application/json" };
    const { statusCode, body } = await large.app.inject({ method: "POST", url: path, headers, payload: text });
    return [statusCode, JSON.parse(body)];
  };
  for (const [swollen, bytes] of [
    ["\\u0001", 1],
    ["\\u00e9", 2],
    ['\\"', 1],
  ] as const) {
    const [status, entry] = await post(`{"body":"${swollen.repeat(LARGE_LIMIT / bytes)}"}`);
    assert.deepEqual([status, Buffer.byteLength(entry.body)], [201, LARGE_LIMIT]);
  }
  for (const length of [LARGE_LIMIT + 1, LARGE_LIMIT * 7]) {
    const [status, { code, detail }] = await post(`{"body":"${"x".repeat(length)}"}`);
    assert.deepEqual([status, code, detail], [413, "body-too-large", `At most ${LARGE_LIMIT} bytes.`]);
  }
  await large.app.close();
});

test("History reads back from the end, on from an offset, and between times; its cursors meet every entry once.", async () => {
  const path = await makeRoom();
  for (let i = 0; i < 7; i++) await it.ask("alice", "POST", path, { body: `n${i}` });
  const whole: { offset: number; at: string }[] = (await it.ask("bob", "GET", path)).json.items;
  const offsets = whole.map((item) => item.offset);
  assert.deepEqual(
    offsets,
    Array.from(offsets, (_, i) => i + 1),
  );
  const walk = async (start: string): Promise<number[][]> => {
    const pages: number[][] = [];
    for (let query = start; pages.length < 20; ) {
      const { json } = await it.ask("bob", "GET", `${path}?limit=3${query}`);
      pages.push(json.items.map((item: { offset: number }) => item.offset));
      if (json.next === undefined) break;
      query = `&cursor=${json.next}`;
    }
    return pages;
  };
  assert.deepEqual((await walk("")).reverse().flat(), offsets);
  assert.deepEqual((await walk("&after=2")).flat(), offsets.slice(2));
  assert.deepEqual((await walk("&after=2&before=7")).flat(), offsets.slice(2, 6));
  assert.deepEqual((await walk(`&from=${whole[0]?.at}`)).flat(), offsets);
  assert.deepEqual((await walk("&to=2001-01-01T00:00:00Z")).flat(), []);
  assert.deepEqual((await walk("&from=2999-01-01T00:00:00Z")).flat(), []);
});

test("A query of history that makes no sense is refused.", async () => {
  const path = await makeRoom();
  for (const query of [
    "after=-1",
    "after=x",
    "before=1.5",
    "limit=201",
    "from=yesterday",
    "cursor=AAAA",
    "cursor=LDEs&after=1",
    "page=2",
  ]) {
    assert.equal((await it.ask("bob", "GET", `${path}?${query}`)).json.code, "bad-request", query);
  }
});

test("An edit shows on its message and follows in the log; only the sender may.", async () => {
  const path = await makeRoom();
  const { offset } = (await it.ask("alice", "POST", path, { body: "tpyo" })).json;
  assert.equal((await it.ask("bob", "PATCH", `${path}/${offset}`, { body: "mine" })).json.code, "forbidden");
  const edited = await it.ask("alice", "PATCH", `${path}/${offset}`, { body: "typo" });
  assert.deepEqual([edited.status, edited.json.body, edited.json.offset], [200, "typo", offset]);
  assert.ok(edited.json.editedAt);
  const items = (await it.ask("bob", "GET", `${path}?after=${offset - 1}`)).json.items;
  assert.deepEqual([items[0].body, items[1].event, items[1].ref, items[1].body], ["typo", "edited", offset, "typo"]);
});

test("A deleted message has no body any more; a room's admin may delete that of another.", async () => {
  const path = await makeRoom();
  const { offset } = (await it.ask("bob", "POST", path, { body: "regret", headers: { x: "y" } })).json;
  assert.equal((await it.ask("alice", "DELETE", `${path}/${offset}`)).status, 204);
  const [message, deletion] = (await it.ask("bob", "GET", `${path}?after=${offset - 1}`)).json.items;
  assert.ok(message.deletedAt);
  assert.equal("body" in message || "bodyBase64" in message, false);
  assert.deepEqual([deletion.event, deletion.ref, deletion.sender], ["deleted", offset, "alice"]);
  assert.equal((await it.ask("bob", "PATCH", `${path}/${offset}`, { body: "x" })).json.code, "message-not-found");
});

test("Reactions gather per reaction and are taken back.", async () => {
  const path = await makeRoom();
  const { offset } = (await it.ask("alice", "POST", path, { body: "hi" })).json;
  const heart = `${path}/${offset}/reactions/${encodeURIComponent("\u2764\ufe0f")}`;
  await it.ask("alice", "PUT", heart);
  const two = await it.ask("bob", "PUT", heart);
  assert.deepEqual(two.json.reactions, [{ reaction: "\u2764\ufe0f", count: 2, users: ["alice", "bob"] }]);
  const one = await it.ask("alice", "DELETE", heart);
  assert.deepEqual(one.json.reactions, [{ reaction: "\u2764\ufe0f", count: 1, users: ["bob"] }]);
  assert.equal((await it.ask("bob", "PUT", `${path}/${offset}/reactions/${"x".repeat(65)}`)).json.code, "bad-request");
});

test("A message that is none is not found.", async () => {
  const path = await makeRoom();
  for (const offset of ["0", "-1", "abc", "1.5", "99999", "99999999999999999999"]) {
    assert.equal((await it.ask("alice", "DELETE", `${path}/${offset}`)).json.code, "message-not-found", offset);
  }
});
