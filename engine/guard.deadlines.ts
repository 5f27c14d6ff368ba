/**
 * Calls that wait for their answer, all for equally long at most: the oldest is due first, so one timer serves
 * all, and a call costs two links instead of a timer of its own.
 */
import type { Clock } from "../actors/clock.ts";

/** One waiting call. */
export interface Waiting {
  /** Monotonic ms. */
  readonly dueMs: number;
  readonly expire: () => void;
  open: boolean;
  previous: Waiting | undefined;
  next: Waiting | undefined;
}

/** A timer so late shows that the process itself stood still, and the answers may be here unread, ms. */
const STALL_MS = 250;
/** Then the calls get this much more, once, ms. */
const GRACE_MS = 100;

/** The calls of one time-out. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #first: Waiting | undefined;
  #last: Waiting | undefined;
  #armed = false;
  #excused = false;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Adds a call made at `nowMs` (monotonic); `expire` is called unless it ends in time. */
  add(nowMs: number, expire: () => void): Waiting {
    const waiting: Waiting = {
      dueMs: nowMs + this.#timeoutMs,
      expire,
      open: true,
      previous: this.#last,
      next: undefined,
    };
    if (this.#last) this.#last.next = waiting;
    else this.#first = waiting;
    this.#last = waiting;
    if (!this.#armed) this.#arm(this.#timeoutMs);
    return waiting;
  }

  /** Ends a call; false when it has ended or expired before. */
  end(waiting: Waiting): boolean {
    if (!waiting.open) return false;
    waiting.open = false;
    const { previous, next } = waiting;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    waiting.previous = undefined;
    waiting.next = undefined;
    return true;
  }

  #arm(delayMs: number): void {
    this.#armed = true;
    this.#clock.after(delayMs, () => this.#tick());
  }

  #tick(): void {
    this.#armed = false;
    const nowMs = this.#clock.monotonic();
    if (this.#first && nowMs - this.#first.dueMs > STALL_MS && !this.#excused) {
      this.#excused = true;
      return this.#arm(GRACE_MS);
    }
    this.#excused = false;
    for (let first = this.#first; first && first.dueMs <= nowMs; first = this.#first) {
      this.end(first);
      first.expire();
    }
    if (this.#first && !this.#armed) this.#arm(Math.max(1, this.#first.dueMs - nowMs));
  }
}
