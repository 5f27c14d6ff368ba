import uWS from "uWebSockets.js";
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { after, before, test } from "node:test";
import fastify, { type FastifyInstance } from "fastify";
import { type HttpFront, serveHttp } from "./http.ts";

const BODY_LIMIT = 100_000;
const big = randomBytes(5_000_000);
const bigHash = createHash("sha256").update(big).digest("hex");

let app: uWS.TemplatedApp;
let rest: FastifyInstance;
let front: HttpFront;
let port: number;
let url: string;
const errors: unknown[] = [];
/** Resolvers of tests that wait for what the server saw. */
const seen = new Map<string, (value: unknown) => void>();

function saw(name: string): Promise<unknown> {
  return new Promise((resolve) => seen.set(name, resolve));
}

function registerRoutes(): void {
  rest.get("/json", () => ({ hello: "world" }));
  rest.get("/echo", (request) => ({
    url: request.url,
    query: request.query,
    headers: request.headers,
    ip: request.ip,
  }));
  rest.post("/echo", (request) => ({ body: request.body }));
  rest.post("/unread", { onRequest: async (_request, reply) => reply.code(401).send({ no: true }) }, () => "never");
  rest.get("/cookies", (_request, reply) => {
    reply.header("set-cookie", ["a=1", "b=2", "c=3"]).send({});
  });
  rest.get("/empty", (_request, reply) => reply.code(204).send());
  rest.get("/unchanged", (_request, reply) => reply.code(304).header("etag", '"x"').send());
  rest.get("/latin", (_request, reply) => reply.header("x-name", "caf\u00e9").send("ok"));
  rest.get("/split", (_request, reply) => reply.header("x-evil", "a\r\nx-injected: 1").send("ok"));
  rest.get("/throws", () => {
    throw new Error("secret");
  });
  rest.get("/big", (_request, reply) => reply.send(Readable.from(slices(), { objectMode: false })));
  rest.get("/big-announced", (_request, reply) =>
    reply.header("content-length", big.length).send(Readable.from(slices(), { objectMode: false })),
  );
  rest.get("/big-whole", (_request, reply) => reply.send(big));
  rest.get("/short", (_request, reply) =>
    reply.header("content-length", 100).send(Readable.from([Buffer.from("ten bytes!")])),
  );
  rest.get("/long", (_request, reply) =>
    reply.header("content-length", 4).send(Readable.from([Buffer.from("ten bytes!")])),
  );
  rest.get("/breaks", (_request, reply) => {
    const stream = new PassThrough();
    stream.write("begun");
    reply.send(stream);
    setImmediate(() => setImmediate(() => stream.destroy(new Error("disk gone"))));
  });
  rest.get("/endless", (_request, reply) => {
    const stream = new Readable({ read: () => void stream.push(Buffer.alloc(65_536)) });
    stream.once("close", () => seen.get("endless closed")?.(true));
    reply.send(stream);
  });
  rest.get("/waits", (request, reply) => {
    request.raw.once("close", () => seen.get("waits closed")?.(request.raw.aborted));
    seen.get("waits open")?.({ reply }); // in an object, as a reply is a thenable
  });
}

function* slices(): Generator<Buffer> {
  for (let at = 0; at < big.length; at += 50_000) yield big.subarray(at, at + 50_000);
}

before(async () => {
  rest = fastify({ bodyLimit: 50_000 });
  registerRoutes();
  await rest.ready();
  app = uWS.App();
  front = serveHttp(app, rest, {
    bodyLimit: BODY_LIMIT,
    bodiesLimit: 400_000,
    encrypted: false,
    onError: (error) => errors.push(error),
  });
  port = await new Promise((resolve, reject) => {
    app.listen("127.0.0.1", 0, (socket) => {
      if (socket === false) reject(new Error("no port"));
      else resolve(uWS.us_socket_local_port(socket as unknown as uWS.us_socket));
    });
  });
  url = `http://127.0.0.1:${port}`;
});

after(async () => {
  await front.idle();
  assert.equal(front.open, 0);
  assert.equal(front.bodyBytes, 0);
  assert.deepEqual(errors, []);
  app.close();
  await rest.close();
});

async function socketTo(): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

/** Sends a text and collects what comes until the server ends the connection or `until` was seen. */
async function raw(text: string | Buffer, until?: string): Promise<string> {
  const socket = await socketTo();
  let got = "";
  socket.setEncoding("latin1");
  socket.on("error", () => {});
  const over = new Promise<void>((resolve) => {
    socket.on("data", (part: string) => {
      got += part;
      if (until !== undefined && got.includes(until)) resolve();
    });
    socket.on("close", () => resolve());
  });
  socket.write(text);
  await over;
  socket.destroy();
  return got;
}

test("A JSON answer arrives whole, with one length, one date and no framing of fastify's own.", async () => {
  const got = await raw("GET /json HTTP/1.1\r\nHost: a\r\n\r\n", "}");
  assert.match(got, /^HTTP\/1\.1 200 OK\r\n/);
  assert.equal(got.match(/content-length/gi)?.length, 1);
  assert.equal(got.match(/\r\ndate: /gi)?.length, 1);
  assert.equal(got.match(/transfer-encoding/gi), null);
  assert.ok(got.endsWith('\r\n\r\n{"hello":"world"}'));
});

test("Path, query, headers and address reach the handler as node would give them.", async () => {
  const lines = ["GET /echo?a=1&b=%20x HTTP/1.1", "Host: a", "X-One: 1", "x-one: 2", "Cookie: a=1", "cookie: b=2"];
  const got = await raw(`${[...lines, "User-Agent: p", "user-agent: q"].join("\r\n")}\r\n\r\n`, "ip");
  const seenByHandler = JSON.parse(got.slice(got.indexOf("\r\n\r\n") + 4));
  assert.equal(seenByHandler.url, "/echo?a=1&b=%20x");
  assert.deepEqual(seenByHandler.query, { a: "1", b: " x" });
  assert.equal(seenByHandler.headers["x-one"], "1, 2");
  assert.equal(seenByHandler.headers.cookie, "a=1; b=2");
  assert.equal(seenByHandler.headers["user-agent"], "p");
  assert.equal(seenByHandler.ip, "127.0.0.1");
});

test("A JSON body is read, whether its length is stated or it comes in chunks.", async () => {
  const body = { text: "x".repeat(30_000) };
  const headers = { "content-type": "application/json" };
  const stated = await fetch(`${url}/echo`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.deepEqual(await stated.json(), { body });
  const stream = Readable.toWeb(Readable.from([JSON.stringify(body).slice(0, 9), JSON.stringify(body).slice(9)]));
  const init = { method: "POST", headers, body: stream, duplex: "half" } as unknown as RequestInit;
  const chunked = await fetch(`${url}/echo`, init);
  assert.deepEqual(await chunked.json(), { body });
});

test("A body over the limit is answered with 413 before it has come, and the connection ends.", async () => {
  const head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
  const got = await raw(`${head}Content-Length: 90000000\r\n\r\n{"a":`);
  assert.match(got, /^HTTP\/1\.1 413 /);
  assert.match(got, /connection: close/i);
});

test("A client that sends all of a body over the limit reads its 413, and may ask again on the connection.", async () => {
  const size = 8_000_000;
  const head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
  const socket = await socketTo();
  let got = "";
  socket.on("data", (part) => {
    got += part;
  });
  // Not before the answer is there: a connection that ended with it would be reset by what comes.
  socket.write(`${head}Content-Length: ${size}\r\n\r\n`);
  while (!got.includes("413")) await once(socket, "data");
  socket.write("x".repeat(size));
  socket.write("GET /json HTTP/1.1\r\nHost: a\r\n\r\n");
  while (!got.includes('{"hello":"world"}')) await once(socket, "data");
  assert.equal(front.bodyBytes, 0);
  socket.destroy();
});

test("A chunked body over the limit is answered with 413.", async () => {
  const head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
  const got = await raw(head + chunk, "413");
  assert.match(got, /^HTTP\/1\.1 413 /);
});

test("A body that nobody reads does not hinder the next request on the connection.", async () => {
  const body = "y".repeat(20_000);
  const first = `POST /unread HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n`;
  const socket = await socketTo();
  let got = "";
  socket.on("data", (part) => {
    got += part;
  });
  socket.write(first + body.slice(0, 5_000));
  while (!got.includes("401")) await once(socket, "data");
  socket.write(`${body.slice(5_000)}GET /json HTTP/1.1\r\nHost: a\r\n\r\n`);
  while (!got.includes('{"hello":"world"}')) await once(socket, "data");
  socket.destroy();
});

test("A request that states two lengths is refused, and what follows it on the connection is no request.", async () => {
  const head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
  const two = `${head}Content-Length: 40\r\n\r\n{}`;
  assert.match(await raw(two), /^HTTP\/1\.1 400 [\s\S]*"code":"bad-content-length"/);
  assert.equal(await raw(`${two}GET /json HTTP/1.1\r\nHost: a\r\n\r\n`), "");
  // The same one twice is one [RFC 9112 6.3].
  assert.match(await raw(`${head}Content-Length: 2\r\n\r\n{}`, "200 OK"), /^HTTP\/1\.1 200 /);
});

test("Bodies on their way share a bound; beyond it a request is told to come again.", async () => {
  const sockets: Socket[] = [];
  const head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 49000\r\n\r\n";
  for (let i = 0; i < 8; i++) {
    const socket = await socketTo();
    socket.write(head + "x".repeat(48_000));
    sockets.push(socket);
  }
  // A request that is answered comes after what came before it.
  while (front.bodyBytes < 384_000) await fetch(`${url}/json`);
  // One more begins in time and meets the bound in the middle of its body; the others keep what they have.
  assert.match(await raw(head + "x".repeat(40_000), '"code":"busy"'), /^HTTP\/1\.1 503 /);
  assert.equal(front.bodyBytes, 384_000);
  const last = await socketTo();
  sockets.push(last);
  last.write(head + "x".repeat(16_000));
  while (front.bodyBytes < 400_000) await fetch(`${url}/json`);
  const refused = await fetch(`${url}/echo`, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/json" },
  });
  assert.equal(refused.status, 503);
  assert.equal(((await refused.json()) as { code: string }).code, "busy");
  for (const socket of sockets) socket.destroy();
  await front.idle();
  assert.equal(front.bodyBytes, 0);
});

test("A client that leaves in the middle of its body costs nothing.", async () => {
  const socket = await socketTo();
  socket.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 40000\r\n\r\n{");
  while (front.open === 0) await fetch(`${url}/json`);
  socket.destroy();
  await front.idle();
  assert.equal((await fetch(`${url}/json`)).status, 200);
});

test("A client that leaves while the handler works is noticed, and the late answer is dropped.", async () => {
  const open = saw("waits open");
  const closed = saw("waits closed");
  const socket = await socketTo();
  socket.write("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
  const { reply } = (await open) as { reply: { send(value: unknown): void } };
  socket.destroy();
  assert.equal(await closed, true);
  reply.send({ late: true });
  assert.equal((await fetch(`${url}/json`)).status, 200);
});

test("A client that leaves in the middle of a stream ends its source.", async () => {
  const closed = saw("endless closed");
  const socket = await socketTo();
  socket.write("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  await once(socket, "data");
  socket.destroy();
  assert.equal(await closed, true);
});

test("A client that does not read holds back the source of its stream.", async () => {
  const before = process.memoryUsage().rss;
  const socket = await socketTo();
  socket.pause();
  socket.write("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  for (let i = 0; i < 200; i++) await fetch(`${url}/json`);
  assert.ok(process.memoryUsage().rss - before < 100_000_000);
  const closed = saw("endless closed");
  socket.destroy();
  await closed;
});

for (const path of ["/big", "/big-announced", "/big-whole"]) {
  test(`Five megabytes from ${path} arrive unchanged, also at a slow reader.`, async () => {
    const hash = createHash("sha256");
    const response = await fetch(url + path);
    assert.equal(response.headers.get("content-length"), path === "/big" ? null : String(big.length));
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
      hash.update(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(hash.digest("hex"), bigHash);
  });
}

test("A stream that is shorter than announced cuts the connection, a longer one is cut to its length.", async () => {
  // Returns only when the server has ended the connection.
  await raw("GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
  const next = "GET /json HTTP/1.1\r\nHost: a\r\n\r\n";
  const socket = await socketTo();
  let got = "";
  socket.on("data", (part) => {
    got += part;
  });
  socket.write("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
  while (!got.includes("\r\n\r\nten ")) await once(socket, "data");
  socket.write(next);
  while (!got.includes('{"hello":"world"}')) await once(socket, "data");
  assert.doesNotMatch(got, /bytes!/);
  socket.destroy();
});

test("A stream that breaks after its start cuts the connection and nothing else.", async () => {
  const got = await raw("GET /breaks HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.match(got, /begun/);
  assert.ok(!got.includes("\r\n0\r\n\r\n"), "no proper end");
  assert.equal((await fetch(`${url}/json`)).status, 200);
});

test("HEAD states the length and sends no body; 204 and 304 have neither.", async () => {
  const tail = " HTTP/1.1\r\nHost: a\r\n\r\n";
  const head = await raw(`HEAD /json${tail}`, "\r\n\r\n");
  assert.match(head, /content-length: 17/i);
  assert.ok(head.endsWith("\r\n\r\n"));
  for (const path of ["/empty", "/unchanged"]) {
    const got = await raw(`GET ${path}${tail}`, "\r\n\r\n");
    assert.match(got, path === "/empty" ? /^HTTP\/1\.1 204 No Content/ : /^HTTP\/1\.1 304 Not Modified/);
    assert.doesNotMatch(got, /content-length|transfer-encoding/i);
  }
  const streamed = await raw(`HEAD /big-announced${tail}`, "\r\n\r\n");
  assert.match(streamed, /content-length: 5000000/i);
});

test("Each of several cookies leaves in a header of its own.", async () => {
  const response = await fetch(`${url}/cookies`);
  assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2", "c=3"]);
});

test("Header values leave in Latin-1, and none can inject another header.", async () => {
  assert.match(await raw("GET /latin HTTP/1.1\r\nHost: a\r\n\r\n", "ok"), /x-name: caf\u00e9\r\n/);
  const response = await fetch(`${url}/split`);
  assert.equal(response.status, 500);
  assert.equal(response.headers.get("x-injected"), null);
});

test("A handler that throws is answered with 500, and the process lives.", async () => {
  assert.equal((await fetch(`${url}/throws`)).status, 500);
  assert.equal((await fetch(`${url}/json`)).status, 200);
});

test("Requests pipelined on one connection are answered in order while handlers answer at once.", async () => {
  const two = "GET /json HTTP/1.1\r\nHost: a\r\n\r\nGET /empty HTTP/1.1\r\nHost: a\r\n\r\n";
  const got = await raw(two, "204 No Content");
  assert.ok(got.indexOf("200 OK") < got.indexOf("204 No Content"));
});

test("Half a head, garbage and a strange method leave the server standing.", async () => {
  const half = await socketTo();
  half.write("GET /json HTTP/1.1\r\nHost: a\r\nX-");
  half.destroy();
  await raw("\x00\x01\x02 nonsense\r\n\r\n");
  await raw("BREW /json HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n");
  await raw(`GET /${"x".repeat(200_000)} HTTP/1.1\r\nHost: a\r\n\r\n`);
  const both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  await raw(`POST /echo HTTP/1.1\r\nHost: a\r\n${both}`, "\r\n\r\n");
  assert.equal((await fetch(`${url}/json`)).status, 200);
});

test("`connection: close` of a request, or of a reply, ends the connection after the answer.", async () => {
  const wish = await raw("GET /json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  assert.match(wish, /"world"\}$/);
  const got = await raw(
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{x",
  );
  assert.match(got, /^HTTP\/1\.1 400 /);
});
