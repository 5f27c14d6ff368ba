/** What a CPU profile of a server says: how much of its time was spent in which file and which function itself. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { columns } from "./report.ts";

/** Where the build lies: what is beneath it is named from there. */
const BUILD = dirname(dirname(fileURLToPath(import.meta.url)));
const FILES_SHOWN = 25;
const FUNCTIONS_SHOWN = 40;
const IDLE = "(idle)";

/** What is used of a file that `node --cpu-prof` writes. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  /** Ids of nodes. */
  readonly samples: readonly number[];
  /** Microseconds from the sample before; the first from the begin. */
  readonly timeDeltas: readonly number[];
}

/** CPU seconds of a profiled process, as `profile.hook.ts` writes them. */
export interface Used {
  /** Of all threads. */
  readonly seconds: number;
  readonly mainSeconds: number;
}

/** What a folder holds of the servers that were profiled. */
export interface Profiles {
  readonly profiles: readonly CpuProfile[];
  readonly used: readonly Used[];
}

/** Self time of something. */
export interface Spent {
  readonly name: string;
  /** Of all CPU time, 0 to 1. */
  readonly share: number;
}

/** A profile, summed up. */
export interface Spending {
  /** CPU time of all threads. */
  readonly seconds: number;
  /** Most first. */
  readonly files: readonly Spent[];
  readonly functions: readonly Spent[];
}

/** The file of a function: from the build's folder, a package's name, a part of Node, or what is none of these. */
function fileOf(url: string, functionName: string): string {
  if (url === "") return functionName.startsWith("(") ? functionName : "native code";
  const packages = url.lastIndexOf("/node_modules/");
  if (packages >= 0) {
    const [scope = "", name = ""] = url.slice(packages + "/node_modules/".length).split("/");
    return `package ${scope.startsWith("@") ? `${scope}/${name}` : scope}`;
  }
  if (!url.startsWith("file:")) return url;
  const path = fileURLToPath(url);
  return (path.startsWith(BUILD) ? path.slice(BUILD.length + 1) : path).replace(/\.js$/, ".ts");
}

const BETWEEN = "main thread between calls of JavaScript: sockets, kernel";
const OTHERS = "other threads";

/**
 * Sums up the self times of profiles, as if they were one. Their samples know the main thread, as far as it was in
 * JavaScript or in what that called; the rest of the CPU time stands under two names of its own.
 */
export function spendingOf({ profiles, used }: Profiles): Spending {
  const [files, functions] = [new Map<string, number>(), new Map<string, number>()];
  let busy = 0;
  const add = (to: Map<string, number>, name: string, us: number): void => {
    to.set(name, (to.get(name) ?? 0) + us);
  };
  for (const { nodes, samples, timeDeltas } of profiles) {
    const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
    samples.forEach((id, i) => {
      // A sample stands for the time until the next one.
      const us = Math.max(0, timeDeltas[i + 1] ?? 0);
      const frame = frames.get(id);
      if (frame === undefined || frame.functionName === IDLE) return;
      busy += us;
      const name = frame.functionName === "" ? `(anonymous, line ${frame.lineNumber + 1})` : frame.functionName;
      const file = fileOf(frame.url, name);
      add(files, file, us);
      add(functions, file === name ? name : `${file}  ${name}`, us);
    });
  }
  const sum = (of: (each: Used) => number): number => used.reduce((total, each) => total + of(each), 0) * 1e6;
  // Samples are of the clock, not of the CPU: where others used the core, they may say more than was used.
  const main = Math.max(
    busy,
    sum(({ mainSeconds }) => mainSeconds),
  );
  const others = sum(({ seconds, mainSeconds }) => seconds - mainSeconds);
  for (const to of [files, functions]) {
    if (main > busy) add(to, BETWEEN, main - busy);
    if (others > 0) add(to, OTHERS, others);
  }
  const all = main + others;
  const sorted = (of: ReadonlyMap<string, number>): Spent[] =>
    [...of].map(([name, us]) => ({ name, share: us / (all || 1) })).sort((a, b) => b.share - a.share);
  return { seconds: all / 1e6, files: sorted(files), functions: sorted(functions) };
}

/** Of whose cost the shares are parts. */
export interface Whole {
  /** Name of the figure. */
  readonly name: string;
  readonly us: number;
}

/** The summary in words: files, then functions, each with its share and, where a cost is known, its part of it. */
export function spendingText({ seconds, files, functions }: Spending, whole?: Whole): string {
  const rows = (of: readonly Spent[], shown: number): string[][] =>
    of.slice(0, shown).map(({ name, share }) => {
      return [`${(share * 100).toFixed(1)}%`, whole === undefined ? "" : (share * whole.us).toPrecision(3), name];
    });
  const part = whole === undefined ? "" : `us of ${whole.us.toPrecision(3)}: ${whole.name}`;
  const about = `${seconds.toFixed(1)} s of CPU time from start to end, by who used it itself`;
  const byFile = columns([["self", part, "file"], ...rows(files, FILES_SHOWN)]);
  const byFunction = columns([["self", part, "function"], ...rows(functions, FUNCTIONS_SHOWN)]);
  return `${about}\n\n${byFile}\n\n${byFunction}\n`;
}

/** Reads all profiles of a folder. */
export function profilesIn(folder: string): Profiles {
  const names = readdirSync(folder).sort();
  const read = <T>(ending: string): T[] =>
    names
      .filter((name) => name.endsWith(ending))
      .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as T);
  return { profiles: read<CpuProfile>(".cpuprofile"), used: read<Used>(".cpu.json") };
}
