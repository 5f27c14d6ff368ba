/**
 * What came over the bus and is none of ours: counted each time, logged now and then. Who floods a channel must
 * not flood the log.
 */
import type { Clock, Timer } from "../actors/clock.ts";

/** What a line tells: the last of them, and how many they were. */
export interface Told {
  readonly err: unknown;
  readonly count: number;
}

/** Between two lines, ms. */
const SILENT_MS = 10_000;

/** The damaged messages of one node. */
export class Damage {
  readonly #clock: Clock;
  readonly #say: (told: Told) => void;
  /** Since the start. */
  count = 0;
  /** Those that no line has told of. */
  #untold = 0;
  #last: unknown;
  #silence: Timer | undefined;

  /** `say` writes a line. */
  constructor(clock: Clock, say: (told: Told) => void) {
    this.#clock = clock;
    this.#say = say;
  }

  /** So many were met, as `error` says. The first is logged at once, those of the next while together. */
  met(count: number, error: unknown): void {
    this.count += count;
    this.#untold += count;
    this.#last = error;
    if (!this.#silence) this.#tell();
  }

  #tell(): void {
    this.#silence = undefined;
    if (this.#untold === 0) return;
    this.#say({ err: this.#last, count: this.#untold });
    this.#untold = 0;
    this.#last = undefined;
    this.#silence = this.#clock.after(SILENT_MS, () => this.#tell());
  }

  /** Tells no more. */
  stop(): void {
    if (this.#silence) this.#clock.cancel(this.#silence);
    this.#silence = undefined;
  }
}
