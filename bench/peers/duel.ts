/** Confab and one peer in turns, A B A B, and the figure of it. */
import { barOf, reasonOf } from "../bars.ts";
import type { Run } from "../client/messages.ts";
import type { Crowd, Wish as CrowdWish, Outcome } from "../crowd.ts";
import { type Figure, median, spread } from "../report.ts";
import { type Peer, PeerFailed } from "./peer.ts";

/** A server that used less of its core than this was held back by something else, and its rate says nothing. */
const SERVER_SHARE_MIN = 0.85;

/** What to run on both. */
export interface Wish {
  readonly scenario: string;
  readonly peer: Peer;
  /** What Confab runs; the peer runs the same for `peerSeconds`. */
  readonly run: CrowdWish<Run>;
  readonly peerSeconds: number;
  /** Receivers of each message. */
  readonly subscribers: number;
  readonly rounds: number;
}

const share = (outcomes: readonly Outcome[], whose: "serverCpuSeconds" | "clientCpuSeconds"): number =>
  median(outcomes.map(({ load }) => load[whose] / load.seconds));

const cost = ({ load }: Outcome): number => (load.serverCpuSeconds / load.messages) * 1e6;

const sum = (outcomes: readonly Outcome[], of: (outcome: Outcome) => number): number =>
  outcomes.reduce((total, outcome) => total + of(outcome), 0);

/** What went wrong in these runs, by name. */
function failings(
  outcomes: readonly Outcome[],
): Readonly<Record<"Lost" | "Doubled" | "Disordered" | "Refused" | "Unanswered", number>> {
  return {
    Lost: sum(outcomes, ({ tally }) => tally.lost),
    Doubled: sum(outcomes, ({ tally }) => tally.doubled),
    Disordered: sum(outcomes, ({ tally }) => tally.disordered),
    Refused: sum(outcomes, ({ load }) => load.refused),
    Unanswered: sum(outcomes, ({ load }) => load.unanswered),
  };
}

function idleness(name: string, outcomes: readonly Outcome[]): string[] {
  const used = share(outcomes, "serverCpuSeconds");
  return used >= SERVER_SHARE_MIN ? [] : [`${name}: the server had ${Math.round(used * 100)}% of its core`];
}

/** Says that whatever went wrong is the peer's. */
export function fail(error: unknown): never {
  throw new PeerFailed(reasonOf(error));
}

/** A figure of this wish, but for what was measured. */
export function blank({ scenario, peer, run }: Wish): Figure {
  const name = `${peer.name}, window ${run.window}`;
  const nothing = { confab: null, bare: null, ratio: null, faults: [], facts: {} };
  const rival = `${peer.name} ${peer.version}`;
  return { scenario, name, unit: "deliveries/s", rival, bar: barOf(scenario, name), ...nothing };
}

/**
 * Runs both in turn. A message that Confab loses, doubles or puts out of order is a fault; what a peer does to its
 * messages is a fact of that peer (`peerLost` and so on), as its promises are not ours.
 * @throws PeerFailed where the peer did not stand it.
 */
export async function duel(confab: Crowd, peer: Crowd, wish: Wish): Promise<Figure> {
  const [ours, theirs]: [Outcome[], Outcome[]] = [[], []];
  for (let round = 0; round < wish.rounds; round += 1) {
    ours.push(await confab.run(wish.run));
    theirs.push(await peer.run({ ...wish.run, seconds: wish.peerSeconds }).catch(fail));
  }
  if (theirs.some(({ load }) => load.messages === 0)) fail(new Error(`nothing came back in ${wish.peerSeconds} s`));
  const rate = ({ load }: Outcome): number => (load.messages * wish.subscribers) / load.seconds;
  const pairs = ours.map((outcome, i) => [outcome, theirs[i] as Outcome] as const);
  const ratios = pairs.map(([our, their]) => rate(our) / rate(their));
  const confabFailings = Object.entries(failings(ours)).filter(([, count]) => count > 0);
  const peerFailings = Object.entries(failings(theirs)).map(([what, count]) => [`peer${what}`, count]);
  return {
    ...blank(wish),
    confab: median(ours.map(rate)),
    bare: median(theirs.map(rate)),
    ratio: median(ratios),
    spread: { confab: spread(ours.map(rate)), ratio: spread(ratios) },
    faults: [
      ...confabFailings.map(([what, count]) => `Confab: ${count} ${what.toLowerCase()}`),
      ...idleness("Confab", ours),
      // Where nothing is asked of the ratio, how much of its core a peer used is a fact of that peer.
      ...(blank(wish).bar === null ? [] : idleness(wish.peer.name, theirs)),
    ],
    facts: {
      rounds: wish.rounds,
      perCpuRatio: median(pairs.map(([our, their]) => cost(their) / cost(our))),
      ...costs("confab", ours, wish.subscribers),
      ...costs("bare", theirs, wish.subscribers),
      ...(Object.fromEntries(peerFailings) as Record<string, number>),
    },
  };
}

/** What one side's runs cost, under names that begin with the side's. */
function costs(side: "confab" | "bare", outcomes: readonly Outcome[], subscribers: number): Record<string, number> {
  return {
    [`${side}ServerUs`]: median(outcomes.map(cost)) / subscribers,
    [`${side}ServerShare`]: share(outcomes, "serverCpuSeconds"),
    [`${side}ClientShare`]: share(outcomes, "clientCpuSeconds"),
    [`${side}P50Ms`]: median(outcomes.map(({ load }) => load.p50Ms)),
    [`${side}P99Ms`]: median(outcomes.map(({ load }) => load.p99Ms)),
    [`${side}MessageBytes`]: outcomes[0]?.tally.messageBytes ?? 0,
  };
}
