/** Work that a node does again and again, as a heart beats: never twice at once, and a failure ends nothing. */
import type { Clock, Timer } from "./clock.ts";
import type { Log } from "./log.ts";

/** What a lap is made of. */
export interface LapOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Pause between the end of one run and the next, ms. */
  readonly pauseMs: number;
  /** The work; `lateMs` says how long after it was due it runs: a process that stood still must not judge by it. */
  readonly run: (lateMs: number) => void | Promise<void>;
  /** The log line when a run fails; the next one comes all the same. */
  readonly failed: string;
}

/** Work at regular times. */
export class Lap {
  readonly #options: LapOptions;
  #going = false;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;

  constructor(options: LapOptions) {
    this.#options = options;
  }

  /** Begins; the first run comes after one pause. Harmless when it goes. */
  start(): void {
    this.#going = true;
    this.#next();
  }

  /** Ends; a run under way goes on to its end (`over`). Harmless when it does not go. */
  stop(): void {
    this.#going = false;
    if (this.#timer) this.#options.clock.cancel(this.#timer);
    this.#timer = undefined;
  }

  /** Runs at once, also when it does not go; a run under way is joined. Rejects as the work does. */
  now(lateMs = 0): Promise<void> {
    this.#running ??= this.#run(lateMs).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(lateMs: number): Promise<void> {
    await this.#options.run(lateMs);
  }

  /** Resolves when no run is under way, however it ended. */
  async over(): Promise<void> {
    await this.#running?.catch(() => undefined);
  }

  #next(): void {
    if (!this.#going || this.#timer) return;
    const { clock, log, pauseMs, failed } = this.#options;
    const due = clock.monotonic() + pauseMs;
    this.#timer = clock.after(pauseMs, () => {
      this.#timer = undefined;
      this.now(clock.monotonic() - due)
        .catch((error: unknown) => log.warn({ err: error }, failed))
        .finally(() => this.#next());
    });
  }
}
