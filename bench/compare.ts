/** Confab and the bare server in turn, A B A B, so that what disturbs the machine disturbs both alike. */
import { barOf } from "./bars.ts";
import type { Load, Pace, Paced, Run } from "./client/messages.ts";
import type { Crowd, Outcome, Wish } from "./crowd.ts";
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
  readonly run: Wish<Run>;
  readonly rounds: number;
  /** How much one message counts in the figure: 1, or the receivers of each. */
  readonly weight: number;
  /** Whom Confab is measured against, where that is not the bare server. */
  readonly rival?: string;
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

/** What went missing, came twice or out of order, in sentences; none if all is well. */
export function losses(name: string, outcomes: readonly Outcome[]): string[] {
  const found: string[] = [];
  const count = (what: string, of: (outcome: Outcome) => number): void => {
    const sum = outcomes.reduce((total, outcome) => total + of(outcome), 0);
    if (sum > 0) found.push(`${name}: ${sum} ${what}`);
  };
  count("lost", ({ tally }) => tally.lost);
  count("doubled", ({ tally }) => tally.doubled);
  count("out of order", ({ tally }) => tally.disordered);
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

/** Losses of runs at a rate, and whether the server kept up with it. */
export function faultsAtRate(name: string, outcomes: readonly Outcome<Paced>[]): string[] {
  const found = losses(name, outcomes);
  const kept = median(outcomes.map(({ load }) => load.messages / load.due));
  if (kept < KEPT_UP_MIN)
    found.push(`${name}: only ${Math.round(kept * 100)}% came back in time, it could not keep up`);
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

/** Runs both in turn as often as wished. */
async function inTurn<T>(rounds: number, our: () => Promise<T>, their: () => Promise<T>): Promise<[T[], T[]]> {
  const [ours, theirs]: [T[], T[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    ours.push(await our());
    theirs.push(await their());
  }
  return [ours, theirs];
}

/** Our value over theirs, round by round. */
export function ratiosOf(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.map((value, i) => value / (theirs[i] ?? Number.NaN));
}

/** Saturates both in turn and makes one figure of their rates. */
export async function compare(confab: Crowd, bare: Crowd, wish: Comparison): Promise<Figure> {
  const { scenario, name, unit, rounds, weight, rival } = wish;
  const [ours, theirs] = await inTurn(
    rounds,
    () => confab.run(wish.run),
    () => bare.run(wish.run),
  );
  const rates = (outcomes: readonly Outcome[]): number[] =>
    outcomes.map(({ load }) => (load.messages * weight) / load.seconds);
  const ratios = ratiosOf(rates(ours), rates(theirs));
  return {
    scenario,
    name,
    unit,
    ...(rival === undefined ? {} : { rival }),
    confab: median(rates(ours)),
    bare: median(rates(theirs)),
    ratio: median(ratios),
    spread: { confab: spread(rates(ours)), ratio: spread(ratios) },
    bar: barOf(scenario, name),
    faults: [...faults("Confab", ours), ...faults(rival ?? "bare", theirs)],
    facts: { ...factsOf(ours, theirs, weight), perCpuRatio: median(ratiosOf(theirs.map(cost), ours.map(cost))) },
  };
}

/** Offers both the same rate in turn and makes one figure of their latencies. */
export async function compareLatency(confab: Crowd, bare: Crowd, wish: LatencyComparison): Promise<Figure> {
  const { scenario, name, rounds, weight } = wish;
  const [ours, theirs] = await inTurn(
    rounds,
    () => confab.pace(wish.pace),
    () => bare.pace(wish.pace),
  );
  const p99s = (outcomes: readonly Outcome[]): number[] => outcomes.map(({ load }) => load.p99Ms);
  const lateness = [...ours, ...theirs].map(({ load }) => load.lateP99Ms);
  const ratios = ratiosOf(p99s(ours), p99s(theirs));
  return {
    scenario,
    name,
    unit: "ms",
    confab: median(p99s(ours)),
    bare: median(p99s(theirs)),
    ratio: median(ratios),
    spread: { confab: spread(p99s(ours)), ratio: spread(ratios) },
    bar: barOf(scenario, name),
    faults: [...faultsAtRate("Confab", ours), ...faultsAtRate("bare", theirs)],
    facts: { ...factsOf(ours, theirs, weight), offeredPerSecond: wish.pace.rate * weight, lateP99Ms: median(lateness) },
  };
}
