/**
 * One shard on its owner: the term under which its rooms write, and the packs of a turn on their way to the
 * hot log, one append in flight at a time (rule 2). An answer of `lost` or `stale` means: own it again.
 */
import { type Actor, createActor } from "xstate";
import { type Appended, Appends, type Sent } from "./appends.ts";
import type { Entry, Position } from "./entry.ts";
import { Gate } from "./gate.ts";
import { Holding } from "./holding.ts";
import { KnownHeads } from "./known.ts";
import { asDecided, type Posting } from "./posting.ts";
import type { RoomShard } from "./room.host.ts";
import type { Room } from "./room.ts";
import type { ShardHost } from "./shard.host.ts";
import { shardMachine } from "./shard.machine.ts";
import { show } from "./showing.ts";

/** Pause before an append whose outcome is unknown is repeated, and before another try to own a shard, ms. */
const AGAIN_MS = 50;
/** Longest pause between tries to own a shard, ms; it doubles up to this. */
const AGAIN_MS_MOST = 1_000;
/** The same before a lock that another holds is tried again, ms: a dead node's runs out within its lease. */
const LOCKED_AGAIN_MS = 200;
/** Most time that a handover waits for an append to be answered, ms; then the shard stays. */
const LET_GO_MS = 1_000;

/** A shard. */
export class Shard implements RoomShard {
  readonly id: number;
  term = 0;
  /** Rooms whose head is of a lower term are unsealed when they open: the hot log may have lost their last. */
  lossy = 0;
  yields = 0;
  readonly rooms = new Set<Room>();
  readonly #host: ShardHost;
  readonly #actor: Actor<typeof shardMachine>;
  readonly #holding: Holding;
  #rank = 0;
  /** There is proof that the hot log lost data since it was taken. */
  #lossy = false;
  /** Heads of the rooms that were open here under the term before this one, and whole. */
  readonly #known = new KnownHeads();
  #turn: Room[] = [];
  /** Something was shown in this turn: what is decided in it leaves with what the next turn brings. */
  #shown = false;
  readonly #appends: Appends;
  /** Resolves when the shard is owned; replaced while it is owned again. */
  ready: Promise<void>;
  /** This node should own the shard. */
  #wanted = false;
  /** Rooms of the shard live here: it is owned, or is owned again after something was lost. */
  #mine = false;
  /** Shut while it is being handed over: nothing more is decided. */
  readonly #gate = new Gate();
  /** The lock's value that a giver passed on, until the shard is owned or another has the lock. */
  #passed: { readonly lock: string; readonly adopted: Promise<boolean> } | undefined;
  /** The last try to own it failed, and that was told. */
  #failing = false;
  /** The one loop that tries to own it. */
  #owning: Promise<void> | undefined;
  /** Rooms closed with unstored entries; the next opening waits for them. */
  readonly #settling = new Map<string, Room>();

  constructor(id: number, host: ShardHost) {
    this.id = id;
    this.#host = host;
    this.#actor = createActor(shardMachine).start();
    this.#holding = new Holding(id, host, (why) => this.#restart([], { why, lossy: false }));
    this.#appends = new Appends(id, host, (appended) => this.#answered(appended));
    this.ready = Promise.resolve();
  }

  get state(): string {
    return String(this.#actor.getSnapshot().value);
  }

  /** Whether the rooms of the shard live on this node: SENDs go to them and not to another node. */
  get mine(): boolean {
    return this.#mine;
  }

  /** Another takes it, as this node cannot claim it now: a lock that was passed on runs out here. */
  decline(): void {
    if (!this.#mine) this.#passed = undefined;
    this.unwant();
  }

  /** Becomes owner: lock, claim, fence (steps 1 to 3); tries again until it does, or is not wanted here any more. */
  own(): Promise<void> {
    this.#wanted = true;
    this.#owning ??= this.#own().finally(() => {
      this.#owning = undefined;
      if (this.#wanted && this.state !== "owning" && !this.#holding.released) void this.own();
    });
    this.ready = this.#owning;
    return this.ready;
  }

  /** Begins to own the shard, unless it does or tries already. */
  want(): void {
    if (this.#owning || this.#mine || this.#holding.released) return;
    void this.own();
  }

  /** Another node should own it: tries no more, if it only tried. */
  unwant(): void {
    if (!this.#mine && this.#passed === undefined) this.#wanted = false;
  }

  async #own(): Promise<void> {
    for (let pauseMs = AGAIN_MS; this.#wanted && !this.#holding.released; ) {
      let locked = false;
      try {
        const tried = await this.#host.turnstile(() => this.#tryToOwn());
        // It may have been lost again since.
        if (tried === "owned" && this.state === "owning") return;
        locked = tried === "locked";
      } catch (error) {
        // Told once, as a store that is away fails the tries of all shards again and again.
        const { log } = this.#host;
        if (!this.#failing) log.warn({ shard: this.id, err: error }, "a shard could not be owned; trying again");
        this.#failing = true;
      }
      this.#actor.send({ type: "failed" });
      if (locked) this.#passed = undefined;
      // Another has the lock: what waits here is for its rooms.
      if (locked && this.#mine) return this.#yield();
      await this.#pause(Math.min(pauseMs, locked ? LOCKED_AGAIN_MS : AGAIN_MS_MOST));
      pauseMs *= 2;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise<void>((resolve) => void this.#host.clock.after(ms, resolve));
  }

  async #tryToOwn(): Promise<"owned" | "locked" | "stale"> {
    const { archive, bus, name } = this.#host;
    if (!this.#wanted) return "stale";
    this.#actor.send({ type: "want" });
    const lease = await this.#holding.get();
    if (!lease) return "locked";
    this.#actor.send({ type: "lockTaken" });
    const term = await archive.claimTerm(this.id, name, lease.value);
    // Given up meanwhile, it may be another's already: a fence of ours would only cost that one its term.
    if (this.#holding.released) return "stale";
    const taken = await bus.take(this.id, { lock: lease.value, term, node: name, lossy: this.#lossy });
    if (!taken) return "stale";
    const heads = await bus.heads(this.id);
    // Somebody was between, and what this node remembers is not the end of the log any more.
    if (term !== this.term + 1) this.#known.forget();
    this.term = term;
    this.lossy = taken.lossy;
    this.#lossy = false;
    this.#failing = false;
    this.#holding.keep(term);
    this.#actor.send({ type: "fenced" });
    this.#actor.send({ type: "recovered" });
    this.#mine = true;
    this.#passed = undefined;
    for (const room of heads.keys()) this.#host.wake(room);
    this.#host.owned(this);
    return "owned";
  }

  /** The rooms of the shard live elsewhere from now on: what waited in them goes there, in order, under its keys. */
  #yield(): void {
    this.yields++;
    this.#wanted = false;
    this.#mine = false;
    this.#holding.forget();
    this.#host.bus.yielded(this.id);
    this.#host.yielded(this);
    this.#reopenAll(this.#appends.abandon());
  }

  /**
   * Hands the shard over, the giver's half: decides nothing more, waits for what is on its way, renews for the
   * last time, and steps down. Answers the lock's value for the receiver; undefined when it could not, and the
   * shard stays here. What was logged goes on to be stored and receipted.
   */
  async letGo(): Promise<string | undefined> {
    if (this.state !== "owning" || this.#gate.isShut) return undefined;
    const { term } = this;
    const going = (): boolean => this.state === "owning" && this.term === term;
    this.#gate.shut();
    try {
      const late = this.#pause(LET_GO_MS).then(() => true);
      // What is appended is answered before the lock goes; what is only decided waits, and is decided again by the receiver.
      while (this.#appends.busy && going()) {
        if (await Promise.race([this.#appends.landed().then(() => false), late])) return undefined;
      }
      const lease = going() ? await this.#holding.get() : undefined;
      if (!lease || !going() || this.#appends.busy) return undefined;
      this.#actor.send({ type: "prepare" });
      this.#actor.send({ type: "handedOver" });
      this.#known.forget();
      this.#yield();
      return lease.value;
    } finally {
      this.#gate.open();
      if (this.#turn.length > 0) this.#host.flushSoon(this);
    }
  }

  /** Hands over, the receiver's half: takes the lock over, and owns the shard. False when the lock is another's. */
  async receive(lock: string): Promise<boolean> {
    if (this.#mine) return false;
    // The same pass again: the lock is adopted already, or is being.
    if (this.#passed?.lock !== lock) this.#passed = { lock, adopted: this.#holding.adopt(lock).catch(() => false) };
    const passed = this.#passed;
    if (await passed.adopted) await this.own();
    else if (this.#passed === passed) this.#passed = undefined;
    return this.#mine;
  }

  /** Whether this node may decide in the shard now (step 2 of one SEND). */
  get holds(): boolean {
    return this.#holding.valid && !this.#gate.isShut;
  }

  /** Resolves when it may again. */
  held(): Promise<void> {
    return this.#gate.isShut ? this.#gate.opened() : this.#holding.again();
  }

  /** Whether nothing of the shard is on its way to the hot log. */
  get still(): boolean {
    return !this.#appends.busy && this.#turn.length === 0;
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
    if (this.#known.take(room, head)) return false;
    return head.term < this.lossy;
  }

  rank(): number {
    return ++this.#rank;
  }

  /** Resolves when a room of this shard may be opened. */
  async admitted(room: string): Promise<void> {
    await this.ready;
    // What was on its way under the term before is part of the log or is not; only then the head is known.
    if (this.#appends.term !== this.term) await this.#appends.landed();
    const before = this.#settling.get(room);
    if (!before) return;
    await before.settled();
    if (this.#settling.get(room) === before) this.#settling.delete(room);
  }

  touch(room: Room): void {
    this.#turn.push(room);
    if (this.#turn.length === 1 && !this.#appends.busy && !this.#shown) this.#host.flushSoon(this);
  }

  /** Sends what was decided to the hot log. */
  flush(): void {
    if (this.#appends.busy || this.#turn.length === 0 || this.#gate.isShut) return;
    const rooms = this.#turn;
    this.#turn = [];
    this.#appends.send(this.term, rooms);
  }

  #answered({ answer, term, packs, sent }: Appended): void {
    if (answer === "stale" || answer === "lost") {
      const now = term === this.term;
      return this.#restart(sent, now ? { why: `an append was ${answer}`, lossy: answer === "lost" } : undefined);
    }
    // A hot log that answers at once leaves no time in which anything could gather.
    if (!this.#host.bus.appendNow) this.#gather();
    const faulty = show(this.#host, packs, sent);
    for (const { room } of sent) if (room.status === "closed" && room.pending > 0) this.#settling.set(room.id, room);
    // The writer has nothing of these: their next opening finds them in the hot log.
    if (faulty.length > 0) this.#restart(faulty, undefined);
  }

  /**
   * What is shown is written to its receivers at the end of this turn, which may take long. What is decided until
   * then leaves after it, with all that comes meanwhile: sent at once it would be answered by then, and cost each
   * receiver a write of its own; and as what is said in answer to the two comes apart, they would stay apart.
   */
  #gather(): void {
    this.#shown = true;
    this.#host.clock.endOfTurn(() => {
      this.#shown = false;
      if (this.#turn.length > 0) this.#host.flushSoon(this);
    });
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
    if (this.state === "owning" && anew !== undefined) {
      this.#host.log.warn({ shard: this.id, term: this.term, why: anew.why }, "the shard is owned again");
      this.#lossy ||= anew.lossy;
      this.#known.keep(this.rooms);
      this.#holding.pause();
      this.#actor.send({ type: "lost" });
      void this.own();
      return this.#reopenAll(sent);
    }
    this.#reopenSome(
      [...this.rooms].filter((room) => sent.some((one) => one.room.id === room.id)),
      sent,
    );
  }

  #reopenAll(sent: readonly Sent[]): void {
    this.#reopenSome([...this.rooms], sent);
  }

  #reopenSome(rooms: readonly Room[], sent: readonly Sent[]): void {
    const again = new Map<string, Posting[]>();
    const keep = (room: Room, postings: readonly Posting[]): void => {
      const list = again.get(room.id);
      if (list) list.push(...postings);
      else again.set(room.id, [...postings]);
    };
    for (const { room, postings } of sent) keep(room, postings);
    // Deleted rooms are of the shard no more, but what they decided may still be here, and nobody else has it.
    const deleted = this.#turn.filter(({ status }) => status === "closed");
    this.#turn = this.#turn.filter((room) => !rooms.includes(room) && !deleted.includes(room));
    for (const room of [...deleted, ...rooms]) keep(room, room.takeDecided());
    for (const room of rooms) keep(room, room.takeWaiting());
    for (const room of rooms) {
      if (room.pending > 0) this.#settling.set(room.id, room);
      room.close();
    }
    for (const room of rooms) this.#host.reopen(room.id);
    for (const [room, postings] of again) this.#host.repost(room, asDecided(postings));
  }

  /** Gives the shard up; nothing of it may be under way. */
  async release(): Promise<void> {
    this.#wanted = false;
    this.#mine = false;
    this.#actor.send({ type: "release" });
    this.#actor.stop();
    await this.#holding.release();
  }
}
