/** Time and chance as ports: everything in `actors/` takes these, so that a simulator can drive it. */

/** Handle of a timer. */
export type Timer = object;

/** The one source of time. */
export interface Clock {
  /** Wall clock, ms since 1970. May jump. Only for `at`, expiry and what people see. */
  now(): number;
  /** Monotonic clock, ms, with fractions. For leases, time-outs and measuring. */
  monotonic(): number;
  /** Runs `task` once after `delayMs`. Never early. */
  after(delayMs: number, task: () => void): Timer;
  /** Forgets a timer; harmless when it has run. */
  cancel(timer: Timer): void;
  /** Runs `task` at the end of this turn of the event loop, outside every socket handler. */
  endOfTurn(task: () => void): void;
}

/**
 * Calls `step` again and again, each time after all promise jobs of the call before are done, until it answers
 * false; for simulators, whose turns follow each other without time between them. Rejects with what it throws.
 */
export function byTurns(step: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = (): void => {
      try {
        if (step()) setImmediate(next);
        else resolve();
      } catch (error) {
        reject(error as Error);
      }
    };
    next();
  });
}

interface SimulatedTimer {
  readonly due: number;
  readonly order: number;
  readonly task: () => void;
}

/** A clock under a test's command: nothing happens until time is moved. */
export class SimulatedClock implements Clock {
  #now: number;
  #order = 0;
  #timers: SimulatedTimer[] = [];
  #turn: (() => void)[] = [];

  /** Starts at `startMs` since 1970. */
  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  now(): number {
    return Math.floor(this.#now);
  }

  monotonic(): number {
    return this.#now;
  }

  after(delayMs: number, task: () => void): Timer {
    const timer = { due: this.#now + Math.max(0, delayMs), order: this.#order++, task };
    this.#timers.push(timer);
    return timer;
  }

  cancel(timer: Timer): void {
    const at = this.#timers.indexOf(timer as SimulatedTimer);
    if (at >= 0) this.#timers.splice(at, 1);
  }

  endOfTurn(task: () => void): void {
    this.#turn.push(task);
  }

  /** Ends the turn: runs what was put off, and what that puts off, until nothing is left. */
  async turn(): Promise<void> {
    do {
      const tasks = this.#turn;
      this.#turn = [];
      for (const task of tasks) task();
      // Lets the promise jobs of this turn run, deep chains included.
      await new Promise<void>((resolve) => setImmediate(resolve));
    } while (this.#turn.length > 0);
  }

  /** Moves time on by `ms`, running what falls due in order, each in a turn of its own. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.turn();
    for (;;) {
      let next: SimulatedTimer | undefined;
      for (const timer of this.#timers) {
        if (timer.due > end) continue;
        if (!next || timer.due < next.due || (timer.due === next.due && timer.order < next.order)) next = timer;
      }
      if (!next) break;
      this.cancel(next);
      this.#now = Math.max(this.#now, next.due);
      next.task();
      await this.turn();
    }
    this.#now = end;
  }
}
