import uWS from "uWebSockets.js";
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import files from "@fastify/static";
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import fastify, { type FastifyInstance } from "fastify";
import { serveHttp } from "./http.ts";

const folder = mkdtempSync(join(tmpdir(), "confab-files-"));
const video = randomBytes(3_000_000);

let app: uWS.TemplatedApp;
let rest: FastifyInstance;
let url: string;
const errors: unknown[] = [];

before(async () => {
  writeFileSync(join(folder, "index.html"), "<!doctype html><title>x</title>");
  writeFileSync(join(folder, "video.bin"), video);
  rest = fastify({ trustProxy: "127.0.0.1" });
  await rest.register(helmet);
  await rest.register(cors, { origin: ["https://friend.example"] });
  await rest.register(swagger, { openapi: { openapi: "3.1.0" } });
  await rest.register(swaggerUi, { routePrefix: "/docs" });
  await rest.register(files, { root: folder, wildcard: false });
  rest.get("/ip", (request) => ({ ip: request.ip }));
  rest.get("/web-stream", (_request, reply) => reply.send(new Blob([video]).stream()));
  await rest.ready();
  app = uWS.App();
  serveHttp(app, rest, {
    bodyLimit: 1_000,
    bodiesLimit: 1_000_000,
    encrypted: false,
    onError: (error) => errors.push(error),
  });
  const port = await new Promise<number>((resolve, reject) => {
    app.listen("127.0.0.1", 0, (socket) => {
      if (socket === false) reject(new Error("no port"));
      else resolve(uWS.us_socket_local_port(socket as unknown as uWS.us_socket));
    });
  });
  url = `http://127.0.0.1:${port}`;
});

after(async () => {
  app.close();
  await rest.close();
  rmSync(folder, { recursive: true });
  assert.deepEqual(errors, []);
});

const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

test("Files are served whole, in ranges, by HEAD and conditionally, under helmet's headers.", async () => {
  const whole = await fetch(`${url}/video.bin`);
  assert.equal(hashOf(new Uint8Array(await whole.arrayBuffer())), hashOf(video));
  assert.ok(whole.headers.get("content-security-policy"));
  const range = await fetch(`${url}/video.bin`, { headers: { range: "bytes=1000-1999999" } });
  assert.equal(range.status, 206);
  assert.equal(hashOf(new Uint8Array(await range.arrayBuffer())), hashOf(video.subarray(1_000, 2_000_000)));
  const head = await fetch(`${url}/video.bin`, { method: "HEAD" });
  assert.equal(head.headers.get("content-length"), String(video.length));
  // Not by fetch, which adds `cache-control: no-cache` to a condition of one's own.
  const headers = { "if-none-match": whole.headers.get("etag") ?? "" };
  const [same] = (await once(get(`${url}/video.bin`, { headers, agent: false }), "response")) as [IncomingMessage];
  assert.equal(same.statusCode, 304);
  same.resume();
  assert.match(await (await fetch(url)).text(), /<title>x/);
});

test("A stream of the web's kind is sent whole.", async () => {
  const response = await fetch(`${url}/web-stream`);
  assert.equal(hashOf(new Uint8Array(await response.arrayBuffer())), hashOf(video));
});

test("The documentation's own files arrive.", async () => {
  assert.match(await (await fetch(`${url}/docs`)).text(), /swagger-ui-bundle\.js/);
  const bundle = await fetch(`${url}/docs/static/swagger-ui-bundle.js`);
  assert.equal((await bundle.arrayBuffer()).byteLength, Number(bundle.headers.get("content-length")));
  assert.equal(((await (await fetch(`${url}/docs/json`)).json()) as { openapi: string }).openapi, "3.1.0");
});

test("A preflight of an allowed origin is answered.", async () => {
  const headers = { origin: "https://friend.example", "access-control-request-method": "POST" };
  const response = await fetch(`${url}/ip`, { method: "OPTIONS", headers });
  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-origin"), "https://friend.example");
});

test("Behind a trusted proxy the address is that of its client.", async () => {
  const response = await fetch(`${url}/ip`, { headers: { "x-forwarded-for": "203.0.113.7" } });
  assert.deepEqual(await response.json(), { ip: "203.0.113.7" });
});
