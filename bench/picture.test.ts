import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { picture } from "./picture.ts";
import type { Figure } from "./report.ts";

const figure: Figure = {
  scenario: "fanout",
  name: "window 1",
  unit: "deliveries/s",
  confab: 90_000,
  bare: 100_000,
  ratio: 0.9,
  bar: { on: "ratio", least: 0.9 },
  faults: [],
  facts: {},
};

interface Element {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  text: string;
}

/** Parses XML of the kind a picture is; throws where a tag is not closed or a text holds what must be escaped. */
function parse(xml: string): Element[] {
  const [elements, open]: [Element[], Element[]] = [[], []];
  let at = 0;
  for (const tag of xml.matchAll(/<(\/?)([a-z]+)((?: [a-zA-Z0-9-]+="[^"<]*")*)(\/?)>/g)) {
    const text = xml.slice(at, tag.index);
    assert.doesNotMatch(text, /[<>]|&(?!(amp|lt|gt|quot);)/);
    const parent = open.at(-1);
    if (parent !== undefined) parent.text += text;
    at = tag.index + tag[0].length;
    const [, closing, name = "", attributes = "", empty] = tag;
    if (closing === "/") {
      assert.equal(open.pop()?.name, name);
      continue;
    }
    const pairs = [...attributes.matchAll(/([a-zA-Z0-9-]+)="([^"]*)"/g)].map(([, key = "", value = ""]) => {
      return [key, value] as const;
    });
    const element: Element = { name, attributes: new Map(pairs), text: "" };
    elements.push(element);
    if (empty !== "/") open.push(element);
  }
  assert.deepEqual(open, []);
  assert.equal(xml.slice(at).trim(), "");
  return elements;
}

const ofClass = (elements: readonly Element[], name: string): Element[] =>
  elements.filter(({ attributes }) => attributes.get("class") === name);
const number = (element: Element | undefined, attribute: string): number =>
  Number(element?.attributes.get(attribute) ?? Number.NaN);
const texts = (elements: readonly Element[]): string[] =>
  elements.filter(({ name }) => name === "text").map(({ text }) => text);

test("Bars are as long as their figures, and the mark stands where the bar would just be met.", () => {
  const elements = parse(picture("fanout", [figure]));
  const [confab, rival, mark] = ["confab", "rival", "mark"].map((name) => ofClass(elements, name)[0]);
  assert.ok(Math.abs(number(confab, "width") / number(rival, "width") - 0.9) < 0.001);
  assert.equal(number(mark, "x1"), number(confab, "x") + number(confab, "width"));
  assert.ok(texts(elements).includes("ratio 0.90, bar ≥ 0.9, met"));
});

test("A missed bar and a figure that was not measured are to be seen.", () => {
  const missed = parse(picture("fanout", [{ ...figure, ratio: 0.5 }]));
  assert.match(ofClass(missed, "missed")[0]?.text ?? "", /MISSED/);
  const none = parse(picture("fanout", [{ ...figure, confab: null, bare: null, ratio: null, faults: ["why"] }]));
  assert.deepEqual(
    ofClass(none, "missed").map(({ text }) => text),
    ["bar ≥ 0.9, MISSED, FAULT", "not measured"],
  );
});

test("It has colours for light and for dark ground.", () => {
  const style = parse(picture("fanout", [figure])).find(({ name }) => name === "style")?.text ?? "";
  const [light = "", dark = ""] = style.split("@media (prefers-color-scheme: dark)");
  for (const kind of [".ground", "text", ".confab", ".rival", ".mark", ".met", ".missed"]) {
    assert.ok(light.includes(kind) && dark.includes(kind), kind);
  }
});

test("What was read over time is a line within its axes.", () => {
  const series = [{ name: "memory", unit: "MB", points: [[0, 10] as const, [30, 40] as const, [60, 20] as const] }];
  const elements = parse(picture("soak", [{ ...figure, series }]));
  const path = ofClass(elements, "line")[0]?.attributes.get("d") ?? "";
  const points = [...path.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map((match) => [Number(match[1]), Number(match[2])]);
  assert.equal(points.length, 3);
  const [axis] = ofClass(elements, "axis");
  for (const [x = 0, y = 0] of points) assert.ok(x >= number(axis, "x1") && x <= number(axis, "x2") && y > 0);
  assert.ok((points[1]?.[1] ?? 0) < (points[0]?.[1] ?? 0), "a higher value stands higher");
});

test("Any figures give text that parses, the same each time, with all names in it.", () => {
  const value = fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }));
  const any = fc.record({ name: fc.string(), unit: fc.string(), confab: value, bare: value, ratio: value });
  fc.assert(
    fc.property(fc.string(), fc.array(any, { maxLength: 4 }), (title, wanted) => {
      const figures = wanted.map((some) => ({ ...figure, ...some }));
      const text = picture(title, figures);
      assert.equal(picture(title, figures), text);
      assert.doesNotMatch(text, /NaN|Infinity/);
      assert.ok(parse(text).length > 4);
    }),
  );
});
