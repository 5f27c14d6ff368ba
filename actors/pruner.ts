/** Removes from the directory what is over: expired sessions and revocations, old lines of the login audit. */
import type { Clock, Timer } from "./clock.ts";
import type { Directory } from "./directory.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";

/** How often, ms. Nothing relies on it but the size of the store. */
const EVERY_MS = 600_000;
/** Rows of each kind per call, so that other writes come between. */
const ROWS = 500;
const DAY_MS = 86_400_000;

/** What the pruner needs. */
export interface PrunerOptions {
  readonly directory: Pick<Directory, "prune">;
  readonly clock: Clock;
  readonly limits: Pick<Limits, "loginAuditDays">;
  readonly log: Log;
}

/** Prunes at start and every ten minutes. A failure is logged, and tried again the next time. */
export class DirectoryPruner {
  readonly #options: PrunerOptions;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: PrunerOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#round();
  }

  /** Ends pruning; a call under way is the last. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#options.clock.cancel(this.#timer);
  }

  async #round(): Promise<void> {
    const { directory, clock, limits, log } = this.#options;
    try {
      let gone = 0;
      do {
        const nowMs = clock.now();
        gone = await directory.prune(nowMs, nowMs - limits.loginAuditDays * DAY_MS, ROWS);
      } while (gone > 0 && !this.#stopped);
    } catch (err) {
      log.warn({ err }, "the directory could not be pruned");
    }
    if (!this.#stopped) this.#timer = clock.after(EVERY_MS, () => void this.#round());
  }
}
