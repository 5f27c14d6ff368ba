/** The lag of the bus: how long what a node sends over Redis takes to come back to it. */
import type { Clock, Timer } from "../actors/clock.ts";

/** A ping leaves this often, ms. */
const PERIOD_MS = 1_000;
/** A ping that is away for longer was lost, ms. */
const LOST_MS = 5_000;

/** How pings are sent. */
export interface LagOptions {
  readonly clock: Clock;
  /** Sends a ping with this number on its way; false when the wire is down. */
  readonly ping: (number: number) => boolean;
}

/** Measures with one ping at a time, from `start` to `stop`. */
export class Lag {
  readonly #options: LagOptions;
  #timer: Timer | undefined;
  #number = 0;
  #sentMs: number | undefined;
  #lastMs: number | undefined;
  #stopped = false;

  constructor(options: LagOptions) {
    this.#options = options;
  }

  /**
   * ms from sending to hearing, of the last ping that came back, or how long the next one has been away when that
   * is more; undefined before the first and while the wire is down.
   */
  get ms(): number | undefined {
    const awayMs = this.#sentMs === undefined ? 0 : this.#options.clock.monotonic() - this.#sentMs;
    if (this.#lastMs === undefined) return awayMs > PERIOD_MS ? awayMs : undefined;
    return Math.max(this.#lastMs, awayMs);
  }

  /** The node can hear itself, from now on or again: a ping that was away before does not come back. */
  start(): void {
    this.#sentMs = undefined;
    if (!this.#timer && !this.#stopped) this.#tick();
  }

  #tick(): void {
    const { clock, ping } = this.#options;
    const now = clock.monotonic();
    if (this.#sentMs === undefined || now - this.#sentMs > LOST_MS) {
      this.#number++;
      this.#sentMs = now;
      if (!ping(this.#number)) this.#sentMs = this.#lastMs = undefined;
    }
    this.#timer = clock.after(PERIOD_MS, () => this.#tick());
  }

  /** A ping came back. */
  heard(number: number): void {
    if (number !== this.#number || this.#sentMs === undefined) return;
    this.#lastMs = this.#options.clock.monotonic() - this.#sentMs;
    this.#sentMs = undefined;
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer) this.#options.clock.cancel(this.#timer);
  }
}
