/**
 * One picture per scenario: bars of Confab and its rival, a mark where the bar of design 9 stands, and lines of what
 * changed over time. Plain SVG without scripts or fonts of its own, readable on light and on dark ground.
 */
import { type Figure, limit, met, rivalOf, type Series, short, titleOf, verdict } from "./report.ts";

export const WIDTH = 760;
export const MARGIN = 20;
const TITLE_HEIGHT = 48;
const FIGURE_HEIGHT = 54;
const BAR_HEIGHT = 18;
/** From one bar to that of the rival below it. */
const BAR_STEP = BAR_HEIGHT + 4;
const BAR_LEFT = 210;
const BAR_WIDTH = 450;
const CHART_HEIGHT = 170;
const CHART_LEFT = 70;
/** The longest bar leaves room for a mark beyond it. */
const HEADROOM = 1.05;

const STYLE = `
  .ground { fill: #ffffff; }
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 17px; font-weight: 600; }
  .soft { fill: #59636e; }
  .confab { fill: #0969da; }
  .rival { fill: #8c959f; }
  .mark { stroke: #bc4c00; stroke-width: 2; }
  .line { stroke: #0969da; stroke-width: 2; fill: none; }
  .axis { stroke: #8c959f; stroke-width: 1; }
  .met { fill: #1a7f37; }
  .missed { fill: #cf222e; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; }
    text { fill: #f0f6fc; }
    .soft { fill: #9198a1; }
    .confab { fill: #4493f8; }
    .rival { fill: #656c76; }
    .mark { stroke: #f0883e; }
    .line { stroke: #4493f8; }
    .axis { stroke: #656c76; }
    .met { fill: #3fb950; }
    .missed { fill: #f85149; }
  }
`;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

export const at = (value: number): string => value.toFixed(1);

interface Text {
  readonly x: number;
  readonly y: number;
  readonly kind?: string;
  readonly anchor?: "end";
}

/** A line of text. */
export function label(text: string, { x, y, kind, anchor }: Text): string {
  const [style, end] = [kind === undefined ? "" : ` class="${kind}"`, anchor === "end" ? ' text-anchor="end"' : ""];
  return `<text x="${at(x)}" y="${at(y)}"${style}${end}>${escaped(text)}</text>`;
}

/** Where Confab's own figure would just reach the bar; undefined without one. */
function threshold({ bar, bare }: Figure): number | undefined {
  const value = bar?.least ?? bar?.most;
  if (bar === null || value === undefined) return undefined;
  if (bar.on === "confab") return value;
  return bare === null ? undefined : value * bare;
}

function bars(figure: Figure, top: number): string[] {
  const mark = threshold(figure);
  const longest = Math.max(figure.confab ?? 0, figure.bare ?? 0, mark ?? 0) * HEADROOM || 1;
  const width = (value: number): number => (value / longest) * BAR_WIDTH;
  const rows: readonly (readonly [string, string, number | null])[] = [
    ["Confab", "confab", figure.confab],
    [rivalOf(figure), "rival", figure.bare],
  ];
  const drawn = rows
    .filter(([, kind, value]) => value !== null || (kind === "confab" && figure.bare === null))
    .flatMap(([name, kind, value], row) => {
      const y = top + 10 + row * BAR_STEP;
      const text = label(name, { x: BAR_LEFT - 8, y: y + 14, kind: "soft", anchor: "end" });
      if (value === null) return [text, label("not measured", { x: BAR_LEFT, y: y + 14, kind: "missed" })];
      const end = Math.max(width(value), kind === "confab" ? width(mark ?? 0) : 0);
      const size = `width="${at(width(value))}" height="${BAR_HEIGHT}"`;
      const rect = `<rect class="${kind}" x="${BAR_LEFT}" y="${at(y)}" ${size}/>`;
      return [text, rect, label(short(value), { x: BAR_LEFT + end + 6, y: y + 14 })];
    });
  if (mark === undefined) return drawn;
  const x = at(BAR_LEFT + width(mark));
  return [...drawn, `<line class="mark" x1="${x}" y1="${at(top + 6)}" x2="${x}" y2="${at(top + 14 + BAR_HEIGHT)}"/>`];
}

function heading(figure: Figure, top: number): string[] {
  const ratio = figure.ratio === null ? "" : `ratio ${figure.ratio.toFixed(2)}`;
  const said = [ratio, figure.bar === null ? "" : `bar ${limit(figure)}`, verdict(figure)].filter(
    (word) => word !== "",
  );
  const kind = met(figure) === false ? "missed" : met(figure) === true ? "met" : "soft";
  return [
    label(titleOf(figure), { x: MARGIN, y: top }),
    label(said.join(", "), { x: WIDTH - MARGIN, y: top, kind, anchor: "end" }),
  ];
}

function chart({ name, unit, points }: Series, top: number): string[] {
  const [left, right, bottom] = [CHART_LEFT, WIDTH - MARGIN, top + CHART_HEIGHT - 34];
  const end = Math.max(...points.map(([seconds]) => seconds), 1);
  const highest = Math.max(...points.map(([, value]) => value)) * HEADROOM || 1;
  const height = bottom - top - 14;
  const path = points.map(([seconds, value], i) => {
    const [x, y] = [left + (seconds / end) * (right - left), bottom - (value / highest) * height];
    return `${i === 0 ? "M" : "L"}${at(x)} ${at(y)}`;
  });
  return [
    label(`${name}, ${unit}`, { x: MARGIN, y: top }),
    `<line class="axis" x1="${left}" y1="${at(bottom)}" x2="${right}" y2="${at(bottom)}"/>`,
    `<line class="axis" x1="${left}" y1="${at(top + 14)}" x2="${left}" y2="${at(bottom)}"/>`,
    label("0", { x: left - 6, y: bottom, kind: "soft", anchor: "end" }),
    label(short(highest), { x: left - 6, y: top + 22, kind: "soft", anchor: "end" }),
    label(`${Math.round(end)} s`, { x: right, y: bottom + 16, kind: "soft", anchor: "end" }),
    `<path class="line" d="${path.join("")}"/>`,
  ];
}

/** The picture of one scenario's figures; the same figures always give the same text. */
export function picture(title: string, figures: readonly Figure[]): string {
  const parts: string[] = [];
  let top = TITLE_HEIGHT + 20;
  for (const figure of figures) {
    parts.push(...heading(figure, top), ...bars(figure, top));
    top += FIGURE_HEIGHT + (figure.bare === null ? 0 : BAR_STEP);
    for (const series of (figure.series ?? []).filter(({ points }) => points.length > 0)) {
      parts.push(...chart(series, top));
      top += CHART_HEIGHT;
    }
  }
  return drawing(title, top, parts);
}

/** A whole picture of parts, with its title on top. */
export function drawing(title: string, height: number, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" x="0" y="0" width="${WIDTH}" height="${height}"/>`,
    label(title, { x: MARGIN, y: 32, kind: "title" }),
    ...parts,
    "</svg>\n",
  ].join("\n");
}
