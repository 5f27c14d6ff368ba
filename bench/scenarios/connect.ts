/** Server CPU to authenticate, CONNECT and SUBSCRIBE one connection; the bare server only shakes hands and subscribes. */
import { LoadClient } from "../load.ts";
import { type Figure, median } from "../report.ts";
import { startBare, startConfab, type Target } from "../targets.ts";
import { cpuSeconds } from "../usage.ts";
import type { Options, Scenario } from "./scenario.ts";

const PER_ROOM = 100;
const IN_FLIGHT = 64;
const US_MOST = 60;
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

async function open(target: Target, rooms: readonly string[], group: number): Promise<Cost> {
  const client = new LoadClient();
  const { port, dialect, pid, secret } = target;
  const before = cpuSeconds(pid);
  const opened = await client.run({
    kind: "open",
    port,
    dialect,
    serverPid: pid,
    secret,
    rooms,
    perRoom: PER_ROOM,
    group,
    inFlight: IN_FLIGHT,
    sampleEvery: 0,
  });
  await new Promise((resolve) => setTimeout(resolve, TRAILING_MS));
  const used = cpuSeconds(pid) - before;
  await client.run({ kind: "close" });
  await client.end();
  await new Promise((resolve) => setTimeout(resolve, TRAILING_MS));
  return {
    serverUs: (used / opened.connections) * 1e6,
    clientUs: (opened.clientCpuSeconds / opened.connections) * 1e6,
    perSecond: opened.connections / opened.seconds,
  };
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const [rounds, rooms] = quick ? [3, 20] : [7, 50];
  const confab = await startConfab();
  const bare = await startBare(MESSAGE_BYTES, 0);
  const [ourRooms, theirRooms] = [await confab.rooms(rooms), await bare.rooms(rooms)];
  const [ours, theirs]: [Cost[], Cost[]] = [[], []];
  // The first round warms both up. Each round has users of its own, so that nothing is known of them before.
  for (let round = 0; round <= rounds; round += 1) {
    progress(`connect: ${rooms * PER_ROOM} connections each, round ${round} of ${rounds}`);
    const [our, their] = [await open(confab, ourRooms, round), await open(bare, theirRooms, round)];
    if (round === 0) continue;
    ours.push(our);
    theirs.push(their);
  }
  const of = (costs: readonly Cost[], what: keyof Cost): number => median(costs.map((cost) => cost[what]));
  return [
    {
      scenario: "connect",
      name: "server CPU per connection",
      unit: "us",
      confab: of(ours, "serverUs"),
      bare: of(theirs, "serverUs"),
      ratio: median(ours.map((cost, i) => cost.serverUs / (theirs[i]?.serverUs ?? Number.NaN))),
      bar: { on: "confab", most: US_MOST },
      faults: [],
      facts: {
        rounds,
        connections: rooms * PER_ROOM,
        confabLowestUs: Math.min(...ours.map((cost) => cost.serverUs)),
        confabHighestUs: Math.max(...ours.map((cost) => cost.serverUs)),
        confabPerSecond: of(ours, "perSecond"),
        barePerSecond: of(theirs, "perSecond"),
        clientUs: of(ours, "clientUs"),
      },
    },
  ];
}

export const connect: Scenario = { name: "connect", about: "CPU to authenticate, CONNECT and SUBSCRIBE", run };
