/** Two and four nodes on shared stores: what a delivery, a SEND, a broadcast and a storm of reconnects cost across nodes. */
import { barOf, part } from "../bars.ts";
import type { Pace, Paced } from "../client/messages.ts";
import { factsOf, faultsAtRate, inTurn, versus, versusP99 } from "../compare.ts";
import { atRate, type Outcome, type Wish } from "../crowd.ts";
import { Gathering, newGroup } from "../gathering.ts";
import { LoadClient } from "../load.ts";
import { type Figure, median } from "../report.ts";
import { type Cluster, cluster, metric, onStores, ownersOf } from "../stores.ts";
import { seed, type Target } from "../targets.ts";
import { cpuSeconds } from "../usage.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "nodes";
const FIGURES = {
  storm: "queries per client of a reconnect storm",
  latency: "p99 from a SEND on one node to a member on another",
  deliveries: (count: number) => `CPU per delivery where the room does not live, ${count} nodes`,
  sends: "CPU of both nodes per SEND from another node",
} as const;
const IN_FLIGHT = 64;
/** Times that as many rooms are made as one node has to own. */
const LAPS_MOST = 6;

/** One room, over all nodes; each node delivers as much as every other. */
const RECEIVERS = 1_000;
const DELIVERED_SENDS_PER_SECOND = 100;

/** A room of 100 at 10,000 deliveries a second. */
const MEMBERS = 100;
/** Of them, those that measure; the sender, who always hears of it on his own node, is one more. */
const MEASURING = 24;
const LATENCY_SENDS_PER_SECOND = 100;

/** Rooms of one for the cost of a SEND; FerretDB stores that many a second beside the load clients. */
const SENDING_ROOMS = 20;
const SENDS_PER_SECOND = 500;

const STORM_ROOMS = 10;
const STORM_CLIENTS = 3_000;
const RESUMED = 20;
/** The announcement `resumed`, and the messages. */
const FRAMES_RESUMED = RESUMED + 1;
const IDLE_MS = 3_000;
const TRAILING_MS = 1_000;

/** Runs load and answers what each node used of its CPU in the timed part, seconds; all are read at the same moments. */
async function used(nodes: readonly Target[], pace: Wish<Pace>, load: Promise<unknown>): Promise<number[]> {
  const read = (): number[] => nodes.map(({ pid }) => cpuSeconds(pid));
  const after = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  await Promise.race([after(pace.warmSeconds), load]);
  const before = read();
  await Promise.race([after(pace.seconds), load]);
  return read().map((value, i) => value - (before[i] ?? 0));
}

/** Makes rooms until one node owns so many of them; answers that node's place and those rooms. */
async function roomsOfOne(nodes: Cluster, wanted: number): Promise<{ owner: number; rooms: string[] }> {
  const [asked] = nodes.nodes;
  const made: string[] = [];
  for (let lap = 0; asked !== undefined && lap < LAPS_MOST; lap += 1) {
    made.push(...(await asked.rooms(wanted)));
    const owners = await ownersOf(nodes);
    for (const owner of nodes.nodes.keys()) {
      const rooms = made.filter((room) => owners.get(room) === owner);
      if (rooms.length >= wanted) return { owner, rooms: rooms.slice(0, wanted) };
    }
  }
  throw new Error(`no node owns ${wanted} of ${made.length} rooms`);
}

/** What made a comparison within one cluster worthless. */
async function moved(nodes: Cluster, owner: number, rooms: readonly string[]): Promise<string[]> {
  const owners = await ownersOf(nodes);
  return rooms.every((room) => owners.get(room) === owner) ? [] : ["a room changed its owner meanwhile"];
}

/** One room, the same number of receivers on each node: CPU of a delivery where the room lives, and elsewhere. */
async function deliveries(nodes: Cluster, { quick, progress }: Options): Promise<Figure> {
  const count = nodes.nodes.length;
  progress(`${NAME}: ${count} nodes, opening ${RECEIVERS} connections`);
  const { owner, rooms } = await roomsOfOne(nodes, 1);
  const home = nodes.nodes[owner] as Target;
  const perNode = RECEIVERS / count;
  const people = new Gathering();
  await people.join(home, rooms, { front: 1, audience: perNode - 1 });
  for (const node of nodes.nodes) if (node !== home) await people.join(node, rooms, { front: 0, audience: perNode });
  await people.greet(1);
  const pace = atRate(DELIVERED_SENDS_PER_SECOND, quick ? 4 : 8);
  const [ours, theirs, outcomes]: [number[], number[], Outcome<Paced>[]] = [[], [], []];
  for (let round = 1; round <= (quick ? 2 : 3); round += 1) {
    progress(`${NAME}: ${count} nodes, one room of ${RECEIVERS}, round ${round}`);
    const load = people.pace(pace);
    const seconds = await used(nodes.nodes, pace, load);
    outcomes.push(await load);
    const us = seconds.map((value) => (value / (pace.rate * pace.seconds * perNode)) * 1e6);
    ours.push(median(us.filter((_, i) => i !== owner)));
    theirs.push(us[owner] ?? Number.NaN);
  }
  await people.end();
  return versus({
    scenario: NAME,
    name: FIGURES.deliveries(count),
    unit: "us",
    rival: "owner",
    ours,
    theirs,
    faults: [...faultsAtRate("all nodes", outcomes), ...(await moved(nodes, owner, rooms))],
    facts: { rounds: ours.length, receiversPerNode: perNode, sendsPerSecond: pace.rate },
  });
}

/** A broadcast from a SEND on the owner to members on another node, and to members there. */
async function latency(nodes: Cluster, { quick, progress }: Options): Promise<Figure> {
  progress(`${NAME}: opening two rooms of ${MEMBERS}`);
  const { owner, rooms } = await roomsOfOne(nodes, 2);
  const [here = "", there = ""] = rooms;
  const home = nodes.nodes[owner] as Target;
  const other = nodes.nodes.find((node) => node !== home) as Target;
  const gather = async (room: string, members: Target): Promise<Gathering> => {
    const people = new Gathering();
    await people.join(home, [room], { front: 1, audience: 0 });
    await people.join(members, [room], { front: MEASURING, audience: MEMBERS - MEASURING - 1 });
    await people.greet(1);
    return people;
  };
  const [near, far] = [await gather(here, home), await gather(there, other)];
  const pace = atRate(LATENCY_SENDS_PER_SECOND, quick ? 3 : 8);
  const across = (round: number): Promise<Outcome<Paced>> => {
    progress(`${NAME}: latency across nodes, round ${round}`);
    return far.pace(pace);
  };
  const [ours, theirs] = await inTurn(quick ? 2 : 3, across, () => near.pace(pace));
  await Promise.all([near.end(), far.end()]);
  return versusP99({
    scenario: NAME,
    name: FIGURES.latency,
    rival: "same node",
    sides: ["across", "same node"],
    ours,
    theirs,
    weight: MEMBERS,
    faults: await moved(nodes, owner, rooms),
    facts: { offeredPerSecond: LATENCY_SENDS_PER_SECOND * MEMBERS },
  });
}

/** SENDs to rooms of one node, from clients of that node and from clients of another: CPU of both nodes together. */
async function sends(nodes: Cluster, { quick, progress }: Options): Promise<Figure> {
  progress(`${NAME}: opening ${SENDING_ROOMS * 2} rooms`);
  const { owner, rooms } = await roomsOfOne(nodes, SENDING_ROOMS * 2);
  const edge = owner === 0 ? 1 : 0;
  const gather = async (node: number, ours: readonly string[]): Promise<Gathering> => {
    const people = new Gathering();
    await people.join(nodes.nodes[node] as Target, ours, { front: 1, audience: 0 });
    await people.greet(SENDING_ROOMS);
    return people;
  };
  const local = await gather(owner, rooms.slice(0, SENDING_ROOMS));
  const remote = await gather(edge, rooms.slice(SENDING_ROOMS));
  const pace = atRate(SENDS_PER_SECOND, quick ? 4 : 8, "answered");
  const measured = { local: [] as number[][], remote: [] as number[][] };
  const outcomes = { local: [] as Outcome<Paced>[], remote: [] as Outcome<Paced>[] };
  for (let round = 1; round <= (quick ? 2 : 3); round += 1) {
    progress(`${NAME}: SENDs from another node, then from the owner's, round ${round}`);
    for (const [kind, people] of [
      ["remote", remote],
      ["local", local],
    ] as const) {
      const load = people.pace(pace);
      const seconds = await used(nodes.nodes, pace, load);
      outcomes[kind].push(await load);
      measured[kind].push(seconds.map((value) => (value / (pace.rate * pace.seconds)) * 1e6));
    }
  }
  await Promise.all([local.end(), remote.end()]);
  const sum = (costs: readonly number[]): number => costs.reduce((total, value) => total + value, 0);
  const of = (costs: readonly number[][], node: number): number =>
    median(costs.map((each) => each[node] ?? Number.NaN));
  return versus({
    scenario: NAME,
    name: FIGURES.sends,
    unit: "us",
    rival: "owner's node",
    ours: measured.remote.map(sum),
    theirs: measured.local.map(sum),
    faults: [
      ...faultsAtRate("from another", outcomes.remote),
      ...faultsAtRate("from the owner's", outcomes.local),
      ...(await moved(nodes, owner, rooms)),
    ],
    facts: {
      ...factsOf(outcomes.remote, outcomes.local, 1),
      sendsPerSecond: SENDS_PER_SECOND,
      remoteEdgeUs: of(measured.remote, edge),
      remoteOwnerUs: of(measured.remote, owner),
      localEdgeIdleUs: of(measured.local, edge),
      localOwnerUs: of(measured.local, owner),
    },
  });
}

/** Calls of MongoDB and PostgreSQL by all nodes since their start. */
async function queries({ nodes }: Cluster): Promise<number> {
  const all = await Promise.all(nodes.map((node) => metric(node, "confab_store_calls_total")));
  return all.reduce((sum, calls) => sum + (calls.get("archive") ?? 0) + (calls.get("directory") ?? 0), 0);
}

/** All clients of some rooms are cut off at once, miss some messages, and come back with their positions. */
async function storm(nodes: Cluster, { quick, progress }: Options): Promise<Figure> {
  const perRoom = (quick ? STORM_CLIENTS / 5 : STORM_CLIENTS) / STORM_ROOMS / nodes.nodes.length;
  progress(`${NAME}: opening what comes back in a storm`);
  const [asked] = nodes.nodes;
  const rooms = (await asked?.rooms(STORM_ROOMS)) ?? [];
  // Somebody stays, on each node: what is asked is what clients that come back cost, not a room that wakes.
  const holders = new Gathering();
  for (const node of nodes.nodes) await holders.join(node, rooms, { front: 0, audience: 1 });
  const clients = nodes.nodes.map((node) => ({ node, client: new LoadClient(), group: newGroup() }));
  const open = async (replay?: Record<string, { offset: number; term: number }>): Promise<void> => {
    const opening = clients.map(({ client, node: { port, dialect, pid: serverPid, secret }, group }) => {
      const place = { port, dialect, serverPid, secret, rooms, perRoom, group, inFlight: IN_FLIGHT, sampleEvery: 10 };
      const resume = replay === undefined ? {} : { replay, replayed: FRAMES_RESUMED };
      return client.run({ kind: "open", ...place, ...resume });
    });
    await Promise.all(opening);
  };
  await open();
  await Promise.all(clients.map(({ client }) => client.run({ kind: "close" })));
  const replay: Record<string, { offset: number; term: number }> = {};
  for (const room of rooms) {
    const { offset, term } = await seed(asked as Target, room, RESUMED + 1);
    replay[room] = { offset: offset - RESUMED, term };
  }
  progress(`${NAME}: a storm of ${perRoom * STORM_ROOMS * nodes.nodes.length} clients`);
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  // Polls go on without any client, and are taken off.
  await pause(IDLE_MS);
  const [idle, idleFrom] = [await queries(nodes), performance.now()];
  await pause(IDLE_MS);
  const [before, from] = [await queries(nodes), performance.now()];
  const perMs = (before - idle) / (from - idleFrom);
  await open(replay);
  const seconds = (performance.now() - from) / 1_000;
  await pause(TRAILING_MS);
  const asking = (await queries(nodes)) - before;
  const polls = perMs * (performance.now() - from);
  const sent = Object.fromEntries(rooms.map((room) => [room, FRAMES_RESUMED]));
  const tallies = await Promise.all(clients.map(({ client }) => client.run({ kind: "tally", sent })));
  await Promise.all([holders.end(), ...clients.map(({ client }) => client.end())]);
  const count = perRoom * STORM_ROOMS * nodes.nodes.length;
  return {
    scenario: NAME,
    name: FIGURES.storm,
    unit: "queries",
    confab: Math.max(0, asking - polls) / count,
    bare: null,
    ratio: null,
    bar: barOf(NAME, FIGURES.storm),
    faults: tallies
      .filter(({ lost, doubled, disordered }) => lost + doubled + disordered > 0)
      .map(({ lost, doubled, disordered }) => `${lost} lost, ${doubled} doubled, ${disordered} out of order`),
    facts: { clients: count, seconds, queries: asking, pollsExpected: polls, resumedEach: RESUMED },
  };
}

/** The more FerretDB has, the slower rooms open on it: the SENDs, which fill it, have stores of their own. */
async function run(options: Options): Promise<Figure[]> {
  const { progress } = options;
  progress(`${NAME}: starting Redis, PostgreSQL, FerretDB and two nodes`);
  const figures = await onStores(async (stores, started) => {
    const two = await cluster(stores, 2, started);
    return [
      await part(NAME, FIGURES.storm, () => storm(two, options)),
      await part(NAME, FIGURES.latency, () => latency(two, options)),
      await part(NAME, FIGURES.deliveries(2), () => deliveries(two, options)),
    ];
  });
  progress(`${NAME}: starting them anew, and two nodes`);
  const apart = await onStores(async (stores, started) => {
    const two = await cluster(stores, 2, started);
    return part(NAME, FIGURES.sends, () => sends(two, options));
  });
  progress(`${NAME}: starting them anew, and four nodes`);
  const four = await onStores(async (stores, started) => {
    const all = await cluster(stores, 4, started);
    return part(NAME, FIGURES.deliveries(4), () => deliveries(all, options));
  });
  return [...figures, apart, four];
}

export const nodes: Scenario = { name: NAME, about: "two and four nodes on shared stores", run };
