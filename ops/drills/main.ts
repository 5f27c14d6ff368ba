/**
 * `npm run drills`: all drills, one after the other. `--seed N` repeats a run, `--only crash|churn` runs one,
 * `--kills N` makes the crash drill shorter or longer. Exit 1 when anything was broken.
 */
import { parseArgs } from "node:util";
import type { Violation } from "./checker.ts";
import { churnDrill } from "./churn.ts";
import { crashDrill } from "./crash.ts";

/** Broken promises that are printed; the rest is counted. */
const SHOWN = 40;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    only: { type: "string" },
    kills: { type: "string", default: "24" },
  },
});
const seed = Number(values.seed);
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const DRILLS: Readonly<Record<string, () => Promise<Violation[]>>> = {
  crash: () => crashDrill({ seed, people: 12, kills: Number(values.kills), say }),
  churn: () => churnDrill({ seed, clients: 200, restarts: 3, lifeMs: 30_000, say }),
};

async function run(name: string, drill: () => Promise<Violation[]>): Promise<boolean> {
  const startedAt = performance.now();
  const broken = await drill();
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  say(`${name}: ${broken.length === 0 ? "every promise kept" : `${broken.length} BROKEN`}, ${seconds} s, seed ${seed}`);
  for (const { rule, what } of broken.slice(0, SHOWN)) say(`  ${rule}: ${what}`);
  if (broken.length > SHOWN) say(`  and ${broken.length - SHOWN} more`);
  return broken.length === 0;
}

let kept = true;
for (const [name, drill] of Object.entries(DRILLS)) {
  if (values.only === undefined || values.only === name) kept = (await run(name, drill)) && kept;
}
process.exitCode = kept ? 0 : 1;
