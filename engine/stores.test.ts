/** The server on PostgreSQL, MongoDB's wire protocol and Redis: the same as on the data folder. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  call,
  eventually,
  must,
  type Server,
  signUp,
  spawnServer,
  startServer,
  within,
} from "../ops/drills/harness.ts";
import { StompClient } from "../ops/drills/stomp.ts";
import { startFerretdb } from "../ops/stores/ferretdb.ts";
import { startPostgres } from "../ops/stores/postgres.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { startRedis } from "../ops/stores/redis.ts";

interface Kit {
  readonly postgres: StoreServer;
  readonly mongo: StoreServer;
  readonly redis: StoreServer;
  readonly env: Readonly<Record<string, string>>;
}

/** The three stores, ended after the test; undefined, and the test skipped, where one cannot be had. */
async function kit(t: TestContext): Promise<Kit | undefined> {
  const open: StoreServer[] = [];
  t.after(() => Promise.all(open.map((server) => server.close())));
  const started = async (starting: Promise<StoreServer>): Promise<StoreServer> => {
    const server = await starting;
    open.push(server);
    return server;
  };
  try {
    const postgres = await started(startPostgres());
    const mongo = await started(startFerretdb());
    const redis = await started(startRedis());
    const env = { DATABASE_URL: postgres.url, MONGODB_URL: mongo.url, REDIS_URL: redis.url };
    return { postgres, mongo, redis, env };
  } catch (error) {
    if (!(error instanceof StoreMissing)) throw error;
    t.skip(error.message);
    return undefined;
  }
}

async function running(t: TestContext, env: Kit["env"]): Promise<Server> {
  const server = await startServer({ env });
  t.after(() => server.remove());
  return server;
}

test("On the three stores people sign up, talk, resume and read the history, also after a restart.", async (t) => {
  const stores = await kit(t);
  if (!stores) return;
  const server = await running(t, stores.env);
  const ann = await signUp(server, "Ann");
  const bob = await signUp(server, "Bob");
  const [from, to] = await Promise.all(
    [ann, bob].map(({ accessToken }) => StompClient.connected(server.wsUrl, accessToken)),
  );
  assert.ok(from && to);
  await to.subscribe("general", "s");
  const receipt = await from.post("general", "hello");
  assert.equal(receipt.headers["offset"], "2", "the member entry is the first");
  const heard = await to.next({ event: "message" });
  assert.equal(heard.body.toString(), "hello");
  await to.disconnect();
  await from.post("general", "while away");
  assert.deepEqual(await server.stop(), { code: 0, signal: null });

  const second = await server.restart().ready();
  const back = await StompClient.connected(second.wsUrl, bob.accessToken);
  const at = heard.headers;
  await back.subscribe("general", "s", {
    "after-offset": String(at["offset"]),
    "after-term": String(at["term"]),
  });
  const resumed = await back.next({ event: "resumed" });
  assert.equal(resumed.headers["recovered"], "true");
  assert.equal((await back.next({ event: "message" })).body.toString(), "while away");
  const history = await must<{ items: { body?: string }[]; storedOffset: number }>(
    second,
    "GET /api/rooms/general/messages",
    { token: ann.accessToken },
  );
  assert.equal(history.storedOffset, 3);
  assert.deepEqual(
    history.items.slice(1).map(({ body }) => body),
    ["hello", "while away"],
  );
});

test("While PostgreSQL is away nobody logs in and chat goes on, and readiness says so.", async (t) => {
  const stores = await kit(t);
  if (!stores) return;
  const server = await running(t, stores.env);
  const ann = await signUp(server, "Ann");
  const client = await StompClient.connected(server.wsUrl, ann.accessToken);
  await client.post("general", "before");
  await stores.postgres.kill();
  const body = { email: "ann@example.org", password: "a long password of Ann" };
  const login = await call(server, "POST /api/auth/login", { body });
  assert.equal(login.status, 503);
  await client.post("general", "meanwhile");
  await eventually(
    async () => {
      const { status, body: said } = await call<{ status: string }>(server, "GET /health/ready");
      assert.equal(status, 200);
      return said.status === "degraded" ? said : undefined;
    },
    15_000,
    "A degraded readiness",
  );
  await stores.postgres.start();
  await eventually(
    async () => ((await call(server, "POST /api/auth/login", { body })).status === 200 ? true : undefined),
    15_000,
    "A login after PostgreSQL came back",
  );
});

test("A start while PostgreSQL is away lets nobody in until the revoked tokens were read, and then serves.", async (t) => {
  const postgres = await startPostgres().catch((error: unknown) => {
    if (!(error instanceof StoreMissing)) throw error;
    t.skip(error.message);
  });
  if (!postgres) return;
  t.after(() => postgres.close());
  const env = { DATABASE_URL: postgres.url };
  const before = await running(t, env);
  const [ann, bob] = [await signUp(before, "Ann"), await signUp(before, "Bob")];
  await must(before, "POST /api/auth/logout-all", { token: bob.accessToken });
  await before.stop();
  await postgres.kill();

  const server = await before.restart().ready();
  const readiness = () => call<{ status: string; parts?: { directory?: string } }>(server, "GET /health/ready");
  const refusedBy = (token: string, code: string) =>
    assert.rejects(StompClient.connected(server.wsUrl, token), new RegExp(`CONNECT was refused: ${code}$`));
  const waiting = await readiness();
  assert.equal(waiting.status, 503);
  assert.equal(waiting.body.status, "starting");
  assert.match(waiting.body.parts?.directory ?? "", /^No SEND is taken\. Nobody may connect until the revoked tokens/);
  await refusedBy(ann.accessToken, "store-unavailable");
  assert.equal((await call(server, "GET /api/rooms", { token: ann.accessToken })).status, 503);

  await postgres.start();
  await eventually(async () => ((await readiness()).status === 200 ? true : undefined), 20_000, "Readiness");
  const client = await StompClient.connected(server.wsUrl, ann.accessToken);
  await client.post("general", "in at last");
  await refusedBy(bob.accessToken, "token-revoked");
  assert.deepEqual(await server.stop(), { code: 0, signal: null });

  await postgres.kill();
  const last = await server.restart().ready();
  assert.equal((await call(last, "GET /health/live")).status, 200);
  assert.deepEqual(await last.stop(), { code: 0, signal: null }, "it also ends before it was ready");
});

test("A second process on the same MongoDB and Redis with accounts of its own is refused, and the first goes on.", async (t) => {
  const stores = await kit(t);
  if (!stores) return;
  const { DATABASE_URL: _, ...env } = stores.env;
  const server = await running(t, env);
  const rival = await spawnServer({ env });
  t.after(() => rival.remove());
  assert.deepEqual(await within(rival.exited, 20_000, "The end of the rival"), { code: 1, signal: null });
  assert.match(rival.lines.join("\n"), /Another Confab process uses the stores of REDIS_URL/);
  const ann = await signUp(server, "Ann");
  const client = await StompClient.connected(server.wsUrl, ann.accessToken);
  await client.post("general", "still here");
});
