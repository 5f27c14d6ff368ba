/**
 * Drills of the real stores: each fault that issue 4 names, on real processes and under steady load. Every
 * promise is judged at the end, and after each fault the load must go on by itself.
 */
import type { Violation } from "./checker.ts";
import { killAtStart, pause } from "./crash.ts";
import { call, eventually, must, tokenFor } from "./harness.ts";
import { StompClient } from "./stomp.ts";
import { mongoDrill } from "./stores.mongo.ts";
import { REDIS_FAULTS } from "./stores.redis.ts";
import { type StoresOptions, StoresWorld } from "./stores.world.ts";

/** Longer than a lease, which is 3 s (design 6). */
const PAUSE_MS = 4_000;
/** Chat that does not wait for PostgreSQL has no silence longer than this, ms: people say 12 things a second. */
const SILENCE_MS = 2_000;
/** How long a login may take to be refused, ms. */
const LOGIN_REFUSED_MS = 10_000;
/** How long logins may take to come back after their store did, ms. */
const LOGIN_BACK_MS = 15_000;
/** A writer's bound that an outage of seconds fills. */
const SMALL_BOUND = { LIMIT_PENDING_ENTRIES: "60", LIMIT_BATCH_ENTRIES: "30" } as const;
/** How long that may take, and for how long nobody is refused once all is well, ms. */
const FILLED_MS = 30_000;
const CALM_MS = 2_000;

/** SIGKILL of the node, again and again, at random moments and during its start too. */
async function nodeKills(world: StoresWorld, kills: number): Promise<void> {
  for (let kill = 1; kill <= kills; kill++) {
    // Most lives are long enough for rooms to open and to be in full flow; some end before that.
    if (world.random.chance(0.6)) await world.goesOn(`kill ${kill - 1}`);
    const lifeMs = world.random.whole(0, 1_500);
    await Promise.race([pause(lifeMs), world.node.exited]);
    const exit = await world.node.kill();
    if (exit.signal !== "SIGKILL") world.break("ended", `The node ended by itself: ${exit.code ?? exit.signal}.`);
    world.node = world.node.restart();
    if (world.random.chance(0.25)) {
      world.node = await killAtStart(world.node, world.random, (line) => world.say(line.trim()));
    }
    await world.node.ready();
    world.say(`kill ${kill} after ${lifeMs} ms; listens again after ${Math.round(world.node.startMs)} ms`);
  }
  await world.goesOn("the last kill");
}

/** SIGKILL of FerretDB for 1 s, for 10 s, and for longer than the writer's bound can hold. */
async function ferretdbFaults(world: StoresWorld): Promise<void> {
  const { ferretdb } = world.stores;
  await ferretdb.kill();
  await pause(1_000);
  await ferretdb.start();
  await world.goesOn("FerretDB was away for 1 s");
  await ferretdb.kill();
  const heard = world.heard;
  await pause(10_000);
  if (world.heard === heard) world.break("not-shown", "Nothing was shown in 10 s without FerretDB.");
  else world.say(`${world.heard - heard} entries shown in 10 s without FerretDB`);
  if (world.refused > 0) world.break("refused", `${world.refused} SENDs were refused although the bound was far.`);
  await world.expectDegraded("without FerretDB");
  await ferretdb.start();
  await world.goesOn("FerretDB was away for 10 s");
  await world.restartNode("SIGTERM", SMALL_BOUND);
  await world.goesOn("a restart with a small bound");
  await overTheBound(world);
}

async function overTheBound(world: StoresWorld): Promise<void> {
  const { ferretdb } = world.stores;
  const refused = world.refused;
  await ferretdb.kill();
  const full = async () => world.refused > refused || undefined;
  await eventually(full, FILLED_MS, "A refused SEND").catch((error: Error) => world.break("not-full", error.message));
  await pause(5_000);
  world.say(`${world.refused - refused} SENDs refused with the bound full`);
  await ferretdb.start();
  await world.goesOn("FerretDB was away for longer than the bound holds");
  const calm = async (): Promise<true | undefined> => {
    const before = world.refused;
    await pause(CALM_MS);
    return world.refused === before || undefined;
  };
  await eventually(calm, FILLED_MS, "The end of refusals").catch((error: Error) =>
    world.break("refused", error.message),
  );
}

/** SIGKILL of PostgreSQL: no login, and chat goes on without a pause, for newcomers too. */
async function postgresFaults(world: StoresWorld): Promise<void> {
  const { postgres } = world.stores;
  const credentials = { email: "drill@example.org", password: "a long password of a drill" };
  await must(world.node, "POST /api/auth/signup", { body: { ...credentials, name: "Drill" } });
  const login = async () => (await call(world.node, "POST /api/auth/login", { body: credentials })).status;
  for (const awayMs of [1_000, 8_000]) {
    const since = performance.now();
    await postgres.kill();
    const status = await login();
    const tookMs = Math.round(performance.now() - since);
    world.say(`login without PostgreSQL: ${status} after ${tookMs} ms`);
    if (status !== 503 || tookMs > LOGIN_REFUSED_MS)
      world.break("login", `Without PostgreSQL a login was answered ${status} after ${tookMs} ms.`);
    await stranger(world);
    await pause(Math.max(0, since + awayMs - performance.now()));
    if (awayMs > 1_000) await world.expectDegraded("without PostgreSQL");
    const silenceMs = world.silenceMs(since);
    world.say(`the longest silence in ${Math.round(performance.now() - since)} ms without PostgreSQL: ${silenceMs} ms`);
    if (silenceMs > SILENCE_MS) world.break("silence", `Chat paused for ${silenceMs} ms without PostgreSQL.`);
    await postgres.start();
    const back = async () => (await login()) === 200 || undefined;
    await eventually(back, LOGIN_BACK_MS, "A login").catch((error: Error) => world.break("login", error.message));
    await world.goesOn(`PostgreSQL was away for ${awayMs} ms`);
  }
}

/** Somebody who is not there yet connects with a token that was made before, and reads. */
async function stranger(world: StoresWorld): Promise<void> {
  try {
    const client = await StompClient.connected(world.node.wsUrl, tokenFor("stranger"));
    await client.subscribe("general", "sub-0");
    await client.cut();
  } catch (error) {
    world.break("newcomer", `Nobody can join without PostgreSQL: ${(error as Error).message}`);
  }
}

/** SIGSTOP of the node for longer than its lease, then SIGCONT; once for less. */
async function pauses(world: StoresWorld): Promise<void> {
  for (const pausedMs of [PAUSE_MS, 1_500, PAUSE_MS, PAUSE_MS]) {
    await pause(world.random.whole(0, 1_000));
    world.node.pause();
    await pause(pausedMs);
    world.node.resume();
    await world.goesOn(`SIGSTOP for ${pausedMs} ms`);
  }
}

/** The drills by name; each answers the broken promises, or rejects with `StoreMissing`. */
export const STORES_DRILLS: Readonly<
  Record<string, (options: StoresOptions & { readonly kills: number }) => Promise<Violation[]>>
> = {
  "stores-node": (options) => StoresWorld.run(options, (world) => nodeKills(world, options.kills)),
  "stores-ferretdb": (options) => StoresWorld.run(options, ferretdbFaults),
  "stores-mongo": mongoDrill,
  "stores-postgres": (options) => StoresWorld.run(options, postgresFaults),
  ...Object.fromEntries(
    Object.entries(REDIS_FAULTS).map(([name, faults]) => [
      `stores-redis-${name}`,
      (options: StoresOptions) => StoresWorld.run(options, faults),
    ]),
  ),
  "stores-pause": (options) => StoresWorld.run(options, pauses),
};
