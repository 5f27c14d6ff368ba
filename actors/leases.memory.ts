/** Leases in memory: one process (or one test) is its own arbiter. */
import type { Clock } from "./clock.ts";
import type { Lease, Leases } from "./leases.ts";

/** How long a lease lasts, ms: design 6. */
export const LEASE_MS = 3_000;

interface Held {
  value: string;
  until: number;
  /** Where it was passed on to its holder: to which node, and under which value. */
  passed?: { readonly to: string; readonly value: string };
}

/** The shared table of one hub of nodes. */
export class MemoryLeaseTable {
  readonly held = new Map<number, Held>();
  #counter = 0;

  /** Remembers the locks as they are now; what is answered brings them back. For simulators. */
  snapshot(): () => void {
    const locks = [...this.held].map(([shard, held]) => [shard, { ...held }] as const);
    return () => {
      this.held.clear();
      for (const [shard, held] of locks) this.held.set(shard, { ...held });
    };
  }

  /** A value never given before. */
  nextValue(node: string): string {
    this.#counter++;
    return `${node}/${this.#counter}`;
  }
}

/** One node's handle on a table of leases. */
export class MemoryLeases implements Leases {
  readonly #table: MemoryLeaseTable;
  readonly #clock: Clock;
  readonly #node: string;

  constructor(table: MemoryLeaseTable, clock: Clock, node: string) {
    this.#table = table;
    this.#clock = clock;
    this.#node = node;
  }

  async acquire(shard: number): Promise<Lease | undefined> {
    const now = this.#clock.monotonic();
    const held = this.#table.held.get(shard);
    if (held && held.until > now) return undefined;
    const value = this.#table.nextValue(this.#node);
    this.#table.held.set(shard, { value, until: now + LEASE_MS });
    return { shard, value, untilMs: now + LEASE_MS };
  }

  async renew(lease: Lease): Promise<Lease | undefined> {
    const held = this.#table.held.get(lease.shard);
    const now = this.#clock.monotonic();
    if (held?.value !== lease.value || held.until <= now) return undefined;
    held.until = now + LEASE_MS;
    return { ...lease, untilMs: held.until };
  }

  async adopt(shard: number, value: string): Promise<Lease | undefined> {
    const held = this.#table.held.get(shard);
    const now = this.#clock.monotonic();
    if (!held || held.until <= now) return undefined;
    if (held.value === value) {
      held.passed = { to: this.#node, value };
      held.value = this.#table.nextValue(this.#node);
    } else if (held.passed?.to !== this.#node || held.passed.value !== value) return undefined;
    held.until = now + LEASE_MS;
    return { shard, value: held.value, untilMs: held.until };
  }

  async release(lease: Lease): Promise<void> {
    if (this.#table.held.get(lease.shard)?.value === lease.value) this.#table.held.delete(lease.shard);
  }

  async close(): Promise<void> {}
}
