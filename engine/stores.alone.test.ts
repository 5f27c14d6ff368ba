/** One of the two shared stores without the other: one process at a time, which loses nothing (design 5). */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { call, must, type Server, spawnServer, startServer, tokenFor, within } from "../ops/drills/harness.ts";
import { StompClient } from "../ops/drills/stomp.ts";
import { startFerretdb } from "../ops/stores/ferretdb.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { startRedis } from "../ops/stores/redis.ts";

type Settings = Readonly<Record<string, string>>;

/** The settings of a process on one store, ended after the test; undefined, and the test skipped, without it. */
async function settings(t: TestContext, name: string, starting: Promise<StoreServer>): Promise<Settings | undefined> {
  try {
    const store = await starting;
    t.after(() => store.close());
    // FerretDB scans for each claim of a shard.
    return { [name]: store.url, SHARDS: "4" };
  } catch (error) {
    if (!(error instanceof StoreMissing)) throw error;
    t.skip(error.message);
    return undefined;
  }
}

async function running(t: TestContext, env: Settings): Promise<Server> {
  const server = await startServer({ env });
  t.after(() => server.remove());
  return server;
}

const bodies = async (server: Server): Promise<readonly string[]> => {
  const request = "GET /api/rooms/general/messages?limit=200";
  const { items } = await must<{ items: { event: string; body?: string }[] }>(server, request, {
    token: tokenFor("ann"),
  });
  return items.filter(({ event }) => event === "message").map(({ body }) => body ?? "");
};

/** A process of its own data folder on the same store ends with a sentence. */
async function refused(t: TestContext, env: Settings, sentence: RegExp): Promise<void> {
  const rival = await spawnServer({ env });
  t.after(() => rival.remove());
  assert.deepEqual(await within(rival.exited, 20_000, "The end of the rival"), { code: 1, signal: null });
  assert.match(rival.lines.join("\n"), sentence);
}

for (const [name, start, after] of [
  ["MONGODB_URL", startFerretdb, "a new data folder"],
  ["REDIS_URL", startRedis, "the same data folder"],
] as const) {
  test(`With ${name} alone one process serves, a second is refused, and a restart on ${after} knows all.`, async (t) => {
    const env = await settings(t, name, start());
    if (!env) return;
    const first = await running(t, env);
    const client = await StompClient.connected(first.wsUrl, tokenFor("ann"));
    await client.post("general", "hello");
    await refused(t, env, new RegExp(`^Another Confab process uses the store of ${name}; one process at a time`, "m"));
    await client.post("general", "still here");
    assert.deepEqual(await first.stop(), { code: 0, signal: null });

    // The archive goes with the rooms: what is in the folder is needed where it holds them.
    const second = name === "MONGODB_URL" ? await running(t, env) : await first.restart().ready();
    assert.deepEqual(await bodies(second), ["hello", "still here"]);
    await (await StompClient.connected(second.wsUrl, tokenFor("ann"))).post("general", "once more");
    await second.kill();
    const third = await second.restart().ready();
    await (await StompClient.connected(third.wsUrl, tokenFor("ann"))).post("general", "after a kill");
    assert.deepEqual(await bodies(third), ["hello", "still here", "once more", "after a kill"]);
  });
}

test("A process that stands still for longer than its lock loses MongoDB to another, and ends when it goes on.", async (t) => {
  const env = await settings(t, "MONGODB_URL", startFerretdb());
  if (!env) return;
  const first = await running(t, env);
  const client = await StompClient.connected(first.wsUrl, tokenFor("ann"));
  await client.post("general", "before");
  first.pause();
  const second = await running(t, env);
  const other = await StompClient.connected(second.wsUrl, tokenFor("ann"));
  await other.post("general", "meanwhile");
  first.resume();
  assert.deepEqual(await within(first.exited, 10_000, "The end of the first"), { code: 1, signal: null });
  assert.match(first.lines.join("\n"), /another process has taken the stores; ending at once/);
  await other.post("general", "afterwards");
  assert.deepEqual(await bodies(second), ["before", "meanwhile", "afterwards"]);
  assert.equal((await call(second, "GET /health/ready")).status, 200);
});

test("An entry that the stopped process had under way is either part of the log or not, and nothing is shown twice.", async (t) => {
  const env = await settings(t, "MONGODB_URL", startFerretdb());
  if (!env) return;
  const first = await running(t, env);
  const client = await StompClient.connected(first.wsUrl, tokenFor("ann"));
  await client.post("general", "before");
  const receipted: string[] = [];
  const tenth = new Promise<void>((resolve) => {
    client.onFrame = (frame) => {
      if (frame.command !== "RECEIPT") return false;
      if (receipted.push(frame.headers["receipt-id"] ?? "") === 10) {
        first.pause();
        resolve();
      }
      return true;
    };
  });
  // Sent in turns of their own: the process stops with some of them stored, some decided, some neither.
  const sent = Array.from({ length: 150 }, (_, i) => `under way ${i}`);
  for (const [i, body] of sent.entries()) {
    client.send("SEND", { destination: "/topic/room.general", "client-message-id": `m${i}`, receipt: `r${i}` }, body);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await within(tenth, 10_000, "The tenth receipt");
  const second = await running(t, env);
  const other = await StompClient.connected(second.wsUrl, tokenFor("bob"));
  await other.subscribe("general", "s");
  for (let i = 0; i < 5; i++) await other.post("general", `meanwhile ${i}`);
  first.resume();
  await within(first.exited, 10_000, "The end of the first");
  for (let i = 5; i < 10; i++) await other.post("general", `meanwhile ${i}`);
  const log = await bodies(second);
  assert.equal(new Set(log).size, log.length, "nothing is there twice");
  assert.deepEqual(
    log.filter((body) => body.startsWith("meanwhile")),
    Array.from({ length: 10 }, (_, i) => `meanwhile ${i}`),
  );
  const kept = log.filter((body) => body.startsWith("under way"));
  assert.ok(receipted.length >= 10);
  for (const id of receipted) assert.ok(kept.includes(`under way ${id.slice(1)}`), `${id} was receipted as stored`);
  assert.deepEqual(kept, sent.slice(0, kept.length), "in the order in which it was sent, without a gap");
});
