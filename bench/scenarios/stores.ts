/**
 * One node on Redis, PostgreSQL and FerretDB (for MongoDB), against itself on its embedded stores: CPU of a durable SEND,
 * fan-out, and what deliveries notice of a MongoDB that stands still.
 */
import { barOf } from "../bars.ts";
import type { Pace, Paced } from "../client/messages.ts";
import { type Comparison, compare, cost, factsOf, faultsAtRate, ratiosOf } from "../compare.ts";
import { Crowd, type CrowdShape, type Outcome, type Wish } from "../crowd.ts";
import { type Figure, median, spread } from "../report.ts";
import { allStored, onStores, type SharedStores } from "../stores.ts";
import { startBare, startConfab, type Target } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "stores";
const EMBEDDED = "embedded";
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

const SUBSCRIBERS = 1_000;
const ROOM: CrowdShape = {
  rooms: 1,
  perRoom: SUBSCRIBERS,
  frontPerRoom: 8,
  frontSampleEvery: 4,
  audienceSampleEvery: 250,
  napMs: 20,
};
const WINDOWS = [1, 16];
/** Of the room of 1,000 while MongoDB stands still: 100,000 deliveries a second, as design 9 asks for latency at. */
const LATENCY_SENDS_PER_SECOND = 100;

/** Confab on both, and the bare server. */
interface Both<T> {
  readonly stores: T;
  readonly embedded: T;
}

async function crowds(targets: Both<Target>, shape: CrowdShape): Promise<Both<Crowd>> {
  const made = { stores: new Crowd(targets.stores, shape), embedded: new Crowd(targets.embedded, shape) };
  await made.embedded.open();
  await made.stores.open();
  return made;
}

/** Node CPU of a durable SEND at one rate that both can hold. */
async function costOfSend(stores: SharedStores, targets: Both<Target>, { quick, progress }: Options): Promise<Figure> {
  progress(`${NAME}: opening ${ROOMS.rooms * ROOMS.perRoom} connections each`);
  const both = await crowds(targets, ROOMS);
  const rounds = quick ? 2 : 5;
  const pace: Wish<Pace> = {
    until: "answered",
    rate: SENDS_PER_SECOND,
    bodyBytes: BODY_BYTES,
    warmSeconds: 1,
    seconds: quick ? 3 : 8,
  };
  await both.embedded.pace({ ...pace, seconds: 1 });
  await both.stores.pace({ ...pace, seconds: 1 });
  const [ours, theirs, used]: [Outcome<Paced>[], Outcome<Paced>[], number[]] = [[], [], []];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${NAME}: ${SENDS_PER_SECOND} durable SENDs a second, round ${round} of ${rounds}`);
    const before = stores.cpuSeconds("MONGODB_URL");
    const outcome = await both.stores.pace(pace);
    // Some of it is of the warm-up: what the store itself needs is told, not judged.
    used.push((stores.cpuSeconds("MONGODB_URL") - before) / (pace.warmSeconds + pace.seconds));
    ours.push(outcome);
    theirs.push(await both.embedded.pace(pace));
  }
  await Promise.all([both.stores.end(), both.embedded.end()]);
  const name = "node CPU per durable SEND";
  const [our, their] = [ours.map(cost), theirs.map(cost)];
  const ratios = ratiosOf(our, their);
  return {
    scenario: NAME,
    name,
    unit: "us",
    rival: EMBEDDED,
    confab: median(our),
    bare: median(their),
    ratio: median(ratios),
    spread: { confab: spread(our), ratio: spread(ratios) },
    bar: barOf(NAME, name),
    faults: [...faultsAtRate("on stores", ours), ...faultsAtRate(EMBEDDED, theirs)],
    facts: {
      ...factsOf(ours, theirs, 1),
      sendsPerSecond: SENDS_PER_SECOND,
      rooms: ROOMS.rooms,
      perRoom: ROOMS.perRoom,
      ferretdbShare: median(used),
    },
  };
}

/** Fan-out of one room, against the embedded stores and, as in `fanout`, against the bare server. */
async function fanout(both: Both<Crowd>, { quick, progress }: Options): Promise<Figure[]> {
  const common = { until: "returned", bodyBytes: BODY_BYTES } as const;
  const first = await both.embedded.run({ ...common, window: 16, warmSeconds: 0, seconds: 1 });
  await both.stores.run({ ...common, window: 16, warmSeconds: 0, seconds: 1 });
  const bare = new Crowd(await startBare(first.tally.messageBytes, 0), ROOM);
  await bare.open();
  await bare.run({ ...common, window: 16, warmSeconds: 0, seconds: 1 });
  const figures: Figure[] = [];
  for (const window of WINDOWS) {
    const wish: Comparison = {
      scenario: NAME,
      name: `fan-out, window ${window}`,
      unit: "deliveries/s",
      rival: EMBEDDED,
      run: { ...common, window, warmSeconds: quick ? 0.3 : 0.5, seconds: quick ? 1 : 2 },
      rounds: quick ? 2 : 5,
      weight: SUBSCRIBERS,
    };
    progress(`${NAME}: ${wish.name}`);
    figures.push(await compare(both.stores, both.embedded, wish));
    figures.push(await compare(both.stores, bare, { ...wish, name: `${wish.name}, to bare`, rival: "bare" }));
  }
  await Promise.all([bare.end(), both.embedded.end()]);
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
  const pace: Wish<Pace> = {
    until: "returned",
    rate: LATENCY_SENDS_PER_SECOND,
    bodyBytes: BODY_BYTES,
    warmSeconds: 1,
    seconds: quick ? 5 : 15,
  };
  const [ours, theirs]: [Outcome<Paced>[], Outcome<Paced>[]] = [[], []];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${NAME}: latency with MongoDB, then with MongoDB stopped, round ${round} of ${rounds}`);
    await allStored(crowd.target);
    theirs.push(await crowd.pace(pace));
    await allStored(crowd.target);
    ours.push(await withoutMongo(stores, crowd, pace));
  }
  await allStored(crowd.target);
  const p99s = (outcomes: readonly Outcome<Paced>[]): number[] => outcomes.map(({ load }) => load.p99Ms);
  const ratios = ratiosOf(p99s(ours), p99s(theirs));
  const name = "p99 with MongoDB stopped";
  return {
    scenario: NAME,
    name,
    unit: "ms",
    rival: "with MongoDB",
    confab: median(p99s(ours)),
    bare: median(p99s(theirs)),
    ratio: median(ratios),
    spread: { confab: spread(p99s(ours)), ratio: spread(ratios) },
    bar: barOf(NAME, name),
    faults: [...faultsAtRate("stopped", ours), ...faultsAtRate("running", theirs)],
    facts: { ...factsOf(ours, theirs, SUBSCRIBERS), offeredPerSecond: LATENCY_SENDS_PER_SECOND * SUBSCRIBERS },
  };
}

async function run(options: Options): Promise<Figure[]> {
  options.progress(`${NAME}: starting Redis, PostgreSQL and FerretDB`);
  return onStores(async (stores, nodes) => {
    const node = await stores.confab();
    nodes.push(node);
    const targets = { stores: node, embedded: await startConfab() };
    // First, while the archive is small: its reads are FerretDB's weakness, and rooms are opened by them.
    const figures = [await costOfSend(stores, targets, options)];
    options.progress(`${NAME}: opening ${SUBSCRIBERS} connections each`);
    const both = await crowds(targets, ROOM);
    figures.push(...(await fanout(both, options)));
    await targets.embedded.end();
    figures.push(await latency(stores, both.stores, options));
    await both.stores.end();
    return figures;
  });
}

export const stores: Scenario = {
  name: NAME,
  about: "one node on Redis, PostgreSQL and FerretDB against itself on embedded stores",
  run,
};
