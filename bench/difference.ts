/** `--compare`: two files of results side by side, figure by figure. */
import { columns, type Figure, type Report, rivalOf, type Spread, short, titleOf } from "./report.ts";

/** A value of a figure and how far it spread over its rounds. */
interface Reading {
  readonly value: number;
  readonly spread: Spread | undefined;
}

const key = (figure: Figure): string => `${figure.scenario}\n${figure.name}\n${rivalOf(figure)}`;

/** The value that stands for a figure: the ratio, as the machine is in both its halves; else Confab's, or the rival's. */
function reading(figure: Figure): Reading | undefined {
  if (figure.ratio !== null) return { value: figure.ratio, spread: figure.spread?.ratio };
  if (figure.confab !== null) return { value: figure.confab, spread: figure.spread?.confab };
  return figure.bare === null ? undefined : { value: figure.bare, spread: undefined };
}

/** The change in percent, with its sign; `-` where one is missing. */
function change(a: number | null | undefined, b: number | null | undefined): string {
  if (a === null || b === null || a === undefined || b === undefined || a === 0) return "-";
  const percent = (b / a - 1) * 100;
  return `${percent < 0 ? "" : "+"}${percent.toFixed(1)}%`;
}

/** Whether the change can be believed: beyond the noise if what the rounds of both spread over does not meet. */
function judged(a: Reading | undefined, b: Reading | undefined): string {
  if (a === undefined || b === undefined) return "not in both";
  if (a.spread === undefined || b.spread === undefined) return "spread not known";
  // One round has no spread.
  if (a.spread[0] === a.spread[1] || b.spread[0] === b.spread[1]) return "spread not known";
  const apart = a.spread[1] < b.spread[0] || b.spread[1] < a.spread[0];
  return apart ? "BEYOND NOISE" : "within noise";
}

function ratio(value: number | null | undefined): string {
  return value?.toFixed(2) ?? "-";
}

/**
 * Two reports as a table: Confab's figure in both, and the ratio to the rival in both, each with its change. The verdict
 * is on the ratio where there is one, else on Confab's figure.
 */
export function difference(a: Report, b: Report): string {
  const [before, after] = [a, b].map(({ figures }) => new Map(figures.map((figure) => [key(figure), figure]))) as [
    Map<string, Figure>,
    Map<string, Figure>,
  ];
  const rows = [...new Set([...before.keys(), ...after.keys()])].map((name) => {
    const [was, is] = [before.get(name), after.get(name)];
    const shown = (is ?? was) as Figure;
    return [
      shown.scenario,
      titleOf(shown),
      short(was?.confab ?? null),
      short(is?.confab ?? null),
      change(was?.confab, is?.confab),
      shown.bare === null ? "-" : rivalOf(shown),
      ratio(was?.ratio),
      ratio(is?.ratio),
      change(was?.ratio, is?.ratio),
      judged(was && reading(was), is && reading(is)),
    ];
  });
  const head = ["scenario", "what", "Confab A", "B", "change", "to", "ratio A", "B", "change", ""];
  const about = [a, b].map(({ date, quick, machine }, i) => {
    const { cpu, cores, node } = machine as Record<string, unknown>;
    return `${i === 0 ? "A" : "B"}: ${date}${quick ? ", quick" : ""}, ${cores} cores of ${cpu}, Node ${node}`;
  });
  return `${about.join("\n")}\n\n${columns([head, ...rows])}`;
}
