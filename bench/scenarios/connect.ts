/**
 * Server CPU to authenticate, CONNECT and SUBSCRIBE one connection; the bare server only shakes hands and subscribes,
 * the floor also answers both frames, with constants and without a look at them. Then the same with a resume: each connection names a position 50 messages back, and is open when it has them all.
 */
import { barOf } from "../bars.ts";
import type { Open } from "../client/messages.ts";
import { versus } from "../compare.ts";
import { LoadClient } from "../load.ts";
import { type Figure, median, spread } from "../report.ts";
import { seed, startBare, startConfab, startFloor, type Target } from "../targets.ts";
import { cpuSeconds } from "../usage.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "connect";
const PER_ROOM = 100;
const IN_FLIGHT = 64;
const RESUMED = 50;
/** The announcement `resumed`, and the messages. */
const FRAMES_RESUMED = RESUMED + 1;
/** Opens nothing but keeps each room awake, so that what is replayed is in memory. */
const HOLDER_GROUP = 19;
const SAMPLE_EVERY = 100;
/** Work that a server put off is waited for, and counts. */
const TRAILING_MS = 500;
/** Any size will do: nothing is published here. */
const MESSAGE_BYTES = 300;

/** What one opening cost. */
interface Cost {
  readonly serverUs: number;
  readonly clientUs: number;
  readonly perSecond: number;
}

type Place = Pick<Open, "port" | "dialect" | "serverPid" | "secret" | "rooms">;

function placeOf({ port, dialect, pid, secret }: Target, rooms: readonly string[]): Place {
  return { port, dialect, serverPid: pid, secret, rooms };
}

async function open(wish: Omit<Open, "kind" | "perRoom" | "inFlight">, faults: string[]): Promise<Cost> {
  const client = new LoadClient();
  const before = cpuSeconds(wish.serverPid);
  const opened = await client.run({ kind: "open", ...wish, perRoom: PER_ROOM, inFlight: IN_FLIGHT });
  await new Promise((resolve) => setTimeout(resolve, TRAILING_MS));
  const used = cpuSeconds(wish.serverPid) - before;
  const sent = Object.fromEntries(wish.rooms.map((room) => [room, wish.replayed ?? 0]));
  const { lost, doubled, disordered } = await client.run({ kind: "tally", sent });
  if (lost + doubled + disordered > 0) faults.push(`${lost} lost, ${doubled} doubled, ${disordered} out of order`);
  await client.run({ kind: "close" });
  await client.end();
  await new Promise((resolve) => setTimeout(resolve, TRAILING_MS));
  return {
    serverUs: (used / opened.connections) * 1e6,
    clientUs: (opened.clientCpuSeconds / opened.connections) * 1e6,
    perSecond: opened.connections / opened.seconds,
  };
}

/** Rooms with enough in memory to resume from, each held awake, and a position in each. */
async function resumable(confab: Target, count: number): Promise<Pick<Open, "rooms" | "replay" | "replayed">> {
  const rooms = await confab.rooms(count);
  const holder = new LoadClient();
  await holder.run({
    kind: "open",
    ...placeOf(confab, rooms),
    perRoom: 1,
    group: HOLDER_GROUP,
    inFlight: 1,
    sampleEvery: 0,
  });
  const replay: Record<string, { offset: number; term: number }> = {};
  for (const room of rooms) {
    const { offset, term } = await seed(confab, room, RESUMED + 1);
    replay[room] = { offset: offset - RESUMED, term };
  }
  return { rooms, replay, replayed: FRAMES_RESUMED };
}

function us(costs: readonly Cost[]): number[] {
  return costs.map(({ serverUs }) => serverUs);
}

function factsOf(ours: readonly Cost[], theirs: readonly Cost[]): Figure["facts"] {
  const of = (costs: readonly Cost[], what: keyof Cost): number => median(costs.map((cost) => cost[what]));
  return {
    rounds: ours.length,
    confabPerSecond: of(ours, "perSecond"),
    ...(theirs.length > 0 ? { barePerSecond: of(theirs, "perSecond") } : {}),
    clientUs: of(ours, "clientUs"),
  };
}

/** Confab against a rival: CPU of the server per connection. */
function beside(name: string, rival: string, sides: { ours: readonly Cost[]; theirs: readonly Cost[] }): Figure {
  const { ours, theirs } = sides;
  const [our, their, facts] = [us(ours), us(theirs), factsOf(ours, theirs)];
  return versus({ scenario: NAME, name, unit: "us", rival, ours: our, theirs: their, faults: [], facts });
}

function alone(name: string, ours: readonly Cost[], faults: readonly string[]): Figure {
  return {
    scenario: NAME,
    name,
    unit: "us",
    confab: median(us(ours)),
    bare: null,
    ratio: null,
    spread: { confab: spread(us(ours)) },
    bar: barOf(NAME, name),
    faults,
    facts: factsOf(ours, []),
  };
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const [rounds, rooms] = quick ? [2, 20] : [7, 50];
  const [ours, bares, floors, resumes]: [Cost[], Cost[], Cost[], Cost[]] = [[], [], [], []];
  const [faults, resumeFaults]: [string[], string[]] = [[], []];
  const [confab, bare, floor] = [await startConfab(), await startBare(MESSAGE_BYTES, 0), await startFloor()];
  const place = async (target: Target): Promise<Place> => placeOf(target, await target.rooms(rooms));
  const [ourPlace, barePlace, floorPlace] = [await place(confab), await place(bare), await place(floor)];
  const resume = { ...ourPlace, ...(await resumable(confab, rooms)) };
  // The first round warms up. Each round has users of its own, so that nothing is known of them before.
  for (let round = 0; round <= rounds; round += 1) {
    progress(`${NAME}: ${rooms * PER_ROOM} connections four times, round ${round} of ${rounds}`);
    const our = await open({ ...ourPlace, group: round, sampleEvery: 0 }, faults);
    const bareCost = await open({ ...barePlace, group: round, sampleEvery: 0 }, faults);
    const floorCost = await open({ ...floorPlace, group: round, sampleEvery: 0 }, faults);
    const resumed = await open({ ...resume, group: round + rounds + 1, sampleEvery: SAMPLE_EVERY }, resumeFaults);
    if (round === 0) continue;
    ours.push(our);
    bares.push(bareCost);
    floors.push(floorCost);
    resumes.push(resumed);
  }
  const [name, resumeName] = ["server CPU per connection", "the same with a resume of 50"];
  return [
    { ...beside(name, "bare", { ours, theirs: bares }), faults },
    beside("the same beside constant answers", "floor", { ours, theirs: floors }),
    alone(resumeName, resumes, resumeFaults),
  ];
}

export const connect: Scenario = {
  name: NAME,
  about: "CPU to authenticate, CONNECT and SUBSCRIBE, and to resume",
  run,
};
