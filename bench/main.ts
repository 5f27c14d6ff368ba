/** `npm run bench`: runs the scenarios one after another, prints the table, writes the results, leaves nothing behind. */
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { owed, reasonOf } from "./bars.ts";
import { barsTable, besidePicture, besideTable, ceilingTable } from "./beside.ts";
import { difference } from "./difference.ts";
import { picture } from "./picture.ts";
import { endAll, forbid, killAll, temporaryFolder } from "./process.ts";
import { profilesIn, spendingOf, spendingText } from "./profile.ts";
import { Progress } from "./progress.ts";
import { type Figure, json, load, machine, met, type Report, save, summary, table } from "./report.ts";
import { ceiling } from "./scenarios/ceiling.ts";
import { chat } from "./scenarios/chat.ts";
import { connect } from "./scenarios/connect.ts";
import { fanout } from "./scenarios/fanout.ts";
import { growth } from "./scenarios/growth.ts";
import { idle } from "./scenarios/memory.ts";
import { nodes } from "./scenarios/nodes.ts";
import { peers } from "./scenarios/peers.ts";
import { rest } from "./scenarios/rest.ts";
import type { Scenario } from "./scenarios/scenario.ts";
import { slow } from "./scenarios/slow.ts";
import { soak } from "./scenarios/soak.ts";
import { stores } from "./scenarios/stores.ts";
import { profileInto } from "./targets.ts";

const SCENARIOS: readonly Scenario[] = [
  ceiling,
  fanout,
  peers,
  chat,
  connect,
  idle,
  growth,
  slow,
  rest,
  stores,
  nodes,
  soak,
];

/** A scenario that takes longer hangs; the soak takes 11 minutes, the peers some more when they are built first. */
const SCENARIO_MINUTES = 20;
/** What a scenario without processes may take to notice that it is over. */
const NOTICE_MS = 30_000;

const HELP = `npm run bench -- [options]
  --quick            shorter and coarser, a look rather than a claim; written to a file only with --json
  --only NAME        one scenario, may be given again: ${SCENARIOS.map(({ name }) => name).join(", ")}
  --json FILE        where the results go, pictures beside it; else bench/results/DATE.json
  --check            exit 1 if a bar is missed or not measured, or a message was lost, doubled or out of order
  --profile          take CPU profiles of Confab and sum them up; costs some of its speed, so no claim either
  --compare A B      print two files of results side by side, and run nothing
  --markdown FILE    print the tables of both READMEs from a file of results, draw Confab beside its peers beside that
                     file, and run nothing
${SCENARIOS.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join("\n")}
`;

const progress = new Progress(process.stderr);

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** How all scenarios are to be run. */
interface Wish {
  readonly quick: boolean;
  readonly profile: boolean;
  /** Where the results go. */
  readonly file: string | undefined;
}

/** The scenario's figures; rejects when it takes too long, once all that it started is ended and nothing more begins. */
async function inTime(scenario: Scenario, quick: boolean, show: (line: string) => void): Promise<readonly Figure[]> {
  const figures = scenario.run({ quick, progress: show });
  const wait = (ms: number, timers: NodeJS.Timeout[]): Promise<undefined> =>
    new Promise((resolve) => timers.push(setTimeout(resolve, ms, undefined)));
  const timers: NodeJS.Timeout[] = [];
  const done = await Promise.race([figures, wait(SCENARIO_MINUTES * 60_000, timers)]).finally(() =>
    timers.forEach(clearTimeout),
  );
  if (done !== undefined) return done;
  const reason = `it took longer than ${SCENARIO_MINUTES} minutes`;
  forbid(reason);
  await endAll();
  await Promise.race([figures.then(ignore, ignore), wait(NOTICE_MS, timers)]);
  timers.forEach(clearTimeout);
  forbid(undefined);
  throw new Error(reason);
}

function ignore(): undefined {
  return undefined;
}

/** Runs one scenario; one that fails owes its figures, and the others still run. */
async function runOne(scenario: Scenario, wish: Wish, show: (line: string) => void): Promise<Figure[]> {
  let [figures, failure]: [readonly Figure[], string | undefined] = [[], undefined];
  const folder = wish.profile ? temporaryFolder() : undefined;
  profileInto(folder);
  try {
    figures = await inTime(scenario, wish.quick, show);
  } catch (error) {
    failure = reasonOf(error);
    progress.say(`${scenario.name} failed: ${error instanceof Error ? error.message : error}`);
  } finally {
    await endAll(() => folder !== undefined && spent(scenario, folder, { figures, file: wish.file }));
  }
  return [...figures, ...owed(scenario.name, figures, failure)];
}

/** Prints where Confab's time went in a scenario, and keeps that and the profiles beside the results. */
function spent(scenario: Scenario, folder: string, to: { figures: readonly Figure[]; file: string | undefined }): void {
  const found = profilesIn(folder);
  if (found.profiles.length === 0) return;
  const split = to.figures.find(({ name }) => name === scenario.split);
  const us = split?.facts["confabServerUs"];
  const text = spendingText(spendingOf(found), split && us !== undefined ? { name: split.name, us } : undefined);
  progress.say(`${scenario.name}: ${text}`);
  if (to.file === undefined) return;
  save(beside(to.file, `${scenario.name}.profile.txt`), `${scenario.name}: ${text}`);
  for (const name of readdirSync(folder)) {
    copyFileSync(join(folder, name), beside(to.file, `${scenario.name}.${name}`));
  }
}

async function runAll(chosen: readonly Scenario[], wish: Wish, begun: Omit<Report, "figures">): Promise<Report> {
  const figures: Figure[] = [];
  for (const [i, scenario] of chosen.entries()) {
    const show = (line: string): void => progress.show(`[${i + 1}/${chosen.length}] ${line}`);
    show(scenario.name);
    const found = await runOne(scenario, wish, show);
    figures.push(...found);
    // After each, so that nothing is gone if the rest is broken off.
    if (wish.file !== undefined) record(wish.file, { ...begun, figures }, scenario);
  }
  progress.end();
  return { ...begun, figures };
}

/** The name of a file beside the file of results. */
function beside(file: string, what: string): string {
  return `${file.replace(/\.json$/, "")}.${what}`;
}

/** Writes the file of results, and a picture of the newest scenario beside it. */
function record(file: string, report: Report, { name, about }: Scenario): void {
  save(file, json(report));
  const figures = report.figures.filter(({ scenario }) => scenario === name);
  save(beside(file, `${name}.svg`), picture(`${name}: ${about}`, figures));
}

function compareFiles(files: readonly string[]): number {
  const [a, b] = files;
  if (a === undefined || b === undefined || files.length > 2) throw new Error("--compare takes two files of results");
  print(difference(load(a), load(b)));
  return 0;
}

function renderMarkdown(file: string): number {
  const report = load(file);
  save(beside(file, "beside.svg"), besidePicture(report));
  print([besideTable(report), barsTable(report), ceilingTable(report)].join("\n"));
  return 0;
}

function chosenOf(names: readonly string[] | undefined): Scenario[] {
  const unknown = names?.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) throw new Error(`there is no scenario ${unknown}`);
  return SCENARIOS.filter(({ name }) => names?.includes(name) ?? true);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true },
      json: { type: "string" },
      check: { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
      compare: { type: "boolean", default: false },
      markdown: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    print(HELP);
    return 0;
  }
  if (values.compare) return compareFiles(positionals);
  if (positionals.length > 0) throw new Error(`there is no argument ${positionals.join(" ")}; --help lists them`);
  if (values.markdown !== undefined) return renderMarkdown(values.markdown);
  const chosen = chosenOf(values.only);
  const { quick, profile } = values;
  const [date, described] = [new Date().toISOString(), machine()];
  if (described["pinned"] !== true) progress.say("Processes cannot be pinned here: the figures say little.");
  const named = quick || profile ? undefined : `bench/results/${date.replaceAll(":", "-")}.json`;
  const file = values.json ?? named;
  // Now, not after the first scenario: a place that cannot be written to is said before anything is measured.
  if (file !== undefined) mkdirSync(dirname(file), { recursive: true });
  const begun = { date, quick, ...(profile ? { profiled: true } : {}), machine: described };
  const { figures } = await runAll(chosen, { quick, profile, file }, begun);
  print(`${table(figures)}\n\n${summary(figures)}`);
  if (file !== undefined) print(`written to ${file}`);
  return values.check && figures.some((figure) => met(figure) === false) ? 1 : 0;
}

// However this process ends, nothing that it started goes on.
process.once("exit", killAll);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    progress.end();
    process.exit(1);
  });
}

main().then(
  (code) => process.exit(code),
  async (error: unknown) => {
    await endAll();
    progress.say(error instanceof Error ? error.message : String(error));
    process.exit(1);
  },
);
