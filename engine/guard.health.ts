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
  /** Repeats the writes of the archive, and knows the bound of what is not stored. */
  readonly writer: Pick<Writer, "failing" | "onHealth" | "require">;
}

/** Reports every change of a store from now on. A store away is `degraded`; the archive, while no SEND is taken, `failed`. */
export function reportStores({ health, stores, writer }: StoreReports): void {
  const refusing = (): boolean => refuses(writer);
  health.judge(refusing);
  for (const stats of stores) {
    const report = (): void => {
      const failing = stats.store === "archive" ? writer.failing : undefined;
      const reason = failing ?? stats.away;
      if (reason === undefined) health.report(stats.store, "ok");
      else health.report(stats.store, failing !== undefined && refusing() ? "failed" : "degraded", reason);
    };
    stats.onChange = report;
    if (stats.store === "archive") writer.onHealth = report;
    // It may have failed before anybody followed.
    report();
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
