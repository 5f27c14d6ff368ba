/** The server as an operator meets it: how it starts, stops, refuses to start, and what is left after the worst. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  call,
  eventually,
  must,
  type Server,
  type ServerOptions,
  signToken,
  spawnServer,
  startServer,
  tokenFor,
  wholeHistory,
  within,
} from "../ops/drills/harness.ts";
import { StompClient, type StompFrame } from "../ops/drills/stomp.ts";

/** A running server that is removed after the test. */
async function running(t: TestContext, options: ServerOptions = {}): Promise<Server> {
  const server = await startServer(options);
  t.after(() => server.remove());
  return server;
}

/** A start that must fail: exit 1, and one full sentence that matches. */
async function refusedStart(t: TestContext, options: ServerOptions, sentence: RegExp): Promise<void> {
  const server = await spawnServer(options);
  t.after(() => server.remove());
  const exit = await within(server.exited, 20_000, "The end of a start that must fail");
  assert.deepEqual(exit, { code: 1, signal: null }, server.lines.join("\n"));
  const text = server.lines.join("\n");
  assert.match(text, sentence);
  assert.doesNotMatch(text, /^\s+at .*:\d+:\d+/m, "a stack is not a sentence");
}

const connected = (server: Server, user: string): Promise<StompClient> =>
  StompClient.connected(server.wsUrl, tokenFor(user));

test("A start with nothing configured says where to open it, is quick, and serves the page, REST and metrics.", async (t) => {
  const server = await running(t, { env: { JWT_SECRET: "" } });
  t.diagnostic(`listens after ${Math.round(server.startMs)} ms`);
  // The promise is 3 s on an idle machine; a busy one gets more before the test calls it broken.
  assert.ok(server.startMs < 10_000);
  for (const path of [
    "/",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/api/rooms?scope=public",
  ]) {
    const { status } = await call(server, `GET ${path}`);
    assert.equal(status, path.startsWith("/api") ? 401 : 200, path);
  }
});

test("SIGTERM with clients connected tells them to reconnect, flushes, and exits 0 within 10 s.", async (t) => {
  const server = await running(t);
  const clients = await Promise.all(Array.from({ length: 20 }, (_, at) => connected(server, `c${at}`)));
  for (const client of clients) await client.subscribe("general", "s");
  const [sender] = clients as [StompClient];
  const receipt = await sender.post("general", "receipted");
  for (let at = 0; at < 100; at++)
    sender.send(
      "SEND",
      { destination: "/topic/room.general", "ack-level": "accepted", receipt: `a${at}` },
      `accepted ${at}`,
    );
  for (let at = 0; at < 100; at++) await sender.next({ "receipt-id": `a${at}` });
  const startedAt = performance.now();
  const exit = await server.stop("SIGTERM");
  const tookMs = performance.now() - startedAt;
  t.diagnostic(`exit after ${Math.round(tookMs)} ms`);
  assert.deepEqual(exit, { code: 0, signal: null });
  assert.ok(tookMs < 10_000);
  for (const client of clients) assert.equal((await client.closed).code, 1012);
  const again = await server.restart().ready();
  const history = await wholeHistory(again, tokenFor("c0"), "general");
  assert.ok(history.some(({ id, body }) => id === receipt.headers["message-id"] && body === "receipted"));
  assert.equal(history.filter(({ body }) => body?.startsWith("accepted ")).length, 100);
});

test("Further signals do not disturb an end that is under way, also in the middle of writes.", async (t) => {
  const server = await running(t);
  const client = await connected(server, "busy");
  await client.subscribe("general", "s");
  const body = "x".repeat(10_000);
  for (let at = 0; at < 150; at++) client.send("SEND", { destination: "/topic/room.general", receipt: `r${at}` }, body);
  await client.next({ "receipt-id": "r0" });
  const { pid } = server;
  const exit = server.stop("SIGTERM");
  for (const signal of ["SIGTERM", "SIGINT", "SIGTERM"] as const) process.kill(pid, signal);
  assert.deepEqual(await exit, { code: 0, signal: null });
});

test("A second server on a port that is in use says so and exits 1.", async (t) => {
  const server = await running(t);
  await refusedStart(t, { port: server.port }, /port .*(in use|taken)/i);
  const foreign = createServer().listen(0, "127.0.0.1");
  t.after(() => foreign.close());
  await new Promise((resolve) => foreign.once("listening", resolve));
  const { port } = foreign.address() as { port: number };
  await refusedStart(t, { port }, new RegExp(`${port}.*(in use|taken)`, "i"));
});

test("A second server on a data folder that is in use says so and exits 1, and the first goes on.", async (t) => {
  const server = await running(t);
  const second = await spawnServer({ dataDir: server.dataDir });
  const exit = await within(second.exited, 20_000, "The end of the second server");
  assert.deepEqual(exit, { code: 1, signal: null }, second.lines.join("\n"));
  assert.match(second.lines.join("\n"), /(folder|DATA_DIR).*(in use|another process)/i);
  const client = await connected(server, "first");
  await client.post("general", "still the owner");
  await client.cut();
});

test("A wrong setting stops the start with a full sentence.", async (t) => {
  await refusedStart(t, { env: { PORT: "eighty" } }, /PORT must be a whole number between 0 and 65535, not "eighty"\./);
  await refusedStart(t, { env: { JWT_SECRET: "short" } }, /JWT_SECRET must be at least 32 bytes long/);
  await refusedStart(
    t,
    { env: { LIMIT_BODY_BYTE: "5" } },
    /LIMIT_BODY_BYTE is not a setting; the nearest one is LIMIT_BODY_BYTES\./,
  );
  await refusedStart(t, { env: { DATA_DIR: "/dev/null/data" } }, /data folder \/dev\/null\/data cannot be used/);
});

test("After kill -9 every receipted message is there, offsets go on without gap, and a lost position is told.", async (t) => {
  const server = await running(t);
  const client = await connected(server, "killed");
  await client.subscribe("general", "s");
  const receipts: StompFrame[] = [];
  for (let at = 0; at < 150; at++)
    client.send(
      "SEND",
      { destination: "/topic/room.general", receipt: `k${at}`, "client-message-id": `k${at}` },
      `k ${at}`,
    );
  // Killed in the middle: some are receipted, some are not.
  for (let at = 0; at < 60; at++) receipts.push(await client.next({ "receipt-id": `k${at}` }));
  await server.kill();
  await client.closed;
  receipts.push(...client.waiting({ command: "RECEIPT" }));
  const again = await server.restart().ready();
  const history = await wholeHistory(again, tokenFor("killed"), "general");
  assert.deepEqual(
    history.map(({ offset }) => offset),
    history.map((_, at) => at + 1),
  );
  for (const { headers } of receipts) {
    const stored = history[Number(headers.offset) - 1];
    assert.deepEqual([stored?.id, stored?.term], [headers["message-id"], Number(headers.term)]);
  }
  const back = await connected(again, "killed");
  const last = history.at(-1);
  const never = { "after-offset": String((last?.offset ?? 0) + 5), "after-term": String(last?.term ?? 0) };
  await back.subscribe("general", "never", never);
  assert.equal((await back.next({ subscription: "never", event: "resumed" })).headers.recovered, "false");
  await back.subscribe("general", "known", {
    "after-offset": String(receipts[0]?.headers.offset),
    "after-term": String(receipts[0]?.headers.term),
  });
  assert.equal((await back.next({ subscription: "known", event: "resumed" })).headers.recovered, "true");
  const retry = await back.post("general", "k 0", { "client-message-id": "k0" });
  assert.equal(retry.headers["message-id"], receipts[0]?.headers["message-id"]);
  const next = await back.post("general", "after the kill");
  assert.equal(Number(next.headers.offset), history.length + 1);
  assert.ok(Number(next.headers.term) > (last?.term ?? 0));
  for (const subscription of ["known", "never"]) {
    const heard = await back.next({ subscription, body: "after the kill" });
    assert.equal(heard.headers.offset, next.headers.offset);
  }
  await back.cut();
});

/** A small file system of its own in memory; undefined, with the reason told, where it cannot be made. */
async function smallDisk(t: TestContext): Promise<{ folder: string; remove: () => Promise<void> } | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "confab-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=128m", "tmpfs", folder], { stdio: "pipe" });
  } catch (error) {
    await rm(folder, { recursive: true });
    t.skip(`a small disk cannot be mounted here: ${(error as Error).message.trim()}`);
    return undefined;
  }
  const remove = async (): Promise<void> => {
    execFileSync("umount", [folder]);
    await rm(folder, { recursive: true });
  };
  return { folder, remove };
}

/** Takes all the space that is left. */
async function fill(path: string): Promise<void> {
  for (const size of [1_048_576, 4_096]) {
    for (;;) {
      const full = await writeFile(path, Buffer.alloc(size), { flag: "a" }).then(
        () => false,
        () => true,
      );
      if (full) break;
    }
  }
}

/** Sends 20 KB under a receipt of its own, and answers what comes of it; undefined when nothing does for a while. */
async function sendLarge(client: StompClient, at: number): Promise<StompFrame | undefined> {
  const receipt = `d${at}`;
  const headers = { destination: "/topic/room.general", "client-message-id": receipt, receipt };
  client.send("SEND", headers, `${at} ${"x".repeat(20_000)}`);
  return client.next({ "receipt-id": receipt }, 2_000).catch(() => undefined);
}

test("On a full disk SENDs are refused by a code, readiness says so, receipted ones stay, and space heals it.", async (t) => {
  const disk = await smallDisk(t);
  if (disk === undefined) return;
  const server = await spawnServer({ dataDir: join(disk.folder, "data") });
  t.after(async () => {
    await server.remove();
    await disk.remove();
  });
  await server.ready();
  const client = await connected(server, "filler");
  await client.must("SUBSCRIBE", { id: "errors", destination: "/user/queue/errors" });
  const receipts: StompFrame[] = [];
  for (let at = 0; at < 10; at++) receipts.push((await sendLarge(client, at)) as StompFrame);
  assert.ok(receipts.every(({ command }) => command === "RECEIPT"));
  await fill(join(disk.folder, "filler"));
  // Pages that the store already has may take a few more. One that has its place in the order, and was
  // perhaps seen, cannot be refused any more: it is answered when it is stored. The next ones are refused.
  let pending = 0;
  let refusal: StompFrame | undefined;
  for (let at = 10; at < 400 && !refusal; at++) {
    const answer = await sendLarge(client, at);
    if (answer?.command === "RECEIPT") receipts.push(answer);
    else if (answer) refusal = answer;
    else pending++;
  }
  assert.equal(refusal?.headers.code, "store-unavailable");
  assert.equal(refusal?.command, "MESSAGE");
  const readiness = (status: number) => async () =>
    (await call(server, "GET /health/ready")).status === status ? true : undefined;
  await eventually(readiness(503), 10_000, "A readiness that says the disk is full");
  assert.equal((await call(server, "GET /health/live")).status, 200);
  const missing = (items: readonly { id: string }[]) =>
    receipts.filter(({ headers }) => !items.some(({ id }) => id === headers["message-id"]));
  assert.deepEqual(missing(await wholeHistory(server, tokenFor("filler"), "general")), []);
  await rm(join(disk.folder, "filler"));
  for (; pending > 0; pending--) receipts.push(await client.next({ command: "RECEIPT" }, 20_000));
  await eventually(readiness(200), 10_000, "Readiness after space came back");
  const healed = await client.post("general", "space at last");
  receipts.push(healed);
  await server.kill();
  const again = await server.restart().ready();
  const history = await wholeHistory(again, tokenFor("filler"), "general");
  assert.deepEqual(missing(history), []);
  assert.deepEqual(
    history.map(({ offset }) => offset),
    history.map((_, at) => at + 1),
  );
  assert.equal(history.at(-1)?.id, healed.headers["message-id"]);
});

test("On every interface, IPv6 ones included, administrators see an IPv4 client by its own address.", async (t) => {
  const server = await running(t, { env: { HOST: "::" } });
  const client = await connected(server, "seen");
  const token = signToken({ sub: "boss", groups: ["confab-admin"] });
  const { items } = await must<{ items: readonly { user: string; address: string }[] }>(
    server,
    "GET /api/admin/connections",
    { token },
  );
  assert.deepEqual(
    items.map(({ user, address }) => [user, address]),
    [["seen", "127.0.0.1"]],
  );
  await client.disconnect();
});

test("A client of what a restored backup has lost is told so, however far the restored log has come since.", async (t) => {
  const first = await running(t);
  const writer = await connected(first, "writer");
  await writer.post("general", "kept");
  await first.stop("SIGTERM");
  const backup = await mkdtemp(join(tmpdir(), "confab-backup-"));
  t.after(() => rm(backup, { recursive: true, force: true }));
  await cp(first.dataDir, backup, { recursive: true });
  const second = await first.restart().ready();
  const seen = await (await connected(second, "writer")).post("general", "lost");
  await second.stop("SIGTERM");
  await rm(first.dataDir, { recursive: true });
  await cp(backup, first.dataDir, { recursive: true });
  // Terms are told apart by the second of their start.
  // A term is the second of its start, and so short a life ends within it at times.
  const nextMs = Date.UTC(2026, 0, 1) + (Number(seen.headers.term) + 1) * 1_000;
  await eventually(async () => (Date.now() >= nextMs ? true : undefined), 3_000, "The next second");
  const third = await second.restart().ready();
  const again = await connected(third, "writer");
  for (const text of ["one", "two", "three"]) await again.post("general", text);
  const position = { "after-offset": String(seen.headers.offset), "after-term": String(seen.headers.term) };
  await again.subscribe("general", "s", position);
  assert.equal((await again.next({ subscription: "s", event: "resumed" })).headers.recovered, "false");
});
