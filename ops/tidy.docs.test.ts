import assert from "node:assert/strict";
import { test } from "node:test";
import { readText, readTree } from "./tidy.tree.ts";

// The built modules next door, read as data: ops import nobody's code.
const built = async (path: string): Promise<Record<string, unknown>> =>
  import(new URL(`../${path}`, import.meta.url).href);

const readme = readText("README.md");
const runbook = readText("ops/runbook.md");

/** The cells of the table rows of a section, with the marks of code taken off. */
function table(text: string, section: string): string[][] {
  const body = text.split(`\n## ${section}\n`)[1]?.split("\n## ")[0] ?? "";
  return body
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) =>
      line
        .slice(2, -2)
        .split(" | ")
        .map((cell) => cell.replaceAll("`", "")),
    );
}

function same(documented: readonly string[], known: readonly string[], what: string): void {
  const missing = known.filter((name) => !documented.includes(name));
  const stale = documented.filter((name) => !known.includes(name));
  assert.deepEqual(
    { missing, stale },
    { missing: [], stale: [] },
    `${what}: missing in the docs, or there and no more`,
  );
  assert.equal(new Set(documented).size, documented.length, `${what}: documented twice`);
}

interface Code {
  readonly sentence: string;
  readonly http: number;
  readonly close: number;
  readonly retry: string;
}

test("The README's table of codes is the table of codes.", async () => {
  const codes = (await built("actors/codes.js"))["CODES"] as Readonly<Record<string, Code>>;
  const rows = table(readme, "Codes");
  same(
    rows.map(([word]) => word as string),
    Object.keys(codes),
    "codes",
  );
  for (const [word = "", ...cells] of rows) {
    const { sentence, http, close, retry } = codes[word] as Code;
    assert.deepEqual(cells, [sentence, String(http), String(close), retry], word);
  }
});

test("The README's tables of settings say what --help says.", async () => {
  const help = ((await built("engine/config.js"))["helpText"] as () => string)();
  const known = help
    .split("\n")
    .filter((line) => /^ {2}[A-Z]/.test(line))
    .map((line) => line.trim().split(/ {2,}/));
  const rows = [...table(readme, "Settings"), ...table(readme, "Limits")];
  same(
    rows.map(([name]) => name as string),
    known.map(([name]) => name as string),
    "settings",
  );
  for (const row of rows)
    assert.deepEqual(
      row,
      known.find(([name]) => name === row[0]),
    );
});

test("The runbook's table of metrics names the metrics that there are.", async () => {
  const sources = [...readTree().values()].filter(
    ({ path, test: isTest }) => !isTest && (path.startsWith("engine/") || path === "ops/metrics.ts"),
  );
  const known = sources.flatMap(({ text }) =>
    [...text.matchAll(/"(confab_[a-z_]+)"/g)].map((match) => match[1] as string),
  );
  const rows = table(runbook, "Metrics");
  same(
    rows.map(([name = ""]) => name.replace(/\{.*/, "")),
    [...new Set(known)],
    "metrics",
  );
  for (const name of readme.match(/\bconfab_[a-z_]+/g) ?? [])
    assert.ok(known.includes(name), `the README names ${name}`);
});

test("Every npm command that the docs tell to run is there.", () => {
  const scripts: Readonly<Record<string, string>> = JSON.parse(readText("package.json")).scripts;
  const told = [...`${readme}\n${runbook}`.matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)];
  assert.ok(told.length > 0);
  for (const [, run, short] of told) assert.ok((run ?? short ?? "") in scripts, `npm ${run ?? short}`);
});

test("Every file that the docs link to is there.", () => {
  for (const [text, folder] of [
    [readme, ""],
    [runbook, "ops/"],
  ] as const) {
    for (const [, path = ""] of text.matchAll(/\]\(([^)#:]+)\)/g)) {
      assert.notEqual(readText(`${folder}${path}`), "", `a link to ${path}`);
    }
  }
});
