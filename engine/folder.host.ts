/** How a process is named across processes, and whether the one so named still lives. */
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A process, so that no other one is ever taken for it. */
export interface ProcessName {
  readonly pid: number;
  /** When it started, in the kernel's own count; empty where that cannot be known. */
  readonly started: string;
  /** Where its pid means something: a boot of a machine and a pid namespace in it. */
  readonly world: string;
  /** For people: the name of its host. */
  readonly host: string;
}

/** What the lock of a folder must know of processes; tests stand in other worlds with it. */
export interface Host {
  readonly self: ProcessName;
  /** Whether a process of this world still lives. */
  isAlive(other: ProcessName): boolean;
}

/** This process, and its world. */
export function thisHost(): Host {
  const self = {
    pid: process.pid,
    started: statOf(process.pid)?.started ?? "",
    world: [readText("/proc/sys/kernel/random/boot_id") || hostname(), readLink("/proc/self/ns/pid")].join(" "),
    host: hostname(),
  };
  return { self, isAlive };
}

function isAlive(other: ProcessName): boolean {
  const stat = statOf(other.pid);
  // A zombie has ended; a pid with another start is another process.
  if (stat) return stat.started === other.started && !"ZXx".includes(stat.state);
  try {
    process.kill(other.pid, 0);
    return true;
  } catch (error) {
    // It lives when it is only not ours to signal.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** State and start of a process by /proc (proc(5): fields 3 and 22); undefined where there is no /proc. */
function statOf(pid: number): { state: string; started: string } | undefined {
  const text = readText(`/proc/${pid}/stat`);
  // The name in parentheses may hold anything, parentheses and blanks included.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, started] = [fields[0], fields[19]];
  return state && started ? { state, started } : undefined;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
