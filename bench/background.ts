/** Processes that have to do all of their work, and none of it promptly. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { setPriority } from "node:os";

/** Where the policy cannot be had: a process of this priority yields for much of the time, and not at once. */
const NICE = 10;

/**
 * Puts a process with all its threads, and those they start, behind every other on its core, by Linux's policy
 * SCHED_IDLE. A lower priority alone is not enough: whoever has the core keeps it to the end of a slice,
 * whatever the priority, and only one of this policy is interrupted as soon as another wakes up.
 */
export function toBackground(pid: number): void {
  if (spawnSync("chrt", ["--all-tasks", "--idle", "--pid", "0", String(pid)]).status === 0) return;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      setPriority(Number(thread), NICE);
    } catch {
      // It has ended since.
    }
  }
}
