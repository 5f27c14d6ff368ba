/**
 * Shards on their way from this node to others (protocol, handing over), the giver's half:
 *
 *   give ── prepare ──> the receiver reads the rooms, while they go on here ── prepared ──> letGo
 *        ── pass: the lock's value, said again until the receiver announces the shard ──> moved
 *
 * The shard comes back when nobody announces it. What is being read by the receiver and what moves are bounded apart:
 * reading costs nobody a pause.
 */
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Counters } from "./counters.ts";
import { Turnstile } from "./gate.ts";
import type { Log } from "./log.ts";
import type { Owners } from "./owners.ts";
import type { Shard } from "./shards.ts";

/** What handing over needs of the cluster. */
export interface HandoverHost {
  readonly bus: Pick<Bus, "tell">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Pick<Counters, "moves">;
  readonly owners: Pick<Owners, "of" | "changed">;
  /** Whether a node lives and takes shards. */
  takes(node: string): boolean;
  /** A shard has moved: others may go now. */
  moved(): void;
}

/** Shards that are given away at the same time, most of them while their receiver reads. */
const GIVEN_AT_ONCE = 4;
/** Shards that move at the same time: more of them would wait for each other's stores, and each pause is longer. */
const MOVED_AT_ONCE = 2;
/** Most time that the receiver may take to read the rooms of a shard, ms; then it must do it in the pause. */
const PREPARE_MS = 500;
/** Most rooms that it is told to read. */
const PREPARED_MOST = 64;
/** Pause before a pass that no announcement followed is said again, ms. */
const PASS_AGAIN_MS = 300;
/** Times that it is said; after them the giver takes the shard back. */
const PASSES = 8;

/** The shards that leave this node. */
export class Handover {
  readonly #host: HandoverHost;
  readonly #giving = new Set<number>();
  readonly #turnstile = new Turnstile(MOVED_AT_ONCE);
  /** By shard: who reads it, and what to do when it has. */
  readonly #preparing = new Map<number, { readonly to: string; readonly done: () => void }>();

  constructor(host: HandoverHost) {
    this.#host = host;
  }

  /** Whether none is on its way. */
  get idle(): boolean {
    return this.#giving.size === 0;
  }

  /** Whether a shard is on its way. */
  has(shard: number): boolean {
    return this.#giving.has(shard);
  }

  /** Gives a shard to a node, unless it is not owned, on its way already, or too many others are. */
  give(shard: Shard, to: string): void {
    if (shard.state !== "owning" || this.has(shard.id) || this.#giving.size >= GIVEN_AT_ONCE) return;
    this.#giving.add(shard.id);
    this.#give(shard, to).then(
      (moved) => {
        this.#giving.delete(shard.id);
        // The next one, without waiting for the next beat; after one that failed the beat is soon enough.
        if (moved) this.#host.moved();
      },
      (error: unknown) => {
        this.#giving.delete(shard.id);
        this.#host.log.warn({ shard: shard.id, err: error }, "a shard was not handed over");
      },
    );
  }

  async #give(shard: Shard, to: string): Promise<boolean> {
    await this.#prepare(shard, to);
    return this.#turnstile.run(() => this.#pass(shard, to));
  }

  /** Resolves when the receiver has read the rooms that are awake, or takes too long. */
  async #prepare({ id, rooms }: Shard, to: string): Promise<void> {
    const awake = [...rooms].slice(0, PREPARED_MOST).map((room) => room.id);
    if (awake.length === 0) return;
    const { bus, clock } = this.#host;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clock.cancel(timer);
        this.#preparing.delete(id);
        resolve();
      };
      const timer = clock.after(PREPARE_MS, done);
      this.#preparing.set(id, { to, done });
      bus.tell(to, { kind: "prepare", shard: id, rooms: awake });
    });
  }

  /** The receiver has read a shard's rooms. */
  onPrepared(from: string, shard: number): void {
    const preparing = this.#preparing.get(shard);
    if (preparing?.to === from) preparing.done();
  }

  /** True when another owns it now. */
  async #pass(shard: Shard, to: string): Promise<boolean> {
    const { bus, clock, counters, owners, log } = this.#host;
    if (!this.#host.takes(to)) return false;
    const began = clock.monotonic();
    const { term } = shard;
    const lock = await shard.letGo();
    if (lock === undefined) return false;
    for (let pass = 0; pass < PASSES && owners.of(shard.id) === undefined; pass++) {
      bus.tell(to, { kind: "pass", shard: shard.id, lock, term });
      const until = clock.monotonic() + PASS_AGAIN_MS;
      while (owners.of(shard.id) === undefined && clock.monotonic() < until) {
        await owners.changed(until - clock.monotonic());
      }
    }
    if (owners.of(shard.id) !== undefined) {
      counters.moves.observe((clock.monotonic() - began) / 1_000);
      return true;
    }
    log.warn({ shard: shard.id, to }, "a shard was not taken; it is owned here again");
    await shard.receive(lock);
    return false;
  }
}
