/**
 * The stores that many nodes share: Redis, PostgreSQL and FerretDB (for MongoDB), run by a process of their own that
 * ends with this one, and Confab on them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { toBackground } from "./background.ts";
import { signToken } from "./client/frames.ts";
import { CLIENT_CORE, canPin, checkAllowed } from "./process.ts";
import { startConfab, type Target } from "./targets.ts";
import { cpuSeconds } from "./usage.ts";

const MAIN = fileURLToPath(new URL("../ops/stores/main.js", import.meta.url));
/** A core of their own where there is a third one; else they share that of the load clients, and never the servers'. */
const STORES_CORE = availableParallelism() > 2 ? 2 : CLIENT_CORE;
/**
 * Shards of the data set. A start claims a term of each in the archive, at which FerretDB is slow: with the default of
 * 256 the starts of four nodes take longer than what is measured. The number has no part in the way of a message.
 */
const SHARDS = 8;
const STORED_LIMIT_MS = 60_000;
/** Owners that have not changed for this long stay. */
const SETTLED_MS = 2_000;
const SETTLED_LIMIT_MS = 60_000;
const POLL_MS = 50;

/** The settings that lead a node to the three servers; each server goes by the name of its setting. */
const NAMES = ["DATABASE_URL", "MONGODB_URL", "REDIS_URL"] as const;
export type StoreName = (typeof NAMES)[number];

/** Lets `ms` pass. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The three servers. */
export class SharedStores {
  readonly #process: ChildProcess;
  readonly #urls: Readonly<Record<StoreName, string>>;
  readonly #pids: Readonly<Record<StoreName, number>>;
  readonly #secret = randomBytes(32).toString("hex");

  private constructor(process: ChildProcess, line: string) {
    const { pids, ...urls } = JSON.parse(line) as Record<StoreName, string> & { pids: Record<StoreName, number> };
    this.#process = process;
    this.#urls = urls;
    this.#pids = pids;
    // FerretDB has to store all of it, not promptly: as the audience it leaves the core to who is waited for.
    toBackground(pids.MONGODB_URL);
  }

  /** Starts them, empty. Rejects with what their process says when one can not be had. */
  static async start(): Promise<SharedStores> {
    checkAllowed();
    const command = [process.execPath, MAIN, "--json", "--until-stdin-ends"];
    const [file = "", ...args] = canPin ? ["taskset", "-c", String(STORES_CORE), ...command] : command;
    // Its stdin is a pipe from here, which closes however this process ends: nothing is left running.
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
    let words = "";
    child.stderr.on("data", (bytes: Buffer) => {
      words += bytes.toString();
    });
    const ended = once(child, "exit").then(() => {
      throw new Error(`the stores could not be started: ${words.trim() || "no reason given"}`);
    });
    const [line] = (await Promise.race([once(createInterface(child.stdout), "line"), ended])) as [string];
    ended.catch(() => undefined);
    return new SharedStores(child, line);
  }

  /**
   * Starts a node on them. All nodes on them take the same tokens.
   * @param limits - further settings.
   */
  confab(limits: Readonly<Record<string, string>> = {}): Promise<Target> {
    return startConfab({ ...this.#urls, SHARDS: String(SHARDS), JWT_SECRET: this.#secret, ...limits });
  }

  /** CPU seconds that a server has used; of PostgreSQL without those of the processes that it started. */
  cpuSeconds(store: StoreName): number {
    return cpuSeconds(this.#pids[store]);
  }

  /** SIGSTOP: connections stay open and nothing is answered. */
  halt(store: StoreName): void {
    process.kill(this.#pids[store], "SIGSTOP");
  }

  /** SIGCONT. */
  resume(store: StoreName): void {
    process.kill(this.#pids[store], "SIGCONT");
  }

  /** Ends the servers and removes their folders; to be called after the nodes on them have ended. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = once(this.#process, "exit");
    this.#process.stdin?.end();
    await gone;
  }
}

/** Runs a scenario on stores of its own, and ends what it started on them and then them. */
export async function onStores<T>(work: (stores: SharedStores, nodes: Target[]) => Promise<T>): Promise<T> {
  const stores = await SharedStores.start();
  const nodes: Target[] = [];
  try {
    return await work(stores, nodes);
  } finally {
    await Promise.all(nodes.map((node) => node.end()));
    await stores.end();
  }
}

/** The values of a metric of a node, by the value of its only label; by the empty text where it has none. */
export async function metric({ port }: Target, name: string): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const series = text.matchAll(new RegExp(`^${name}(?:\\{\\w+="([^"]*)"\\})? (\\S+)$`, "gm"));
  return new Map([...series].map(([, label = "", value]) => [label, Number(value)]));
}

/** Waits until a node has stored all that it accepted; throws when that takes too long. */
export async function allStored(node: Target): Promise<void> {
  const deadline = performance.now() + STORED_LIMIT_MS;
  for (;;) {
    const waiting = (await metric(node, "confab_queue_depth")).get("entries") ?? 0;
    if (waiting === 0) return;
    if (performance.now() > deadline) throw new Error(`${waiting} entries are still not stored after a minute`);
    await pause(POLL_MS);
  }
}

/** Nodes on the same stores, each with the name that it goes by. */
export interface Cluster {
  readonly nodes: readonly Target[];
  readonly names: readonly string[];
}

/** Starts so many nodes one after another, and waits until every shard has an owner on whom all agree. */
export async function cluster(stores: SharedStores, count: number, started: Target[]): Promise<Cluster> {
  const nodes: Target[] = [];
  for (let i = 0; i < count; i += 1) {
    const node = await stores.confab();
    started.push(node);
    nodes.push(node);
  }
  const deadline = performance.now() + SETTLED_LIMIT_MS;
  for (let since = performance.now(), before = ""; performance.now() - since < SETTLED_MS; await pause(POLL_MS)) {
    if (performance.now() > deadline) throw new Error("the nodes do not agree on who owns what");
    const seen = await Promise.all(nodes.map((node) => administered<Shard>(node, "shards")));
    const [first = "", ...others] = seen.map((items) => JSON.stringify(items.map(({ owner }) => owner ?? null)));
    if (first !== before || first.includes("null") || others.some((other) => other !== first)) {
      [since, before] = [performance.now(), first];
    }
  }
  const names = await Promise.all(
    nodes.map(async (node) => {
      const living = await administered<{ readonly node: string; readonly here: boolean }>(node, "nodes");
      if (living.length !== count) throw new Error(`a node knows of ${living.length} nodes instead of ${count}`);
      return living.find(({ here }) => here)?.node ?? "";
    }),
  );
  return { nodes, names };
}

/** The rooms that are awake, each with the place of its owner among the nodes. */
export async function ownersOf({ nodes, names }: Cluster): Promise<ReadonlyMap<string, number>> {
  const [asked] = nodes;
  if (asked === undefined) return new Map();
  const rooms = await administered<{ readonly id: string; readonly node: string }>(asked, "rooms?limit=200");
  return new Map(rooms.map(({ id, node }) => [id, names.indexOf(node)]));
}

interface Shard {
  readonly owner?: string;
}

/** What administrators are shown by a node. */
async function administered<T>({ port, secret }: Target, what: string): Promise<readonly T[]> {
  const authorization = `Bearer ${signToken(secret, "bench-admin", ["confab-admin"])}`;
  const response = await fetch(`http://127.0.0.1:${port}/api/admin/${what}`, { headers: { authorization } });
  if (!response.ok) throw new Error(`/api/admin/${what} was answered with ${response.status}`);
  return ((await response.json()) as { items: readonly T[] }).items;
}
