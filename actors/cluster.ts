/**
 * This node among the others: who lives, who owns which shard, and the shards that move (design 6). Shards go
 * to whom rendezvous hashing names, a few at a time, by handing over; those of a dead node are taken over when
 * its locks run out. Alone on a bus that nobody shares it owns all of them.
 */
import type { Archive } from "./archive.ts";
import type { Beat, Bus, Notice } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Counters } from "./counters.ts";
import { Turnstile } from "./gate.ts";
import { LEASE_MS } from "./leases.memory.ts";
import type { Log } from "./log.ts";
import { Owners } from "./owners.ts";
import { Peers } from "./peers.ts";
import { rendezvous } from "./rendezvous.ts";
import type { Shard } from "./shards.ts";

/** What the cluster needs of its node. */
export interface ClusterHost {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly shards: readonly Shard[];
  /** Connections open here. */
  readonly connections: number;
  /** The owner of a shard is another now, or is not known any more. */
  ownerChanged(shard: number): void;
  /** A node lives no more. */
  nodeGone(node: string): void;
}

/** Shards claimed at the same time: each claim asks every store, and the stores' bounds are theirs. */
const CLAIMED_AT_ONCE = 16;
/** Shards handed over at the same time: more of them would wait for each other's stores, and each pause is longer. */
const MOVED_AT_ONCE = 2;
/** Pause before a pass that no announcement followed is said again, ms. */
const PASS_AGAIN_MS = 300;
/** Times that it is said; after them the giver takes the shard back. */
const PASSES = 8;
/** Most time that handing everything over may take at the end, ms. */
const DRAIN_MS = 4_000;
/** How long an owner is waited for, ms: a takeover fits. */
const OWNER_MS = 5_000;
/** Pause before a store that did not answer at the start is asked again, ms. */
const START_AGAIN_MS = 200;
/** How long a shard that should be owned here may be another's on record before its lock is tried, ms. */
const STUCK_MS = 5_000;
/** Pause between two looks at who is recorded as owner, ms: announcements may be lost. */
const RECORD_MS = 500;

/** One node among the others. */
export class Cluster {
  readonly owners: Owners;
  readonly peers: Peers;
  readonly #host: ClusterHost;
  readonly #turnstile = new Turnstile(CLAIMED_AT_ONCE);
  readonly #since: number;
  /** Shards being handed over by this node. */
  readonly #giving = new Set<number>();
  /** Shards that should be owned here and are not, since when, monotonic ms. */
  readonly #due = new Map<number, number>();
  /** Shards whose owner is not heard of, since when, monotonic ms. */
  readonly #unheard = new Map<number, number>();
  /** Shards that became ours in this turn. */
  #announcing: [number, number][] = [];
  /** Highest terms claimed before this node came: of a shard with none nobody has anything to lose. */
  #claimed: readonly number[] = [];
  #draining = false;
  #drained: Promise<void> | undefined;
  #stopped = false;
  #reading = false;

  constructor(host: ClusterHost, shards: number) {
    this.#host = host;
    this.#since = host.clock.now();
    this.owners = new Owners(shards, host);
    this.peers = new Peers({
      bus: host.bus,
      clock: host.clock,
      log: host.log,
      beat: () => this.#beat(),
      nodeGone: (node) => this.#gone(node),
      lap: () => this.#balance(),
    });
  }

  #beat(): Beat {
    const { name, connections, shards } = this.#host;
    const owned = shards.reduce((count, shard) => count + (shard.mine ? 1 : 0), 0);
    return { node: name, draining: this.#draining, since: this.#since, connections, shards: owned };
  }

  /** Shards of which no owner is known. */
  get unowned(): number {
    return this.#host.shards.filter(({ id }) => this.owners.of(id) === undefined).length;
  }

  /** Whether nobody shares the bus, or nobody else lives. */
  get alone(): boolean {
    return !this.#host.bus.shared || this.peers.alone;
  }

  /** Resolves when every shard that should be owned here is, or another owns it. */
  async start(): Promise<void> {
    const { bus, archive, shards } = this.#host;
    if (!bus.shared) {
      await Promise.all(shards.map((shard) => shard.own()));
      return;
    }
    this.#claimed = await this.#insist(() => archive.highestTerms(shards.length));
    await this.#insist(() => this.#readRecord());
    await this.#insist(() => this.peers.start());
    this.#lookAgain();
    while (!this.#settled() && !this.#stopped) await this.#nextChange();
  }

  /** Asks a store until it answers. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        this.#host.log.warn({ err: error }, "a store did not answer at the start; asking again");
        await new Promise<void>((resolve) => void this.#host.clock.after(START_AGAIN_MS, resolve));
      }
    }
  }

  #settled(): boolean {
    return this.#host.shards.every((shard) => {
      const owner = this.owners.of(shard.id);
      return owner !== undefined && this.peers.has(owner);
    });
  }

  /** The next change of an owner, or some time later. */
  #nextChange(): Promise<void> {
    const later = new Promise<void>((resolve) => void this.#host.clock.after(RECORD_MS, resolve));
    return Promise.race([this.owners.changed(), later]);
  }

  /** Resolves when a shard's owner is known; rejects with `store-unavailable` when that takes too long. */
  async ownerKnown(shard: number): Promise<void> {
    const { clock } = this.#host;
    const until = clock.monotonic() + OWNER_MS;
    while (this.owners.of(shard) === undefined) {
      if (clock.monotonic() >= until) throw new Refusal("store-unavailable", "The room has no owner now.", 1_000);
      await this.#nextChange();
    }
  }

  #lookAgain(): void {
    this.#host.clock.after(RECORD_MS, () => {
      if (this.#stopped) return;
      this.#readRecord()
        .catch((error: unknown) => this.#host.log.warn({ err: error }, "the owners could not be looked at"))
        .finally(() => this.#lookAgain());
    });
  }

  /** Whom the bus knows as owners: announcements may be lost. */
  async #readRecord(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      const owners = await this.#host.bus.owners(this.#host.shards.map(({ id }) => id));
      for (const [at, owner] of owners.entries()) if (owner) this.#learn(at, owner.node, owner.term, { record: true });
    } finally {
      this.#reading = false;
    }
  }

  #learn(shard: number, node: string, term: number, { record = false } = {}): void {
    // Of itself a node knows better: what it owned and gave away is on record until the receiver is. And what it
    // owns it owns until the hot log says otherwise (rule 7), whoever announces what.
    if (this.#host.shards[shard]?.mine) return;
    if (node !== this.#host.name) this.owners.learn(shard, node, term, { lives: this.peers.has(node), record });
  }

  #gone(node: string): void {
    this.#host.log.warn({ gone: node }, "a node is not heard of any more");
    this.owners.gone(node);
    this.#host.nodeGone(node);
  }

  /** Limits how many shards are claimed at the same time. */
  turnstile<T>(work: () => Promise<T>): Promise<T> {
    return this.#turnstile.run(work);
  }

  /** A shard is owned here: everybody is told at the end of the turn. */
  owned(shard: Shard): void {
    this.#due.delete(shard.id);
    this.owners.learn(shard.id, this.#host.name, shard.term);
    if (!this.#host.bus.shared) return;
    this.#announcing.push([shard.id, shard.term]);
    if (this.#announcing.length > 1) return;
    this.#host.clock.endOfTurn(() => {
      const shards = this.#announcing;
      this.#announcing = [];
      this.#host.bus.notify({ kind: "owner", node: this.#host.name, shards });
    });
  }

  /** A shard is not owned here any more. */
  yielded(shard: Shard): void {
    this.owners.forget(shard.id, this.#host.name);
  }

  onOwner({ node, shards }: Extract<Notice, { kind: "owner" }>): void {
    for (const [shard, term] of shards) this.#learn(shard, node, term);
  }

  /** A giver passes a shard's lock on. */
  onPass(shard: number, lock: string): void {
    if (this.#draining || this.#stopped) return;
    this.#host.shards[shard]
      ?.receive(lock)
      .catch((error: unknown) => this.#host.log.warn({ shard, err: error }, "a shard could not be received"));
  }

  /** Who should own what, and what is to be done about it. */
  #balance(): void {
    if (this.#stopped) return;
    const { name, shards } = this.#host;
    const nodes = this.peers.living.filter(({ draining }) => !draining).map(({ node }) => node);
    for (const shard of shards) {
      const wanted = rendezvous(shard.id, nodes);
      if (shard.mine) {
        if (wanted !== undefined && wanted !== name) this.#give(shard, wanted);
        continue;
      }
      this.#doubt(shard);
      const owner = this.owners.of(shard.id);
      const owned = owner !== undefined && owner !== name && this.peers.has(owner) && !this.#stuck(shard, wanted);
      if (wanted === name && !owned && !this.#giving.has(shard.id) && !this.#mayBeHeld(shard)) shard.want();
      else if (owned || wanted !== name) shard.unwant();
    }
  }

  /** An owner that was announced and never lived is none: the bus's own record is asked anew. */
  #doubt({ id }: Shard): void {
    const owner = this.owners.of(id);
    const now = this.#host.clock.monotonic();
    if (owner === undefined || this.peers.has(owner)) this.#unheard.delete(id);
    else if (now - (this.#unheard.get(id) ?? now) > STUCK_MS) this.owners.forget(id, owner);
    else if (!this.#unheard.has(id)) this.#unheard.set(id, now);
  }

  /**
   * Whether a shard should have come here long ago: its owner on record may not know that it is none. The lock
   * says whether it is.
   */
  #stuck(shard: Shard, wanted: string | undefined): boolean {
    const now = this.#host.clock.monotonic();
    if (wanted !== this.#host.name) {
      this.#due.delete(shard.id);
      return false;
    }
    const since = this.#due.get(shard.id) ?? now;
    this.#due.set(shard.id, since);
    return now - since > STUCK_MS;
  }

  /**
   * When the bus comes back empty a node takes, for one lease, only shards that it held: their holders may live
   * and remember what the bus forgot.
   */
  #mayBeHeld(shard: Shard): boolean {
    const fresh = this.peers.rememberedMs < LEASE_MS;
    return fresh && shard.term === 0 && (this.#claimed[shard.id] ?? 0) > 0;
  }

  #give(shard: Shard, to: string): void {
    if (shard.state !== "owning" || this.#giving.has(shard.id) || this.#giving.size >= MOVED_AT_ONCE) return;
    this.#giving.add(shard.id);
    this.#handOver(shard, to).then(
      (moved) => {
        this.#giving.delete(shard.id);
        // The next few, without waiting for the next beat; after one that failed the beat is soon enough.
        if (moved && this.#giving.size === 0) this.#balance();
      },
      (error: unknown) => {
        this.#giving.delete(shard.id);
        this.#host.log.warn({ shard: shard.id, err: error }, "a shard was not handed over");
      },
    );
  }

  /** True when another owns it now. */
  async #handOver(shard: Shard, to: string): Promise<boolean> {
    const { bus, clock, counters } = this.#host;
    const began = clock.monotonic();
    const { term } = shard;
    const lock = await shard.letGo();
    if (lock === undefined) return false;
    for (let pass = 0; pass < PASSES && this.owners.of(shard.id) === undefined; pass++) {
      bus.tell(to, { kind: "pass", shard: shard.id, lock, term });
      const until = clock.monotonic() + PASS_AGAIN_MS;
      while (this.owners.of(shard.id) === undefined && clock.monotonic() < until) {
        const late = new Promise<void>((resolve) => void clock.after(until - clock.monotonic(), resolve));
        await Promise.race([this.owners.changed(), late]);
      }
    }
    if (this.owners.of(shard.id) !== undefined) {
      counters.moves.observe((clock.monotonic() - began) / 1_000);
      return true;
    }
    this.#host.log.warn({ shard: shard.id, to }, "a shard was not taken; it is owned here again");
    await shard.receive(lock);
    return false;
  }

  /** Gives every shard away, if there is somebody to take them; a second call resolves with the first. */
  drain(): Promise<void> {
    this.#drained ??= this.#host.bus.shared ? this.#drain() : Promise.resolve();
    return this.#drained;
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    const until = this.#host.clock.monotonic() + DRAIN_MS;
    await this.peers.now().catch(() => undefined);
    await this.peers.now().catch(() => undefined);
    const left = (): boolean => this.#giving.size > 0 || this.#host.shards.some(({ mine }) => mine);
    while (!this.alone && left() && this.#host.clock.monotonic() < until) {
      this.#balance();
      await this.#nextChange();
    }
  }

  /** Ends; shards are released by their node. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#host.bus.shared) await this.peers.stop(this.#host.name);
  }
}
