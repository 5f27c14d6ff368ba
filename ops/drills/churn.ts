/**
 * The churn drill: many clients come and go, join and leave rooms and type, while the one node is restarted
 * by SIGTERM under them. Everybody must be told to reconnect, the process must end cleanly and in time, and
 * its memory must stay flat.
 */
import type { Violation } from "./checker.ts";
import { call, makeRoom, type Server, startServer, tokenFor, within } from "./harness.ts";
import { Random } from "./random.ts";
import { Report, sceneOfOne, type Testimony } from "./report.ts";
import { type Closing, StompClient } from "./stomp.ts";

/** How hard a churn drill is. */
export interface ChurnOptions {
  readonly seed: number;
  readonly clients: number;
  /** Restarts by SIGTERM. */
  readonly restarts: number;
  /** Life of each process, ms. */
  readonly lifeMs: number;
  readonly say: (line: string) => void;
}

/** Time that a stopping server has, ms (design 6). */
const STOP_MS = 10_000;
/** Growth that is still called flat, from the second quarter of a life to its last: noise of the heap. */
const GROWTH_BYTES = 24 * 1_048_576;
/** How often memory is looked at, ms; the lowest of a quarter counts, as a collector makes saw-teeth. */
const SAMPLE_MS = 250;
const ROOMS = 20;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One client that never rests: it acts, and comes back whenever its connection ends. */
class Restless {
  readonly closings: Closing[] = [];
  actions = 0;
  failures = 0;
  readonly #id: string;
  readonly #wsUrl: string;
  readonly #rooms: readonly string[];
  readonly #random: Random;
  #client: StompClient | undefined;
  #over = false;
  #sinceMs = performance.now();

  constructor(options: { id: string; wsUrl: string; rooms: readonly string[]; random: Random }) {
    this.#id = options.id;
    this.#wsUrl = options.wsUrl;
    this.#rooms = options.rooms;
    this.#random = options.random;
  }

  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** For the report of a drill that broke. */
  get testimony(): Testimony {
    const ends = this.closings.map(({ code, reason }) => `end ${code} ${reason}`);
    const failures = Array.from({ length: this.failures }, () => "turned away");
    return {
      ...{ id: this.#id, sinceMs: this.#sinceMs, connections: this.closings.length, streams: [], said: [] },
      node: this.connected ? 0 : undefined,
      notes: [...ends, ...failures],
    };
  }

  async run(): Promise<void> {
    while (!this.#over) {
      try {
        const client = await StompClient.connected(this.#wsUrl, tokenFor(this.#id));
        client.onFrame = (frame) => frame.command === "MESSAGE";
        this.#client = client;
        this.#sinceMs = performance.now();
        await this.#live(client);
        this.closings.push(await client.closed);
      } catch {
        this.failures++;
      }
      if (this.connected) this.#sinceMs = performance.now();
      this.#client = undefined;
      await pause(this.#random.whole(20, 300));
    }
  }

  async end(): Promise<void> {
    this.#over = true;
    await this.#client?.cut();
  }

  /** Acts until the connection ends, by itself now and then. */
  async #live(client: StompClient): Promise<void> {
    const joined = new Map<string, string>();
    let ended = false;
    void client.closed.then(() => {
      ended = true;
    });
    client.send("SUBSCRIBE", { id: "errors", destination: "/user/queue/errors" });
    for (let next = 0; !ended; next++) {
      await Promise.race([pause(this.#random.whole(50, 400)), client.closed]);
      if (ended) return;
      this.actions++;
      if (this.#over || this.#random.chance(0.03)) return client.cut();
      this.#act(client, joined, `sub-${next}`);
    }
  }

  #act(client: StompClient, joined: Map<string, string>, id: string): void {
    const room = this.#random.pick(this.#rooms);
    const subscribed = joined.get(room);
    const choice = this.#random.fraction();
    if (choice < 0.4 && subscribed === undefined) {
      joined.set(room, id);
      client.send("SUBSCRIBE", { id, destination: `/topic/room.${room}` });
      client.send("SUBSCRIBE", { id: `${id}-signals`, destination: `/topic/room.${room}.signals` });
    } else if (choice < 0.5 && subscribed !== undefined) {
      joined.delete(room);
      client.send("UNSUBSCRIBE", { id: subscribed });
      client.send("UNSUBSCRIBE", { id: `${subscribed}-signals` });
    } else if (choice < 0.9) {
      const state = this.#random.chance(0.5) ? "start" : "stop";
      client.send("SEND", { destination: `/app/room.${room}.typing` }, JSON.stringify({ state }));
    } else {
      client.send("SEND", { destination: `/topic/room.${room}` }, `something of ${this.#id}`);
    }
  }
}

/** The least memory of its own that the server had in this time. */
async function lowestBytes(server: Server, forMs: number): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY;
  for (const until = performance.now() + forMs; performance.now() < until; await pause(SAMPLE_MS)) {
    lowest = Math.min(lowest, await server.ownBytes());
  }
  return lowest;
}

/** One life of the server: memory early and late, then SIGTERM, and what came of it. */
async function live(server: Server, clients: readonly Restless[], options: ChurnOptions): Promise<Violation[]> {
  const broken: Violation[] = [];
  const quarterMs = options.lifeMs / 4;
  await pause(quarterMs);
  const early = await lowestBytes(server, quarterMs);
  await pause(quarterMs);
  const grown = (await lowestBytes(server, quarterMs)) - early;
  if (grown > GROWTH_BYTES)
    broken.push({
      rule: "memory",
      what: `${Math.round(grown / 1_048_576)} MiB more in the last quarter of a life than in its second.`,
    });
  const connected = clients.filter((client) => client.connected);
  const before = connected.map((client) => client.closings.length);
  const startedAt = performance.now();
  const exit = await server.stop("SIGTERM", STOP_MS + 5_000);
  const tookMs = Math.round(performance.now() - startedAt);
  if (exit.code !== 0) broken.push({ rule: "exit", what: `SIGTERM ended with ${exit.code ?? exit.signal}.` });
  if (tookMs > STOP_MS) broken.push({ rule: "slow-stop", what: `SIGTERM took ${tookMs} ms.` });
  await pause(100);
  const told = connected.filter((client, at) =>
    client.closings.slice(before[at]).some(({ code }) => code === 1012),
  ).length;
  options.say(
    `  ${connected.length} connected, ${told} told 1012, exit ${exit.code} after ${tookMs} ms, memory ${Math.round(early / 1_048_576)} MiB ${grown < 0 ? "" : "+"}${Math.round(grown / 1_048_576)}`,
  );
  // Some cut their own connection in the very moment of the stop.
  if (told < connected.length * 0.8)
    broken.push({ rule: "untold", what: `Only ${told} of ${connected.length} were told 1012.` });
  return broken;
}

/** Runs the drill; answers what was broken. */
export async function churnDrill(options: ChurnOptions): Promise<Violation[]> {
  options.say(`Churn drill, seed ${options.seed}: ${options.clients} clients, ${options.restarts} restarts.`);
  const first = await startServer({ env: { LOG_LEVEL: "warn" } });
  const clients: Restless[] = [];
  const scene = () => sceneOfOne(first, { people: clients.map(({ testimony }) => testimony) });
  try {
    return await new Report(scene, options.say).watch(() => churn(first, clients, options));
  } finally {
    await Promise.all(clients.map((client) => client.end()));
    await first.remove();
  }
}

/** Lets clients come and go over the lives of a server, and adds them to `clients`; answers what was broken. */
async function churn(first: Server, clients: Restless[], options: ChurnOptions): Promise<Violation[]> {
  const random = new Random(options.seed);
  const broken: Violation[] = [];
  const owner = tokenFor("churn-owner");
  const rooms: string[] = [];
  for (let at = 0; at < ROOMS; at++) rooms.push(await makeRoom(first, owner, { name: `churn ${at}`, type: "public" }));
  for (let at = 0; at < options.clients; at++)
    clients.push(new Restless({ id: `restless-${at}`, wsUrl: first.wsUrl, rooms, random: random.fork() }));
  const running = clients.map((client) => client.run());
  let server = first;
  for (let life = 0; life <= options.restarts; life++) {
    if (life > 0) server = await server.restart().ready();
    broken.push(...(await live(server, clients, options)));
  }
  server = await server.restart().ready();
  await Promise.all(clients.map((client) => client.end()));
  await within(Promise.all(running), 10_000, "The end of all clients");
  const health = await call(server, "GET /health/ready");
  if (health.status !== 200) broken.push({ rule: "health", what: `The last process is not ready: ${health.status}.` });
  options.say(`  ${clients.reduce((total, client) => total + client.actions, 0)} actions`);
  return broken;
}
