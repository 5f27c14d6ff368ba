/** Password hashes: bcrypt, a bounded number at once, a bounded queue behind them (issue 3 point 2). */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import bcrypt from "bcrypt";
import Denque from "denque";
import type { Passwords } from "../actors/accounts.ts";
import { Refusal } from "../actors/codes.ts";
import type { Limits } from "../actors/limits.ts";

/** What `BcryptPasswords` needs. */
export interface PasswordOptions {
  /** log2 of bcrypt's rounds: 10 takes about 60 ms of a core, each step doubles it. */
  readonly cost: number;
  readonly limits: Pick<Limits, "hashesWaiting">;
  /** Hashes at once; one core less than there are, so that chat goes on. */
  readonly atOnce?: number;
}

/** How much the last duration counts in the running mean. */
const MEAN_SHARE = 0.2;
/** First guess of a hash's duration, ms. */
const GUESS_MS = 100;

interface Waiting {
  readonly start: () => void;
}

/**
 * Hashes and compares passwords off the main thread. All of a password counts: bcrypt reads 72 bytes only
 * and stops at a NUL, so it is given the SHA-256 of the password's NFC form, as 44 characters of base64.
 */
export class BcryptPasswords implements Passwords {
  /** Hashes waiting now, for metrics. */
  get waiting(): number {
    return this.#waiting.length;
  }

  readonly #cost: number;
  readonly #atOnce: number;
  readonly #waitingMax: number;
  readonly #waiting = new Denque<Waiting>();
  #running = 0;
  #meanMs = GUESS_MS;
  /** A hash that nothing hashes to, with the same cost as real ones. */
  readonly #nobody: string;

  constructor({ cost, limits, atOnce = Math.max(1, availableParallelism() - 1) }: PasswordOptions) {
    this.#cost = cost;
    this.#atOnce = atOnce;
    this.#waitingMax = limits.hashesWaiting;
    this.#nobody = `$2b$${String(cost).padStart(2, "0")}$${".".repeat(53)}`;
  }

  hash(password: string): Promise<string> {
    return this.#run(() => bcrypt.hash(digest(password), this.#cost));
  }

  async verify(password: string, hash: string | undefined): Promise<boolean> {
    const same = await this.#run(() => bcrypt.compare(digest(password), hash ?? this.#nobody));
    return same && hash !== undefined;
  }

  /** Runs the work when its turn comes. Refuses with `busy` when too many wait. */
  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnce) {
      if (this.#waiting.length >= this.#waitingMax) {
        const retryAfterMs = Math.ceil((this.#waiting.length * this.#meanMs) / this.#atOnce);
        throw new Refusal("busy", "Too many passwords are being checked.", retryAfterMs);
      }
      await new Promise<void>((start) => this.#waiting.push({ start }));
    } else {
      this.#running++;
    }
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.#meanMs += (performance.now() - startedAt - this.#meanMs) * MEAN_SHARE;
      // The place is handed on, so that nobody who comes between takes it.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next.start();
    }
  }
}

function digest(password: string): string {
  return createHash("sha256").update(password.normalize("NFC")).digest("base64");
}
