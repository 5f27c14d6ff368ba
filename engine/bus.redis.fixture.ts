/** What the tests of the bus and the leases on Redis share: one server a file, one prefix a test. */
import { after } from "node:test";
import { Redis } from "ioredis";
import { LIMITS, type Limits } from "../actors/limits.ts";
import { SILENT } from "../actors/log.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { type RedisServerOptions, startRedis } from "../ops/stores/redis.ts";
import { openRedis, type RedisHandles } from "./bus.redis.ts";
import { systemClock } from "./clock.ts";

/** Few, so that rooms meet in one. */
export const SHARDS = 8;

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
