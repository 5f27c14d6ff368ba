/**
 * Two real servers on one Redis into which somebody writes who only knows where it is: random bytes, and messages of
 * the servers themselves that were damaged, on every kind of channel. Nothing of it may end a process, reach anybody
 * over REST as a fault of ours, or fill the log.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import { Packr } from "msgpackr";
import { seeded } from "../actors/node.fixture.faults.ts";
import { call, eventually, makeRoom, must, type Server, startServer, tokenFor } from "../ops/drills/harness.ts";
import { StompClient } from "../ops/drills/stomp.ts";
import { startFerretdb } from "../ops/stores/ferretdb.ts";
import { startPostgres } from "../ops/stores/postgres.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { startRedis } from "../ops/stores/redis.ts";
import { readMessage } from "./bus.redis.codec.ts";

const ROOMS = 4;
/** Damaged messages of each round, rounds, and random ones on each channel. */
const DAMAGED = 400;
const ROUNDS = 5;
/** Lines that two processes may write about it: one at once and one each ten seconds, of each kind. */
const LINES_MOST = 24;

interface Scene {
  readonly redis: Redis;
  readonly servers: readonly [Server, Server];
}

async function scene(t: TestContext): Promise<Scene | undefined> {
  const opened: StoreServer[] = [];
  t.after(() => Promise.all(opened.map((server) => server.close())));
  try {
    for (const start of [startPostgres, startFerretdb, startRedis]) opened.push(await start());
  } catch (error) {
    if (!(error instanceof StoreMissing)) throw error;
    t.skip(error.message);
    return undefined;
  }
  const [postgres, mongo, store] = opened as [StoreServer, StoreServer, StoreServer];
  const env = { DATABASE_URL: postgres.url, MONGODB_URL: mongo.url, REDIS_URL: store.url, SHARDS: "8" };
  const first = await startServer({ env });
  t.after(() => first.remove());
  const second = await startServer({ env });
  t.after(() => second.remove());
  const redis = new Redis(store.url);
  t.after(() => redis.disconnect());
  return { redis, servers: [first, second] };
}

/** What goes over the wire, by channel. */
interface Heard {
  readonly channel: Buffer;
  readonly message: Buffer;
}

async function listen(redis: Redis, t: TestContext): Promise<Heard[]> {
  const heard: Heard[] = [];
  const ear = redis.duplicate();
  t.after(() => ear.disconnect());
  ear.on("pmessageBuffer", (_pattern: Buffer, channel: Buffer, message: Buffer) => {
    if (heard.length < 5_000) heard.push({ channel, message });
  });
  await ear.psubscribe("confab:*");
  return heard;
}

/** What a node says to itself to measure the wire; of others it is damage. */
const PING = 5;
const packr = new Packr({ useRecords: false });
const ODD: readonly unknown[] = [
  undefined,
  null,
  -1,
  1.5,
  "",
  "__proto__",
  [],
  {},
  [[1]],
  true,
  2 ** 53,
  "x".repeat(300),
];

/** The value with something odd at one of its places. */
function odd(value: unknown, random: () => number): unknown {
  const names = typeof value === "object" && value !== null && !(value instanceof Uint8Array) ? Object.keys(value) : [];
  const name = names[Math.floor(random() * (names.length + 0.5))];
  if (name === undefined) return ODD[Math.floor(random() * ODD.length)];
  const copy = Array.isArray(value) ? [...value] : { ...(value as object) };
  Reflect.set(copy, name, odd(Reflect.get(value as object, name), random));
  return copy;
}

/** The message, damaged: some bytes, its end, or one value of it; from nobody, so that its sender hears it too. */
function damaged(message: Buffer, random: () => number): Buffer {
  const bytes = Buffer.from(message);
  bytes.fill(7, 1, 9);
  const how = random();
  if (how < 0.3) {
    for (let i = 0; i < 3; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    return bytes;
  }
  if (how < 0.4 || bytes[0] === 1) return bytes.subarray(0, Math.floor(random() * bytes.length));
  if (bytes[0] === PING) return bytes;
  const parts = packr.unpackMultiple(bytes.subarray(9)) as unknown[];
  const at = Math.floor(random() * parts.length);
  parts[at] = odd(parts[at], random);
  return Buffer.concat([bytes.subarray(0, 9), ...parts.map((part) => packr.pack(part))]);
}

/** Whether it is a whole message that says what is not true of somebody's rooms: no shape can tell that. */
function isLie(bytes: Buffer): boolean {
  try {
    const message = readMessage(bytes);
    return message.kind === "pack" || message.kind === "notice";
  } catch {
    return false;
  }
}

function noise(random: () => number): Buffer {
  const bytes = Buffer.from(Array.from({ length: Math.floor(random() * 80) }, () => Math.floor(random() * 256)));
  if (bytes.length > 0) bytes[0] = Math.floor(random() * 7);
  return bytes;
}

/** One of each that REST asks of a room; answers the statuses. */
async function askAll(server: Server, room: string): Promise<readonly number[]> {
  const token = tokenFor("ann");
  const paths = [`rooms/${room}`, `rooms/${room}/presence`, `rooms/${room}/messages`, `rooms/${room}/members`, "rooms"];
  const answers = await Promise.all(paths.map((path) => call(server, `GET /api/${path}`, { token })));
  const read = await call(server, `PUT /api/rooms/${room}/read`, { token, body: { offset: 1 } });
  const counts = await call(server, "POST /api/rooms/counts", { token, body: { rooms: [room] } });
  return [...answers, read, counts].map(({ status }) => status);
}

/** People at both servers, in all rooms. */
async function people(servers: readonly Server[], rooms: readonly string[]): Promise<StompClient[]> {
  const clients: StompClient[] = [];
  for (const [at, user] of ["ann", "bob"].entries()) {
    const client = await StompClient.connected((servers[at] as Server).wsUrl, tokenFor(user));
    for (const room of rooms) {
      await client.subscribe(room, `l-${room}`);
      client.send("SUBSCRIBE", { id: `s-${room}`, destination: `/topic/room.${room}.signals` });
    }
    clients.push(client);
  }
  return clients;
}

test("Whatever is written into the bus, no server ends, answers with a fault of its own, or fills its log.", async (t) => {
  const stage = await scene(t);
  if (!stage) return;
  const { redis, servers } = stage;
  const random = seeded(4);
  const token = tokenFor("ann");
  const rooms: string[] = [];
  for (let i = 0; i < ROOMS; i++) rooms.push(await makeRoom(servers[0], token, { name: `r${i}`, type: "public" }));
  const ear = await listen(redis, t);
  const clients = await people(servers, rooms);
  for (const room of rooms) {
    for (const client of clients) {
      await client.post(room, "hello");
      client.send("SEND", { destination: `/app/room.${room}.typing` }, JSON.stringify({ state: "start" }));
    }
    for (const server of servers) await askAll(server, room);
  }
  // Not what is written below.
  const heard = [...ear];
  const kinds = new Set(heard.map(({ message }) => message[0]));
  for (const kind of [1, 2, 3, 4]) assert.ok(kinds.has(kind), `messages of kind ${kind} were heard`);
  const channels = [...new Map(heard.map(({ channel }) => [channel.toString(), channel])).values()];
  await redis.hset("confab:nodes", "evil", "no beat", "worse", "99999999999999 {", "worst", "99999999999999 null");

  for (let round = 0; round < ROUNDS; round++) {
    const pipeline = redis.pipeline();
    for (let i = 0; i < DAMAGED; i++) {
      const { channel, message } = heard[Math.floor(random() * heard.length)] as Heard;
      const bytes = damaged(message, random);
      if (!isLie(bytes)) pipeline.publish(channel, bytes);
    }
    for (const channel of channels) pipeline.publish(channel, noise(random));
    await pipeline.exec();
    for (const server of servers) {
      for (const room of rooms) for (const status of await askAll(server, room)) assert.notEqual(status, 500);
    }
  }

  const fresh = await makeRoom(servers[1], token, { name: "fresh", type: "public" });
  const after = await people(servers, [fresh]);
  for (const [at, client] of after.entries()) {
    await client.post(fresh, `after ${at}`);
    for (const other of after) await other.next({ event: "message", body: `after ${at}` });
    for (const room of rooms) await client.post(room, "still");
  }
  for (const [at, server] of servers.entries()) {
    for (const room of [...rooms, fresh]) {
      await eventually(
        async () => ((await askAll(server, room)).every((status) => status === 200) ? true : undefined),
        15_000,
        `All of ${room} at server ${at}`,
      );
    }
    const { users } = await must<{ users: { id: string }[] }>(server, `GET /api/rooms/${fresh}/presence`, { token });
    assert.deepEqual(users.map(({ id }) => id).sort(), ["ann", "bob"]);
    const metrics = String((await call(server, "GET /metrics")).body);
    const count = Number(/^confab_bus_damaged_total (\d+)$/m.exec(metrics)?.[1]);
    assert.ok(count > 100, `${count} damaged messages were counted`);
    const lines = server.lines.filter((line) => /"level":"(warn|error)"/.test(line));
    assert.ok(lines.length <= LINES_MOST, `${lines.length} lines:\n${lines.slice(0, 40).join("\n")}`);
    assert.deepEqual(
      lines.filter((line) => line.includes("fault of ours")),
      [],
    );
  }
  for (const client of [...clients, ...after]) client.socket.terminate();
  await redis.hdel("confab:nodes", "evil", "worse", "worst");
  for (const server of [servers[1], servers[0]]) assert.deepEqual(await server.stop(), { code: 0, signal: null });
});
