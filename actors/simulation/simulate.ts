/**
 * The simulator: a whole cluster on one thread, under faults, the same for the same seed (issue 5). It runs the
 * nodes as they are, over simulated stores, clocks, network and clients, and judges what they promised.
 */
import { Chance } from "./chance.ts";
import { drawPlan, type PlanOptions } from "./plan.ts";
import { settle } from "./settle.ts";
import { World } from "./world.ts";

/** How a run is made. */
export interface SimulateOptions extends PlanOptions {
  /** Whether the story is kept; without it only its hash is. */
  readonly story?: boolean;
}

/** What a run came to. */
export interface Outcome {
  readonly seed: number;
  /** The promise that was broken first; undefined when all were kept. */
  readonly breach: string | undefined;
  /** Of the story: equal for equal seeds. */
  readonly hash: string;
  readonly story: readonly string[];
  /** Kinds of faults that befell it, in order. */
  readonly faults: readonly string[];
  readonly counts: Readonly<Record<"sends" | "streams" | "entries" | "turns" | "simulatedMs", number>>;
}

/** Runs one world from its seed. Never rejects for what the engine does: that is a breach. */
export async function simulate(seed: number, options: SimulateOptions = {}): Promise<Outcome> {
  const chance = new Chance(seed);
  const plan = drawPlan(chance, options);
  const world = new World(plan, chance, { kept: options.story ?? false });
  try {
    await world.run();
    if (world.judge.breach === undefined) await settle(world);
  } catch (error) {
    world.judge.breaks(`a fault of ours: ${(error as Error).stack}`);
  }
  const { judge, story, time } = world;
  if (judge.breach !== undefined) judge.tellLogs();
  return {
    seed,
    breach: judge.breach,
    hash: story.hash,
    story: story.lines,
    faults: plan.faults.map(({ kind }) => kind),
    counts: { ...judge.counts, turns: time.turns, simulatedMs: Math.round(time.nowMs) },
  };
}
