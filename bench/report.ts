/** What the bench found: figures with their bars, a table of them, and the file with the machine described. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { dirname } from "node:path";
import { canPin } from "./process.ts";

/** What a figure has to reach (design 9). */
export interface Bar {
  /** On the ratio to the bare server, or on Confab's own figure. */
  readonly on: "ratio" | "confab";
  readonly least?: number;
  readonly most?: number;
}

/** One line of the report. */
export interface Figure {
  /** Such as `fanout`. */
  readonly scenario: string;
  /** What was measured, such as `window 16`. */
  readonly name: string;
  readonly unit: string;
  /** Medians over the rounds; null where that server has no part in it. */
  readonly confab: number | null;
  readonly bare: number | null;
  /** Median over the rounds of Confab's figure divided by the bare server's of the same round. */
  readonly ratio: number | null;
  readonly bar: Bar | null;
  /** What makes the figure void or shameful: losses, doubles, a load client that was the limit. */
  readonly faults: readonly string[];
  /** Everything else worth knowing, by name; names end in their unit. */
  readonly facts: Readonly<Record<string, number>>;
}

/** What is written to the file of results. */
export interface Report {
  readonly date: string;
  readonly quick: boolean;
  readonly machine: Readonly<Record<string, string | number | boolean>>;
  readonly figures: readonly Figure[];
}

/** The middle value; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return (low + high) / 2;
}

/** Whether a figure reached its bar; null if it has none. A figure with a fault reaches nothing. */
export function met(figure: Figure): boolean | null {
  if (figure.faults.length > 0) return false;
  if (figure.bar === null) return null;
  const value = figure.bar.on === "ratio" ? figure.ratio : figure.confab;
  if (value === null) return false;
  return (
    value >= (figure.bar.least ?? Number.NEGATIVE_INFINITY) && value <= (figure.bar.most ?? Number.POSITIVE_INFINITY)
  );
}

/** The machine, without its name. */
export function machine(): Report["machine"] {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    pinned: canPin,
    loadAverageAtStart: Number(readFileSync("/proc/loadavg", "latin1").split(" ")[0]),
  };
}

const UNITS: readonly (readonly [number, string])[] = [
  [1e6, "M"],
  [1e3, "k"],
];

/** Three digits that matter. */
export function short(value: number | null): string {
  if (value === null) return "-";
  for (const [size, letter] of UNITS) if (value >= size) return `${(value / size).toPrecision(3)}${letter}`;
  return value.toPrecision(3);
}

function bar(figure: Figure): string {
  if (figure.bar === null) return "-";
  const { on, least, most } = figure.bar;
  const limit = least === undefined ? `≤ ${most}` : `≥ ${least}`;
  return on === "ratio" ? limit : `${limit} ${figure.unit}`;
}

function verdict(figure: Figure): string {
  const reached = met(figure);
  if (figure.faults.length > 0) return `FAULT: ${figure.faults.join("; ")}`;
  return reached === null ? "" : reached ? "met" : "MISSED";
}

function share(value: number | undefined): string {
  return value === undefined ? "-" : `${Math.round(value * 100)}%`;
}

const COLUMNS = [
  "scenario",
  "what",
  "Confab",
  "bare",
  "ratio",
  "per cpu",
  "bar",
  "cpu server/client: Confab, bare",
  "",
] as const;

/**
 * The table, one line per figure. `per cpu` is the ratio of what each server did per second of its own CPU time: it holds
 * where something else took the core meanwhile, and equals `ratio` where both servers had a core to themselves.
 */
export function table(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { facts } = figure;
    const confab = `${share(facts["confabServerShare"])}/${share(facts["confabClientShare"])}`;
    const bare = `${share(facts["bareServerShare"])}/${share(facts["bareClientShare"])}`;
    return [
      figure.scenario,
      `${figure.name}, ${figure.unit}`,
      short(figure.confab),
      short(figure.bare),
      figure.ratio?.toFixed(2) ?? "-",
      facts["perCpuRatio"]?.toFixed(2) ?? "-",
      bar(figure),
      `${confab}, ${bare}`,
      verdict(figure),
    ];
  });
  const lines = [[...COLUMNS], ...rows];
  const widths = COLUMNS.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Writes the report as JSON; makes the folder. */
export function save(file: string, report: Report): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}
