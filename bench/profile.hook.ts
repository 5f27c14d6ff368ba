/**
 * Loaded into a server that is profiled (`node --import`): at its end writes what CPU time it has used, beside the
 * profile. A profile alone does not tell: what a native library does between two calls of JavaScript passes in it for idle.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { cpuSeconds, ticksToSeconds } from "./usage.ts";

const OPTION = "--cpu-prof-dir=";
const folder = process.execArgv.find((option) => option.startsWith(OPTION))?.slice(OPTION.length);

process.once("exit", () => {
  // Worker threads load this too.
  if (folder === undefined || !isMainThread) return;
  const mainSeconds = ticksToSeconds(readFileSync(`/proc/self/task/${process.pid}/stat`, "latin1"));
  writeFileSync(`${folder}/${process.pid}.cpu.json`, JSON.stringify({ seconds: cpuSeconds(process.pid), mainSeconds }));
});
