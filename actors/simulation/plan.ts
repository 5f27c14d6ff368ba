/** What a run is made of, drawn from its seed: the cluster, its weather, and what befalls it when. */
import { LIMITS, type Limits } from "../limits.ts";
import type { Chance } from "./chance.ts";
import type { Weather } from "./network.ts";

/** What may befall a cluster. */
export const FAULTS = [
  "crash",
  "end",
  "join",
  "stand",
  "cutRedis",
  "cutMongo",
  "cutBoth",
  "redisDown",
  "mongoDown",
  "stepDown",
  "wipe",
  "forget",
  "loss",
  "failures",
  "slowness",
] as const;

/** One kind of fault. */
export type FaultKind = (typeof FAULTS)[number];

/** Kinds in which Redis loses data. */
export const LOSSES: readonly FaultKind[] = ["wipe", "forget"];

/** Something that befalls the cluster. */
export interface Fault {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly lastsMs: number;
}

/** A run. */
export interface Plan {
  readonly shards: number;
  readonly nodes: number;
  readonly clients: number;
  /** How long clients act and faults befall, ms. */
  readonly actsMs: number;
  /** Mean pause between two acts of a client, ms. */
  readonly pauseMs: number;
  /** Share of the rooms that a client listens to, and how ready it is to leave one, by weight. */
  readonly listening: number;
  readonly leaving: number;
  /** Clocks differ by up to this share, and wall clocks by so much, ms. */
  readonly drift: number;
  readonly wallMs: number;
  readonly limits: Limits;
  readonly weather: Weather;
  readonly faults: readonly Fault[];
  /** Whether all must be let go of in the end, too. */
  readonly toTheEnd: boolean;
}

/** How long each kind lasts, ms. */
const LASTS: Readonly<Record<FaultKind, readonly [number, number]>> = {
  crash: [50, 2_500],
  end: [0, 2_000],
  join: [0, 0],
  stand: [200, 8_000],
  cutRedis: [300, 8_000],
  cutMongo: [300, 5_000],
  cutBoth: [300, 8_000],
  redisDown: [100, 4_000],
  mongoDown: [200, 5_000],
  stepDown: [50, 3_000],
  wipe: [0, 800],
  forget: [20, 1_200],
  loss: [500, 4_000],
  failures: [300, 3_000],
  slowness: [500, 3_000],
};

/** What a caller may fix. */
export interface PlanOptions {
  /** Only these kinds; none for a calm run. Drawn when left out. */
  readonly kinds?: readonly FaultKind[] | undefined;
}

/** Draws a run. */
export function drawPlan(chance: Chance, { kinds }: PlanOptions = {}): Plan {
  const allowed = kinds ?? drawKinds(chance);
  const calm = allowed.length === 0;
  const actsMs = chance.between(6_000, 11_000);
  const count = calm ? 0 : chance.whole(1, 6);
  // In a quiet cluster rooms fall asleep, and wake.
  const quiet = chance.happens(0.25);
  const faults = Array.from({ length: count }, (): Fault => {
    const kind = chance.pick(allowed);
    const [least, most] = LASTS[kind];
    return { kind, atMs: chance.between(500, actsMs), lastsMs: chance.between(least, most) };
  });
  return {
    shards: 4,
    nodes: 3,
    clients: chance.whole(6, 9),
    actsMs,
    pauseMs: chance.between(500, 900) * (quiet ? 1.5 : 1),
    listening: quiet ? 0.15 : 0.7,
    leaving: quiet ? 12 : 2,
    drift: calm ? 0 : chance.pick([0, 0.001, 0.01]),
    wallMs: calm ? 0 : chance.pick([0, 20, 2_000]),
    limits: drawLimits(chance),
    weather: {
      leastMs: chance.between(0.1, 1),
      moreMs: chance.between(0.5, 8),
      slow: calm ? 0 : chance.pick([0, 0.01, 0.05]),
      slowMs: chance.pick([30, 150, 600]),
      archiveMs: calm ? 0 : chance.pick([0, 0, 20, 150]),
      replicationMs: calm || !allowed.includes("stepDown") ? 0 : chance.pick([10, 50, 300]),
      lost: calm || !allowed.includes("loss") ? 0 : chance.pick([0, 0, 0.02, 0.15]),
      failed: calm || !allowed.includes("failures") ? 0 : chance.pick([0, 0, 0.01, 0.04]),
    },
    faults: faults.sort((a, b) => a.atMs - b.atMs),
    toTheEnd: chance.happens(0.25),
  };
}

/** Few kinds at a time show more than all at once; a calm run now and then, and half of them without a loss. */
function drawKinds(chance: Chance): readonly FaultKind[] {
  if (chance.happens(0.06)) return [];
  const lossy = chance.happens(0.4);
  const share = chance.pick([0.2, 0.4, 0.8]);
  const kinds = FAULTS.filter((kind) => (lossy || !LOSSES.includes(kind)) && chance.happens(share));
  if (lossy && !kinds.some((kind) => LOSSES.includes(kind))) return [...kinds, chance.pick(LOSSES)];
  return kinds;
}

/** Small bounds, so that a short run meets them. */
function drawLimits(chance: Chance): Limits {
  return {
    ...LIMITS,
    sendsPerSecond: 0,
    roomIdleMs: chance.pick([700, 2_000, 30_000]),
    presenceGraceMs: 1_000,
    typingMs: 2_000,
    markerFlushMs: 300,
    replayKeep: chance.pick([4, 16, 128]),
    replayBytes: chance.pick([1, LIMITS.replayBytes, LIMITS.replayBytes]),
    batchEntries: chance.pick([2, 8, 512]),
    lanes: chance.pick([1, 2, 4]),
    windowBytes: chance.pick([2_000, 134_217_728, 134_217_728]),
    pendingEntries: chance.pick([60, 50_000, 50_000]),
  };
}
