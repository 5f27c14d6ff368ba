/**
 * Whom the clients of one edge believe to be in a room, from the presence signals that were passed on to them.
 * An owner that is new is told, and says `leave` of those who are not there any more.
 */
import type { Signal } from "./bus.ts";

/** What a look at the truth changed. */
export interface Difference {
  readonly joined: readonly string[];
  readonly left: readonly string[];
}

/** The users of one room that clients here believe to be in it. */
export class Believed {
  /** The highest term that a signal of the room came under. */
  term = 0;
  readonly users = new Set<string>();
  readonly #most: number;
  /** Users of whom something was heard since the truth was asked for: that is newer. */
  #heard: Set<string> | undefined;

  /** Remembers at most `most` users; of further ones a ghost may stay until they come and go again. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Takes note of a signal; false when a newer owner has spoken, and it must not be passed on (rule 10). */
  hear(signal: Signal, leastTerm: number): boolean {
    this.term = Math.max(this.term, leastTerm);
    if (signal.term < this.term) return false;
    this.term = signal.term;
    if (signal.event !== "presence") return true;
    if (signal.state === "join") this.#add(signal.user);
    else if (signal.state === "leave") this.users.delete(signal.user);
    else return true;
    this.#heard?.add(signal.user);
    return true;
  }

  #add(user: string): void {
    if (this.users.size < this.#most) this.users.add(user);
  }

  /** The owner is asked who is there. */
  ask(): void {
    this.#heard = new Set();
  }

  /** The owner's answer; a list as long as the bound may be a part, and says nothing of who is not on it. */
  learn(present: readonly string[]): Difference {
    const heard = this.#heard ?? new Set();
    this.#heard = undefined;
    const joined = present.filter((user) => !heard.has(user) && !this.users.has(user));
    for (const user of joined) this.#add(user);
    if (present.length >= this.#most) return { joined, left: [] };
    const there = new Set(present);
    const left = [...this.users].filter((user) => !there.has(user) && !heard.has(user));
    for (const user of left) this.users.delete(user);
    return { joined, left };
  }
}
