/**
 * Drills of Redis: killed and back with its data, without it, with its last second lost; and a Redis that
 * takes an append and loses the answer.
 */
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { pause } from "./crash.ts";
import { within } from "./harness.ts";
import type { Pace } from "./participant.ts";
import type { StoresWorld } from "./stores.world.ts";

/** Where Redis keeps its data in its folder. */
const KEPT = ["appendonlydir", "dump.rdb"] as const;
/** Shorter and longer than a lease, which is 3 s (design 6). */
const SHORT: Pace = { lowMs: 100, highMs: 1_500 };
const LONG: Pace = { lowMs: 3_500, highMs: 5_000 };
/** Lost answers in one drill. */
const ANSWERS_LOST = 16;
/** How long an append may take to come by, ms. */
const APPEND_MS = 15_000;

/** An append carries the message ids of the people; nothing else that goes to Redis does. */
const isAppend = (bytes: Buffer): boolean => /person-\d+-\d+/.test(bytes.toString("latin1"));

const spell = (world: StoresWorld, range: Pace): Promise<void> => pause(world.random.whole(range.lowMs, range.highMs));

/** Puts the kept files of one folder in place of those of another; none when there is no folder to copy. */
export async function replaceData(from: string | undefined, to: string): Promise<void> {
  for (const name of KEPT) {
    await rm(join(to, name), { recursive: true, force: true });
    // A server that never saved has no dump.
    if (from)
      await cp(join(from, name), join(to, name), { recursive: true, preserveTimestamps: true }).catch(unlessAbsent);
  }
}

function unlessAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

async function withData(world: StoresWorld): Promise<void> {
  for (const range of [SHORT, LONG, SHORT]) {
    await world.stores.redis.kill();
    await spell(world, range);
    await world.stores.redis.start();
    await world.goesOn("Redis was away and kept its data");
  }
}

/** Redis is killed with or without the node, and comes back with what `restore` leaves it. */
async function loss(world: StoresWorld, prepare: () => Promise<void>, restore: () => Promise<void>): Promise<void> {
  world.redisLost = true;
  for (const [range, nodeToo] of [
    [SHORT, false],
    [LONG, false],
    [SHORT, true],
  ] as const) {
    await prepare();
    await world.stores.redis.kill();
    if (nodeToo) await world.node.kill();
    await spell(world, range);
    await restore();
    await world.stores.redis.start();
    if (nodeToo) world.node = await world.node.restart().ready();
    await world.goesOn(`Redis came back with less${nodeToo ? ", to a new node" : ""}`);
  }
}

function withoutData(world: StoresWorld): Promise<void> {
  const wipe = (): Promise<void> => replaceData(undefined, world.stores.redis.place.folder);
  return loss(world, async () => undefined, wipe);
}

function withoutLastSecond(world: StoresWorld): Promise<void> {
  const { folder } = world.stores.redis.place;
  const copy = join(folder, "copy");
  const save = async (): Promise<void> => {
    await replaceData(folder, copy);
    await pause(1_000);
  };
  return loss(world, save, () => replaceData(copy, folder));
}

/** Appends that are taken and whose answer never comes; all connections cut; all bytes held for a while. */
async function lostAnswers(world: StoresWorld): Promise<void> {
  const { redisProxy } = world;
  for (let lost = 1; lost <= ANSWERS_LOST; lost++) {
    await spell(world, SHORT);
    const after = world.random.chance(0.7) ? "cut" : "silent";
    await within(redisProxy.loseAnswer(isAppend, after), APPEND_MS, "An append").catch((error: Error) =>
      world.break("stalled", error.message),
    );
    if (lost % 4 === 0) await world.goesOn(`${lost} lost answers, the last connection ${after}`);
  }
  redisProxy.cut();
  await world.goesOn("a cut of all connections to Redis");
  for (const heldMs of [1_000, 4_000]) {
    redisProxy.hold();
    await pause(heldMs);
    redisProxy.release();
    await world.goesOn(`Redis answered nothing for ${heldMs} ms`);
  }
}

/** The faults of Redis by name. */
export const REDIS_FAULTS: Readonly<Record<string, (world: StoresWorld) => Promise<void>>> = {
  kept: withData,
  empty: withoutData,
  older: withoutLastSecond,
  answers: lostAnswers,
};
