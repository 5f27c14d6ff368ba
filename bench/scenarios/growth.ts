/**
 * What a delivery costs when there is more of everything: first with 10 rooms, then with 10,000; first with 100
 * connections, then with 19,000. Both servers are offered the same rate throughout, so that turns of the event loop bring
 * as much as before, and the bare server's own growth is what the kernel and the caches do to anyone.
 */
import type { Paced } from "../client/messages.ts";
import { cost, faultsAtRate, ratiosOf, versus } from "../compare.ts";
import { atRate, Crowd, type CrowdShape, type Outcome } from "../crowd.ts";
import { type Figure, median } from "../report.ts";
import { startBare, startConfab, type Target } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "growth";
/** Near what Confab's MESSAGE frames have with such a body. */
const MESSAGE_BYTES = 330;
const SENDS_PER_SECOND = 3_000;

/** One thing that grows. */
interface Growth {
  readonly name: string;
  readonly perRoom: number;
  readonly fewRooms: number;
  readonly manyRooms: number;
}

const GROWTHS: readonly Growth[] = [
  // Rooms of one, as more would not fit: here a delivery carries the whole cost of its SEND.
  { name: "10 to 10,000 rooms", perRoom: 1, fewRooms: 10, manyRooms: 10_000 },
  { name: "100 to 19,000 connections", perRoom: 10, fewRooms: 10, manyRooms: 1_900 },
];

function shape(rooms: number, perRoom: number): CrowdShape {
  return {
    rooms,
    perRoom,
    frontPerRoom: 1,
    frontSampleEvery: Math.ceil(rooms / 20),
    audienceSampleEvery: 500,
    napMs: 150,
  };
}

/** What a SEND with its deliveries cost each time, microseconds, and what went wrong. */
interface Costs {
  readonly us: number[];
  readonly faults: string[];
  readonly serverShare: number;
  readonly clientShare: number;
}

async function measure(target: Target, crowdShape: CrowdShape, rounds: number, seconds: number): Promise<Costs> {
  const crowd = new Crowd(target, crowdShape);
  await crowd.open();
  const pace = atRate(SENDS_PER_SECOND, seconds);
  const outcomes: Outcome<Paced>[] = [];
  for (let round = 0; round < rounds; round += 1) outcomes.push(await crowd.pace(pace));
  await crowd.end();
  const share = (whose: "serverCpuSeconds" | "clientCpuSeconds"): number =>
    median(outcomes.map(({ load }) => load[whose] / load.seconds));
  return {
    us: outcomes.map(cost),
    faults: faultsAtRate(`${target.name}, ${crowdShape.rooms} rooms`, outcomes),
    serverShare: share("serverCpuSeconds"),
    clientShare: share("clientCpuSeconds"),
  };
}

async function grow(growth: Growth, { quick, progress }: Options): Promise<Figure> {
  const { name, perRoom, fewRooms, manyRooms } = growth;
  const [rounds, seconds] = quick ? [1, 2] : [3, 3];
  const costs: Record<string, readonly [Costs, Costs]> = {};
  for (const start of [startConfab, () => startBare(MESSAGE_BYTES, 0)]) {
    const target = await start();
    progress(`${NAME}: ${name}, few, ${target.name}`);
    const few = await measure(target, shape(fewRooms, perRoom), rounds, seconds);
    progress(`${NAME}: ${name}, many, ${target.name}`);
    costs[target.name] = [few, await measure(target, shape(manyRooms, perRoom), rounds, seconds)];
    await target.end();
  }
  const [ours, theirs] = [costs["confab"], costs["bare"]];
  if (ours === undefined || theirs === undefined) throw new Error("a server was not measured");
  const growths = ([few, many]: readonly [Costs, Costs]): number[] => ratiosOf(many.us, few.us);
  return versus({
    scenario: NAME,
    name,
    unit: "times the cost",
    ours: growths(ours),
    theirs: growths(theirs),
    faults: [...ours, ...theirs].flatMap(({ faults }) => faults),
    facts: {
      rounds,
      sendsPerSecond: SENDS_PER_SECOND,
      confabFewUs: median(ours[0].us) / perRoom,
      confabManyUs: median(ours[1].us) / perRoom,
      bareFewUs: median(theirs[0].us) / perRoom,
      bareManyUs: median(theirs[1].us) / perRoom,
      confabServerShare: ours[1].serverShare,
      confabClientShare: ours[1].clientShare,
      bareServerShare: theirs[1].serverShare,
      bareClientShare: theirs[1].clientShare,
    },
  });
}

async function run(options: Options): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const growth of GROWTHS) figures.push(await grow(growth, options));
  return figures;
}

export const growth: Scenario = { name: NAME, about: "cost of a delivery with many rooms and many connections", run };
