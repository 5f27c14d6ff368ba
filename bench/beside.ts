/**
 * A file of results as Markdown and one picture. Confab beside its peers, for the README: rows are servers, columns are
 * windows of one room of 1,000; each rival stands with what Confab did in the same minutes, A B A B. Then all that has a
 * bar or a rival, and what the load client can take.
 */
import { at, drawing, label, MARGIN, WIDTH } from "./picture.ts";
import { type Figure, limit, median, type Report, rivalOf, short, titleOf, verdict } from "./report.ts";

const WINDOWS = [1, 16, 64] as const;
const BARE = "bare uWebSockets.js";
const NAME = "Confab";

/** One server. */
interface Row {
  readonly name: string;
  /** Deliveries a second by window. */
  readonly rates: ReadonlyMap<number, number>;
  /** Confab's rate over this one's, by window. */
  readonly ratios: ReadonlyMap<number, number>;
  /** Resident megabytes with 1,000 in the room. */
  readonly residentMb: number | undefined;
}

function windowOf({ name }: Figure): number | undefined {
  const [, window] = /window (\d+)$/.exec(name) ?? [];
  return window === undefined ? undefined : Number(window);
}

/** All figures against one rival as its row. */
function rowOf(name: string, figures: readonly Figure[]): Row {
  const [rates, ratios] = [new Map<number, number>(), new Map<number, number>()];
  for (const figure of figures) {
    const window = windowOf(figure);
    if (window === undefined || figure.bare === null || figure.ratio === null) continue;
    rates.set(window, figure.bare);
    ratios.set(window, figure.ratio);
  }
  const residentMb = figures.find(({ unit }) => unit === "MB")?.bare ?? undefined;
  return { name, rates, ratios, residentMb };
}

/** Confab's own row: its medians over what it is given. */
function ownRow(figures: readonly Figure[]): Row {
  const middle = (found: readonly Figure[]): number | undefined => {
    const values = found.map(({ confab }) => confab).filter((value) => value !== null);
    return values.length === 0 ? undefined : median(values);
  };
  const rates = new Map<number, number>();
  for (const window of WINDOWS) {
    const rate = middle(figures.filter((figure) => windowOf(figure) === window));
    if (rate !== undefined) rates.set(window, rate);
  }
  return { name: NAME, rates, ratios: new Map(), residentMb: middle(figures.filter(({ unit }) => unit === "MB")) };
}

/** Confab first, then the bare server, then the peers, fastest at window 16 first. */
function rowsOf({ figures }: Report): Row[] {
  const met = figures.filter(({ scenario, bare }) => scenario === "peers" && bare !== null);
  const bare = figures.filter((figure) => figure.scenario === "fanout" && windowOf(figure) !== undefined);
  const peers = [...new Set(met.map(rivalOf))].map((rival) =>
    rowOf(
      rival,
      met.filter((figure) => rivalOf(figure) === rival),
    ),
  );
  const speed = ({ rates }: Row): number => rates.get(16) ?? 0;
  return [
    // In turn with the bare server where that was measured: at another moment the machine has another speed.
    ownRow(bare.length > 0 ? [...bare, ...met.filter(({ unit }) => unit === "MB")] : met),
    ...(bare.length > 0 ? [rowOf(BARE, bare)] : []),
    ...peers.sort((a, b) => speed(b) - speed(a)),
  ];
}

function cell({ rates, ratios }: Row, window: number): string {
  const [rate, ratio] = [rates.get(window), ratios.get(window)];
  if (rate === undefined) return "–";
  return ratio === undefined ? `**${short(rate)}**` : `${short(rate)} (${ratio.toPrecision(ratio < 10 ? 2 : 3)})`;
}

/** REST is no room, and has its line below the table. */
function restLine({ figures }: Report): string {
  const get = figures.find(({ scenario, rival }) => scenario === "rest" && rival === "fastify");
  if (get === undefined || get.ratio === null) return "";
  const { confab, bare, ratio } = get;
  const [ours, theirs] = [short(confab), short(bare)];
  return `REST through the same port, a small GET: ${ours} requests/s; plain fastify on node:http ${theirs} (${ratio.toFixed(2)}).\n\n`;
}

function madeOf({ date, machine, quick }: Report): string {
  const { cpu, cores, kernel, node } = machine;
  const command = `npm run bench${quick ? " -- --quick" : ""}`;
  return `\`${command}\`, ${date.slice(0, 10)}, ${cores} cores of ${cpu}, Linux ${kernel}, Node ${node}.`;
}

/** The table as Markdown, with the command, the date and the machine below it. */
export function besideTable(report: Report): string {
  const head = ["deliveries/s (Confab's rate over it)", ...WINDOWS.map((window) => `window ${window}`), "resident"];
  const rows = rowsOf(report).map((row) => [
    row.name === NAME ? `**${NAME}**` : row.name,
    ...WINDOWS.map((window) => cell(row, window)),
    row.residentMb === undefined ? "–" : `${row.residentMb.toFixed(0)} MB`,
  ]);
  return `${markdown(head, rows)}\n${restLine(report)}${madeOf(report)}\n`;
}

/** A Markdown table; the first column is of words, the others are of numbers. */
function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const under = head.map((_, i) => (i === 0 ? "---" : "--:"));
  return `${[head, under, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")}\n`;
}

/** Every figure that has a bar or a rival, as Markdown. */
export function barsTable({ figures }: Report): string {
  const shown = figures.filter(({ bar, bare, confab }) => bar !== null || (bare !== null && confab !== null));
  const rows = shown.map((figure) => [
    `\`${figure.scenario}\` ${titleOf(figure)}`,
    short(figure.confab),
    figure.bare === null ? "–" : `${short(figure.bare)} ${rivalOf(figure)}`,
    figure.ratio?.toFixed(2) ?? "–",
    figure.bar === null ? "" : limit(figure),
    verdict(figure),
  ]);
  return markdown(["what", "Confab", "rival", "ratio", "bar", ""], rows);
}

/** What the load client itself can take, as Markdown. */
export function ceilingTable({ figures }: Report): string {
  const rows = figures
    .filter(({ scenario, bare }) => scenario === "ceiling" && bare !== null)
    .map(({ name, bare, facts }) => [
      name,
      short(facts["barePerSecond"] ?? null),
      `${Math.round((facts["bareClientShare"] ?? Number.NaN) * 100)} %`,
      short(bare),
    ]);
  const head = ["", "deliveries/s", "clients' share of their core", "deliveries that a whole client core could take"];
  return markdown(head, rows);
}

const GROUP_HEIGHT = 34;
const ROW_HEIGHT = 20;
const BAR_HEIGHT = 14;
const BAR_LEFT = 190;
const BAR_WIDTH = 430;
const TOP = 68;

/** The picture as SVG: one group of bars for each window, each with its own scale. */
export function besidePicture(report: Report): string {
  const rows = rowsOf(report);
  const parts: string[] = [];
  let top = TOP;
  for (const window of WINDOWS) {
    const shown = rows.filter(({ rates }) => rates.has(window));
    const most = Math.max(...shown.map(({ rates }) => rates.get(window) ?? 0));
    const outstanding = window === 1 ? "1 message" : `${window} messages`;
    parts.push(label(`${outstanding} outstanding, deliveries/s`, { x: MARGIN, y: top }));
    top += 10;
    for (const { name, rates } of shown) {
      const rate = rates.get(window) ?? 0;
      const width = (rate / most) * BAR_WIDTH;
      const kind = name === NAME ? "confab" : "rival";
      parts.push(
        label(name, { x: BAR_LEFT - 8, y: top + 12, kind: "soft", anchor: "end" }),
        `<rect class="${kind}" x="${BAR_LEFT}" y="${at(top)}" width="${at(width)}" height="${BAR_HEIGHT}"/>`,
        label(short(rate), { x: BAR_LEFT + width + 6, y: top + 12 }),
      );
      top += ROW_HEIGHT;
    }
    top += GROUP_HEIGHT - 10;
  }
  parts.push(label(madeOf(report).replaceAll("`", ""), { x: WIDTH - MARGIN, y: top, kind: "soft", anchor: "end" }));
  return drawing("Confab beside its peers: one room of 1,000", top + MARGIN, parts);
}
