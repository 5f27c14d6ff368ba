/** Resident memory of an idle, authenticated, subscribed connection, at 10,000 of them. */
import { LoadClient } from "../load.ts";
import type { Figure } from "../report.ts";
import { startBare, startConfab, type Target } from "../targets.ts";
import { type Memory, memory } from "../usage.ts";
import type { Options, Scenario } from "./scenario.ts";

const CONNECTIONS = 10_000;
const ROOMS = 10;
/** Opened and closed before the first reading, so that compiled code and first buffers are not counted as connections. */
const WARM_UP = 500;
/** Open at the reading from which the slope is taken. */
const FIRST_PART = 2_000;
const IN_FLIGHT = 64;
const KB_MOST = 4;
const MESSAGE_BYTES = 300;

const STEADY_READINGS = 4;
const STEADY_BYTES = 262_144;
const READING_MS = 500;
const SETTLE_LIMIT_MS = 40_000;

/** Kilobytes (1,024 bytes) per connection. */
interface Cost {
  /** All growth from the warmed-up, empty server. */
  readonly residentKb: number;
  readonly anonymousKb: number;
  /** Growth from the 2,000th connection to the last, where what a server pays only once is behind it. */
  readonly slopeKb: number;
  readonly emptyMb: number;
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

async function measure(target: Target, settleMs: number): Promise<Cost> {
  const rooms = await target.rooms(ROOMS);
  const client = new LoadClient();
  const open = async (connections: number, group: number): Promise<void> => {
    const { port, dialect, pid, secret } = target;
    const common = {
      kind: "open",
      port,
      dialect,
      serverPid: pid,
      secret,
      inFlight: IN_FLIGHT,
      sampleEvery: 0,
    } as const;
    await client.run({ ...common, rooms, perRoom: connections / ROOMS, group });
  };
  await open(WARM_UP, 0);
  await client.run({ kind: "close" });
  const empty = await settled(target.pid, settleMs);
  await open(FIRST_PART, 1);
  const part = await settled(target.pid, settleMs);
  await open(CONNECTIONS - FIRST_PART, 1);
  const full = await settled(target.pid, settleMs);
  await client.run({ kind: "mark" });
  await client.run({ kind: "tally", sent: {} });
  await client.end();
  const kb = (bytes: number, connections: number): number => bytes / 1_024 / connections;
  return {
    residentKb: kb(full.residentBytes - empty.residentBytes, CONNECTIONS),
    anonymousKb: kb(full.anonymousBytes - empty.anonymousBytes, CONNECTIONS),
    slopeKb: kb(full.residentBytes - part.residentBytes, CONNECTIONS - FIRST_PART),
    emptyMb: empty.residentBytes / 1_048_576,
  };
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const settleMs = quick ? 2_000 : 10_000;
  progress(`memory: ${CONNECTIONS} idle connections to the bare server`);
  const bare = await startBare(MESSAGE_BYTES, 0);
  const theirs = await measure(bare, settleMs);
  await bare.end();
  progress(`memory: ${CONNECTIONS} idle connections to Confab`);
  const confab = await startConfab();
  const ours = await measure(confab, settleMs);
  return [
    {
      scenario: "memory",
      name: "resident per idle connection",
      unit: "KB",
      confab: ours.residentKb,
      bare: theirs.residentKb,
      ratio: ours.residentKb / theirs.residentKb,
      bar: { on: "confab", most: KB_MOST },
      faults: [],
      facts: {
        connections: CONNECTIONS,
        confabAnonymousKb: ours.anonymousKb,
        bareAnonymousKb: theirs.anonymousKb,
        confabSlopeKb: ours.slopeKb,
        bareSlopeKb: theirs.slopeKb,
        confabEmptyMb: ours.emptyMb,
        bareEmptyMb: theirs.emptyMb,
      },
    },
  ];
}

export const idle: Scenario = { name: "memory", about: "resident memory of 10,000 idle connections", run };
