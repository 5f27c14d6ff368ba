import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { type FOLDERS, importsOf, reachedFrom, readText, readTree, type Source } from "./tidy.tree.ts";

const tree = readTree();
const LINES_MAX = 400;
const SCRIPTS_MAX = 10;

/** The arrows: whom a folder may import (design 8). `api` is seen by `engine/main.ts` alone. */
const SEES: Readonly<Record<(typeof FOLDERS)[number], readonly string[]>> = {
  actors: ["actors"],
  engine: ["engine", "actors", "ops"],
  api: ["api", "actors", "ops"],
  ops: ["ops"],
  bench: ["bench"],
};

/** A piece of text that has no place in some files, and what stands there instead. */
interface Banned {
  readonly text: RegExp;
  readonly instead: string;
  /** Which files; all when left out. */
  readonly where?: (source: Source) => boolean;
}

const inActors = ({ path }: Source): boolean => path.startsWith("actors/") && path !== "actors/clock.ts";
const inProduct = ({ path, test: isTest }: Source): boolean =>
  !isTest &&
  !path.startsWith("bench/") &&
  !path.startsWith("ops/drills/") &&
  !path.startsWith("ops/stores/") &&
  path !== "ops/test.ts";

const BANNED: readonly Banned[] = [
  { text: /\b(TODO|FIXME|XXX|HACK)\b/, instead: "the thing done, or a note in the issue" },
  { text: /@ts-(ignore|nocheck)/, instead: "the right type" },
  { text: /@ts-expect-error\s*$/, instead: "@ts-expect-error with its reason" },
  {
    text: /\bconsole\.\w+\(/,
    instead: "the log, or process.stdout.write in a command",
    // Tests write scripts of other processes as text; the lint rule still sees their own calls.
    where: ({ test: isTest }) => !isTest,
  },
  { text: /["'`(]\/(work|root|home|tmp)\//, instead: "a relative path, or tmpdir()" },
  { text: /\bit\.only|\btest\.only/, instead: "the whole suite" },
  { text: /\bDate\.now\(|\bnew Date\(\)/, instead: "clock.now()", where: inActors },
  { text: /\bperformance\.now\(/, instead: "clock.monotonic()", where: inActors },
  { text: /\bset(Timeout|Interval)\(/, instead: "clock.after()", where: inActors },
  { text: /\bsetImmediate\(/, instead: "clock.endOfTurn()", where: (source) => inActors(source) && !source.test },
  { text: /\bMath\.random\(|\brandomUUID\(/, instead: "the injected random", where: inActors },
  { text: /\bprocess\.[a-z]/i, instead: "nothing: actors know no process", where: inActors },
  {
    text: /\bprocess\.env\b/,
    instead: "engine/config.ts",
    where: (source) => inProduct(source) && source.path !== "engine/config.ts",
  },
  { text: /\bnew Date\(\)\.getTime\(\)/, instead: "Date.now()" },
  { text: /\bBuffer\.slice\(|\bnew Buffer\(/, instead: "subarray, Buffer.from" },
  {
    text: /\b(inner|outer)HTML\b|dangerouslySetInnerHTML|document\.write\(|insertAdjacentHTML/,
    instead: "text nodes: what users wrote is never HTML",
    where: ({ path, test: isTest }) => path.startsWith("api/page/") && !isTest,
  },
  {
    text: /from "node:timers\/promises"/,
    instead: "waiting for the event, or the simulated clock",
    where: ({ test: isTest }) => isTest,
  },
];

function report(found: readonly string[]): void {
  assert.equal(found.length, 0, `\n${found.join("\n")}\n`);
}

test("No file has more than 400 lines.", () => {
  const long = [...tree.values()].filter((source) => source.lines.length > LINES_MAX + 1);
  report(long.map((source) => `${source.path}: ${source.lines.length - 1} lines; split it by responsibility`));
});

test("No file holds text that has something better in its place.", () => {
  const found: string[] = [];
  for (const source of tree.values()) {
    if (source.path === "ops/tidy.test.ts") continue;
    const rules = BANNED.filter((rule) => rule.where?.(source) ?? true);
    for (const [at, line] of source.lines.entries()) {
      for (const rule of rules) {
        const match = rule.text.exec(line);
        if (match) found.push(`${source.path}:${at + 1}: ${match[0]} → ${rule.instead}`);
      }
    }
  }
  report(found);
});

test("Every import follows the arrows.", () => {
  const found: string[] = [];
  for (const source of tree.values()) {
    const from = source.path.split("/")[0] as (typeof FOLDERS)[number];
    for (const path of importsOf(source)) {
      const to = path.split("/")[0] as string;
      const main = source.path === "engine/main.ts" && to === "api";
      if (!SEES[from].includes(to) && !main)
        found.push(`${source.path} imports ${path}: ${from} sees ${SEES[from].join(", ")}`);
      if (!tree.has(path)) found.push(`${source.path} imports ${path}, which is not there`);
    }
  }
  report(found);
});

test("Every file is reached from a command of package.json, from the page or from a test.", () => {
  const scripts: Readonly<Record<string, string>> = JSON.parse(readText("package.json")).scripts;
  const commands = Object.values(scripts).flatMap((script) =>
    [...script.matchAll(/\bdist\/([\w./-]+)\.js\b/g)].map((match) => `${match[1]}.ts`),
  );
  for (const command of commands) assert.ok(tree.has(command), `a script runs ${command}, which is not there`);
  const tests = [...tree.keys()].filter((path) => /\.test\.tsx?$/.test(path));
  const page = ["api/page/main.ts", "api/page/main.tsx"];
  const reached = reachedFrom([...commands, ...tests, ...page], tree);
  report(
    [...tree.keys()].filter((path) => !reached.has(path)).map((path) => `${path} is reached from nowhere; delete it`),
  );
});

test("Every port has a suite, and every backend a test that runs it.", () => {
  const backends = [...tree.keys()].filter((path) =>
    /^(actors|engine)\/\w+\.(memory|lmdb|mongo|redis|pg)\.ts$/.test(path),
  );
  assert.ok(backends.length > 0);
  const tests = [...tree.values()].filter(({ path }) => /\.test\.tsx?$/.test(path));
  const found: string[] = [];
  for (const backend of backends) {
    const suite = `actors/${basename(backend).split(".")[0]}.conformance.ts`;
    if (!tree.has(suite)) found.push(`${backend} has no suite ${suite}`);
    const runs = tests.some(
      (source) => importsOf(source).includes(suite) && reachedFrom([source.path], tree).has(backend),
    );
    if (!runs) found.push(`no test runs ${suite} against ${backend}`);
  }
  for (const port of ["archive", "bus", "directory", "leases"]) {
    if (!tree.has(`actors/${port}.conformance.ts`)) found.push(`the port ${port} has no suite`);
  }
  report(found);
});

test("Titles of tests are sentences.", () => {
  const found: string[] = [];
  for (const source of tree.values()) {
    for (const [at, line] of source.lines.entries()) {
      const title = /^\s*(?:test|it)\((["`])(.*?)\1, /.exec(line)?.[2];
      if (title !== undefined && !/[.?]$/.test(title))
        found.push(`${source.path}:${at + 1}: "${title}" has no full stop`);
    }
  }
  report(found);
});

test("There are at most 10 npm scripts.", () => {
  const scripts = Object.keys(JSON.parse(readText("package.json")).scripts);
  assert.ok(scripts.length <= SCRIPTS_MAX, `${scripts.length} scripts`);
});

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

test("The lock file has every optional package, those of other platforms too, or npm ci would refuse it.", () => {
  const packages: Readonly<Record<string, Locked>> = JSON.parse(readText("package-lock.json")).packages;
  const found: string[] = [];
  for (const [at, { optionalDependencies = {} }] of Object.entries(packages)) {
    for (const name of Object.keys(optionalDependencies)) {
      const places = [`${at}/node_modules/${name}`, `node_modules/${name}`];
      if (!places.some((place) => place in packages)) found.push(`${name} of ${at}`);
    }
  }
  report(found);
});
