/** What the tests of the bus and the leases on Redis share: one server a file, one prefix a test. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { Redis } from "ioredis";
import { ROOM } from "../actors/bus.conformance.wire.ts";
import type { AppendAnswer, Bus, Pack } from "../actors/bus.ts";
import { StoreFailure } from "../actors/codes.ts";
import { shardOf } from "../actors/entry.ts";
import { LIMITS, type Limits } from "../actors/limits.ts";
import { SILENT } from "../actors/log.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { type RedisServerOptions, startRedis } from "../ops/stores/redis.ts";
import { openRedis, type RedisHandles } from "./bus.redis.ts";
import { systemClock } from "./clock.ts";

/** Few, so that rooms meet in one. */
export const SHARDS = 8;
export const SHARD = shardOf(ROOM, SHARDS);

let prefixes = 0;

/** What a failed test has left open would keep the process alive. */
const opened: (() => Promise<void> | void)[] = [];
after(async () => {
  for (const close of opened) await close();
});

/** A prefix of its own for one test. */
export function nextPrefix(): string {
  return `t${prefixes++}:`;
}

/** Starts a server that ends with the file's tests at the latest; a text when there can be none, for `skip`. */
export async function serverOrReason(options?: RedisServerOptions): Promise<StoreServer | string> {
  try {
    const server = await startRedis(options);
    opened.push(() => server.close());
    return server;
  } catch (error) {
    if (error instanceof StoreMissing) return error.message;
    throw error;
  }
}

/** Connects a node. */
export async function openNode(url: string, prefix: string, limits: Limits = LIMITS): Promise<RedisHandles> {
  const node = await openRedis({ url, node: "n1", log: SILENT, shards: SHARDS, limits, clock: systemClock, prefix });
  opened.push(node.close);
  return node;
}

/** A client that looks at the keys. */
export function openRaw(url: string): Redis {
  const raw = new Redis(url);
  opened.push(() => raw.disconnect());
  return raw;
}

/** Waits by the server's own clock, which no test can drive. */
export async function elapse(raw: Redis, ms: number): Promise<void> {
  const now = async (): Promise<number> => {
    const [seconds, micros] = await raw.time();
    return Number(seconds) * 1_000 + Number(micros) / 1_000;
  };
  const until = (await now()) + ms;
  while ((await now()) < until) await raw.ping();
}

/** One node that holds and has taken the shard of `ROOM` under term 1. */
export async function owner(
  url: string,
  prefix = nextPrefix(),
): Promise<RedisHandles & { lock: string; prefix: string }> {
  const node = await openNode(url, prefix);
  const lock = (await node.leases.acquire(SHARD))?.value as string;
  assert.ok(await node.bus.take(SHARD, { lock, term: 1, node: "n1", lossy: false }));
  return { ...node, lock, prefix };
}

/** Repeats an append until it is answered, as its caller does. */
export async function answered(bus: Bus, term: number, packs: readonly Pack[]): Promise<AppendAnswer> {
  for (;;) {
    try {
      return await bus.append(SHARD, term, packs);
    } catch (error) {
      assert.ok(error instanceof StoreFailure);
    }
  }
}
