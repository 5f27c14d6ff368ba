/**
 * One shard on its owner: the term under which its rooms write, and the packs of a turn on their way to the
 * hot log, one append in flight at a time (rule 2). An answer of `lost` or `stale` means: own it again.
 */
import { type Actor, createActor } from "xstate";
import type { Archive } from "./archive.ts";
import type { AppendAnswer, Bus, Pack } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Counters } from "./counters.ts";
import type { Entry, Position } from "./entry.ts";
import { Holding } from "./holding.ts";
import type { Leases } from "./leases.ts";
import type { Log } from "./log.ts";
import type { Posting } from "./posting.ts";
import type { RoomShard } from "./room.host.ts";
import type { Room } from "./room.ts";
import { shardMachine } from "./shard.machine.ts";

/** What a shard needs of its node. */
export interface ShardHost {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Flush this shard at the end of the turn. */
  flushSoon(shard: Shard): void;
  /** Opens a room again that was closed, if anybody here listens to it. */
  reopen(room: string): void;
  /** Opens a room of which the hot log has entries: what is not stored of it must be. */
  wake(room: string): void;
  /** Gives postings of a room that was closed to its next opening, in order, before anything new. */
  repost(room: string, postings: readonly Posting[]): void;
}

/** Pause before an append whose outcome is unknown is repeated, and before another try to own a shard, ms. */
const AGAIN_MS = 50;
/** Longest pause between tries to own a shard, ms; it doubles up to this. */
const AGAIN_MS_MOST = 1_000;

interface Sent {
  readonly room: Room;
  readonly postings: readonly Posting[];
}

/** A shard. */
export class Shard implements RoomShard {
  readonly id: number;
  term = 0;
  /** Rooms whose head is of a lower term are unsealed when they open: the hot log may have lost their last. */
  lossy = 0;
  readonly rooms = new Set<Room>();
  readonly #host: ShardHost;
  readonly #actor: Actor<typeof shardMachine>;
  readonly #holding: Holding;
  /** There is proof that the hot log lost data since it was taken. */
  #lossy = false;
  /** Heads of the rooms that were open here under the term before this one, and whole. */
  #known = new Map<string, Position>();
  #turn: Room[] = [];
  #inFlight = false;
  #inFlightTerm = 0;
  /** Told when the append in flight is answered. */
  #landing: (() => void)[] = [];
  /** Resolves when the shard is owned; replaced while it is owned again. */
  ready: Promise<void>;
  /** Rooms closed with unstored entries; the next opening waits for them. */
  readonly #settling = new Map<string, Room>();

  constructor(id: number, host: ShardHost) {
    this.id = id;
    this.#host = host;
    this.#actor = createActor(shardMachine).start();
    this.#holding = new Holding(id, host, (why) => this.#restart([], { why, lossy: false }));
    this.ready = Promise.resolve();
  }

  get state(): string {
    return String(this.#actor.getSnapshot().value);
  }

  /** Becomes owner: lock, claim, fence (steps 1 to 3); tries again until it does. */
  own(): Promise<void> {
    this.ready = this.#own();
    return this.ready;
  }

  async #own(): Promise<void> {
    for (let pauseMs = AGAIN_MS; ; pauseMs = Math.min(AGAIN_MS_MOST, pauseMs * 2)) {
      if (this.#holding.released) return;
      try {
        if (await this.#tryToOwn()) return;
      } catch (error) {
        this.#host.log.warn({ shard: this.id, err: error }, "a shard could not be owned; trying again");
      }
      this.#actor.send({ type: "failed" });
      await new Promise<void>((resolve) => void this.#host.clock.after(pauseMs, resolve));
    }
  }

  async #tryToOwn(): Promise<boolean> {
    const { archive, bus, name } = this.#host;
    this.#actor.send({ type: "want" });
    const lease = await this.#holding.get();
    if (!lease) return false;
    this.#actor.send({ type: "lockTaken" });
    const term = await archive.claimTerm(this.id, name, lease.value);
    const taken = await bus.take(this.id, { lock: lease.value, term, node: name, lossy: this.#lossy });
    if (!taken) return false;
    const heads = await bus.heads(this.id);
    // Somebody was between, and what this node remembers is not the end of the log any more.
    if (term !== this.term + 1) this.#known.clear();
    this.term = term;
    this.lossy = taken.lossy;
    this.#lossy = false;
    this.#holding.keep(term);
    for (const room of heads.keys()) this.#host.wake(room);
    this.#actor.send({ type: "fenced" });
    this.#actor.send({ type: "recovered" });
    return true;
  }

  /** Whether this node may decide in the shard now (step 2 of one SEND). */
  get holds(): boolean {
    return this.#holding.valid;
  }

  /** Resolves when it may again. */
  held(): Promise<void> {
    return this.#holding.again();
  }

  /** Whether nothing of the shard is on its way to the hot log. */
  get still(): boolean {
    return !this.#inFlight && this.#turn.length === 0;
  }

  /** The term that the hot log has in force for the shard; a lower one says that it lost data (rule 7). */
  observe(term: number, asked: number): void {
    if (asked !== this.term || this.state !== "owning" || term === this.term) return;
    this.#restart([], { why: `the hot log has the term ${term} in force`, lossy: term < this.term });
  }

  /**
   * Whether a room that opens must store its first entry before it shows it (step 3): its head may be
   * followed by entries that the hot log lost. Not where this node wrote the last of it itself, under the
   * term before, and all of that is stored.
   */
  unsealed(room: string, head: Position): boolean {
    const known = this.#known.get(room);
    this.#known.delete(room);
    if (known && known.offset === head.offset && known.term === head.term) return false;
    return head.term < this.lossy;
  }

  /** Resolves when a room of this shard may be opened. */
  async admitted(room: string): Promise<void> {
    await this.ready;
    // What was on its way under the term before is part of the log or is not; only then the head is known.
    if (this.#inFlight && this.#inFlightTerm !== this.term) {
      await new Promise<void>((resolve) => this.#landing.push(resolve));
    }
    const before = this.#settling.get(room);
    if (!before) return;
    await before.settled();
    if (this.#settling.get(room) === before) this.#settling.delete(room);
  }

  touch(room: Room): void {
    this.#turn.push(room);
    if (this.#turn.length === 1 && !this.#inFlight) this.#host.flushSoon(this);
  }

  /** Sends what was decided to the hot log. */
  flush(): void {
    if (this.#inFlight || this.#turn.length === 0) return;
    const rooms = this.#turn;
    this.#turn = [];
    const packs: Pack[] = [];
    const sent: Sent[] = [];
    for (const room of rooms) {
      const { pack, postings } = room.takePack();
      packs.push(pack);
      sent.push({ room, postings });
    }
    this.#inFlight = true;
    this.#inFlightTerm = this.term;
    this.#append(packs, sent);
  }

  #append(packs: readonly Pack[], sent: readonly Sent[]): void {
    this.#host.bus.append(this.id, this.#inFlightTerm, packs).then(
      (answer) => this.#answered(answer, packs, sent),
      (error: unknown) => {
        // The outcome is unknown: the same packs under the same term, until it is known (step 4).
        this.#host.log.warn({ shard: this.id, err: error }, "an append was not answered; asking again");
        this.#host.clock.after(AGAIN_MS, () => this.#append(packs, sent));
      },
    );
  }

  #answered(answer: AppendAnswer, packs: readonly Pack[], sent: readonly Sent[]): void {
    this.#inFlight = false;
    if (answer === "stale" || answer === "lost") {
      const now = this.#inFlightTerm === this.term;
      this.#restart(sent, now ? { why: `an append was ${answer}`, lossy: answer === "lost" } : undefined);
      return this.#landed();
    }
    this.#host.bus.publish(packs);
    const now = this.#host.clock.monotonic();
    for (const { room, postings } of sent) {
      for (const item of postings) this.#host.counters.delivery.observe((now - item.decidedAt) / 1_000);
      room.onAccepted(postings);
      if (room.status === "closed" && room.pending > 0) this.#settling.set(room.id, room);
    }
    this.#landed();
    if (this.#turn.length > 0) this.#host.flushSoon(this);
  }

  #landed(): void {
    const landing = this.#landing;
    this.#landing = [];
    for (const resolve of landing) resolve();
  }

  lost(term: number, why: string): void {
    if (term === this.term) this.#restart([], { why, lossy: true });
  }

  conflicted(room: Room, postings: readonly Posting[]): void {
    const first = postings[0]?.entry as Entry;
    const now = first.term === this.term;
    this.#restart([{ room, postings }], now ? { why: "a stored entry is not ours", lossy: true } : undefined);
  }

  reload(room: Room, postings: readonly Posting[]): void {
    this.#restart([{ room, postings }], undefined);
  }

  /**
   * Closes rooms, which open again from the archive once what they logged is stored; what was decided and not
   * accepted, and what waited, is decided again, in order, under its keys, before anything new. With `anew`
   * the whole shard is owned again under a new term; else only the rooms of `sent` are concerned.
   */
  #restart(sent: readonly Sent[], anew: { readonly why: string; readonly lossy: boolean } | undefined): void {
    const owning = this.state === "owning" && anew !== undefined;
    const ids = new Set(sent.map(({ room }) => room.id));
    const rooms = [...this.rooms].filter((room) => owning || ids.has(room.id));
    const again = new Map<string, Posting[]>();
    const keep = (room: Room, postings: readonly Posting[]): void => {
      const list = again.get(room.id);
      if (list) list.push(...postings);
      else again.set(room.id, [...postings]);
    };
    for (const { room, postings } of sent) keep(room, postings);
    this.#turn = this.#turn.filter((room) => !owning && !ids.has(room.id));
    for (const room of rooms) keep(room, room.takeDecided());
    for (const room of rooms) keep(room, room.takeWaiting());
    if (owning) {
      this.#host.log.warn({ shard: this.id, term: this.term, why: anew.why }, "the shard is owned again");
      this.#lossy ||= anew.lossy;
      this.#known = new Map();
      for (const room of rooms) if (room.whole) this.#known.set(room.id, room.state.accepted);
      this.#holding.pause();
      this.#actor.send({ type: "lost" });
      void this.own();
    }
    for (const room of rooms) {
      if (room.pending > 0) this.#settling.set(room.id, room);
      room.close();
    }
    for (const room of rooms) this.#host.reopen(room.id);
    for (const [room, postings] of again) this.#host.repost(room, postings);
  }

  /** Gives the shard up; nothing of it may be under way. */
  async release(): Promise<void> {
    this.#actor.send({ type: "release" });
    this.#actor.stop();
    await this.#holding.release();
  }
}

/** Shards that are owned at the same time at the start: each asks every store, and the stores' bounds are theirs. */
const OWNED_AT_ONCE = 16;

/** Owns all of the shards, a few at a time. */
export async function ownAll(shards: readonly Shard[]): Promise<void> {
  const waiting = [...shards];
  const next = async (): Promise<void> => {
    for (let shard = waiting.pop(); shard; shard = waiting.pop()) await shard.own();
  };
  await Promise.all(Array.from({ length: OWNED_AT_ONCE }, next));
}
