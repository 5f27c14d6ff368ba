/**
 * What every drill of many nodes runs on: PostgreSQL, FerretDB (for MongoDB) and Redis as processes of their
 * own, up to three nodes on all of them, and hundreds of people with a real connection each, spread over the
 * nodes. Few people talk, steadily; all write down what they were promised and shown, and the checker judges.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { StoreProxy } from "../stores/proxy.ts";
import type { Violation } from "./checker.ts";
import { type Door, Ledger, Person, roomOf } from "./cluster.person.ts";
import { pause } from "./crash.ts";
import { eventually, makeRoom, must, type Server, startServer, tokenFor } from "./harness.ts";
import type { Pace } from "./participant.ts";
import { Random } from "./random.ts";
import { ADMIN, disagreements, nameOf, shardsOf } from "./report.nodes.ts";
import { Report, type Scene } from "./report.ts";
import { type StoreServers, startStores } from "./stores.world.ts";

/** What a drill of many nodes is told. */
export interface ClusterOptions {
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** What a drill begins with. */
export interface Shape {
  readonly nodes: number;
  /** Whether there are rooms in which pauses can be measured. */
  readonly probes?: boolean;
  /** Whether there is a proxy between each node and Redis. */
  readonly proxies?: boolean;
}

/** People, of whom each has a connection. */
const PEOPLE = 312;
/**
 * Rooms of many people: everybody is in two of them. Few rooms and few messages: an opening asks the archive five
 * times, and FerretDB has not the speed of MongoDB.
 */
const ROOMS = 12;
/** Of them, those that are private. */
const PRIVATE_ROOMS = 2;
/** Small rooms in which somebody speaks every few ms while a pause is measured, and people in each. */
const PROBES = 8;
const PROBE_PEOPLE = 3;
/** Two people of every room talk, at this pace. */
const PACE: Pace = { lowMs: 4_000, highMs: 8_000 };
/** How fast they talk where a pause is measured. */
const RAPID: Pace = { lowMs: 50, highMs: 50 };
/** Pause between two people who connect at the start, ms. */
const APART_MS = 5;

/**
 * Shards of the data set: more than rooms, so that nearly every room moves by itself. The default of 256 works here,
 * too; but FerretDB then is what is measured, as each owning claims a term there.
 */
const SHARDS = 64;

/** How long everybody may take to be connected at the start, and a node to listen, ms. */
const CONNECTED_MS = 30_000;
const START_MS = 30_000;
/** How long shards may take until every node knows the same owners; how long that must last, ms. */
const BALANCED_MS = 20_000;
const STEADY_MS = 1_200;
/** Time that a stopping node has, ms (design 6). */
const STOP_MS = 10_000;
/** A delay of the event loop, p99, beyond which the machine is too busy for figures: 24 ms where it is not, ms. */
const BUSY_MS = 60;
/** Pause between two looks at all nodes, ms. */
export const LOOK_MS = 200;
/** How long new messages may stay without a receipt once everything is back, ms. */
const GOES_ON_MS = 15_000;

/** A node at its place: the process of now, and what stands between it and Redis. */
export interface Place {
  readonly at: number;
  readonly redis: StoreProxy | undefined;
  server: Server;
  /** The name of the process of now; every process has one of its own. */
  name: string;
}

/** The stores, the nodes, the people, and what was broken so far. */
export class ClusterWorld {
  readonly stores: StoreServers;
  readonly random: Random;
  readonly ledger = new Ledger();
  /** Broken promises that the checker cannot know of. */
  readonly broken: Violation[] = [];
  /** By their place in `places`; one that left for good is no more among them. */
  readonly places: Place[] = [];
  /** All rooms, and of them those in which pauses are measured. */
  rooms: readonly string[] = [];
  probes: readonly string[] = [];
  people: readonly Person[] = [];
  /** Set by a drill that takes data from Redis: only then may a client be told `recovered: false`. */
  redisLost = false;
  /** Room → the highest term shown. */
  readonly terms = new Map<string, number>();
  readonly #shape: Shape;
  readonly #lag = monitorEventLoopDelay({ resolution: 10 });
  readonly #say: (line: string) => void;
  readonly #startedAt = performance.now();
  /** Everything that must be ended. */
  readonly #servers: Server[] = [];
  readonly #proxies: StoreProxy[] = [];
  readonly #report = new Report(
    () => this.#scene(),
    (line) => this.#say(line),
  );

  private constructor(stores: StoreServers, shape: Shape, options: ClusterOptions) {
    this.stores = stores;
    this.#shape = shape;
    this.random = new Random(options.seed);
    this.#say = options.say;
    this.ledger.listeners.add((_, item) => {
      const room = roomOf(item);
      if (item.term > (this.terms.get(room) ?? 0)) this.terms.set(room, item.term);
    });
  }

  /**
   * Starts the stores, the nodes and the people, hands them to `drill`, and ends everything after it; answers the
   * broken promises.
   * @throws StoreMissing when a server can not be had.
   */
  static async run(
    options: ClusterOptions,
    shape: Shape,
    drill: (world: ClusterWorld) => Promise<Violation[]>,
  ): Promise<Violation[]> {
    const stores = await startStores();
    const world = new ClusterWorld(stores, shape, options);
    try {
      return await world.#report.watch(async () => {
        for (let at = 0; at < shape.nodes; at++) await world.addNode();
        await world.#populate();
        return drill(world);
      });
    } finally {
      world.#lag.disable();
      for (const person of world.people) person.hush();
      await Promise.all(world.people.map((person) => person.leave("cut")));
      await Promise.all(world.#servers.map((server) => server.remove()));
      await Promise.all(world.#proxies.map((proxy) => proxy.close()));
      await Promise.all([stores.postgres, stores.ferretdb, stores.redis].map((server) => server.close()));
    }
  }

  say(line: string): void {
    const seconds = ((performance.now() - this.#startedAt) / 1_000).toFixed(1).padStart(6);
    this.#say(`  ${seconds} s  ${line}`);
  }

  break(rule: string, what: string): void {
    this.broken.push({ rule, what });
    this.say(`BROKEN ${rule}: ${what}`);
    this.#report.broke(rule, what);
  }

  #scene(): Scene {
    const { postgres, ferretdb, redis } = this.stores;
    const nodes = this.#servers.map(({ newest, lives, port }) => {
      const place = this.places.find(({ server }) => server.port === port);
      const name = place?.server === newest ? place.name : "which is starting";
      return { label: place ? `${place.at}, ${name}` : "that left", server: newest, lives };
    });
    const notes = Object.entries({ postgres, ferretdb, redis }).map(
      ([name, { running }]) => `${name} ${running ? "runs" : "does not run"}`,
    );
    const proxies = this.#proxies.map(({ connections }, at) => `${connections} connections of node ${at} to Redis`);
    const terms = this.rooms.map((room) => `${room} ${this.terms.get(room) ?? 0}`);
    return {
      people: this.people.map(({ testimony }) => testimony),
      rooms: this.rooms,
      nodes,
      notes: [...notes, ...proxies, `highest term shown in each room: ${terms.join(", ")}`],
    };
  }

  /** How late this process's own event loop is, p99 since the start, ms: how busy the machine is. */
  get lagMs(): number {
    return Math.round(this.#lag.percentile(99) / 1e6);
  }

  /**
   * Says whether what was measured is within the bar. It breaks no promise when it is not: a figure is that of a
   * machine, and on a busy one says nothing.
   */
  bar(what: string, p99Ms: number, barMs: number): void {
    const { lagMs } = this;
    const words = `${what}: p99 ${Math.round(p99Ms)} ms, the bar is ${barMs} ms; p99 of the clients' own delay ${lagMs} ms`;
    const verdict =
      p99Ms <= barMs ? "within the bar" : lagMs > BUSY_MS ? "over the bar on a busy machine" : "OVER THE BAR";
    this.say(`${verdict}: ${words}`);
  }

  /** Starts one more node, and waits until it is ready. */
  async addNode(): Promise<Place> {
    const { postgres, ferretdb, redis } = this.stores;
    const proxy = this.#shape.proxies ? await StoreProxy.open(redis.place.port) : undefined;
    if (proxy) this.#proxies.push(proxy);
    const env = {
      DATABASE_URL: postgres.url,
      MONGODB_URL: `${ferretdb.url.replace(/\/$/, "")}/confab`,
      REDIS_URL: proxy?.through(redis.url) ?? redis.url,
      SHARDS: String(SHARDS),
      LOG_LEVEL: "warn",
      LIMIT_SENDS_PER_SECOND: "0",
    };
    const server = await startServer({ env, startTimeoutMs: START_MS });
    this.#servers.push(server);
    const place: Place = { at: this.places.length, redis: proxy, server, name: await nameOf(server) };
    this.places.push(place);
    this.say(`node ${place.at} is ${place.name}; listens after ${Math.round(server.startMs)} ms`);
    return place;
  }

  /** Starts a new process at the place of one that has ended, and waits until it is ready. */
  async replace(place: Place): Promise<void> {
    place.server = await place.server.restart().ready();
    place.name = await nameOf(place.server);
    this.say(`node ${place.at} is ${place.name} now; listens after ${Math.round(place.server.startMs)} ms`);
  }

  async #populate(): Promise<void> {
    const ids = Array.from({ length: PEOPLE }, (_, at) => `person-${at}`);
    const [server] = this.places.map((place) => place.server) as [Server];
    const members = Array.from({ length: ROOMS }, () => [] as string[]);
    // Two rooms each, so that any two rooms share people.
    for (const [at, id] of ids.entries())
      for (const room of [at % ROOMS, (Math.floor(at / ROOMS) + at * 5 + 1) % ROOMS])
        if (!members[room]?.includes(id)) members[room]?.push(id);
    const probes = Array.from({ length: this.#shape.probes ? PROBES : 0 }, (_, at) =>
      ids.slice(at * PROBE_PEOPLE, (at + 1) * PROBE_PEOPLE),
    );
    const of = new Map<string, string[]>(ids.map((id) => [id, []]));
    const made: string[] = [];
    for (const [at, inside] of [...members, ...probes].entries()) {
      const type = at < PRIVATE_ROOMS ? "private" : "public";
      const others = type === "private" ? inside.slice(1) : [];
      const room = await makeRoom(server, tokenFor(inside[0] as string), { name: `room ${at}`, type, members: others });
      for (const id of inside) of.get(id)?.push(room);
      made.push(room);
    }
    this.rooms = made;
    this.probes = made.slice(ROOMS);
    const { ledger } = this;
    const choose = (node?: number): Door => this.#door(node);
    this.people = ids.map(
      (id) => new Person({ id, rooms: of.get(id) ?? [], choose, ledger, random: this.random.fork() }),
    );
    for (const person of this.people) {
      person.start();
      await pause(APART_MS);
    }
    const all = async () => this.people.every(({ node }) => node !== undefined) || undefined;
    await eventually(all, CONNECTED_MS, "Everybody's connection");
    for (const [at, inside] of members.entries())
      for (const id of inside.slice(-2)) this.people[ids.indexOf(id)]?.talk(made[at] as string, PACE);
    await this.goesOn("the start");
    this.#lag.enable();
  }

  /** As a balancer without knowledge of their health would choose, unless a certain node is asked for. */
  #door(node?: number): Door {
    const { at, server } = this.places.find((place) => place.at === node) ?? this.random.pick(this.places);
    return { node: at, wsUrl: server.wsUrl };
  }

  /**
   * Somebody who is connected, to this node if one is given, says something in every room; waits until all of it
   * is stored.
   */
  async goesOn(after: string, place?: Place): Promise<void> {
    const sinceMs = performance.now();
    let open = this.rooms.map((room) => {
      const person = this.inside(room, (node) => place === undefined || node === place.at);
      return { room, person, key: person.say(room) };
    });
    const all = async (): Promise<true | undefined> => {
      open = open.filter(({ person, key }) => !person.answered(key));
      return open.length === 0 || undefined;
    };
    try {
      await eventually(all, GOES_ON_MS, "");
      this.say(`${after}: every room goes on after ${Math.round(performance.now() - sinceMs)} ms`);
    } catch {
      const still = open.map(({ room }) => room).join(", ");
      this.break("stalled", `${GOES_ON_MS} ms after ${after} there is no receipt for what was said in ${still}.`);
    }
  }

  /** Waits until every node names the same living owners and that lasts; answers shard → name of the owner. */
  async balanced(): Promise<readonly string[]> {
    let last = "";
    let amiss = "";
    let sinceMs = performance.now();
    const ask = async (): Promise<readonly string[] | undefined> => {
      await pause(LOOK_MS);
      const views = await Promise.all(this.places.map(({ server }) => shardsOf(server).catch(() => [])));
      const owners = (views[0] ?? []).map(({ owner }) => owner ?? "");
      const names = new Set(this.places.map(({ name }) => name));
      const now = JSON.stringify(views.map((view) => view.map(({ owner, term }) => [owner, term])));
      const agreed = views.every(
        (view) => JSON.stringify(view.map(({ owner }) => owner ?? "")) === JSON.stringify(owners),
      );
      amiss = disagreements(views, names);
      if (now !== last || !agreed || owners.length === 0 || !owners.every((owner) => names.has(owner))) {
        sinceMs = performance.now();
        last = now;
      }
      return performance.now() - sinceMs >= STEADY_MS ? owners : undefined;
    };
    return eventually(ask, BALANCED_MS, "Agreement on the owners").catch((error: Error) => {
      this.break("unbalanced", `${error.message} Shards without one known owner: ${amiss}.`);
      return [];
    });
  }

  /** The rooms that are awake at a node as their owner, each with the highest term shown. */
  async roomsOf(place: Place): Promise<Map<string, number>> {
    const request = `GET /api/admin/rooms?node=${place.name}&limit=200`;
    const page = await must<{ items: readonly { id: string }[] }>(place.server, request, { token: ADMIN });
    const own = page.items.filter(({ id }) => this.rooms.includes(id));
    return new Map(own.map(({ id }) => [id, this.terms.get(id) ?? 0]));
  }

  /** Somebody in a room who is connected to a node for which this is true, else anybody in it. */
  inside(room: string, fits: (node: number) => boolean): Person {
    const inside = this.people.filter((person) => person.rooms.includes(room));
    return inside.find(({ node }) => node !== undefined && fits(node)) ?? (inside[0] as Person);
  }

  /** People connected to a node. */
  peopleAt(place: Place): readonly Person[] {
    return this.people.filter(({ node }) => node === place.at);
  }

  /** Any node that owns rooms, and these with the highest term shown in each. */
  async anyOwner(): Promise<{ readonly place: Place; readonly rooms: ReadonlyMap<string, number> }> {
    for (;;) {
      const place = this.random.pick(this.places);
      const rooms = await this.roomsOf(place);
      if (rooms.size > 0) return { place, rooms };
    }
  }

  /** Answers how to look later whether all these people kept their connection. */
  keepsConnected(people: readonly Person[]): (during: string) => void {
    const before = people.map(({ connections }) => connections);
    return (during) => {
      const lost = people.filter(({ connections, node }, at) => node === undefined || connections !== before[at]);
      this.say(`${during}: ${people.length - lost.length} of ${people.length} people kept their connection`);
      const codes = new Set(lost.map(({ endings }) => endings.at(-1)?.code));
      if (lost.length > 0)
        this.break("disconnected", `${lost.length} people during ${during}: ${[...codes].join(", ")}.`);
    };
  }

  /** SIGTERM of a node, which must end in order and in time and ask all its people to come back. */
  async stopNode(place: Place): Promise<void> {
    const going = this.peopleAt(place);
    const before = going.map(({ endings }) => endings.length);
    const sinceMs = performance.now();
    const exit = await place.server.stop("SIGTERM", STOP_MS + 5_000);
    const tookMs = Math.round(performance.now() - sinceMs);
    await pause(LOOK_MS);
    const told = going.filter((person, at) => person.endings.slice(before[at]).some(({ code }) => code === 1012));
    this.say(`node ${place.at}: exit ${exit.code} after ${tookMs} ms, ${told.length} of ${going.length} told 1012`);
    if (exit.code !== 0) this.break("exit", `SIGTERM ended node ${place.at} with ${exit.code ?? exit.signal}.`);
    if (tookMs > STOP_MS) this.break("slow-stop", `SIGTERM of node ${place.at} took ${tookMs} ms.`);
    if (told.length < going.length) this.break("untold", `${going.length - told.length} people were not told 1012.`);
  }

  /** SIGTERM of a node whose place stays empty. */
  async removeNode(place: Place): Promise<void> {
    this.places.splice(this.places.indexOf(place), 1);
    await this.stopNode(place);
  }

  /** In every probe room somebody who is connected to one of these nodes speaks every few ms; answers how to end it. */
  probe(places: readonly Place[]): () => void {
    const speakers = this.probes.map((room) => {
      const speaker = this.inside(room, (node) => places.some(({ at }) => at === node));
      speaker.talk(room, RAPID);
      return { speaker, room };
    });
    return () => {
      for (const { speaker, room } of speakers) speaker.hush(room);
    };
  }

  async rest(pace: Pace): Promise<void> {
    await pause(this.random.whole(pace.lowMs, pace.highMs));
  }
}
