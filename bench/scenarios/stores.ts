/**
 * One node on Redis, PostgreSQL and FerretDB (for MongoDB), against itself on its embedded stores: CPU of a durable SEND,
 * fan-out, and what deliveries notice of a MongoDB that stands still.
 */
import { owed, part, reasonOf } from "../bars.ts";
import type { Pace, Paced } from "../client/messages.ts";
import { type Comparison, compare, cost, factsOf, faultsAtRate, versus, versusP99 } from "../compare.ts";
import {
  atRate,
  Crowd,
  type CrowdShape,
  type Outcome,
  ROOM_OF_1000,
  SUBSCRIBERS,
  type Wish,
  warmUp,
} from "../crowd.ts";
import { type Figure, median } from "../report.ts";
import { allStored, onStores, type SharedStores } from "../stores.ts";
import { startBare, startConfab, type Target } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "stores";
const EMBEDDED = "embedded";
const COST = "node CPU per durable SEND";
const STOPPED = "p99 with MongoDB stopped";
const BODY_BYTES = 128;

/**
 * Fewer rooms than in `chat`: FerretDB keeps one of its 100 connections to SQLite for every update of a command until the
 * command ends, so that the markers of 100 senders, written together, can stop it for good.
 */
const ROOMS: CrowdShape = {
  rooms: 50,
  perRoom: 10,
  frontPerRoom: 1,
  frontSampleEvery: 50,
  audienceSampleEvery: 500,
  napMs: 150,
};
/** What FerretDB can store beside the load clients, with room to spare. */
const SENDS_PER_SECOND = 1_000;

/** Windows and publishers of the fan-out; those with one publisher are held to a bar. */
const FAN_OUTS = [
  { window: 1, publishersPerRoom: 1 },
  { window: 16, publishersPerRoom: 1 },
  { window: 64, publishersPerRoom: 1 },
  { window: 16, publishersPerRoom: 8 },
] as const;
/** FerretDB stores less than a full window brings from one publisher, who may have what one round brings waiting. */
const LIMITS = { LIMIT_PENDING_SENDS: "10000" };
/** Of the room of 1,000 while MongoDB stands still: 100,000 deliveries a second, as design 9 asks for latency at. */
const LATENCY_SENDS_PER_SECOND = 100;

/** Node CPU of a durable SEND at one rate that both can hold. */
async function costOfSend(stores: SharedStores, node: Target, { quick, progress }: Options): Promise<Figure> {
  progress(`${NAME}: opening ${ROOMS.rooms * ROOMS.perRoom} connections each`);
  const embedded = new Crowd(await startConfab(), ROOMS);
  await embedded.open();
  const crowd = new Crowd(node, ROOMS);
  await crowd.open();
  const rounds = quick ? 2 : 3;
  const pace = atRate(SENDS_PER_SECOND, quick ? 3 : 8, "answered");
  await embedded.pace({ ...pace, seconds: 1 });
  await crowd.pace({ ...pace, seconds: 1 });
  const [ours, theirs, used]: [Outcome<Paced>[], Outcome<Paced>[], number[]] = [[], [], []];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${NAME}: ${SENDS_PER_SECOND} durable SENDs a second, round ${round} of ${rounds}`);
    const before = stores.cpuSeconds("MONGODB_URL");
    const outcome = await crowd.pace(pace);
    // Some of it is of the warm-up: what the store itself needs is told, not judged.
    used.push((stores.cpuSeconds("MONGODB_URL") - before) / (pace.warmSeconds + pace.seconds));
    ours.push(outcome);
    theirs.push(await embedded.pace(pace));
  }
  await Promise.all([crowd.end(), embedded.end()]);
  await embedded.target.end();
  return versus({
    scenario: NAME,
    name: COST,
    unit: "us",
    rival: EMBEDDED,
    ours: ours.map(cost),
    theirs: theirs.map(cost),
    faults: [...faultsAtRate("on stores", ours), ...faultsAtRate(EMBEDDED, theirs)],
    facts: {
      ...factsOf(ours, theirs, 1),
      sendsPerSecond: SENDS_PER_SECOND,
      rooms: ROOMS.rooms,
      perRoom: ROOMS.perRoom,
      ferretdbShare: median(used),
    },
  });
}

/** Fan-out of one room, as in `fanout`: what stores may not slow down, as no delivery waits for them. */
async function fanout(crowd: Crowd, { quick, progress }: Options): Promise<Figure[]> {
  const common = { until: "returned", bodyBytes: BODY_BYTES } as const;
  const first = await crowd.run({ ...common, window: 16, warmSeconds: 0, seconds: 1 });
  const bare = new Crowd(await startBare(first.tally.messageBytes, 0), ROOM_OF_1000);
  await bare.open();
  progress(`${NAME}: warming both up`);
  await warmUp([crowd, bare], quick, () => allStored(crowd.target));
  const figures: Figure[] = [];
  for (const { window, publishersPerRoom } of FAN_OUTS) {
    const name = `fan-out, window ${window}${publishersPerRoom > 1 ? `, ${publishersPerRoom} publishers` : ""}`;
    progress(`${NAME}: ${name}`);
    const wish: Comparison = {
      scenario: NAME,
      name,
      unit: "deliveries/s",
      run: { ...common, window, publishersPerRoom, warmSeconds: quick ? 0.3 : 0.5, seconds: quick ? 1 : 2 },
      rounds: quick ? 2 : 5,
      weight: SUBSCRIBERS,
      ready: () => allStored(crowd.target),
    };
    figures.push(await part(NAME, name, () => compare(crowd, bare, wish)));
  }
  await bare.end();
  await bare.target.end();
  return figures;
}

/** The run with a MongoDB that stands still from a fifth of it to four fifths. */
async function withoutMongo(stores: SharedStores, crowd: Crowd, pace: Wish<Pace>): Promise<Outcome<Paced>> {
  const fifthMs = (pace.seconds * 1_000) / 5;
  const timers = [
    setTimeout(() => stores.halt("MONGODB_URL"), pace.warmSeconds * 1_000 + fifthMs),
    setTimeout(() => stores.resume("MONGODB_URL"), pace.warmSeconds * 1_000 + fifthMs * 4),
  ];
  try {
    return await crowd.pace(pace);
  } finally {
    for (const timer of timers) clearTimeout(timer);
    stores.resume("MONGODB_URL");
  }
}

async function latency(stores: SharedStores, crowd: Crowd, { quick, progress }: Options): Promise<Figure> {
  const rounds = quick ? 1 : 3;
  const pace = atRate(LATENCY_SENDS_PER_SECOND, quick ? 5 : 12);
  const [ours, theirs, faults]: [Outcome<Paced>[], Outcome<Paced>[], string[]] = [[], [], []];
  await allStored(crowd.target);
  for (let round = 1; round <= rounds && faults.length === 0; round += 1) {
    progress(`${NAME}: latency with MongoDB, then with MongoDB stopped, round ${round} of ${rounds}`);
    theirs.push(await crowd.pace(pace));
    await allStored(crowd.target);
    ours.push(await withoutMongo(stores, crowd, pace));
    // What was measured stands, and that it came to this does too.
    await allStored(crowd.target).catch((error: unknown) => faults.push(`MongoDB is back: ${reasonOf(error)}`));
  }
  return versusP99({
    scenario: NAME,
    name: STOPPED,
    rival: "with MongoDB",
    sides: ["stopped", "running"],
    ours,
    theirs,
    weight: SUBSCRIBERS,
    faults,
    facts: { rounds: ours.length, offeredPerSecond: LATENCY_SENDS_PER_SECOND * SUBSCRIBERS },
  });
}

/** The more FerretDB has, the slower it reads, which a node does that hears nothing of its writes: so the latency comes first. */
async function run(options: Options): Promise<Figure[]> {
  options.progress(`${NAME}: starting Redis, PostgreSQL and FerretDB`);
  const stopped = await onStores(async (stores, nodes) => {
    const node = await stores.confab(LIMITS);
    nodes.push(node);
    return part(NAME, STOPPED, async () => {
      const crowd = new Crowd(node, ROOM_OF_1000);
      await crowd.open();
      return latency(stores, crowd, options).finally(() => crowd.end());
    });
  });
  options.progress(`${NAME}: starting them anew`);
  const others = onStores(async (stores, nodes) => {
    const node = await stores.confab(LIMITS);
    nodes.push(node);
    const cost = await part(NAME, COST, () => costOfSend(stores, node, options));
    options.progress(`${NAME}: opening ${SUBSCRIBERS} connections`);
    const crowd = new Crowd(node, ROOM_OF_1000);
    await crowd.open();
    const fannedOut = await fanout(crowd, options);
    await crowd.end();
    return [cost, ...fannedOut];
  });
  return [stopped, ...(await others.catch((error: unknown) => owed(NAME, [stopped], reasonOf(error))))];
}

export const stores: Scenario = {
  name: NAME,
  about: "one node on Redis, PostgreSQL and FerretDB against itself on embedded stores",
  run,
};
