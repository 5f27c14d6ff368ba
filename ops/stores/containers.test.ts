import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access } from "node:fs/promises";
import { test } from "node:test";
import { Redis } from "ioredis";
import { parse } from "yaml";
import { readText } from "../tidy.tree.ts";
import { IMAGES } from "./containers.ts";
import { ScriptedEngine } from "./engine.fixture.ts";
import { StoreMissing } from "./process.ts";
import { startRedis } from "./redis.ts";

/** Starts a store in a process with this environment; answers `up` or what it was refused with. */
async function started(how: string, env: Readonly<Record<string, string>>): Promise<string> {
  const [path, name] = how.split(" ") as [string, string];
  const script = `
    const { ${name} } = await import(${JSON.stringify(new URL(path, import.meta.url).href)});
    try {
      const server = await ${name}();
      await server.close();
      process.stdout.write("up");
    } catch (error) {
      process.stdout.write(error.name + ": " + error.message);
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  await once(child, "close");
  return text;
}

const STARTS = ["./postgres.js startPostgres", "./ferretdb.js startFerretdb", "./redis.js startRedis"] as const;

test("The images are those of docker-compose.yml.", () => {
  const { services } = parse(readText("docker-compose.yml"), { merge: true }) as {
    services: Readonly<Record<string, { readonly image: string }>>;
  };
  for (const [name, image] of Object.entries(IMAGES)) assert.equal(image, services[name]?.image, name);
});

test("With STORES=containers every store comes from its image, or is missing for want of an engine or an image.", async () => {
  const answers = await Promise.all(STARTS.map((how) => started(how, { STORES: "containers" })));
  for (const answer of answers)
    assert.match(
      answer,
      /^(up|StoreMissing: (STORES=containers asks for a container engine, and none|The image \S+) .+)$/,
    );
});

test("A word that STORES does not have is refused with those that it has.", async () => {
  for (const how of STARTS)
    assert.equal(
      await started(how, { STORES: "docker" }),
      'Error: STORES must be processes or containers, not "docker".',
    );
});

/** Asks a Redis once; answers what it said or why it did not. */
async function asked(url: string, work: (client: Redis) => Promise<unknown>): Promise<unknown> {
  const client = new Redis(url, { commandTimeout: 500, maxRetriesPerRequest: 0, retryStrategy: () => null });
  client.on("error", () => undefined);
  try {
    return await work(client);
  } catch (error) {
    return error;
  } finally {
    client.disconnect();
  }
}

test("A container is published on 127.0.0.1 alone, killed, started, paused and removed as a process is.", {
  timeout: 60_000,
}, async (t) => {
  try {
    await (await startRedis()).close();
  } catch (error) {
    if (!(error instanceof StoreMissing)) throw error;
    return t.skip(error.message);
  }
  const engine = await ScriptedEngine.open();
  t.after(() => engine.close());
  Object.assign(process.env, {
    ...{ STORES: "containers", DOCKER_HOST: engine.url, TESTCONTAINERS_RYUK_DISABLED: "true" },
  });
  const redis = await startRedis({ appendonly: true });
  t.after(() => redis.close());
  const { port, folder } = redis.place;
  const [made] = engine.containers.values();
  assert.equal(made?.Image, "redis:8");
  assert.deepEqual(made?.HostConfig.PortBindings, {
    [`${port}/tcp`]: [{ HostIp: "127.0.0.1", HostPort: String(port) }],
  });
  assert.deepEqual(made?.HostConfig.Binds, [`${folder}:/data:rw`]);
  const get = (): Promise<unknown> => asked(redis.url, (client) => client.get("a"));
  assert.equal(await asked(redis.url, (client) => client.set("a", "kept")), "OK");
  assert.ok(redis.running && process.kill(redis.pid ?? 0, 0));
  await redis.kill();
  assert.equal(redis.running, false);
  assert.ok((await get()) instanceof Error);
  await redis.start();
  assert.equal(await get(), "kept");
  redis.pause();
  while (!engine.asked.includes("POST pause")) await new Promise((resolve) => setImmediate(resolve));
  assert.ok((await get()) instanceof Error);
  redis.resume();
  await redis.stop();
  await redis.start();
  assert.equal(await get(), "kept");
  await redis.close();
  assert.equal(engine.containers.size, 0);
  await assert.rejects(access(folder));
  const acts = ["start", "kill", "start", "pause", "unpause", "stop", "start"].map((verb) => `POST ${verb}`);
  assert.deepEqual(engine.asked, [...acts, "DELETE"]);
});
