/** Tells the process's health how its stores are, and whether SENDs are still taken without them. */
import { Refusal } from "../actors/codes.ts";
import type { Writer } from "../actors/writer.ts";
import type { Health } from "../ops/health.ts";
import type { StoreStats } from "./guard.stats.ts";

/** What is followed. */
export interface StoreReports {
  /** Has a part of the name of each store. */
  readonly health: Health;
  readonly stores: readonly StoreStats[];
  /** Resolves when revoked tokens are known; before that nobody may connect, and the directory has failed. */
  readonly known: Promise<void>;
  /** Repeats the writes of the archive, and knows the bound of what is not stored. */
  readonly writer: Pick<Writer, "failing" | "onHealth" | "require">;
}

const UNKNOWN = "Nobody may connect until the revoked tokens were read once.";

/**
 * Reports every change of a store from now on. A store away is `degraded`; `failed` are the archive while no SEND
 * is taken, and the directory while revoked tokens are not known.
 */
export function reportStores({ health, stores, known, writer }: StoreReports): void {
  const refusing = (): boolean => refuses(writer);
  health.judge(refusing);
  for (const stats of stores) {
    let unknown = stats.store === "directory";
    const report = (): void => {
      const failing = stats.store === "archive" ? writer.failing : undefined;
      const reason = failing ?? stats.away;
      if (unknown) health.report(stats.store, "failed", `${UNKNOWN} ${stats.lastFailure}`.trim());
      else if (reason === undefined) health.report(stats.store, "ok");
      else health.report(stats.store, failing !== undefined && refusing() ? "failed" : "degraded", reason);
    };
    stats.onChange = report;
    if (stats.store === "archive") writer.onHealth = report;
    // It may have failed before anybody followed.
    report();
    if (unknown) {
      void known.then(() => {
        unknown = false;
        report();
      });
    }
  }
}

/** Whether the smallest SEND would be refused. */
function refuses(writer: Pick<Writer, "require">): boolean {
  try {
    writer.require(1, 1);
    return false;
  } catch (error) {
    if (error instanceof Refusal) return true;
    throw error;
  }
}
