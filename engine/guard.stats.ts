/** What is counted of one store, as plain fields that `/metrics` and `/health/ready` read when they are asked. */
import { Histogram, LATENCY_BOUNDS_S } from "../actors/counters.ts";
import type { StoreName } from "./policy.ts";

/** Reads and writes have a breaker each. */
export type CallKind = "reads" | "writes";

/** A breaker: closed, half-open (one call finds out), open. */
export const BREAKER = Object.freeze({ closed: 0, halfOpen: 1, open: 2 });

/** One of these. */
export type BreakerState = (typeof BREAKER)[keyof typeof BREAKER];

/** The counts of one store. */
export class StoreStats {
  readonly store: StoreName;
  /** Calls that went to the store, repeated ones included. */
  calls = 0;
  /** Those of them that failed, time-outs included. */
  failures = 0;
  /** Those that were not answered in time. */
  timeouts = 0;
  /** Those that met a damaged row. */
  damaged = 0;
  /** Reads that were tried again. */
  retries = 0;
  /** Calls that an open breaker answered. */
  refused = 0;
  /** Why the last failed call failed, in words. */
  lastFailure = "";
  readonly breakers: Record<CallKind, BreakerState> = { reads: BREAKER.closed, writes: BREAKER.closed };
  /** Time of the calls that went to the store, seconds. */
  readonly latency = new Histogram(LATENCY_BOUNDS_S);
  /** Told when a breaker opens or closes. */
  onChange: (() => void) | undefined;

  constructor(store: StoreName) {
    this.store = store;
  }

  /** Why the store counts as away; undefined while both breakers are closed. */
  get away(): string | undefined {
    const { reads, writes } = this.breakers;
    return reads === BREAKER.closed && writes === BREAKER.closed ? undefined : this.lastFailure;
  }
}
