/** `npm run bench`: runs the scenarios one after another, prints the table, writes the results, leaves nothing behind. */
import { parseArgs } from "node:util";
import { owed, reasonOf } from "./bars.ts";
import { difference } from "./difference.ts";
import { picture } from "./picture.ts";
import { endAll, killAll } from "./process.ts";
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

const HELP = `npm run bench -- [options]
  --quick            shorter and coarser, a look rather than a claim; written to a file only with --json
  --only NAME        one scenario, may be given again: ${SCENARIOS.map(({ name }) => name).join(", ")}
  --json FILE        where the results go, pictures beside it; else bench/results/DATE.json
  --check            exit 1 if a bar is missed or not measured, or a message was lost, doubled or out of order
  --compare A B      print two files of results side by side, and run nothing
${SCENARIOS.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join("\n")}
`;

const progress = new Progress(process.stderr);

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** Runs one scenario; one that fails owes its figures, and the others still run. */
async function runOne(scenario: Scenario, quick: boolean, show: (line: string) => void): Promise<Figure[]> {
  let [figures, failure]: [readonly Figure[], string | undefined] = [[], undefined];
  try {
    figures = await scenario.run({ quick, progress: show });
  } catch (error) {
    failure = reasonOf(error);
    progress.say(`${scenario.name} failed: ${error instanceof Error ? error.message : error}`);
  } finally {
    await endAll();
  }
  return [...figures, ...owed(scenario.name, figures, failure)];
}

async function runAll(chosen: readonly Scenario[], quick: boolean): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [i, scenario] of chosen.entries()) {
    const show = (line: string): void => progress.show(`[${i + 1}/${chosen.length}] ${line}`);
    show(scenario.name);
    figures.push(...(await runOne(scenario, quick, show)));
  }
  progress.end();
  return figures;
}

/** Writes the file of results, and a picture of each scenario beside it. */
function record(file: string, report: Report, chosen: readonly Scenario[]): void {
  save(file, json(report));
  for (const { name, about } of chosen) {
    const figures = report.figures.filter(({ scenario }) => scenario === name);
    if (figures.length > 0) save(`${file.replace(/\.json$/, "")}.${name}.svg`, picture(`${name}: ${about}`, figures));
  }
}

function compareFiles(files: readonly string[]): number {
  const [a, b] = files;
  if (a === undefined || b === undefined || files.length > 2) throw new Error("--compare takes two files of results");
  print(difference(load(a), load(b)));
  return 0;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true },
      json: { type: "string" },
      check: { type: "boolean", default: false },
      compare: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    print(HELP);
    return 0;
  }
  if (values.compare) return compareFiles(positionals);
  if (positionals.length > 0) throw new Error(`there is no argument ${positionals.join(" ")}; --help lists them`);
  const unknown = values.only?.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) throw new Error(`there is no scenario ${unknown}`);
  const chosen = SCENARIOS.filter(({ name }) => values.only?.includes(name) ?? true);
  const [date, described] = [new Date().toISOString(), machine()];
  if (described["pinned"] !== true) progress.say("Processes cannot be pinned here: the figures say little.");
  const figures = await runAll(chosen, values.quick);
  const report: Report = { date, quick: values.quick, machine: described, figures };
  print(`${table(figures)}\n\n${summary(figures)}`);
  const file = values.json ?? (values.quick ? undefined : `bench/results/${date.replaceAll(":", "-")}.json`);
  if (file !== undefined) record(file, report, chosen);
  return values.check && figures.some((figure) => met(figure) === false) ? 1 : 0;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    killAll();
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
