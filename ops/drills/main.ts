/**
 * `npm run drills`: all drills, one after the other; `npm run drills -- crash stores` those named so, or whose
 * name begins so before a dash. `--seed N` repeats a run, `--kills N` makes the drills that kill the node
 * shorter or longer. A drill whose store can not be had is skipped, which with `CI=true` or `REQUIRE_ALL=1` is
 * a failure. Exit 1 when anything was broken, or nothing was run.
 */
import { optionsOf, wholeNumber } from "../options.ts";
import { StoreMissing } from "../stores/process.ts";
import type { Violation } from "./checker.ts";
import { churnDrill } from "./churn.ts";
import { CLUSTER_DRILLS } from "./cluster.ts";
import { crashDrill } from "./crash.ts";
import { mutationsDrill } from "./mutations.ts";
import { STORES_DRILLS } from "./stores.ts";

/** Broken promises that are printed; the rest is counted. */
const SHOWN = 40;

const USAGE = `
npm run drills -- [names] [options]
  names      the drills so named, or whose name begins so before a dash; all when none is given
  --only A   the same for one name
  --seed N   repeats a run
  --kills N  how often the drills that kill the node do so; 24 when nothing is said`;

const { values, positionals } = optionsOf(USAGE, {
  allowPositionals: true,
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    only: { type: "string" },
    kills: { type: "string", default: "24" },
  },
});
const seed = wholeNumber("seed", values.seed);
const kills = wholeNumber("kills", values.kills);
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const DRILLS: Readonly<Record<string, () => Promise<Violation[]>>> = {
  crash: () => crashDrill({ seed, people: 12, kills, say }),
  churn: () => churnDrill({ seed, clients: 200, restarts: 3, lifeMs: 30_000, say }),
  ...Object.fromEntries(
    Object.entries(STORES_DRILLS).map(([name, drill]) => [name, () => drill({ seed, kills, say })]),
  ),
  mutations: () => mutationsDrill({ say }),
  ...Object.fromEntries(Object.entries(CLUSTER_DRILLS).map(([name, drill]) => [name, () => drill({ seed, say })])),
};

/** Whether every promise was kept; a drill that was skipped kept them unless all are required. */
async function run(name: string, drill: () => Promise<Violation[]>): Promise<boolean> {
  const startedAt = performance.now();
  const again = `npm run drills -- ${name} --seed ${seed} --kills ${kills}`;
  say(`${name}, seed ${seed}:`);
  try {
    const broken = await drill();
    const seconds = Math.round((performance.now() - startedAt) / 1_000);
    say(
      `${name}: ${broken.length === 0 ? "every promise kept" : `${broken.length} BROKEN`}, ${seconds} s, seed ${seed}`,
    );
    for (const { rule, what } of broken.slice(0, SHOWN)) say(`  ${rule}: ${what}`);
    if (broken.length > SHOWN) say(`  and ${broken.length - SHOWN} more`);
    if (broken.length > 0) say(`  again: ${again}`);
    return broken.length === 0;
  } catch (error) {
    if (!(error instanceof StoreMissing)) {
      say(`${name}: BROKEN by ${(error as Error).stack}`);
      say(`  again: ${again}`);
      return false;
    }
    say(`${name}: skipped: ${error.message}`);
    return process.env.CI !== "true" && process.env.REQUIRE_ALL !== "1";
  }
}

const words = [...positionals, ...(values.only === undefined ? [] : [values.only])];
const chosen = Object.entries(DRILLS).filter(
  ([name]) => words.length === 0 || words.some((word) => name === word || name.startsWith(`${word}-`)),
);
let kept = chosen.length > 0;
if (!kept) say(`There is no drill of this name; there are ${Object.keys(DRILLS).join(", ")}.`);
for (const [name, drill] of chosen) kept = (await run(name, drill)) && kept;
// A drill that broke off may leave people behind who would try for ever.
process.exit(kept ? 0 : 1);
