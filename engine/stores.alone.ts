/**
 * One process at a time on a shared store: a lock beside those of the shards, held from start to end. With
 * MongoDB or Redis alone that is so for ever (design 5): a second process would lack what only the first has, the
 * hot log or the archive. What fences two that believe in the lock for a moment is the term, as always.
 */
import type { Clock, Timer } from "../actors/clock.ts";
import type { Lease, Leases } from "../actors/leases.ts";
import type { Log } from "../actors/log.ts";

/** Pause between renewals and between tries, ms. */
const AGAIN_MS = 1_000;
/** How long the lock of a process that died may keep this one waiting, ms: a lease, and some. */
const WAIT_MS = 6_000;

/** What it needs. */
export interface AloneOptions {
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Log;
  /** The number of the lock: one that no shard has. */
  readonly index: number;
  /** Why a start is refused while another process holds the lock: a full sentence. */
  readonly refusal: string;
  /** Another process holds the lock now. */
  readonly onLost: (why: string) => void;
}

/** The lock, held. */
export interface Alone {
  release(): Promise<void>;
}

/** Takes the lock. Rejects with a full sentence when another process holds it for longer than a lease. */
export async function holdAlone(options: AloneOptions): Promise<Alone> {
  const { leases, clock, index, refusal } = options;
  const deadline = clock.monotonic() + WAIT_MS;
  let lease = await leases.acquire(index);
  while (!lease) {
    if (clock.monotonic() > deadline) throw new Error(refusal);
    await new Promise<void>((resolve) => void clock.after(AGAIN_MS / 4, resolve));
    lease = await leases.acquire(index);
  }
  return new Held(options, lease);
}

class Held implements Alone {
  readonly #options: AloneOptions;
  #lease: Lease | undefined;
  #timer: Timer | undefined;

  constructor(options: AloneOptions, lease: Lease) {
    this.#options = options;
    this.#lease = lease;
    this.#schedule();
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(AGAIN_MS, () => {
      this.#renew()
        .catch((error: unknown) => this.#options.log.debug({ err: error }, "the process's lock was not renewed"))
        .finally(() => {
          if (this.#timer) this.#schedule();
        });
    });
  }

  /** After a pause the lock may have run out: then it is taken anew, unless another process has it. */
  async #renew(): Promise<void> {
    const { leases, index, onLost } = this.#options;
    const held = this.#lease && (await leases.renew(this.#lease));
    this.#lease = held ?? (await leases.acquire(index));
    if (!this.#lease && this.#timer) onLost("another process has taken the stores");
  }

  async release(): Promise<void> {
    if (this.#timer) this.#options.clock.cancel(this.#timer);
    this.#timer = undefined;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease) await this.#options.leases.release(lease);
  }
}
