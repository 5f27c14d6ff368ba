/**
 * This node among the others: who lives, who owns which shard, and the shards that move (design 6). Shards go
 * to whom rendezvous hashing names, a few at a time, by handing over; those of a dead node are taken over when
 * its locks run out. A node that does not reach the archive keeps what it owns, where open rooms go on, and is passed
 * over for everything else, which it could not claim. Alone on a bus that nobody shares it owns all of them.
 */
import { Likeness } from "./alike.ts";
import type { Archive } from "./archive.ts";
import type { Beat, Bus, Notice, Owner } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Counters } from "./counters.ts";
import type { Foresight } from "./foresight.ts";
import { Turnstile } from "./gate.ts";
import { Handover } from "./handover.ts";
import { Lap } from "./lap.ts";
import { LEASE_MS } from "./leases.memory.ts";
import type { Log } from "./log.ts";
import { Owners } from "./owners.ts";
import { Peers } from "./peers.ts";
import { rendezvous } from "./rendezvous.ts";
import type { Shard } from "./shards.ts";
import type { Word } from "./words.ts";

/** What the cluster needs of its node. */
export interface ClusterHost {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly shards: readonly Shard[];
  readonly options: Pick<Beat, "alike"> & { readonly archiveAway?: () => boolean };
  readonly awake: { readonly foresight: Pick<Foresight, "read"> };
  /** Connections open here. */
  readonly connections: number;
  /** The owner of a shard is another now, or is not known any more. */
  ownerChanged(shard: number): void;
  /** A node lives no more. */
  nodeGone(node: string): void;
}

/** What a giver of shards and their receiver say to each other. */
type HandoverWord = Extract<Word, { kind: "prepare" | "prepared" | "pass" }>;

/** Shards claimed at the same time: each claim asks every store, and the stores' bounds are theirs. */
const CLAIMED_AT_ONCE = 16;
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
  readonly #looking: Lap;
  readonly #since: number;
  readonly #handover: Handover;
  /** Shards that should be owned here and are not, since when, monotonic ms. */
  readonly #due = new Map<number, number>();
  /** Shards whose owner is not heard of, since when, monotonic ms. */
  readonly #unheard = new Map<number, number>();
  /** Shards whose owner was heard of with a term above the one on record, since when, monotonic ms. */
  readonly #outlived = new Map<number, number>();
  /** Shards that became ours in this turn. */
  #announcing: [number, number][] = [];
  /** Highest terms claimed before this node came: of a shard with none nobody has anything to lose. */
  #claimed: readonly number[] = [];
  readonly #likeness: Likeness;
  /** It says so from the start: nobody gives anything to a node that does not know yet whether it may join. */
  #draining = true;
  #drained: Promise<void> | undefined;
  #stopped = false;

  constructor(host: ClusterHost, shards: number) {
    this.#host = host;
    this.#since = host.clock.now();
    this.#likeness = new Likeness(host.options.alike, host.log);
    this.owners = new Owners(shards, host);
    this.peers = new Peers({
      bus: host.bus,
      clock: host.clock,
      log: host.log,
      beat: () => this.#beat(),
      nodeGone: (node) => this.#gone(node),
      lap: () => this.#lap(),
    });
    this.#handover = new Handover({
      ...{ bus: host.bus, clock: host.clock, log: host.log, counters: host.counters, owners: this.owners },
      takes: (node) => this.#claimers(this.#takers()).includes(node),
      moved: () => this.#balance(),
    });
    this.#looking = new Lap({
      ...{ clock: host.clock, log: host.log, pauseMs: RECORD_MS },
      run: () => this.#readRecord(),
      failed: "the owners could not be looked at",
    });
  }

  #beat(): Beat {
    const { name, connections, shards, options } = this.#host;
    const owned = shards.reduce((count, shard) => count + (shard.mine ? 1 : 0), 0);
    const [since, draining, { alike }] = [this.#since, this.#draining, options];
    const more = { ...(this.#unable && { unable: true }), ...(alike && { alike }) };
    return { node: name, draining, since, connections, shards: owned, ...more };
  }

  get #unable(): boolean {
    return this.#host.options.archiveAway?.() === true;
  }

  /** Shards of which no owner is known. */
  get unowned(): number {
    return this.#host.shards.filter(({ id }) => this.owners.of(id) === undefined).length;
  }

  /** Whether nobody shares the bus, or nobody else lives. */
  get alone(): boolean {
    return !this.#host.bus.shared || this.peers.alone;
  }

  /**
   * Resolves when every shard that should be owned here is, or another owns it. Rejects with a full sentence when
   * nodes of another data set live on this bus.
   */
  async start(): Promise<void> {
    const { bus, archive, shards } = this.#host;
    if (!bus.shared) {
      await Promise.all(shards.map((shard) => shard.own()));
      return;
    }
    this.#claimed = await this.#insist(() => archive.highestTerms(shards.length));
    await this.#insist(() => this.#looking.now());
    await this.#insist(() => this.peers.now());
    await this.#requireLikeness();
    this.#draining = this.#drained !== undefined;
    await this.#insist(() => this.peers.start());
    if (this.#stopped) return;
    this.#looking.start();
    while (!this.#settled() && !this.#stopped) await this.owners.changed(RECORD_MS);
  }

  async #requireLikeness(): Promise<void> {
    const refusal = this.#likeness.refusal(this.peers.living);
    if (refusal === undefined) return;
    await this.stop();
    throw new Error(refusal);
  }

  #lap(): void {
    this.#likeness.look(this.peers.living);
    this.#balance();
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

  /** Resolves when a shard's owner is known; rejects with `store-unavailable` when that takes too long. */
  async ownerKnown(shard: number): Promise<void> {
    const { clock } = this.#host;
    const until = clock.monotonic() + OWNER_MS;
    while (this.owners.of(shard) === undefined) {
      if (clock.monotonic() >= until) throw new Refusal("store-unavailable", "The room has no owner now.", 1_000);
      await this.owners.changed(RECORD_MS);
    }
  }

  /** Whom the bus knows as owners: announcements may be lost. */
  async #readRecord(): Promise<void> {
    const owners = await this.#host.bus.owners(this.#host.shards.map(({ id }) => id));
    for (const [at, owner] of owners.entries()) {
      if (!owner) continue;
      this.#compare(at, owner);
      this.#learn(at, owner.node, owner.term, { record: true });
    }
  }

  /**
   * Who owns a shard is on record before it is heard of. A higher term than that, for long, is of what the bus lost
   * since: it is back at an older record, and whoever that names goes on under it.
   */
  #compare(shard: number, record: Owner): void {
    const known = this.owners.of(shard);
    const [now, since] = [this.#host.clock.monotonic(), this.#outlived.get(shard)];
    if (known === undefined || this.owners.term(shard) <= record.term || !this.peers.has(record.node)) {
      this.#outlived.delete(shard);
    } else if (since === undefined) this.#outlived.set(shard, now);
    else if (now - since > STUCK_MS && !this.#host.shards[shard]?.mine) this.owners.forget(shard, known);
  }

  #learn(shard: number, node: string, term: number, { record = false } = {}): void {
    // Of itself a node knows better: what it owned and gave away is on record until the receiver is. And what it
    // owns it owns until the hot log says otherwise (rule 7), whoever announces what.
    if (this.#host.shards[shard]?.mine) return;
    if (node !== this.#host.name) this.owners.learn(shard, node, term, { lives: this.peers.has(node), record });
  }

  #gone(node: string): void {
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
    this.owners.own(shard.id, this.#host.name, shard.term);
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

  /** A node ended in order. */
  onFarewell({ node }: Extract<Notice, { kind: "farewell" }>): void {
    if (node !== this.#host.name) this.peers.farewell(node);
  }

  /** A word between a giver of shards and their receiver. */
  onWord(from: string, word: HandoverWord): void {
    if (word.kind === "prepared") return this.#handover.onPrepared(from, word.shard);
    if (this.#draining || this.#stopped) return;
    if (word.kind === "prepare") return this.#onPrepare(from, word);
    // The giver takes it back: its lock is as it was.
    if (this.#unable) return;
    this.#host.shards[word.shard]
      ?.receive(word.lock)
      .catch((error: unknown) => this.#host.log.warn({ shard: word.shard, err: error }, "a shard was not received"));
  }

  #onPrepare(from: string, { shard, rooms }: Extract<HandoverWord, { kind: "prepare" }>): void {
    void this.#host.awake.foresight.read(rooms).then(() => this.#host.bus.tell(from, { kind: "prepared", shard }));
  }

  /** Nodes that live and take shards. */
  #takers(): readonly string[] {
    return this.peers.living.filter(({ draining }) => !draining).map(({ node }) => node);
  }

  /** Those of them that can claim one now; all, where none says so: the archive is away, and soon it is not. */
  #claimers(takers: readonly string[]): readonly string[] {
    const unable = new Set(this.peers.living.filter((beat) => beat.unable === true).map(({ node }) => node));
    const able = takers.filter((node) => !unable.has(node));
    return able.length > 0 ? able : takers;
  }

  /** Who should own what, and what is to be done about it. */
  #balance(): void {
    if (this.#stopped) return;
    const { name, shards } = this.#host;
    const takers = this.#takers();
    const claimers = this.#claimers(takers);
    for (const shard of shards) {
      const home = rendezvous(shard.id, takers);
      const wanted = rendezvous(shard.id, claimers);
      if (shard.mine) {
        const to = this.#draining ? wanted : home;
        if (to !== undefined && to !== name && claimers.includes(to)) this.#handover.give(shard, to);
        continue;
      }
      this.#doubt(shard);
      const owner = this.owners.of(shard.id);
      const owned = owner !== undefined && owner !== name && this.peers.has(owner) && !this.#stuck(shard, home);
      if (wanted === name && !owned && !this.#handover.has(shard.id) && !this.#mayBeHeld(shard)) shard.want();
      else if (this.#unable && !claimers.includes(name)) shard.decline();
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
    const left = (): boolean => !this.#handover.idle || this.#host.shards.some(({ mine }) => mine);
    while (!this.alone && left() && this.#host.clock.monotonic() < until) {
      this.#balance();
      await this.owners.changed(RECORD_MS);
    }
  }

  /** Ends; shards are released by their node. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#looking.stop();
    if (this.#host.bus.shared) await this.peers.stop(this.#host.name);
  }
}
