/**
 * The time of a simulated world: one heap of what is to happen, each in a turn of its own, and the clocks of
 * processes, which run at a rate of their own, stand still with their process and die with it.
 */
import { byTurns, type Clock, type Timer } from "../clock.ts";

interface Happening {
  dueMs: number;
  readonly order: number;
  task: (() => void) | undefined;
}

/** The time of a world, ms from its beginning. Nothing in it depends on how fast the machine is. */
export class SimulatedTime {
  #nowMs = 0;
  #order = 0;
  readonly #heap: Happening[] = [];
  #turn: (() => void)[] = [];
  /** Things that happened. */
  turns = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Lets something happen at a time; of what is due at the same time, the first asked for happens first. */
  at(dueMs: number, task: () => void): Timer {
    const happening: Happening = { dueMs: Math.max(dueMs, this.#nowMs), order: this.#order++, task };
    this.#heap.push(happening);
    this.#rise(this.#heap.length - 1);
    return happening;
  }

  after(delayMs: number, task: () => void): Timer {
    return this.at(this.#nowMs + Math.max(0, delayMs), task);
  }

  /** Forgets it; harmless when it has happened. */
  cancel(timer: Timer): void {
    (timer as Happening).task = undefined;
  }

  endOfTurn(task: () => void): void {
    this.#turn.push(task);
  }

  /** Lets everything happen that is due until then, or until `over` says so; it is asked before each turn. */
  run(untilMs: number, over: () => boolean = () => false): Promise<void> {
    return byTurns(() => {
      if (this.#turn.length > 0) {
        const tasks = this.#turn;
        this.#turn = [];
        for (const task of tasks) task();
        return true;
      }
      if (over()) return false;
      const next = this.#pop(untilMs);
      if (!next) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return false;
      }
      this.#nowMs = next.dueMs;
      this.turns++;
      next.task?.();
      return true;
    });
  }

  /** The next that is due until then and was not cancelled. */
  #pop(untilMs: number): Happening | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (!first || (first.task && first.dueMs > untilMs)) return undefined;
      const last = this.#heap.pop() as Happening;
      if (first !== last) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (first.task) return first;
    }
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const one = heap[from] as Happening;
    let at = from;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as Happening;
      if (!before(one, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = one;
  }

  #sink(): void {
    const heap = this.#heap;
    const one = heap[0] as Happening;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Happening, heap[child] as Happening)) child++;
      if (!before(heap[child] as Happening, one)) break;
      heap[at] = heap[child] as Happening;
      at = child;
    }
    heap[at] = one;
  }
}

function before(a: Happening, b: Happening): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** How the clock of a process differs from the world's. */
export interface Skew {
  /** Its monotonic ms per ms of the world. */
  readonly rate: number;
  /** Its wall clock before the world's, ms. */
  readonly wallMs: number;
}

/** 2023-11-14, when every world begins. */
const BEGIN_MS = 1_700_000_000_000;

/**
 * The life of a process: its clock, and what comes to it from outside. While it is stopped nothing runs, and all
 * that came due or came in runs when it goes on, late; once it is dead nothing ever does.
 */
export class Life implements Clock {
  readonly #time: SimulatedTime;
  readonly #skew: Skew;
  #dead = false;
  #stopped = false;
  #late: (() => void)[] = [];
  #lateTimers: (() => void)[] = [];

  constructor(time: SimulatedTime, skew: Skew) {
    this.#time = time;
    this.#skew = skew;
  }

  get dead(): boolean {
    return this.#dead;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  now(): number {
    return Math.floor(BEGIN_MS + this.#skew.wallMs + this.#time.nowMs);
  }

  monotonic(): number {
    return this.#time.nowMs * this.#skew.rate;
  }

  after(delayMs: number, task: () => void): Timer {
    const timer: { cancelled: boolean; on: Timer } = { cancelled: false, on: {} };
    const run = (): void => {
      if (!this.#dead && !timer.cancelled) task();
    };
    timer.on = this.#time.after(Math.max(0, delayMs) / this.#skew.rate, () => {
      if (this.#stopped) this.#lateTimers.push(run);
      else run();
    });
    return timer;
  }

  cancel(timer: Timer): void {
    const one = timer as { cancelled: boolean; on: Timer };
    one.cancelled = true;
    this.#time.cancel(one.on);
  }

  endOfTurn(task: () => void): void {
    this.#time.endOfTurn(() => this.#dead || task());
  }

  /** Something comes from outside. */
  deliver(task: () => void): void {
    if (this.#dead) return;
    if (this.#stopped) this.#late.push(task);
    else task();
  }

  /** SIGSTOP. */
  stop(): void {
    this.#stopped = true;
  }

  /** SIGCONT: the timers first, as an event loop has it, then what waited in the sockets. */
  goOn(): void {
    this.#stopped = false;
    const late = [...this.#lateTimers, ...this.#late];
    this.#lateTimers = [];
    this.#late = [];
    for (const task of late) this.#time.after(0, () => this.deliver(task));
  }

  /** SIGKILL. */
  die(): void {
    this.#dead = true;
    this.#late = [];
    this.#lateTimers = [];
  }
}
