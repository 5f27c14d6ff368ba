/** What the operating system says of a process: CPU time and memory. Linux `/proc` only. */
import { readFileSync } from "node:fs";

/** Ticks a second of `/proc` times; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds (user and system) that all threads of a process used since its start, ended threads included. */
export function cpuSeconds(pid: number): number {
  return ticksToSeconds(readFileSync(`/proc/${pid}/stat`, "latin1"));
}

/** CPU seconds (user and system) that the text of a `stat` file tells, of a process or of one thread. */
export function ticksToSeconds(stat: string): number {
  // The name in parentheses may hold spaces, so fields are counted from its end; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Memory of a process. */
export interface Memory {
  /** Resident bytes in all. */
  readonly residentBytes: number;
  /** The anonymous part: heap, stacks, buffers; without mapped files. */
  readonly anonymousBytes: number;
}

/** Reads `VmRSS` and `RssAnon`. */
export function memory(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1_024;
  return { residentBytes: bytes("VmRSS"), anonymousBytes: bytes("RssAnon") };
}
