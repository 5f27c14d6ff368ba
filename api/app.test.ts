import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { FastifyPluginAsync } from "fastify";
import Type from "typebox";
import { CODES, Refusal, StoreFailure } from "../actors/codes.ts";
import { startApp, startChat, type TestApp } from "./app.fixture.ts";
import { requireUser } from "./authenticate.ts";
import type { Readiness } from "./health.ts";
import { words } from "./schemas.ts";

let it: TestApp;
let stop: () => Promise<void>;
let ready: Readiness = { status: "ok" };
const page = mkdtempSync(join(tmpdir(), "confab-page-"));

/** Says that a client of `/faults/waits` came and that it has left. */
const waiting = new EventEmitter();

/** Routes that fail in every way. */
const faults: FastifyPluginAsync = async (app) => {
  app.get("/faults/throws", () => {
    throw new Error("password of the database");
  });
  app.get("/faults/store", () => {
    throw new StoreFailure("no answer");
  });
  app.get("/faults/rate", () => {
    throw new Refusal("rate-limited", "Ten a minute.", 2_500);
  });
  const body = Type.Object({
    name: Type.String(),
    mood: Type.Optional(words("calm", "wild")),
    inner: Type.Optional(Type.Object({ n: Type.Integer() })),
  });
  app.post("/faults/body", { schema: { body } }, (request) => request.body);
  const querystring = Type.Object({ n: Type.Optional(Type.Integer()), on: Type.Optional(Type.Boolean()) });
  app.get("/faults/query", { schema: { querystring } }, (request) => request.query);
  app.get("/faults/waits", (request) => {
    waiting.emit("came");
    // After the other listeners of the same event.
    request.raw.once("close", () => setImmediate(() => waiting.emit("gone")));
  });
  app.get("/faults/me", { onRequest: requireUser({ verify: () => assert.fail("no token, no check") }) }, () => "me");
};

before(async () => {
  writeFileSync(join(page, "index.html"), "<!doctype html><title>Confab</title>");
  writeFileSync(join(page, "app.js"), "globalThis.started = true;");
  writeFileSync(join(page, ".secret"), "hidden");
  const engine = await startChat();
  stop = engine.stop;
  it = await startApp(engine.chat, {
    plugins: [faults],
    pageFolder: page,
    allowedOrigins: ["https://chat.example"],
    health: { live: () => true, ready: () => ready },
    bodyLimit: 5_000,
  });
});

after(async () => {
  await it.app.close();
  await stop();
  rmSync(page, { recursive: true });
});

test("A missing, malformed, bad or expired token is a 401 problem with its own code.", async () => {
  for (const [token, code] of [
    [undefined, "token-missing"],
    ["bad", "token-bad"],
    ["expired", "token-expired"],
  ] as const) {
    const { status, json, headers } = await it.ask(token, "GET", "/api/rooms");
    assert.equal(status, 401);
    assert.equal(json.code, code);
    assert.equal(json.title, CODES[code].sentence);
    assert.equal(json.type, `/docs/codes#${code}`);
    assert.equal(headers["www-authenticate"], "Bearer");
    assert.match(String(headers["content-type"]), /^application\/problem\+json/);
  }
  const basic = await it.app.inject({ url: "/api/rooms", headers: { authorization: "Basic eDp5" } });
  assert.equal(basic.json().code, "token-bad");
  assert.equal((await it.ask(undefined, "GET", "/faults/me")).json.code, "token-missing");
});

test("A token is asked for before the body is read.", async () => {
  const { statusCode } = await it.app.inject({
    method: "POST",
    url: "/api/rooms",
    headers: { "content-type": "application/json" },
    payload: "{not json",
  });
  assert.equal(statusCode, 401);
});

test("An unknown address is 404, a known one with another method 405 with the methods it has.", async () => {
  const nowhere = await it.ask(undefined, "GET", "/api/nothing?x=1");
  assert.deepEqual([nowhere.status, nowhere.json.code], [404, "not-found"]);
  const wrong = await it.ask(undefined, "PATCH", "/api/rooms?x=1");
  assert.deepEqual([wrong.status, wrong.json.code], [405, "method-not-allowed"]);
  assert.equal(wrong.headers["allow"], "GET, HEAD, POST");
  const deep = await it.ask(undefined, "POST", "/api/rooms/general/members/alice");
  assert.deepEqual([deep.status, deep.headers["allow"]], [405, "DELETE, PATCH"]);
  const missing = await it.ask(undefined, "GET", "/docs/static/none.js");
  assert.deepEqual([missing.status, missing.json.code], [404, "not-found"]);
  const hopeless = await it.app.inject({ url: "/%zz" });
  assert.deepEqual([hopeless.statusCode, hopeless.json().code], [400, "bad-request"]);
});

test("A plain GET of the WebSocket's address is told to upgrade; another method is none it has.", async () => {
  for (const url of ["/ws/chat", "/ws/chat?access_token=x"]) {
    const { status, json, headers } = await it.ask(undefined, "GET", url);
    assert.deepEqual([status, json.status, json.code], [426, 426, "upgrade-required"]);
    assert.deepEqual([headers["upgrade"], headers["connection"]], ["websocket", "upgrade"]);
    assert.match(headers["content-type"] as string, /^application\/problem\+json/);
  }
  const post = await it.ask(undefined, "POST", "/ws/chat");
  assert.deepEqual([post.status, post.headers["allow"]], [405, "GET, HEAD"]);
  assert.equal((await it.ask(undefined, "GET", "/ws/chat/other")).status, 404);
});

test("What is thrown unawares is 500, is logged once and shows nothing.", async () => {
  const before = it.lines.length;
  const { status, json, text, headers } = await it.ask(undefined, "GET", "/faults/throws");
  assert.deepEqual([status, json.code], [500, "internal"]);
  assert.doesNotMatch(text, /password/);
  const failures = it.lines.slice(before).filter((line) => line["msg"] === "request failed");
  assert.equal(failures.length, 1);
  assert.equal(failures[0]?.["reqId"], headers["x-request-id"]);
});

test("A silent store is 503, and a pause is stated in whole seconds and in milliseconds.", async () => {
  const store = await it.ask(undefined, "GET", "/faults/store");
  assert.deepEqual([store.status, store.json.code], [503, "store-unavailable"]);
  const rate = await it.ask(undefined, "GET", "/faults/rate");
  assert.deepEqual([rate.status, rate.json.detail, rate.json.retryAfterMs], [429, "Ten a minute.", 2_500]);
  assert.equal(rate.headers["retry-after"], "3");
});

test("A body with unknown or wrong fields is refused by name; nothing is stripped or converted.", async () => {
  for (const [body, detail] of [
    [{ name: "a", extra: 1 }, "body has unknown properties: `extra`."],
    [{ name: "a", inner: { n: 1, m: 2 } }, "body.inner has unknown properties: `m`."],
    [{ name: 7 }, "body.name must be a string."],
    [{ name: "a", mood: "odd" }, "body.mood must be one of `calm`, `wild`."],
    [{ name: "a", inner: { n: "1" } }, "body.inner.n must be an integer."],
    [[], "body must be an object."],
  ] as const) {
    const { status, json } = await it.ask(undefined, "POST", "/faults/body", body);
    assert.deepEqual([status, json.code, json.detail], [400, "bad-request", detail]);
  }
  assert.deepEqual((await it.ask(undefined, "POST", "/faults/body", { name: "a" })).json, { name: "a" });
});

test("A query's numbers and booleans are read; what is none, or unknown, is refused.", async () => {
  assert.deepEqual((await it.ask(undefined, "GET", "/faults/query?n=12&on=true")).json, { n: 12, on: true });
  for (const query of ["n=1.5", "n=", "n=0x10", "n=1&n=2", "on=1", "who=me", "n=1e3"]) {
    assert.equal((await it.ask(undefined, "GET", `/faults/query?${query}`)).status, 400, query);
  }
});

test("Bad JSON, a strange content type and a body beyond the limit have codes of their own.", async () => {
  const post = async (type: string, payload: string) => {
    const headers = { "content-type": type };
    const answer = await it.app.inject({ method: "POST", url: "/faults/body", headers, payload });
    return [answer.statusCode, answer.json().code, ...(answer.statusCode === 413 ? [answer.json().detail] : [])];
  };
  assert.deepEqual(await post("application/json", '{"name":'), [400, "bad-request"]);
  assert.deepEqual(await post("application/json", '{"name":"a","__proto__":{"x":1}}'), [400, "bad-request"]);
  assert.deepEqual(await post("text/csv", "a,b"), [415, "unsupported-media-type"]);
  assert.deepEqual(await post("application/json", JSON.stringify({ name: "x".repeat(6_000) })), [
    413,
    "body-too-large",
    "At most 5000 bytes.",
  ]);
});

test("A request is logged in one line, by its route, without query, token or body; probes only for debugging.", async () => {
  const before = it.lines.length;
  await it.ask("secret-token", "GET", "/api/rooms?limit=7&access_token=another-secret");
  await it.ask("secret-token", "POST", "/api/rooms/general/messages", { body: "my diary" });
  await it.ask(undefined, "GET", "/health/live");
  const lines = it.lines.slice(before);
  assert.equal(lines.length, 3);
  assert.deepEqual([lines[0]?.["route"], lines[0]?.["method"], lines[0]?.["status"]], ["/api/rooms", "GET", 400]);
  assert.equal(lines[2]?.["level"], 20);
  assert.equal(typeof lines[1]?.["ms"], "number");
  assert.doesNotMatch(JSON.stringify(lines), /secret|diary|limit=/);
});

test("A sane request id from outside is kept, any other is replaced, and every answer bears one.", async () => {
  const idOf = async (given: string) => {
    return (await it.app.inject({ url: "/health/live", headers: { "x-request-id": given } })).headers["x-request-id"];
  };
  assert.equal(await idOf("abc-1.2_3"), "abc-1.2_3");
  for (const evil of ["a b", "x".repeat(65), 'a"b', "{jndi}"]) assert.notEqual(await idOf(evil), evil);
  assert.notEqual(await idOf(""), await idOf(""));
});

test("A client that leaves before its answer leaves one line in the log.", async () => {
  const before = it.lines.length;
  const address = new URL(await it.app.listen({ host: "127.0.0.1", port: 0 }));
  const came = once(waiting, "came");
  const gone = once(waiting, "gone");
  const socket = connect(Number(address.port), address.hostname);
  socket.write("GET /faults/waits HTTP/1.1\r\nHost: a\r\n\r\n");
  await came;
  socket.destroy();
  await gone;
  const lines = it.lines.slice(before).filter((line) => line["route"] === "/faults/waits");
  assert.deepEqual(
    lines.map((line) => line["status"]),
    [499],
  );
});

test("Readiness is 503 only while nothing should be sent here.", async () => {
  for (const [status, code] of [
    ["ok", 200],
    ["degraded", 200],
    ["starting", 503],
    ["draining", 503],
    ["unable", 503],
  ] as const) {
    ready = { status, parts: { archive: "away" } };
    const answer = await it.ask(undefined, "GET", "/health/ready");
    assert.deepEqual([answer.status, answer.json], [code, { status, parts: { archive: "away" } }]);
  }
  const metrics = await it.ask(undefined, "GET", "/metrics");
  assert.deepEqual([metrics.text, metrics.headers["content-type"]], ["up 1\n", "text/plain; version=0.0.4"]);
});

test("The page is served under a policy that allows its own files alone; hidden files are not.", async () => {
  const index = await it.ask(undefined, "GET", "/");
  assert.equal(index.status, 200);
  const policy = String(index.headers["content-security-policy"]);
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self'(;|$)/);
  assert.doesNotMatch(policy, /unsafe/);
  const script = await it.ask(undefined, "GET", "/app.js");
  assert.match(String(script.headers["content-type"]), /javascript/);
  assert.equal((await it.ask(undefined, "GET", "/.secret")).status, 404);
  assert.equal((await it.ask(undefined, "GET", "/../package.json")).status, 404);
  const again = await it.app.inject({ url: "/app.js", headers: { "if-none-match": String(script.headers["etag"]) } });
  assert.equal(again.statusCode, 304);
});

test("Allowed origins may ask from a browser, others get no leave.", async () => {
  const preflight = (origin: string) =>
    it.app.inject({
      method: "OPTIONS",
      url: "/api/rooms",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
    });
  const friend = await preflight("https://chat.example");
  assert.equal(friend.headers["access-control-allow-origin"], "https://chat.example");
  assert.equal(friend.headers["access-control-allow-headers"], "authorization");
  assert.equal((await preflight("https://evil.example")).headers["access-control-allow-origin"], undefined);
});

test("OpenAPI 3.1 describes every route with all its statuses, and the documentation is served from here alone.", async () => {
  const { json } = await it.ask(undefined, "GET", "/openapi.json");
  assert.equal(json.openapi, "3.1.0");
  const paths = Object.entries(json.paths as Record<string, Record<string, { responses: object; summary: string }>>);
  const api = paths.filter(([path]) => path.startsWith("/api/"));
  assert.ok(api.length >= 15);
  for (const [path, methods] of api) {
    for (const [method, { responses, summary }] of Object.entries(methods)) {
      assert.ok(summary, `${method} ${path} has a summary`);
      for (const status of ["400", "401", "429", "500", "503"]) assert.ok(status in responses, `${path} ${status}`);
    }
  }
  assert.equal(
    json.paths["/api/rooms"].post.requestBody.content["application/json"].schema.additionalProperties,
    false,
  );
  const docs = await it.ask(undefined, "GET", "/docs");
  assert.equal(docs.status, 200);
  assert.doesNotMatch(docs.text, /https?:\/\//);
  assert.equal((await it.ask(undefined, "GET", "/docs/static/swagger-ui-bundle.js")).status, 200);
  assert.match(docs.text, /<title>Confab: REST<\/title>/);
  const start = await it.ask(undefined, "GET", "/docs/static/swagger-initializer.js");
  assert.match(start.text, /"layout":\s*"BaseLayout"/);
  const codes = await it.ask(undefined, "GET", "/docs/codes");
  assert.ok(codes.text.includes('<link rel="icon" href="/icon.svg">'));
  for (const code of Object.keys(CODES)) assert.ok(codes.text.includes(`id="${code}"`), code);
});
