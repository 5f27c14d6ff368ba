/** Resident memory of an idle, authenticated, subscribed connection, at 10,000 and at 19,000 of them. */
import { barOf } from "../bars.ts";
import { LoadClient } from "../load.ts";
import type { Figure } from "../report.ts";
import { startBare, startConfab, type Target } from "../targets.ts";
import { type Memory, memory } from "../usage.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "memory";
const ROOMS = 10;
/** Opened and closed before the first reading, so that compiled code and first buffers are not counted as connections. */
const WARM_UP = 500;
/**
 * Open at each reading, of two load clients. The slope is taken from the first on, where what a server pays only once is
 * behind it; a figure is all growth from none.
 */
const STEPS = [2_000, 10_000, 19_000] as const;
const FIGURES = [10_000, 19_000] as const;
/** More are opened by a second load client, as a process may not have more than 20,000 files everywhere. */
const PER_CLIENT = 10_000;
const IN_FLIGHT = 64;
const MESSAGE_BYTES = 300;

const STEADY_READINGS = 4;
const STEADY_BYTES = 262_144;
const READING_MS = 500;
const SETTLE_LIMIT_MS = 40_000;

/** Memory with none open and at each step. */
interface Readings {
  readonly empty: Memory;
  readonly open: ReadonlyMap<number, Memory>;
}

/** Waits at least `leastMs`, then until some readings in a row agree; an idle server gives memory back late. */
async function settled(pid: number, leastMs: number): Promise<Memory> {
  const began = performance.now();
  const last: Memory[] = [];
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, READING_MS));
    const reading = memory(pid);
    last.push(reading);
    if (last.length > STEADY_READINGS) last.shift();
    const sizes = last.map((each) => each.residentBytes);
    const steady = last.length === STEADY_READINGS && Math.max(...sizes) - Math.min(...sizes) <= STEADY_BYTES;
    const waited = performance.now() - began;
    if ((steady && waited >= leastMs) || waited > SETTLE_LIMIT_MS) return reading;
  }
}

async function measure(target: Target, settleMs: number): Promise<Readings> {
  const rooms = await target.rooms(ROOMS);
  const clients = [new LoadClient(), new LoadClient()] as const;
  const { port, dialect, pid, secret } = target;
  const place = { port, dialect, serverPid: pid, secret, rooms, inFlight: IN_FLIGHT, sampleEvery: 0 } as const;
  const add = async (connections: number, which: 0 | 1, group: number): Promise<void> => {
    await clients[which].run({ kind: "open", ...place, perRoom: connections / ROOMS, group });
  };
  await add(WARM_UP, 0, 0);
  await clients[0].run({ kind: "close" });
  const empty = await settled(pid, settleMs);
  const open = new Map<number, Memory>();
  let before = 0;
  for (const step of STEPS) {
    const which = before < PER_CLIENT ? 0 : 1;
    await add(step - before, which, 1 + which);
    open.set(step, await settled(pid, settleMs));
    before = step;
  }
  for (const client of clients) {
    await client.run({ kind: "mark" });
    await client.run({ kind: "tally", sent: {} });
    await client.end();
  }
  return { empty, open };
}

/** Kilobytes (1,024 bytes) per connection, of all growth from none to `count`, or from the first step on. */
function perConnection(readings: Readings, count: number, of: (memory: Memory) => number, from = 0): number {
  const [high, low] = [readings.open.get(count), from === 0 ? readings.empty : readings.open.get(from)];
  if (high === undefined || low === undefined) throw new Error(`nothing was read with ${count} open`);
  return (of(high) - of(low)) / 1_024 / (count - from);
}

function figure(ours: Readings, theirs: Readings, count: number): Figure {
  const resident = ({ residentBytes }: Memory): number => residentBytes;
  const anonymous = ({ anonymousBytes }: Memory): number => anonymousBytes;
  const name = `per connection, ${count.toLocaleString("en")} idle`;
  const [confab, bare] = [perConnection(ours, count, resident), perConnection(theirs, count, resident)];
  return {
    scenario: NAME,
    name,
    unit: "KB",
    confab,
    bare,
    ratio: confab / bare,
    bar: barOf(NAME, name),
    faults: [],
    facts: {
      connections: count,
      confabAnonymousKb: perConnection(ours, count, anonymous),
      bareAnonymousKb: perConnection(theirs, count, anonymous),
      confabSlopeKb: perConnection(ours, count, resident, STEPS[0]),
      bareSlopeKb: perConnection(theirs, count, resident, STEPS[0]),
      confabEmptyMb: ours.empty.residentBytes / 1_048_576,
      bareEmptyMb: theirs.empty.residentBytes / 1_048_576,
    },
  };
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const settleMs = quick ? 2_000 : 6_000;
  progress(`${NAME}: ${STEPS.at(-1)} idle connections to the bare server`);
  const bare = await startBare(MESSAGE_BYTES, 0);
  const theirs = await measure(bare, settleMs);
  await bare.end();
  progress(`${NAME}: ${STEPS.at(-1)} idle connections to Confab`);
  const ours = await measure(await startConfab(), settleMs);
  return FIGURES.map((count) => figure(ours, theirs, count));
}

export const idle: Scenario = { name: NAME, about: "resident memory of 10,000 and 19,000 idle connections", run };
