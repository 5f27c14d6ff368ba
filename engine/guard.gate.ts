/** The way of one kind of calls to a store: through its breaker, under its time-out, counted. */
import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
  type IBackoff,
  isBrokenCircuitError,
} from "cockatiel";
import type { Clock } from "../actors/clock.ts";
import { DamagedRow, StoreFailure } from "../actors/codes.ts";
import type { Log } from "../actors/log.ts";
import { Deadlines } from "./guard.deadlines.ts";
import { BREAKER, type BreakerState, type CallKind, type StoreStats } from "./guard.stats.ts";
import type { BreakerPolicy } from "./policy.ts";

/** A failure that another try at once would only repeat: no answer in time, or an open breaker. */
export class NoAnswer extends StoreFailure {}

/** The breaker is open: the store was not asked. */
export class LeftAlone extends NoAnswer {}

/** What a gate needs. */
export interface GateOptions {
  readonly kind: CallKind;
  readonly timeoutMs: number;
  readonly breaker: BreakerPolicy;
  readonly stats: StoreStats;
  readonly clock: Clock;
  readonly log: Log;
}

const STATES: Readonly<Record<CircuitState, BreakerState>> = Object.freeze({
  [CircuitState.Closed]: BREAKER.closed,
  [CircuitState.HalfOpen]: BREAKER.halfOpen,
  [CircuitState.Open]: BREAKER.open,
  [CircuitState.Isolated]: BREAKER.open,
});

/**
 * Whether a failure says that the store is away: a damaged row says that it is there. The rows of one room must not
 * close a store to all others.
 */
function isAway(error: unknown): error is StoreFailure {
  return error instanceof StoreFailure && !(error instanceof DamagedRow);
}

/**
 * A gate. A call is handed to the store in the turn in which it is made while the breaker is closed, so calls
 * arrive in the order in which they were made. Only a `StoreFailure` says that the store is away; other errors
 * pass through as they are.
 */
export class Gate {
  readonly #options: GateOptions;
  readonly #policy: CircuitBreakerPolicy;
  readonly #deadlines: Deadlines;
  readonly #refuse: (error: unknown) => never;
  /** Whether a call was made, and whether one was answered, since these were last set to false. */
  used = false;
  answered = false;
  /** Whether the breaker, while closed, was told of a failure last. */
  #failing = false;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, options.timeoutMs);
    this.#policy = circuitBreaker(handleWhen(isAway), {
      breaker: new ConsecutiveBreaker(options.breaker.failures),
      halfOpenAfter: { next: () => openFor(options.breaker.openMs, options.clock) },
    });
    this.#policy.onStateChange((state) => this.#changed(STATES[state]));
    this.#refuse = (error) => {
      // The breaker has counted it itself; the next success ends the row.
      if (isAway(error)) this.#failing = true;
      if (!isBrokenCircuitError(error)) throw error;
      const { stats } = options;
      stats.refused++;
      throw new LeftAlone(`The ${stats.store} is left alone for a moment, as it failed: ${stats.lastFailure}`);
    };
  }

  /** Whether calls go through as they come. */
  get closed(): boolean {
    return this.#policy.state === CircuitState.Closed;
  }

  /**
   * Makes a call through the breaker. Rejects with `StoreFailure`, at once while the breaker is open. A closed one
   * is told of failures, and of the success that ends a row of them: to go through it costs a call five promises.
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    this.used = true;
    if (!this.closed) return this.#policy.execute(() => this.timed(work)).catch(this.#refuse);
    return this.#make(work, true);
  }

  /** Makes a call under the time-out alone. Rejects with `StoreFailure`. */
  timed<T>(work: () => Promise<T>): Promise<T> {
    return this.#make(work, false);
  }

  #make<T>(work: () => Promise<T>, telling: boolean): Promise<T> {
    const { clock, stats } = this.#options;
    const deadlines = this.#deadlines;
    return new Promise<T>((resolve, reject) => {
      const startedMs = clock.monotonic();
      stats.calls++;
      const waiting = deadlines.add(startedMs, () => {
        stats.timeouts++;
        failed(new NoAnswer(this.#unanswered()));
      });
      const failed = (error: unknown): void => {
        this.#failed(startedMs, error);
        if (error instanceof DamagedRow) {
          stats.damaged++;
          this.answered = true;
        }
        if (telling && isAway(error)) void this.#tell(error).then(() => reject(error));
        else reject(error);
      };
      const refused = (error: unknown): void => {
        if (deadlines.end(waiting)) failed(error);
      };
      try {
        work().then((value) => {
          // What comes after the time-out is told to nobody: the caller has gone on.
          if (!deadlines.end(waiting)) return;
          stats.latency.observe((clock.monotonic() - startedMs) / 1_000);
          this.answered = true;
          if (telling && this.#failing) void this.#tell(undefined);
          resolve(value);
        }, refused);
      } catch (error) {
        refused(error);
      }
    });
  }

  /**
   * Closes a breaker that is due, as if a call had been answered: nobody has called for a while, and the next
   * call finds out.
   */
  async forget(): Promise<void> {
    if (!this.closed) await this.#policy.execute(() => undefined).catch(() => undefined);
  }

  /** Tells the breaker of a failure, or of a success; one that has opened meanwhile judges by calls of its own. */
  async #tell(failure: StoreFailure | undefined): Promise<void> {
    if (!this.closed) return;
    this.#failing = failure !== undefined;
    const tell = (): void => {
      if (failure) throw failure;
    };
    await this.#policy.execute(tell).catch(() => undefined);
  }

  #failed(startedMs: number, error: unknown): void {
    const { clock, stats } = this.#options;
    stats.latency.observe((clock.monotonic() - startedMs) / 1_000);
    if (error instanceof StoreFailure) {
      stats.failures++;
      stats.lastFailure = error.message;
    }
  }

  #unanswered(): string {
    const { kind, timeoutMs, stats } = this.#options;
    const outcome = kind === "writes" ? "; what was asked may have happened" : "";
    return `The ${stats.store} did not answer within ${timeoutMs} ms${outcome}.`;
  }

  #changed(state: BreakerState): void {
    const { kind, stats, log } = this.#options;
    const before = stats.breakers[kind];
    stats.breakers[kind] = state;
    if (state === BREAKER.closed) log.info({ store: stats.store, calls: kind }, "a store is used again");
    else if (before === BREAKER.closed) {
      log.warn({ store: stats.store, calls: kind, reason: stats.lastFailure }, "a store is left alone as it failed");
    }
    stats.onChange?.();
  }
}

/**
 * How long a breaker stays open, by the monotonic clock. The library compares a duration with the wall clock,
 * which may jump by hours: so the duration is none once the time is over, and endless until then.
 */
function openFor(openMs: number, clock: Clock): IBackoff<unknown> {
  const untilMs = clock.monotonic() + openMs;
  return {
    get duration() {
      return clock.monotonic() < untilMs ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    },
    next: () => openFor(openMs, clock),
  };
}
