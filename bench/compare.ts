/** Confab and the bare server in turn, A B A B, so that what disturbs the machine disturbs both alike. */
import type { Run } from "./client/messages.ts";
import type { Crowd, Outcome } from "./crowd.ts";
import { type Bar, type Figure, median } from "./report.ts";

/**
 * Shares of a core. These loads saturate a server: one that used less was held back by something else, by the load
 * clients if they used more than theirs, and its rate says nothing.
 */
const CLIENT_SHARE_MAX = 0.95;
const SERVER_SHARE_MIN = 0.85;

/** A run to be done on both. */
export interface Comparison {
  readonly scenario: string;
  readonly name: string;
  readonly unit: string;
  readonly run: Omit<Run, "kind" | "publishers" | "helperPids">;
  readonly rounds: number;
  /** How much one message counts in the figure: 1, or the receivers of each. */
  readonly weight: number;
  readonly bar: Bar;
}

const share = (outcomes: readonly Outcome[], whose: "serverCpuSeconds" | "clientCpuSeconds"): number =>
  median(outcomes.map(({ load }) => load[whose] / load.seconds));

const cost = ({ load }: Outcome): number => (load.serverCpuSeconds / load.messages) * 1e6;

function faults(name: string, outcomes: readonly Outcome[]): string[] {
  const found: string[] = [];
  const count = (what: string, of: (outcome: Outcome) => number): void => {
    const sum = outcomes.reduce((total, outcome) => total + of(outcome), 0);
    if (sum > 0) found.push(`${name}: ${sum} ${what}`);
  };
  count("lost", ({ tally }) => tally.lost);
  count("doubled", ({ tally }) => tally.doubled);
  count("out of order", ({ tally }) => tally.disordered);
  count("unanswered", ({ load }) => load.unanswered);
  const [client, server] = [share(outcomes, "clientCpuSeconds"), share(outcomes, "serverCpuSeconds")];
  if (server < SERVER_SHARE_MIN) {
    const why = client > CLIENT_SHARE_MAX ? "the load client was the limit" : "something else used the cores";
    found.push(`${name}: the server had ${Math.round(server * 100)}% of its core, ${why}`);
  }
  return found;
}

/** Runs both in turn and makes one figure of it. */
export async function compare(confab: Crowd, bare: Crowd, wish: Comparison): Promise<Figure> {
  const [ours, theirs]: [Outcome[], Outcome[]] = [[], []];
  for (let round = 0; round < wish.rounds; round += 1) {
    ours.push(await confab.run(wish.run));
    theirs.push(await bare.run(wish.run));
  }
  const rate = ({ load }: Outcome): number => (load.messages * wish.weight) / load.seconds;
  const ratios = ours.map((outcome, i) => rate(outcome) / rate(theirs[i] as Outcome));
  const cpuRatios = ours.map((outcome, i) => cost(theirs[i] as Outcome) / cost(outcome));
  return {
    scenario: wish.scenario,
    name: wish.name,
    unit: wish.unit,
    confab: median(ours.map(rate)),
    bare: median(theirs.map(rate)),
    ratio: median(ratios),
    bar: wish.bar,
    faults: [...faults("Confab", ours), ...faults("bare", theirs)],
    facts: {
      rounds: wish.rounds,
      ratioLowest: Math.min(...ratios),
      ratioHighest: Math.max(...ratios),
      confabServerUs: median(ours.map(cost)) / wish.weight,
      bareServerUs: median(theirs.map(cost)) / wish.weight,
      perCpuRatio: median(cpuRatios),
      confabServerShare: share(ours, "serverCpuSeconds"),
      confabClientShare: share(ours, "clientCpuSeconds"),
      bareServerShare: share(theirs, "serverCpuSeconds"),
      bareClientShare: share(theirs, "clientCpuSeconds"),
      confabP50Ms: median(ours.map(({ load }) => load.p50Ms)),
      confabP99Ms: median(ours.map(({ load }) => load.p99Ms)),
      bareP50Ms: median(theirs.map(({ load }) => load.p50Ms)),
      bareP99Ms: median(theirs.map(({ load }) => load.p99Ms)),
      deliveriesCounted: ours.reduce((sum, { tally }) => sum + tally.deliveries, 0),
      connectionsReadInFull: ours[0]?.tally.sampled ?? 0,
      messageBytes: ours[0]?.tally.messageBytes ?? 0,
      receiptBytes: ours[0]?.tally.receiptBytes ?? 0,
    },
  };
}
