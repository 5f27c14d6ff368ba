/**
 * Server CPU to authenticate, CONNECT and SUBSCRIBE one connection; the bare server only shakes hands and subscribes.
 * Then the same with a resume: each connection names a position 50 messages back, and is open when it has them all.
 */
import { barOf } from "../bars.ts";
import type { Open } from "../client/messages.ts";
import { ratiosOf } from "../compare.ts";
import { LoadClient } from "../load.ts";
import { type Figure, median, spread } from "../report.ts";
import { seed, startBare, startConfab, type Target } from "../targets.ts";
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

function figure(name: string, ours: readonly Cost[], theirs: readonly Cost[], faults: readonly string[]): Figure {
  const of = (costs: readonly Cost[], what: keyof Cost): number => median(costs.map((cost) => cost[what]));
  const us = (costs: readonly Cost[]): number[] => costs.map(({ serverUs }) => serverUs);
  const ratios = ratiosOf(us(ours), us(theirs));
  const beside = theirs.length > 0;
  return {
    scenario: NAME,
    name,
    unit: "us",
    confab: of(ours, "serverUs"),
    bare: beside ? of(theirs, "serverUs") : null,
    ratio: beside ? median(ratios) : null,
    spread: { confab: spread(us(ours)), ...(beside ? { ratio: spread(ratios) } : {}) },
    bar: barOf(NAME, name),
    faults,
    facts: {
      rounds: ours.length,
      confabPerSecond: of(ours, "perSecond"),
      ...(beside ? { barePerSecond: of(theirs, "perSecond") } : {}),
      clientUs: of(ours, "clientUs"),
    },
  };
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const [rounds, rooms] = quick ? [2, 20] : [7, 50];
  const [ours, theirs, resumes]: [Cost[], Cost[], Cost[]] = [[], [], []];
  const [faults, resumeFaults]: [string[], string[]] = [[], []];
  const confab = await startConfab();
  const bare = await startBare(MESSAGE_BYTES, 0);
  const [ourPlace, theirPlace] = [placeOf(confab, await confab.rooms(rooms)), placeOf(bare, await bare.rooms(rooms))];
  const resume = { ...ourPlace, ...(await resumable(confab, rooms)) };
  // The first round warms up. Each round has users of its own, so that nothing is known of them before.
  for (let round = 0; round <= rounds; round += 1) {
    progress(`${NAME}: ${rooms * PER_ROOM} connections three times, round ${round} of ${rounds}`);
    const our = await open({ ...ourPlace, group: round, sampleEvery: 0 }, faults);
    const their = await open({ ...theirPlace, group: round, sampleEvery: 0 }, faults);
    const resumed = await open({ ...resume, group: round + rounds + 1, sampleEvery: SAMPLE_EVERY }, resumeFaults);
    if (round === 0) continue;
    ours.push(our);
    theirs.push(their);
    resumes.push(resumed);
  }
  return [
    figure("server CPU per connection", ours, theirs, faults),
    figure("the same with a resume of 50", resumes, [], resumeFaults),
  ];
}

export const connect: Scenario = {
  name: NAME,
  about: "CPU to authenticate, CONNECT and SUBSCRIBE, and to resume",
  run,
};
