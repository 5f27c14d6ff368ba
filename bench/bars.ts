/**
 * The bars that `--check` holds a run to: all of design 9, and those of issues 4 and 5 that load can show. What issue 5
 * asks of faults (losses, the pause after a kill, that of a planned move) is held by the drills.
 */
import type { Bar, Figure } from "./report.ts";

/** One bar, and the figure that has to reach it. */
export interface Stated {
  readonly scenario: string;
  /** Name of the figure. */
  readonly name: string;
  readonly bar: Bar;
}

const FAN_OUT_LEAST = 0.9;
const IDLE_KB_MOST = 4;
const GROWTH_MOST = 1.2;

/** All of them, in the order of design 9, then of the issues; the last is ours, as issue 6 wants memory flat and says no number. */
export const BARS: readonly Stated[] = [
  { scenario: "fanout", name: "window 1", bar: { on: "ratio", least: FAN_OUT_LEAST } },
  { scenario: "fanout", name: "window 16", bar: { on: "ratio", least: FAN_OUT_LEAST } },
  { scenario: "fanout", name: "window 64", bar: { on: "ratio", least: FAN_OUT_LEAST } },
  { scenario: "peers", name: "Socket.IO, window 1", bar: { on: "ratio", least: 1.7 } },
  { scenario: "peers", name: "Socket.IO, window 16", bar: { on: "ratio", least: 9 } },
  { scenario: "peers", name: "Spring Boot, window 1", bar: { on: "ratio", least: 4 } },
  { scenario: "peers", name: "Spring Boot, window 16", bar: { on: "ratio", least: 20 } },
  { scenario: "fanout", name: "p99 at 100,000 deliveries/s", bar: { on: "ratio", most: 1.3 } },
  { scenario: "chat", name: "window 1,000", bar: { on: "ratio", least: 0.6 } },
  { scenario: "memory", name: "per connection, 10,000 idle", bar: { on: "confab", most: IDLE_KB_MOST } },
  { scenario: "memory", name: "per connection, 19,000 idle", bar: { on: "confab", most: IDLE_KB_MOST } },
  { scenario: "connect", name: "server CPU per connection", bar: { on: "confab", most: 60 } },
  { scenario: "connect", name: "the same with a resume of 50", bar: { on: "confab", most: 120 } },
  { scenario: "rest", name: "GET of a small JSON", bar: { on: "ratio", least: 1 } },
  { scenario: "rest", name: "its server CPU per request", bar: { on: "ratio", most: 1 } },
  { scenario: "rest", name: "history page of 50, p99 at half of saturation", bar: { on: "confab", most: 10 } },
  { scenario: "growth", name: "10 to 10,000 rooms", bar: { on: "ratio", most: GROWTH_MOST } },
  { scenario: "growth", name: "100 to 19,000 connections", bar: { on: "ratio", most: GROWTH_MOST } },
  { scenario: "stores", name: "node CPU per durable SEND", bar: { on: "ratio", most: 1.6 } },
  { scenario: "stores", name: "fan-out, window 1", bar: { on: "ratio", least: FAN_OUT_LEAST } },
  { scenario: "stores", name: "fan-out, window 16", bar: { on: "ratio", least: FAN_OUT_LEAST } },
  { scenario: "stores", name: "fan-out, window 64", bar: { on: "ratio", least: FAN_OUT_LEAST } },
  { scenario: "stores", name: "p99 with MongoDB stopped", bar: { on: "ratio", most: 1.5 } },
  {
    scenario: "nodes",
    name: "CPU per delivery where the room does not live, 2 nodes",
    bar: { on: "ratio", most: 1.2 },
  },
  {
    scenario: "nodes",
    name: "CPU per delivery where the room does not live, 4 nodes",
    bar: { on: "ratio", most: 1.2 },
  },
  { scenario: "nodes", name: "p99 from a SEND on one node to a member on another", bar: { on: "ratio", most: 2 } },
  // None, but for the polls that fall into the storm by chance.
  { scenario: "nodes", name: "queries per client of a reconnect storm", bar: { on: "confab", most: 0.005 } },
  { scenario: "soak", name: "memory, last fifth to second fifth", bar: { on: "confab", most: 1.05 } },
];

/** The bar of a figure; null when none is stated. */
export function barOf(scenario: string, name: string): Bar | null {
  return BARS.find((stated) => stated.scenario === scenario && stated.name === name)?.bar ?? null;
}

/** Of a reason, in the table. */
const REASON_CHARACTERS = 120;

/** What went wrong, short enough for the table. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.split("\n", 1)[0] ?? "").slice(0, REASON_CHARACTERS);
}

/** A figure that could not be measured: at fault, and so its bar is missed. */
export function unmeasured(scenario: string, name: string, reason: string): Figure {
  const nothing = { unit: "-", confab: null, bare: null, ratio: null, facts: {} };
  return { scenario, name, bar: barOf(scenario, name), faults: [`not measured: ${reason}`], ...nothing };
}

/** Runs a part of a scenario: one that fails owes its figure, and the others still run. */
export async function part(scenario: string, name: string, work: () => Promise<Figure>): Promise<Figure> {
  try {
    return await work();
  } catch (error) {
    return unmeasured(scenario, name, reasonOf(error));
  }
}

/**
 * What a scenario owes: a figure at fault for each of its bars that it did not measure, so that a missing one is seen as
 * missed; and one for its failure, if it failed.
 */
export function owed(scenario: string, figures: readonly Figure[], failure?: string): Figure[] {
  const missing = BARS.filter((stated) => stated.scenario === scenario).filter(
    ({ name }) => !figures.some((figure) => figure.scenario === scenario && figure.name === name),
  );
  const unmet = missing.map(({ name }) => unmeasured(scenario, name, failure ?? "the scenario has no such figure"));
  if (failure === undefined || unmet.length > 0) return unmet;
  return [unmeasured(scenario, "the rest of it", failure)];
}
