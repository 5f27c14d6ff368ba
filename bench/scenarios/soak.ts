/**
 * 10 minutes of load while others come and go: memory stays flat, nothing is lost. Rooms are few and busy, so that what
 * is bounded by number (duplicate windows, replay rings) is full after the first fifth and any growth after it is a leak.
 */
import { barOf } from "../bars.ts";
import type { Churned, Pace } from "../client/messages.ts";
import { faultsAtRate } from "../compare.ts";
import { Crowd, type CrowdShape, type Wish } from "../crowd.ts";
import { LoadClient } from "../load.ts";
import { type Figure, median, type Series } from "../report.ts";
import { startConfab, type Target } from "../targets.ts";
import { type Memory, memory } from "../usage.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "soak";
const FIGURE = "memory, last fifth to second fifth";
const ROOMS = 10;
const BODY_BYTES = 128;
const SENDS_PER_SECOND = 1_000;
const SECONDS = 600;
const QUICK_SECONDS = 60;
const READING_SECONDS = 2;
const FIFTHS = 5;
const MEGABYTE = 1_048_576;

/** Those who stay and are counted. */
const SHAPE: CrowdShape = {
  rooms: ROOMS,
  perRoom: 90,
  frontPerRoom: 2,
  frontSampleEvery: 4,
  audienceSampleEvery: 100,
  napMs: 50,
};
/** Those who come and go, each time as a new user who first asks for the last entries. */
const CHURN_PER_ROOM = 10;
const CHURN_PER_SECOND = 20;
const CHURN_LAST = 20;
const CHURN_GROUP = 18;

/** Memory over time, seconds since the begin. */
interface Reading extends Memory {
  readonly at: number;
}

/** Reads the server's memory until the work is over. */
async function readWhile(target: Target, work: Promise<unknown>): Promise<Reading[]> {
  const readings: Reading[] = [];
  const began = performance.now();
  let over = false;
  const finished = work.then(
    () => {
      over = true;
    },
    () => {
      over = true;
    },
  );
  while (!over) {
    readings.push({ at: (performance.now() - began) / 1_000, ...memory(target.pid) });
    await Promise.race([finished, new Promise((resolve) => setTimeout(resolve, READING_SECONDS * 1_000))]);
  }
  return readings;
}

async function comersAndGoers(crowd: Crowd): Promise<LoadClient> {
  const client = new LoadClient();
  const { port, dialect, pid, secret } = crowd.target;
  const place = { port, dialect, serverPid: pid, secret, rooms: crowd.rooms, perRoom: CHURN_PER_ROOM };
  const replay = Object.fromEntries(crowd.rooms.map((room) => [room, { last: CHURN_LAST }]));
  await client.run({ kind: "open", ...place, group: CHURN_GROUP, inFlight: 16, sampleEvery: 0, replay });
  await client.run({ kind: "nap", ms: SHAPE.napMs });
  return client;
}

/** The median of what was read in one fifth of the time, the first being 0. */
function fifth(readings: readonly Reading[], which: number, of: (reading: Reading) => number): number {
  const end = readings.at(-1)?.at ?? 0;
  const within = readings.filter(({ at }) => Math.min(FIFTHS - 1, Math.floor((at / end) * FIFTHS)) === which);
  return median(within.map(of));
}

function seriesOf(readings: readonly Reading[], name: string, of: (reading: Reading) => number): Series {
  return { name, unit: "MB", points: readings.map((reading) => [reading.at, of(reading) / MEGABYTE] as const) };
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const seconds = quick ? QUICK_SECONDS : SECONDS;
  const target = await startConfab();
  const crowd = new Crowd(target, SHAPE);
  await crowd.open();
  const churning = await comersAndGoers(crowd);
  const pace: Wish<Pace> = {
    until: "returned",
    rate: SENDS_PER_SECOND,
    bodyBytes: BODY_BYTES,
    warmSeconds: 0,
    seconds,
  };
  progress(`${NAME}: ${seconds} seconds of load, ${CHURN_PER_SECOND} come and go each second`);
  const loaded = Promise.all([crowd.pace(pace), churning.run({ kind: "churn", perSecond: CHURN_PER_SECOND, seconds })]);
  const readings = await readWhile(target, loaded);
  const [outcome, churned] = await loaded;
  const anonymous = ({ anonymousBytes }: Reading): number => anonymousBytes;
  const [second, last] = [fifth(readings, 1, anonymous), fifth(readings, FIFTHS - 1, anonymous)];
  const { load } = outcome;
  return [
    {
      scenario: NAME,
      name: FIGURE,
      unit: "times",
      confab: last / second,
      bare: null,
      ratio: null,
      bar: barOf(NAME, FIGURE),
      faults: [...faultsAtRate("Confab", [outcome]), ...refused(churned)],
      facts: {
        seconds: load.seconds,
        sendsPerSecond: load.messages / load.seconds,
        deliveriesCounted: outcome.tally.deliveries,
        reopened: churned.reopened,
        anonymousMbSecondFifth: second / MEGABYTE,
        anonymousMbLastFifth: last / MEGABYTE,
        residentMbAtEnd: (readings.at(-1)?.residentBytes ?? 0) / MEGABYTE,
        confabServerShare: load.serverCpuSeconds / load.seconds,
        confabClientShare: load.clientCpuSeconds / load.seconds,
        confabP50Ms: load.p50Ms,
        confabP99Ms: load.p99Ms,
      },
      series: [seriesOf(readings, "memory but for mapped files", anonymous)],
    },
  ];
}

function refused({ failed }: Churned): string[] {
  return failed > 0 ? [`${failed} connections could not be opened`] : [];
}

export const soak: Scenario = { name: NAME, about: "10 minutes with churn: memory flat, nothing lost", run };
