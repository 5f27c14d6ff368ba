/** The clock of the platform. */
import type { Clock, Timer } from "../actors/clock.ts";

/** Real time. Timers do not keep the process alive. */
export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs: number, task: () => void): Timer => setTimeout(task, delayMs).unref(),
  cancel: (timer: Timer) => clearTimeout(timer as NodeJS.Timeout),
  endOfTurn: (task: () => void) => void setImmediate(task),
});
