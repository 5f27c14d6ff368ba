/** What the bench found: figures with their bars, a table of them, and the file with the machine described. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { dirname } from "node:path";
import { canPin } from "./process.ts";

/** What a figure has to reach; those of design 9 stand in `bars.ts`. */
export interface Bar {
  /** On the ratio to the rival, or on Confab's own figure. */
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
  /** Whom Confab is measured against, where that is not the bare server. */
  readonly rival?: string;
  /** Medians over the rounds; null where that server has no part in it. `bare` is the rival's, whoever that is. */
  readonly confab: number | null;
  readonly bare: number | null;
  /** Median over the rounds of Confab's figure divided by the rival's of the same round. */
  readonly ratio: number | null;
  /** Lowest and highest over the rounds, of Confab's figure and of the ratio; left out where there is one round. */
  readonly spread?: { readonly confab?: Spread; readonly ratio?: Spread };
  readonly bar: Bar | null;
  /** What makes the figure void or shameful: losses, doubles, a load client that was the limit. */
  readonly faults: readonly string[];
  /** Everything else worth knowing, by name; names end in their unit. */
  readonly facts: Readonly<Record<string, number>>;
  /** What was read again and again while it ran, for the picture. */
  readonly series?: readonly Series[];
}

/** Lowest and highest. */
export type Spread = readonly [number, number];

/** One line of a picture: pairs of seconds since the begin of the run and value. */
export interface Series {
  readonly name: string;
  readonly unit: string;
  readonly points: readonly (readonly [number, number])[];
}

/** What is written to the file of results. */
export interface Report {
  readonly date: string;
  readonly quick: boolean;
  /** Whether CPU profiles were taken meanwhile, which costs speed. */
  readonly profiled?: boolean;
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

/** Lowest and highest of some values. */
export function spread(values: readonly number[]): Spread {
  return [Math.min(...values), Math.max(...values)];
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
    kernel: /^\d+\.\d+/.exec(release())?.[0] ?? "unknown",
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

/** The bar in words; `-` without one. */
export function limit(figure: Figure): string {
  if (figure.bar === null) return "-";
  const { on, least, most } = figure.bar;
  const words = least === undefined ? `≤ ${most}` : `≥ ${least}`;
  return on === "ratio" ? words : `${words} ${figure.unit}`;
}

/** What became of the bar, in a word; empty without one. */
export function verdict(figure: Figure): string {
  if (figure.faults.length > 0) return figure.bar === null ? "FAULT" : "MISSED, FAULT";
  const reached = met(figure);
  return reached === null ? "" : reached ? "met" : "MISSED";
}

function share(value: number | undefined): string {
  return value === undefined ? "-" : `${Math.round(value * 100)}%`;
}

const COLUMNS = [
  "scenario",
  "what",
  "Confab",
  "rival",
  "who",
  "ratio",
  "per cpu",
  "bar",
  "",
  "cpu server/client: Confab, rival",
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
    const rival = `${share(facts["bareServerShare"])}/${share(facts["bareClientShare"])}`;
    return [
      figure.scenario,
      titleOf(figure),
      short(figure.confab),
      short(figure.bare),
      figure.bare === null ? "-" : rivalOf(figure),
      figure.ratio?.toFixed(2) ?? "-",
      facts["perCpuRatio"]?.toFixed(2) ?? "-",
      limit(figure),
      verdict(figure),
      `${confab}, ${rival}`,
      figure.faults.join("; "),
    ];
  });
  return columns([[...COLUMNS], ...rows]);
}

/** What was measured, with its unit; that of a figure that was not measured is not known. */
export function titleOf({ name, unit }: Figure): string {
  return unit === "-" ? name : `${name}, ${unit}`;
}

/** Whom Confab is measured against. */
export function rivalOf(figure: Figure): string {
  return figure.rival ?? "bare";
}

/** Lines of cells, each column as wide as its widest cell. */
export function columns(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** How many bars were met, missed and had a fault, in one line; and which were missed. */
export function summary(figures: readonly Figure[]): string {
  const missed = figures.filter((figure) => met(figure) === false);
  const reached = figures.filter((figure) => met(figure) === true).length;
  const names = missed.map(({ scenario, name, bar }) => `${scenario} ${name}${bar === null ? " (fault)" : ""}`);
  const list = names.length === 0 ? "" : `: ${names.join("; ")}`;
  return `${reached} bars met, ${missed.length} missed or at fault${list}`;
}

/** Writes a text; makes the folder. */
export function save(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

/** The report as it stands in its file. */
export function json(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** Reads a file of results; throws with its name when it is none. */
export function load(file: string): Report {
  const report: unknown = JSON.parse(readFileSync(file, "utf8"));
  if (typeof report !== "object" || report === null || !("figures" in report) || !Array.isArray(report.figures)) {
    throw new Error(`${file} is no file of results`);
  }
  return report as Report;
}
