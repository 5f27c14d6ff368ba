/**
 * What every drill of the real stores runs on: PostgreSQL, FerretDB (for MongoDB) and Redis as processes of
 * their own, a node on all three, and a few people who talk at a steady pace and write down what they were
 * promised. At the end the checker compares that with the archive.
 */
import { MongoClient } from "mongodb";
import { startFerretdb } from "../stores/ferretdb.ts";
import { MongoProxy } from "../stores/mongo.proxy.ts";
import { startPostgres } from "../stores/postgres.ts";
import type { StoreServer } from "../stores/process.ts";
import { StoreProxy } from "../stores/proxy.ts";
import { startRedis } from "../stores/redis.ts";
import { check, type Violation } from "./checker.ts";
import { makeRooms, type Room, readArchive, settle, tell } from "./crash.ts";
import { type Foreign, unexplained } from "./displaced.ts";
import { call, eventually, type Server, startServer } from "./harness.ts";
import { Participant, type Receipted } from "./participant.ts";
import { Random } from "./random.ts";
import { Report, type Scene, sceneOfOne } from "./report.ts";

/** What a drill of the stores is told. */
export interface StoresOptions {
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** What one drill has beyond the others. */
export interface StoresSetting {
  /** Whether the node reaches MongoDB through `mongoProxy`; if not, it speaks to the server itself. */
  readonly mongoProxied?: boolean;
  /** Settings of the node. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The three servers. */
export interface StoreServers {
  readonly postgres: StoreServer;
  readonly ferretdb: StoreServer;
  readonly redis: StoreServer;
}

/** Few and slow: FerretDB reads the whole collection on every look, and the archive is judged at the end. */
const PEOPLE = 5;
const PACE = { lowMs: 200, highMs: 600 } as const;
const AWAY = { share: 0.2, lowMs: 500, highMs: 3_000 } as const;

/**
 * Shards of the data set, made before the node's first start, which keeps the number it finds. Each start
 * claims a term per shard, and FerretDB reads all terms ever claimed on each claim: with the default of 256 a
 * start after the third takes longer than anything that is tried here.
 */
const SHARDS = 8;

/** How long a start of the node may take, ms: all else on the machine may be busy. */
const START_MS = 60_000;
/** How long new messages may stay without a receipt once everything is back, ms. */
const GOES_ON_MS = 15_000;
/** How long the last archive may take until it can be read, ms. */
const READABLE_MS = 30_000;

/** Starts the three servers, or none: rejects with the first fault, `StoreMissing` when one can not be had. */
export async function startStores(): Promise<StoreServers> {
  const starts = await Promise.allSettled([startPostgres(), startFerretdb(), startRedis({ appendonly: true })]);
  const [postgres, ferretdb, redis] = starts.map((start) => (start.status === "fulfilled" ? start.value : undefined));
  if (postgres && ferretdb && redis) return { postgres, ferretdb, redis };
  await Promise.all([postgres, ferretdb, redis].map((server) => server?.close()));
  throw starts.find((start) => start.status === "rejected")?.reason;
}

/** An archive that has nothing but its number of shards; answers its URL. */
async function newArchive(url: string): Promise<string> {
  const client = new MongoClient(url);
  try {
    const settings = client.db("confab").collection<{ _id: string; count: number }>("settings");
    await settings.insertOne({ _id: "shards", count: SHARDS });
  } finally {
    await client.close();
  }
  return `${url.replace(/\/$/, "")}/confab`;
}

/** The stores, the node, the people and what became of them. */
export class StoresWorld {
  readonly stores: StoreServers;
  /** Between the node and Redis. */
  readonly redisProxy: StoreProxy;
  /** Between the node and MongoDB, where the drill's setting says so; watches inserts of entries. */
  readonly mongoProxy: MongoProxy;
  readonly random: Random;
  /** Broken promises that the checker cannot know of. */
  readonly broken: Violation[] = [];
  /** The process that lives now. */
  node: Server;
  rooms: readonly Room[] = [];
  people: readonly Participant[] = [];
  /** Set by a drill that takes data from Redis: only then may a client be told `recovered: false`. */
  redisLost = false;
  /** Entries that a drill has stored as another node would; only what they displaced may be lost as well. */
  readonly foreign: Foreign[] = [];
  readonly #first: Server;
  readonly #say: (line: string) => void;
  readonly #receipts: Receipted[] = [];
  readonly #report = new Report(
    () => this.#scene(),
    (line) => this.#say(line),
  );

  private constructor(
    parts: Pick<StoresWorld, "stores" | "redisProxy" | "mongoProxy" | "node">,
    options: StoresOptions,
  ) {
    this.stores = parts.stores;
    this.redisProxy = parts.redisProxy;
    this.mongoProxy = parts.mongoProxy;
    this.node = parts.node;
    this.#first = parts.node;
    this.#say = options.say;
    this.random = new Random(options.seed);
  }

  /**
   * Runs one drill from the start of the servers to their end; answers the broken promises.
   * @throws StoreMissing when a server can not be had.
   */
  static async run(
    options: StoresOptions,
    faults: (world: StoresWorld) => Promise<void>,
    setting: StoresSetting = {},
  ): Promise<Violation[]> {
    const stores = await startStores();
    const redisProxy = await StoreProxy.open(stores.redis.place.port);
    const mongoProxy = await MongoProxy.open(stores.ferretdb.place.port, "entries");
    let world: StoresWorld | undefined;
    try {
      const archive = await newArchive(stores.ferretdb.url);
      const env = {
        DATABASE_URL: stores.postgres.url,
        MONGODB_URL: setting.mongoProxied ? mongoProxy.through(archive) : archive,
        REDIS_URL: redisProxy.through(stores.redis.url),
        LOG_LEVEL: "warn",
        LIMIT_LOGINS_PER_ACCOUNT: "0",
        LIMIT_LOGINS_PER_ADDRESS: "0",
        ...setting.env,
      };
      const node = await startServer({ env, startTimeoutMs: START_MS });
      world = new StoresWorld({ stores, redisProxy, mongoProxy, node }, options);
      const begun = world;
      return await begun.#report.watch(async () => {
        await begun.#populate();
        await faults(begun);
        return begun.#judge();
      });
    } finally {
      await world?.remove();
      await redisProxy.close();
      await mongoProxy.close();
      await Promise.all(Object.values(stores).map((server: StoreServer) => server.close()));
    }
  }

  async #populate(): Promise<void> {
    const ids = Array.from({ length: PEOPLE }, (_, at) => `person-${at}`);
    this.rooms = await makeRooms(this.node, ids);
    const address = { url: this.node.url, wsUrl: this.node.wsUrl };
    const onReceipt = (receipted: Receipted): unknown => this.#receipts.push(receipted);
    this.people = ids.map((id) => {
      const rooms = this.rooms.filter((room) => room.members.includes(id)).map((room) => room.id);
      return new Participant({ id, rooms, address, random: this.random.fork(), pace: PACE, away: AWAY, onReceipt });
    });
    for (const person of this.people) person.start();
    await this.goesOn("the start");
  }

  say(line: string): void {
    this.#say(`  ${line}`);
  }

  break(rule: string, what: string): void {
    this.broken.push({ rule, what });
    this.say(`BROKEN ${rule}: ${what}`);
    this.#report.broke(rule, what);
  }

  #scene(): Scene {
    const stores = Object.entries(this.stores).map(
      ([name, { running }]: [string, StoreServer]) => `${name} ${running ? "runs" : "does not run"}`,
    );
    const proxied = `${this.redisProxy.connections} connections of the node to Redis`;
    const people = this.people.map(({ testimony }) => testimony);
    return sceneOfOne(this.#first, { people, rooms: this.rooms.map(({ id }) => id), notes: [...stores, proxied] });
  }

  /** Waits until every room has the receipt of a message said after now: the load went on by itself. */
  async goesOn(after: string): Promise<void> {
    const since = performance.now();
    const fresh = (room: Room): boolean =>
      this.#receipts.some(({ room: id, level, saidAtMs }) => id === room.id && level === "stored" && saidAtMs >= since);
    const ask = async () => this.rooms.every(fresh) || undefined;
    try {
      await eventually(ask, GOES_ON_MS, "");
      this.say(`${after}: every room goes on after ${Math.round(performance.now() - since)} ms`);
    } catch {
      const still = this.rooms.filter((room) => !fresh(room)).map((room) => room.id);
      this.break("stalled", `${GOES_ON_MS} ms after ${after} there is no new receipt in ${still.join(", ")}.`);
    }
  }

  /** The longest time without any receipt since then, ms. */
  silenceMs(since: number): number {
    const times = this.#receipts.map(({ atMs }) => atMs).filter((atMs) => atMs >= since);
    const marks = [since, ...times.sort((a, b) => a - b), performance.now()];
    return Math.round(Math.max(...marks.slice(1).map((mark, at) => mark - (marks[at] as number))));
  }

  /** Entries shown to all people together so far. */
  get heard(): number {
    return this.people.reduce((total, { heard }) => total + heard, 0);
  }

  /** SENDs refused for now so far, over all people. */
  get refused(): number {
    return this.people.reduce((total, { refusals }) => total + [...refusals.values()].reduce((a, b) => a + b, 0), 0);
  }

  /** While a store is away the node takes SENDs, and says that something is wrong [design 4]. */
  async expectDegraded(what: string): Promise<void> {
    const { status, body } = await call<{ status: string }>(this.node, "GET /health/ready");
    this.say(`${what}: readiness ${status} ${JSON.stringify(body)}`);
    if (status !== 200 || body.status !== "degraded")
      this.break("readiness", `${what}: ${status} ${JSON.stringify(body)} instead of 200, degraded.`);
  }

  /** How many lines with this text the node has logged so far, over all its lives. */
  logged(text: string): number {
    return this.#first.lives.flat().filter((line) => line.includes(text)).length;
  }

  /** Sends the people away and ends the node. */
  async remove(): Promise<void> {
    await Promise.all(this.people.map((person) => person.stop()));
    await this.#first.remove();
  }

  /** Ends the node by the signal and starts it again, with more settings if any are given. */
  async restartNode(signal: NodeJS.Signals, env?: Readonly<Record<string, string>>): Promise<void> {
    await this.node.stop(signal);
    this.node = await this.node.restart(env).ready();
  }

  /** Everybody is answered and at the head; then a new process reads the archive, and the checker judges. */
  async #judge(): Promise<Violation[]> {
    for (const person of this.people) person.hush();
    const late = (what: string): void => this.#report.broke("late", what);
    await settle({ server: this.node, rooms: this.rooms, people: this.people, late }).catch((error: Error) =>
      this.break("unanswered", error.message),
    );
    await Promise.all(this.people.map((person) => person.stop()));
    await this.restartNode("SIGKILL");
    const archive = await eventually(
      () => readArchive(this.node, this.rooms).catch(() => undefined),
      READABLE_MS,
      "A readable archive",
    );
    tell(this.people, archive, this.#say);
    const faults = this.people.flatMap((person) => person.faults.map((what) => ({ rule: "fault", what })));
    const story = {
      archive,
      streams: this.people.flatMap((person) => person.streams),
      sendings: [...this.people.flatMap((person) => person.sendings), ...this.foreign.map(({ sending }) => sending)],
    };
    const lost = this.redisLost ? [] : unexplained(story.streams, archive, this.foreign);
    return [...this.broken, ...faults, ...lost, ...check(story)];
  }
}
