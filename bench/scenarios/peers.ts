/** One room of 1,000 and one publisher on Confab and on each peer that this machine has, one peer after another. */
import { reasonOf } from "../bars.ts";
import { Crowd, ROOM_OF_1000, SUBSCRIBERS } from "../crowd.ts";
import { centrifugo } from "../peers/centrifugo.ts";
import { blank, duel, fail, type Wish } from "../peers/duel.ts";
import { nats } from "../peers/nats.ts";
import { type Peer, PeerFailed, PeerMissing } from "../peers/peer.ts";
import { rabbitMq } from "../peers/rabbitmq.ts";
import { socketIo } from "../peers/socketio.ts";
import { spring } from "../peers/spring.ts";
import type { Figure } from "../report.ts";
import { startConfab, type Target } from "../targets.ts";
import { cpuSeconds, memory } from "../usage.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "peers";
const BODY_BYTES = 128;
const PEERS: readonly Peer[] = [socketIo, spring, centrifugo, nats, rabbitMq];

const LOAD = { until: "returned", bodyBytes: BODY_BYTES } as const;

/** A server with everybody in its room, and what that took. */
interface Side {
  readonly crowd: Crowd;
  /** Resident megabytes (1,048,576 bytes) of the server with everybody in, nobody having sent yet. */
  readonly idleMb: number;
  /** Growth per connection, kilobytes (1,024 bytes). */
  readonly growthKb: number;
  /** Server CPU to open and subscribe one, microseconds; compilers at run time are still cold. */
  readonly openUs: number;
}

async function fill(target: Target): Promise<Side> {
  const crowd = new Crowd(target, ROOM_OF_1000);
  const [bytesBefore, cpuBefore] = [memory(target.pid).residentBytes, cpuSeconds(target.pid)];
  try {
    await crowd.open();
  } catch (error) {
    await crowd.end();
    throw error;
  }
  const bytes = memory(target.pid).residentBytes;
  return {
    crowd,
    idleMb: megabytes(target),
    growthKb: (bytes - bytesBefore) / 1_024 / SUBSCRIBERS,
    openUs: ((cpuSeconds(target.pid) - cpuBefore) / SUBSCRIBERS) * 1e6,
  };
}

/** Resident megabytes at this moment. */
function megabytes({ pid }: Target): number {
  return memory(pid).residentBytes / 1_048_576;
}

function wishes(peer: Peer, quick: boolean): Wish[] {
  return peer.windows.map((window) => ({
    scenario: NAME,
    peer,
    run: { ...LOAD, window, warmSeconds: quick ? 0.3 : 0.5, seconds: quick ? 0.75 : 1.5 },
    peerSeconds: quick ? peer.seconds / 2 : peer.seconds,
    subscribers: SUBSCRIBERS,
    rounds: quick ? 2 : 3,
  }));
}

/** The figures of loads that were not measured, and why: a fault where there is a bar, else a fact of that peer. */
function unmeasured(asked: readonly Wish[], why: string): Figure[] {
  return asked.map(blank).map((figure) => {
    return figure.bar === null
      ? { ...figure, name: `${figure.name}, not measured: ${why}` }
      : { ...figure, faults: [why] };
  });
}

/** What both hold with everybody in, and after all loads. */
function memoryFigure(peer: Peer, ours: Side, theirs: Side): Figure {
  return {
    scenario: NAME,
    name: `${peer.name}, resident with everybody in`,
    unit: "MB",
    rival: `${peer.name} ${peer.version}`,
    confab: ours.idleMb,
    bare: theirs.idleMb,
    ratio: ours.idleMb / theirs.idleMb,
    bar: null,
    faults: [],
    facts: {
      confabLoadedMb: megabytes(ours.crowd.target),
      bareLoadedMb: megabytes(theirs.crowd.target),
      confabGrowthKb: ours.growthKb,
      bareGrowthKb: theirs.growthKb,
      confabOpenUs: ours.openUs,
      bareOpenUs: theirs.openUs,
    },
  };
}

/** What stands in the table for a peer that this machine has not. Its bars are owed all the same. */
function skipped(peer: Peer, why: string): Figure {
  const nothing = { confab: null, bare: null, ratio: null, bar: null, faults: [], facts: {} };
  return { scenario: NAME, name: `${peer.name} skipped: ${why}`, unit: "-", ...nothing };
}

/** All figures of one peer whose server runs. Once it failed a load, the loads after it are not tried. */
async function meet(peer: Peer, target: Target, ours: Side, { quick, progress }: Options): Promise<Figure[]> {
  const asked = wishes(peer, quick);
  const figures: Figure[] = [];
  let theirs: Side | undefined;
  try {
    theirs = await fill(target).catch(fail);
    const warming = { ...LOAD, window: 16, warmSeconds: 0, seconds: peer.warmSeconds };
    await theirs.crowd.run(warming).catch(fail);
    for (const wish of asked) {
      progress(`${NAME}: ${blank(wish).name}`);
      figures.push(await duel(ours.crowd, theirs.crowd, wish));
    }
    figures.push(memoryFigure(peer, ours, theirs));
  } catch (error) {
    if (!(error instanceof PeerFailed)) throw error;
    figures.push(...unmeasured(asked.slice(figures.length), error.message));
  } finally {
    await theirs?.crowd.end();
  }
  return figures;
}

/** Starts a peer, measures it and ends it; whatever it cannot do is a figure at fault, and no end of the scenario. */
async function visit(peer: Peer, ours: Side, options: Options): Promise<Figure[]> {
  const { progress, quick } = options;
  progress(`${NAME}: starting ${peer.name}`);
  let target: Target;
  try {
    target = await peer.start();
  } catch (error) {
    if (error instanceof PeerMissing) return [skipped(peer, error.message)];
    return unmeasured(wishes(peer, quick), reasonOf(error));
  }
  try {
    return await meet(peer, target, ours, options);
  } finally {
    await target.end();
  }
}

async function run(options: Options): Promise<Figure[]> {
  const ours = await fill(await startConfab());
  await ours.crowd.run({ ...LOAD, window: 16, warmSeconds: 0, seconds: 1 });
  const figures: Figure[] = [];
  for (const peer of PEERS) figures.push(...(await visit(peer, ours, options)));
  await ours.crowd.end();
  return figures;
}

export const peers: Scenario = { name: NAME, about: "one room of 1,000 on each peer that this machine has", run };
