/** A store with its two gates: reads are tried again, writes are not, and silence is broken by a probe. */
import { ExponentialBackoff, halfJitterGenerator, type IBackoff } from "cockatiel";
import type { Clock, Timer } from "../actors/clock.ts";
import { DamagedRow, StoreFailure } from "../actors/codes.ts";
import type { Log } from "../actors/log.ts";
import { Gate, NoAnswer } from "./guard.gate.ts";
import type { StoreStats } from "./guard.stats.ts";
import type { StorePolicy } from "./policy.ts";

/** What a guard needs beside its store. */
export interface GuardParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Counts of the store that is guarded. */
  readonly stats: StoreStats;
}

/** The calls of one store. */
export class StoreGuard {
  readonly #parts: GuardParts;
  readonly #policy: StorePolicy;
  readonly #reads: Gate;
  readonly #writes: Gate;
  readonly #pauses: ExponentialBackoff<number>;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(policy: StorePolicy, parts: GuardParts) {
    this.#policy = policy;
    this.#parts = parts;
    const { breaker, reads, writes } = policy;
    this.#reads = new Gate({ ...parts, breaker, kind: "reads", timeoutMs: reads.timeoutMs });
    this.#writes = new Gate({ ...parts, breaker, kind: "writes", timeoutMs: writes.timeoutMs });
    this.#pauses = new ExponentialBackoff({
      generator: halfJitterGenerator,
      initialDelay: reads.pauseFirstMs,
      maxDelay: reads.pauseLongestMs,
    });
  }

  /** A call that changes something: made once. Rejects with `StoreFailure`, its outcome unknown. */
  write<T>(work: () => Promise<T>): Promise<T> {
    return this.#writes.run(work);
  }

  /** A call that only wishes: under the time-out of writes, past the breaker, so never later than those after it. */
  wish<T>(work: () => Promise<T>): Promise<T> {
    return this.#writes.timed(work);
  }

  /** A call that changes nothing: tried again when it fails at once. Rejects with `StoreFailure`. */
  async read<T>(work: () => Promise<T>): Promise<T> {
    let pause: IBackoff<unknown> | undefined;
    for (let retry = 0; ; retry++) {
      try {
        return await this.#reads.run(work);
      } catch (error) {
        const lasts = error instanceof NoAnswer || error instanceof DamagedRow;
        const again = error instanceof StoreFailure && !lasts && !this.#stopped;
        if (!again || retry >= this.#policy.reads.retries) throw error;
        pause = pause ? pause.next(undefined) : this.#pauses.next();
        const { duration } = pause;
        await new Promise<void>((resolve) => void this.#parts.clock.after(duration, resolve));
        this.#parts.stats.retries++;
      }
    }
  }

  /** Asks the store something cheap whenever nobody was answered for a while, until `stop`. */
  watch(probe: () => Promise<unknown>): void {
    this.#timer = this.#parts.clock.after(this.#policy.probeMs, () => void this.#round(probe));
  }

  /** Ends the probes and the repeating. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#parts.clock.cancel(this.#timer);
  }

  async #round(probe: () => Promise<unknown>): Promise<void> {
    const answered = this.#reads.answered || (await this.read(probe).then(known, unknown));
    // It answers, and nobody has tried to write: the next one who does is to find out whether it may.
    if (answered && !this.#writes.used) await this.#writes.forget();
    this.#reads.answered = false;
    this.#writes.used = false;
    if (!this.#stopped) this.watch(probe);
  }
}

const known = (): boolean => true;
const unknown = (): boolean => false;
