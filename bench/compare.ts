/** Confab and the bare server in turn, A B A B, so that what disturbs the machine disturbs both alike. */
import { barOf } from "./bars.ts";
import type { Load, Pace, Paced } from "./client/messages.ts";
import type { Crowd, Outcome, RunWish, Wish } from "./crowd.ts";
import { type Figure, median, spread } from "./report.ts";

/**
 * Shares of a core. These loads saturate a server: one that used less was held back by something else, by the load
 * clients if they used more than theirs, and its rate says nothing.
 */
const CLIENT_SHARE_MAX = 0.95;
const SERVER_SHARE_MIN = 0.85;
/** Of the messages due at a rate, those that must have come back within the timed part; else the server fell behind. */
const KEPT_UP_MIN = 0.97;

/** A run to be done on both. */
export interface Comparison {
  readonly scenario: string;
  readonly name: string;
  readonly unit: string;
  readonly run: RunWish;
  readonly rounds: number;
  /** How much one message counts in the figure: 1, or the receivers of each. */
  readonly weight: number;
  /** Whom Confab is measured against, where that is not the bare server. */
  readonly rival?: string;
  /** What has to be over before either runs. */
  readonly ready?: () => Promise<void>;
}

/** Latency at a rate, to be measured on both. */
export interface LatencyComparison {
  readonly scenario: string;
  readonly name: string;
  readonly pace: Wish<Pace>;
  readonly rounds: number;
  readonly weight: number;
}

const share = (outcomes: readonly Outcome[], whose: "serverCpuSeconds" | "clientCpuSeconds"): number =>
  median(outcomes.map(({ load }) => load[whose] / load.seconds));

/** Microseconds of the server's CPU for one message. */
export function cost({ load }: Outcome): number {
  return (load.serverCpuSeconds / load.messages) * 1e6;
}

/** What went missing, came twice or out of order or was refused, in sentences; none if all is well. */
export function losses(name: string, outcomes: readonly Outcome[]): string[] {
  const found: string[] = [];
  const count = (what: string, of: (outcome: Outcome) => number): void => {
    const sum = outcomes.reduce((total, outcome) => total + of(outcome), 0);
    if (sum > 0) found.push(`${name}: ${sum} ${what}`);
  };
  count("lost", ({ tally }) => tally.lost);
  count("doubled", ({ tally }) => tally.doubled);
  count("out of order", ({ tally }) => tally.disordered);
  count("refused", ({ load }) => load.refused);
  count("unanswered", ({ load }) => load.unanswered);
  return found;
}

/** Losses of saturating runs, and whether the server was the limit in them. */
function faults(name: string, outcomes: readonly Outcome[]): string[] {
  const found = losses(name, outcomes);
  const [client, server] = [share(outcomes, "clientCpuSeconds"), share(outcomes, "serverCpuSeconds")];
  if (server < SERVER_SHARE_MIN) {
    const why = client > CLIENT_SHARE_MAX ? "the load client was the limit" : "something else used the cores";
    found.push(`${name}: the server had ${Math.round(server * 100)}% of its core, ${why}`);
  }
  return found;
}

/** Losses of runs at a rate, and whether the server kept up with it and the load clients with the server. */
export function faultsAtRate(name: string, outcomes: readonly Outcome<Paced>[]): string[] {
  const found = losses(name, outcomes);
  const kept = median(outcomes.map(({ load }) => load.messages / load.due));
  if (kept < KEPT_UP_MIN)
    found.push(`${name}: only ${Math.round(kept * 100)}% came back in time, it could not keep up`);
  const client = share(outcomes, "clientCpuSeconds");
  if (client > CLIENT_SHARE_MAX)
    found.push(`${name}: the load clients used ${Math.round(client * 100)}% of their core`);
  return found;
}

/** What every comparison of runs says beside its figure. */
export function factsOf(ours: readonly Outcome[], theirs: readonly Outcome[], weight: number): Record<string, number> {
  const both = { confab: ours, bare: theirs };
  const facts: Record<string, number> = { rounds: ours.length };
  for (const [name, outcomes] of Object.entries(both)) {
    const of = (what: (load: Load) => number): number => median(outcomes.map(({ load }) => what(load)));
    facts[`${name}ServerUs`] = median(outcomes.map(cost)) / weight;
    facts[`${name}ServerShare`] = share(outcomes, "serverCpuSeconds");
    facts[`${name}ClientShare`] = share(outcomes, "clientCpuSeconds");
    facts[`${name}P50Ms`] = of(({ p50Ms }) => p50Ms);
    facts[`${name}P99Ms`] = of(({ p99Ms }) => p99Ms);
  }
  return {
    ...facts,
    deliveriesCounted: ours.reduce((sum, { tally }) => sum + tally.deliveries, 0),
    connectionsReadInFull: ours[0]?.tally.sampled ?? 0,
    messageBytes: ours[0]?.tally.messageBytes ?? 0,
    receiptBytes: ours[0]?.tally.receiptBytes ?? 0,
  };
}

/** Runs both in turn as often as wished; each is told the round, from 1 on. */
export async function inTurn<T>(
  rounds: number,
  our: (round: number) => Promise<T>,
  their: (round: number) => Promise<T>,
): Promise<[T[], T[]]> {
  const [ours, theirs]: [T[], T[]] = [[], []];
  for (let round = 1; round <= rounds; round += 1) {
    ours.push(await our(round));
    theirs.push(await their(round));
  }
  return [ours, theirs];
}

/** Our value over theirs, round by round. */
export function ratiosOf(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.map((value, i) => value / (theirs[i] ?? Number.NaN));
}

/** Values of two sides, one of each for every round. */
export interface Versus {
  readonly scenario: string;
  readonly name: string;
  readonly unit: string;
  /** Whom Confab is measured against, where that is not the bare server. */
  readonly rival?: string | undefined;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  readonly faults: readonly string[];
  readonly facts: Figure["facts"];
}

/** The figure of two sides: medians, and the median of the ratios of each round. */
export function versus({ scenario, name, unit, rival, ours, theirs, faults, facts }: Versus): Figure {
  const ratios = ratiosOf(ours, theirs);
  return {
    scenario,
    name,
    unit,
    ...(rival === undefined ? {} : { rival }),
    confab: median(ours),
    bare: median(theirs),
    ratio: median(ratios),
    spread: { confab: spread(ours), ratio: spread(ratios) },
    bar: barOf(scenario, name),
    faults,
    facts,
  };
}

/** Open-loop load on two sides, one run of each for every round. */
export interface Latencies {
  readonly scenario: string;
  readonly name: string;
  readonly rival?: string;
  /** What the sides are called in a fault. */
  readonly sides: readonly [string, string];
  readonly ours: readonly Outcome<Paced>[];
  readonly theirs: readonly Outcome<Paced>[];
  /** Receivers of each message. */
  readonly weight: number;
  /** Further facts and faults. */
  readonly facts: Figure["facts"];
  readonly faults?: readonly string[];
}

/** The figure of the 99th percentiles of two sides, ms. */
export function versusP99(wish: Latencies): Figure {
  const { scenario, name, rival, sides, ours, theirs, weight } = wish;
  const p99s = (outcomes: readonly Outcome[]): number[] => outcomes.map(({ load }) => load.p99Ms);
  const lateness = [...ours, ...theirs].map(({ load }) => load.lateP99Ms);
  return versus({
    scenario,
    name,
    unit: "ms",
    rival,
    ours: p99s(ours),
    theirs: p99s(theirs),
    faults: [...faultsAtRate(sides[0], ours), ...faultsAtRate(sides[1], theirs), ...(wish.faults ?? [])],
    facts: { ...factsOf(ours, theirs, weight), lateP99Ms: median(lateness), ...wish.facts },
  });
}

/** Saturates both in turn and makes one figure of their rates. */
export async function compare(confab: Crowd, bare: Crowd, wish: Comparison): Promise<Figure> {
  const { scenario, name, unit, rounds, weight, rival, ready = () => Promise.resolve() } = wish;
  const [ours, theirs] = await inTurn(
    rounds,
    () => ready().then(() => confab.run(wish.run)),
    () => ready().then(() => bare.run(wish.run)),
  );
  const rates = (outcomes: readonly Outcome[]): number[] =>
    outcomes.map(({ load }) => (load.messages * weight) / load.seconds);
  return versus({
    scenario,
    name,
    unit,
    rival,
    ours: rates(ours),
    theirs: rates(theirs),
    faults: [...faults("Confab", ours), ...faults(rival ?? "bare", theirs)],
    facts: { ...factsOf(ours, theirs, weight), perCpuRatio: median(ratiosOf(theirs.map(cost), ours.map(cost))) },
  });
}

/** Offers both the same rate in turn and makes one figure of their latencies. */
export async function compareLatency(confab: Crowd, bare: Crowd, wish: LatencyComparison): Promise<Figure> {
  const { scenario, name, rounds, weight } = wish;
  const [ours, theirs] = await inTurn(
    rounds,
    () => confab.pace(wish.pace),
    () => bare.pace(wish.pace),
  );
  const facts = { offeredPerSecond: wish.pace.rate * weight };
  return versusP99({ scenario, name, sides: ["Confab", "bare"], ours, theirs, weight, facts });
}
