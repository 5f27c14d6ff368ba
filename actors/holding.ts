/**
 * The lock of one shard as this node holds it: taken, renewed each second, not trusted beyond what this
 * node's own clock says (design 6). The lock only keeps two owners from working against each other; what
 * fences them is the term, so a lock that ran out and was had again by nobody else costs a pause and no more.
 */
import type { Bus } from "./bus.ts";
import type { Clock, Timer } from "./clock.ts";
import type { Lease, Leases } from "./leases.ts";
import type { Log } from "./log.ts";

/** Pause between two renewals, and before another try after one that was not answered, ms. */
const RENEW_MS = 1_000;
const RENEW_AGAIN_MS = 250;

/** What a holding needs. */
export interface HoldingHost {
  readonly bus: Bus;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Log;
}

/** Something that many wait for. */
interface Latch {
  readonly done: Promise<void>;
  readonly wake: () => void;
}

/** The lock of one shard. */
export class Holding {
  readonly #shard: number;
  readonly #host: HoldingHost;
  /** Another holds the lock, or another term is in force: the shard is not ours as it was. */
  readonly #onLost: (why: string) => void;
  #lease: Lease | undefined;
  #getting: Promise<Lease | undefined> | undefined;
  #released = false;
  #term = 0;
  #timer: Timer | undefined;
  /** The last renewal was not answered: told once, as a Redis that is away fails those of all shards again and again. */
  #failing = false;
  /** For those who wait for the lock, one promise for all: while Redis is away they come and go. */
  #again: Latch | undefined;

  constructor(shard: number, host: HoldingHost, onLost: (why: string) => void) {
    this.#shard = shard;
    this.#host = host;
    this.#onLost = onLost;
  }

  /** Whether this node may decide now. Always on a bus that nobody shares. */
  get valid(): boolean {
    if (!this.#host.bus.shared) return true;
    return this.#lease !== undefined && this.#host.clock.monotonic() < this.#lease.untilMs;
  }

  /** Resolves when the lock is valid again, or the shard is owned anew. */
  again(): Promise<void> {
    if (this.valid) return Promise.resolve();
    if (!this.#again) {
      let wake = (): void => {};
      const done = new Promise<void>((resolve) => {
        wake = resolve;
      });
      this.#again = { done, wake };
    }
    return this.#again.done;
  }

  /** The lock: renewed if it is held, else taken; undefined when another has it. */
  get(): Promise<Lease | undefined> {
    // One at a time: of two, the later might lose the lock that the earlier took.
    this.#getting ??= this.#get().finally(() => {
      this.#getting = undefined;
    });
    return this.#getting;
  }

  async #get(): Promise<Lease | undefined> {
    const { leases } = this.#host;
    const renewed = this.#lease && (await leases.renew(this.#lease));
    const lease = renewed ?? (await leases.acquire(this.#shard));
    if (this.#released && lease) await leases.release(lease);
    this.#lease = this.#released ? undefined : lease;
    return this.#lease;
  }

  /** Whether the lock was given up for good. */
  get released(): boolean {
    return this.#released;
  }

  /** Keeps the lock from now on, under `term`. */
  keep(term: number): void {
    this.pause();
    if (this.#released) return;
    this.#term = term;
    this.#wake();
    if (this.#host.bus.shared) this.#schedule(RENEW_MS);
  }

  /** Renews no more; whoever waits is woken, as what it waits for is decided elsewhere. */
  pause(): void {
    if (this.#timer) this.#host.clock.cancel(this.#timer);
    this.#timer = undefined;
    this.#term = 0;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#again;
    this.#again = undefined;
    waiting?.wake();
  }

  #schedule(delayMs: number): void {
    const term = this.#term;
    this.#timer = this.#host.clock.after(delayMs, () => {
      this.#renew(term).then(
        () => {
          this.#failing = false;
          this.#goOn(term, RENEW_MS);
        },
        (error: unknown) => {
          const { log } = this.#host;
          if (!this.#failing) log.warn({ shard: this.#shard, err: error }, "a lease was not renewed; trying again");
          this.#failing = true;
          this.#goOn(term, RENEW_AGAIN_MS);
        },
      );
    });
  }

  #goOn(term: number, delayMs: number): void {
    if (this.#term !== term || term === 0) return;
    if (this.valid) this.#wake();
    this.#schedule(delayMs);
  }

  async #renew(term: number): Promise<void> {
    const lapsed = !this.valid;
    const lease = await this.get();
    if (this.#term !== term) return;
    if (!lease) return this.#onLost("another node holds the lock");
    if (!lapsed) return;
    const [inForce] = await this.#host.bus.terms([this.#shard]);
    if (this.#term === term && inForce !== term) this.#onLost("another term is in force");
  }

  /** Takes over a lock that its holder passed on (handing over, step 3); false when it is not that holder's any more. */
  async adopt(value: string): Promise<boolean> {
    if (this.#released) return false;
    const lease = await this.#host.leases.adopt(this.#shard, value);
    if (lease && !this.#released) this.#lease = lease;
    return lease !== undefined;
  }

  /** The lock is another's from now on: neither renewed nor given back. */
  forget(): void {
    this.pause();
    this.#lease = undefined;
  }

  /** Gives the lock up. */
  async release(): Promise<void> {
    this.pause();
    this.#released = true;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease) await this.#host.leases.release(lease);
  }
}
