/** The simulated Redis: hot logs, locks and subscriptions, for any number of processes; it may lose its data. */
import { MemoryHub } from "../bus.memory.ts";
import type { BusReceiver, Pack } from "../bus.ts";
import { shardOf } from "../entry.ts";
import { MemoryLeaseTable } from "../leases.memory.ts";
import type { Limits } from "../limits.ts";
import type { Link, Network, Path, Server } from "./network.ts";
import type { Life } from "./time.ts";

/** A process that listens on a connection. */
export interface Listener {
  readonly name: string;
  readonly life: Life;
  readonly path: Path;
  readonly link: Link;
  /** Rooms subscribed to. */
  readonly rooms: Set<string>;
  readonly receiver: BusReceiver;
}

/** The server. */
export class SimulatedRedis implements Server {
  up = true;
  readonly hub: MemoryHub;
  readonly locks = new MemoryLeaseTable();
  readonly #network: Network;
  #listeners: Listener[] = [];
  #restore: (() => void) | undefined;

  constructor(network: Network, shards: number, limits: Limits) {
    this.#network = network;
    this.hub = new MemoryHub(shards, limits, { shared: true, now: () => network.time.nowMs });
  }

  shardOf(room: string): number {
    return shardOf(room, this.hub.shards);
  }

  /** Whether a shard's lock has this value now. */
  isLocked(shard: number, value: string): boolean {
    const held = this.locks.held.get(shard);
    return held?.value === value && held.until > this.#network.time.nowMs;
  }

  listen(listener: Listener): void {
    // One that listens again on the same connection hears everything once.
    const others = this.#listeners.filter(({ link, life }) => !link.broken && !life.dead && link !== listener.link);
    this.#listeners = [...others, listener];
  }

  /** Packs to all who subscribed to their rooms but the one that published them. */
  publish(from: string, packs: readonly Pack[]): void {
    for (const { room, prevTerm, entries, opening } of packs) {
      const pack: Pack = { room, prevTerm, entries, opening };
      this.push(
        (listener) => listener.name !== from && listener.rooms.has(pack.room),
        (receiver) => receiver.onPack(pack),
      );
    }
  }

  /** Says something to some of those who listen; to each of them it may be lost. */
  push(to: (listener: Listener) => boolean, say: (receiver: BusReceiver) => void): void {
    for (const listener of this.#listeners) {
      const { link, life, path, receiver } = listener;
      if (link.broken || life.dead || !to(listener) || this.#network.loses()) continue;
      link.down.send(() =>
        path.pass(() =>
          life.deliver(() => {
            if (!link.broken) say(receiver);
          }),
        ),
      );
    }
  }

  /** Forgets all of its data. */
  wipe(): void {
    this.hub.wipe();
    this.locks.held.clear();
  }

  /** Remembers its data as it is now, for `forgetSince`. */
  remember(): void {
    const [hub, locks] = [this.hub.snapshot(), this.locks.snapshot()];
    this.#restore = () => {
      hub();
      locks();
    };
  }

  /** Loses what was written since `remember`. */
  forgetSince(): void {
    this.#restore?.();
    this.#restore = undefined;
  }
}
