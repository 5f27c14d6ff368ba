/** Signals on their way: coalesced for a moment, the last state of each wins, dropped first under pressure. */
import type { Bus, Signal } from "./bus.ts";
import type { Clock, Timer } from "./clock.ts";
import type { Counters } from "./counters.ts";
import type { Limits } from "./limits.ts";

/** What the speaker needs. */
export interface SpeakerOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly counters: Counters;
}

/** Most signals that wait; further ones are dropped and counted. */
const WAITING_MOST = 20_000;

/** Collects the signals of one node. */
export class Speaker {
  readonly #options: SpeakerOptions;
  #waiting = new Map<string, Signal>();
  #timer: Timer | undefined;

  constructor(options: SpeakerOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#waiting.size;
  }

  /** Says it within `signalBatchMs`. A later state of the same user, room and kind replaces it. */
  say(signal: Signal): void {
    const kind = signal.state === "online" || signal.state === "offline" ? "line" : signal.event;
    const key = `${signal.room}\n${kind}\n${signal.user}`;
    const before = this.#waiting.get(key);
    if (!before && this.#waiting.size >= WAITING_MOST) {
      this.#options.counters.signalsDropped++;
      return;
    }
    // A later word goes to the end, so that what is said keeps the order of the last changes.
    if (before) this.#waiting.delete(key);
    if (before && before.offset > signal.offset) this.#waiting.set(key, before);
    else this.#waiting.set(key, signal);
    this.#timer ??= this.#options.clock.after(this.#options.limits.signalBatchMs, () => this.flush());
  }

  /** Says what waits. */
  flush(): void {
    if (this.#timer) this.#options.clock.cancel(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.size === 0) return;
    const signals = [...this.#waiting.values()];
    this.#waiting = new Map();
    this.#options.counters.signals += signals.length;
    this.#options.bus.signal(signals);
  }
}
