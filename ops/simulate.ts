/**
 * `npm run simulate -- --seed 7`: replays one run of the simulator and prints its story. `--runs 500 --from 1`
 * runs many seeds, `--minutes 10` as many as fit; `--kinds crash,wipe` draws from these faults alone, none for
 * calm runs. Ends with exit code 1 and the seed of the first run that broke a promise.
 *
 * The simulator is asked for by its address in the built tree, or in another one with `--tree FOLDER`.
 */
import { pathToFileURL } from "node:url";
import { optionsOf, positiveNumber, wholeNumber } from "./options.ts";

/** What a run came to, as far as it is told here; `actors/simulation/simulate.ts` says more. */
interface Outcome {
  readonly breach: string | undefined;
  readonly hash: string;
  readonly story: readonly string[];
  readonly faults: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

type Simulate = (seed: number, options: { story: boolean; kinds: readonly string[] | undefined }) => Promise<Outcome>;

/** Runs between two lines about how far it is. */
const TOLD_EVERY = 1_000;

const USAGE = `
npm run simulate -- [options]
  --seed N         replays one run and prints its story
  --runs N         so many runs, each with the next seed; 500 when nothing is said
  --from N         the first of them; 1 when nothing is said
  --minutes N      as many runs as fit
  --kinds A,B      draws from these faults alone; "" for calm runs
  --each           says each seed before it runs
  --tree FOLDER    simulates the engine that was built there`;

const { values } = optionsOf(USAGE, {
  options: {
    seed: { type: "string" },
    from: { type: "string", default: "1" },
    runs: { type: "string" },
    minutes: { type: "string" },
    kinds: { type: "string" },
    tree: { type: "string" },
    each: { type: "boolean", default: false },
  },
});
const address =
  values.tree === undefined
    ? new URL("../actors/simulation/simulate.js", import.meta.url)
    : pathToFileURL(`${values.tree}/actors/simulation/simulate.js`);
const { simulate } = (await import(address.href)) as { simulate: Simulate };
const { FAULTS } = (await import(new URL("plan.js", address).href)) as { FAULTS: readonly string[] };
const kinds = values.kinds?.split(",").filter((kind) => kind !== "");
for (const kind of kinds ?? []) {
  if (FAULTS.includes(kind)) continue;
  process.stderr.write(`there is no fault ${kind}; there are ${FAULTS.join(", ")}\n`);
  process.exit(2);
}
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

let running = 0;
process.on("unhandledRejection", (error) => {
  say(`seed ${running}: BROKEN: a rejection that nobody hears: ${(error as Error)?.stack}`);
  process.exit(1);
});

async function replay(seed: number): Promise<boolean> {
  running = seed;
  const { story, breach, hash, counts } = await simulate(seed, { story: true, kinds });
  for (const line of story) say(line);
  say(`seed ${seed}: ${breach === undefined ? "every promise kept" : `BROKEN: ${breach}`}`);
  say(`hash ${hash}, ${JSON.stringify(counts)}`);
  return breach === undefined;
}

async function many(from: number): Promise<boolean> {
  const minutes = values.minutes === undefined ? undefined : positiveNumber("minutes", values.minutes);
  const unsaid = minutes === undefined ? 500 : Number.POSITIVE_INFINITY;
  const runs = values.runs === undefined ? unsaid : wholeNumber("runs", values.runs);
  const startedAt = performance.now();
  let sends = 0;
  let done = 0;
  for (; done < runs; done++) {
    if (minutes !== undefined && performance.now() - startedAt > minutes * 60_000) break;
    running = from + done;
    if (values.each) say(`run ${running}`);
    const { breach, counts, faults } = await simulate(running, { story: false, kinds });
    sends += counts["sends"] ?? 0;
    if (breach !== undefined) {
      say(`seed ${running}: BROKEN: ${breach}`);
      say(`faults: ${faults.join(", ")}; replay with --seed ${running}`);
      return false;
    }
    if ((done + 1) % TOLD_EVERY === 0) say(`${done + 1} runs, up to seed ${running}`);
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  say(`${done} runs from seed ${from}, ${sends} SENDs: every promise kept, ${seconds.toFixed(1)} s`);
  return done > 0;
}

const kept = await (values.seed === undefined
  ? many(wholeNumber("from", values.from))
  : replay(wholeNumber("seed", values.seed)));
process.exitCode = kept ? 0 : 1;
