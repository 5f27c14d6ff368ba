/** `npm run bench`: runs the scenarios one after another, prints the table, writes the results, leaves nothing behind. */
import { parseArgs } from "node:util";
import { endAll, killAll } from "./process.ts";
import { type Figure, machine, met, type Report, save, table } from "./report.ts";
import { ceiling } from "./scenarios/ceiling.ts";
import { chat } from "./scenarios/chat.ts";
import { connect } from "./scenarios/connect.ts";
import { fanout } from "./scenarios/fanout.ts";
import { idle } from "./scenarios/memory.ts";
import type { Scenario } from "./scenarios/scenario.ts";

const SCENARIOS: readonly Scenario[] = [ceiling, fanout, chat, connect, idle];

const HELP = `npm run bench -- [options]
  --quick        shorter and coarser, a look rather than a claim; written to a file only with --json
  --only NAME    one scenario, may be given again: ${SCENARIOS.map(({ name }) => name).join(", ")}
  --json FILE    where the results go; else bench/results/DATE.json
  --check        exit 1 if a bar is missed or a message was lost, doubled or out of order
${SCENARIOS.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join("\n")}
`;

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const progress = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

async function runAll(chosen: readonly Scenario[], quick: boolean): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const scenario of chosen) {
    try {
      figures.push(...(await scenario.run({ quick, progress })));
    } finally {
      await endAll();
    }
  }
  return figures;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true },
      json: { type: "string" },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    print(HELP);
    return 0;
  }
  const unknown = values.only?.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) throw new Error(`there is no scenario ${unknown}`);
  const chosen = SCENARIOS.filter(({ name }) => values.only?.includes(name) ?? true);
  const [date, described] = [new Date().toISOString(), machine()];
  if (described["pinned"] !== true) progress("Processes cannot be pinned here: the figures say little.");
  const figures = await runAll(chosen, values.quick);
  const report: Report = { date, quick: values.quick, machine: described, figures };
  print(table(figures));
  const file = values.json ?? (values.quick ? undefined : `bench/results/${date.replaceAll(":", "-")}.json`);
  if (file !== undefined) save(file, report);
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
    progress(error instanceof Error ? error.message : String(error));
    process.exit(1);
  },
);
