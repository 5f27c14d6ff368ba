/**
 * A process's handles on the simulated Redis. As with the real one, the script that accepts packs publishes them
 * to the others, their owner delivers them itself, and it listens to no room of a shard that it believes to own.
 */

import type { MemoryBus } from "../bus.memory.ts";
import type {
  AppendAnswer,
  Beat,
  Bus,
  BusReceiver,
  Living,
  Notice,
  Owner,
  Pack,
  Signal,
  Taken,
  Taking,
} from "../bus.ts";
import type { Entry, Position } from "../entry.ts";
import { LEASE_MS, MemoryLeases } from "../leases.memory.ts";
import type { Lease, Leases } from "../leases.ts";
import type { Word } from "../words.ts";
import { Connected, type ConnectionParts, type Network, type Path } from "./network.ts";
import type { Listener, SimulatedRedis } from "./redis.ts";
import type { Life } from "./time.ts";

/** What a process has of its world. */
export interface Surroundings {
  readonly name: string;
  readonly life: Life;
  readonly network: Network;
  /** Its ways to the stores. */
  readonly toRedis: Path;
  readonly toMongo: Path;
  /** Sees what the stores do. */
  readonly witness: Witness;
}

/** Sees what the stores do for whom. */
export interface Witness {
  claimed(node: string, shard: number, term: number): void;
  fenced(node: string, shard: number, term: number): void;
  accepted(node: string, shard: number, packs: readonly Pack[]): void;
  /** The hot log had nothing of the pack's room: it begins with it. */
  begun(node: string, pack: Pack): void;
  durable(node: string, entries: readonly Entry[]): void;
}

/** A call without an answer is given up after so long, ms; as the driver does. */
const CALL_MS = 1_500;
/** The holder gives a lease up this long before the lock runs out, ms: design 6. */
const EARLY_MS = 500;
/** Pause before a lost subscription is made again, ms. */
const AGAIN_MS = { least: 50, most: 500 } as const;

/** The bus of one process. */
export class RedisHandle implements Bus {
  readonly shared = true;
  readonly #redis: SimulatedRedis;
  readonly #around: Surroundings;
  readonly #hub: MemoryBus;
  readonly #commands: Connected;
  readonly #subscriber: Connected;
  readonly #joined = new Set<string>();
  /** Shards that this process believes to own, with their terms. */
  readonly #owned = new Map<number, number>();
  #receiver: BusReceiver | undefined;
  #listener: Listener | undefined;
  #sending: (() => void)[] = [];

  constructor(redis: SimulatedRedis, around: Surroundings) {
    this.#redis = redis;
    this.#around = around;
    this.#hub = redis.hub.connect();
    const { network, life, toRedis: path } = around;
    const parts: ConnectionParts = { network, life, path, server: redis, timeoutMs: CALL_MS };
    this.#commands = new Connected(parts);
    this.#subscriber = new Connected({ ...parts, onBreak: () => this.#listenAgain() });
  }

  // ─── The hot log ───

  async take(shard: number, taking: Taking): Promise<Taken | undefined> {
    const { name, witness } = this.#around;
    const taken = await this.#commands.call(async () => {
      if (!this.#redis.isLocked(shard, taking.lock)) return undefined;
      const done = await this.#hub.take(shard, taking);
      if (done) witness.fenced(name, shard, taking.term);
      return done;
    });
    if (taken) this.#owned.set(shard, taking.term);
    else this.#over(shard, this.#owned.get(shard) ?? 0);
    return taken;
  }

  async terms(shards: readonly number[]): Promise<readonly number[]> {
    const terms = await this.#commands.call(() => this.#hub.terms(shards));
    for (const [at, shard] of shards.entries()) this.#compare(shard, terms[at] ?? 0);
    return terms;
  }

  #compare(shard: number, inForce: number): void {
    const mine = this.#owned.get(shard);
    if (mine !== undefined && mine !== inForce) this.#over(shard, mine);
  }

  owners(shards: readonly number[]): Promise<readonly (Owner | undefined)[]> {
    return this.#commands.call(() => this.#hub.owners(shards));
  }

  async append(shard: number, term: number, packs: readonly Pack[]): Promise<AppendAnswer> {
    const { name, witness } = this.#around;
    const answer = await this.#commands.call(async () => {
      const absent = packs.filter(({ room }) => !this.#redis.hub.shard(shard).rooms.has(room));
      const done = await this.#hub.append(shard, term, packs);
      if (done === "ok") {
        for (const pack of absent) witness.begun(name, pack);
        witness.accepted(name, shard, packs);
        this.#redis.publish(name, packs);
      }
      return done;
    });
    if (answer === "stale" || answer === "lost") this.#over(shard, term);
    return answer;
  }

  heads(shard: number): Promise<ReadonlyMap<string, Position>> {
    return this.#commands.call(() => this.#hub.heads(shard));
  }

  async headsOf(shard: number, rooms: readonly string[]): Promise<ReadonlyMap<string, Position>> {
    const [[term], heads] = await this.#commands.call(() =>
      Promise.all([this.#hub.terms([shard]), this.#hub.headsOf(shard, rooms)]),
    );
    this.#compare(shard, term ?? 0);
    return heads;
  }

  dirty(shard: number): Promise<readonly string[]> {
    return this.#commands.call(() => this.#hub.dirty(shard));
  }

  log(room: string, after: number, limit: number, bytes?: number): Promise<readonly Entry[]> {
    return this.#commands.call(() => this.#hub.log(room, after, limit, bytes));
  }

  async stored(shard: number, term: number, room: string, stored: Position): Promise<boolean> {
    const done = await this.#commands.call(() => this.#hub.stored(shard, term, room, stored));
    if (!done) this.#over(shard, term);
    return done;
  }

  sleep(shard: number, term: number, room: string, head: Position): Promise<boolean> {
    return this.#commands.call(() => this.#hub.sleep(shard, term, room, head));
  }

  clear(shard: number, term: number, room: string, head: Position): Promise<boolean> {
    return this.#commands.call(() => this.#hub.clear(shard, term, room, head));
  }

  // ─── The wire between nodes ───

  publish(packs: readonly Pack[]): void {
    this.#deliver(() => {
      for (const pack of packs) if (this.#joined.has(pack.room)) this.#receiver?.onPack(pack);
    });
  }

  signal(signals: readonly Signal[]): void {
    const { name } = this.#around;
    const rooms = new Set(signals.map(({ room }) => room));
    this.#commands.cast(() => {
      for (const room of rooms) {
        const some = signals.filter((signal) => signal.room === room);
        this.#redis.push(
          (listener) => listener.name !== name && listener.rooms.has(room),
          (receiver) => receiver.onSignals(some),
        );
      }
    });
    this.#deliver(() => {
      const wanted = signals.filter(({ room }) => this.#joined.has(room));
      if (wanted.length > 0) this.#receiver?.onSignals(wanted);
    });
  }

  notify(notice: Notice): void {
    const { name } = this.#around;
    this.#commands.cast(() =>
      this.#redis.push(
        (listener) => listener.name !== name,
        (receiver) => receiver.onNotice(notice),
      ),
    );
    this.#deliver(() => this.#receiver?.onNotice(notice));
  }

  tell(node: string, word: Word): void {
    const { name, life } = this.#around;
    if (node === name) return life.endOfTurn(() => this.#deliver(() => this.#receiver?.onWord(name, word)));
    this.#commands.cast(() =>
      this.#redis.push(
        (listener) => listener.name === node,
        (receiver) => receiver.onWord(name, word),
      ),
    );
  }

  beat(self: Beat, lifeMs: number): Promise<Living> {
    return this.#commands.call(async () => this.#redis.hub.beat(self, lifeMs));
  }

  fade(node: string): Promise<void> {
    return this.#commands.call(async () => this.#redis.hub.fade(node));
  }

  async join(room: string): Promise<void> {
    this.#joined.add(room);
    if (this.#owned.has(this.#redis.shardOf(room))) return;
    const listener = this.#listener;
    await this.#subscriber.call(async () => void listener?.rooms.add(room));
  }

  yielded(): void {}

  leave(room: string): void {
    if (!this.#joined.delete(room)) return;
    const listener = this.#listener;
    this.#subscriber.cast(() => listener?.rooms.delete(room));
  }

  receive(receiver: BusReceiver): void {
    this.#receiver = receiver;
    this.#listen().catch(() => this.#listenAgain());
  }

  async close(): Promise<void> {}

  /** Redis ended, or the way to it was cut for long. */
  drop(): void {
    this.#commands.reset();
    this.#subscriber.reset();
  }

  /** The subscriptions are given up, as no answer came for long. */
  deafen(): void {
    this.#subscriber.break(this.#subscriber.link, "silent for too long");
  }

  // ─── Listening ───

  /** Listens on the connection as it stands to everything that is wanted. */
  async #listen(): Promise<void> {
    const receiver = this.#receiver;
    if (!receiver) return;
    const { name, life, toRedis: path } = this.#around;
    const { link } = this.#subscriber;
    const rooms = new Set([...this.#joined].filter((room) => !this.#owned.has(this.#redis.shardOf(room))));
    const listener: Listener = { name, life, path, link, rooms, receiver };
    this.#listener = listener;
    await this.#subscriber.call(async () => this.#redis.listen(listener));
  }

  #listenAgain(): void {
    const { life, network } = this.#around;
    life.after(network.chance.between(AGAIN_MS.least, AGAIN_MS.most), () => {
      this.#listen().then(
        () => this.#gap(),
        // The connection broke again, which led here again.
        () => undefined,
      );
    });
  }

  /** The term of this process in a shard is known to be over: others may publish in its rooms. */
  #over(shard: number, term: number): void {
    if (this.#owned.get(shard) !== term) return;
    this.#owned.delete(shard);
    const rooms = [...this.#joined].filter((room) => this.#redis.shardOf(room) === shard);
    if (rooms.length === 0) return;
    const listener = this.#listener;
    this.#subscriber
      .call(async () => {
        for (const room of rooms) listener?.rooms.add(room);
      })
      .then(
        () => this.#gap(),
        () => undefined,
      );
  }

  #gap(): void {
    this.#deliver(() => this.#receiver?.onGap());
  }

  /** What is said while the receiver is in a call waits for its end. */
  #deliver(send: () => void): void {
    this.#sending.push(send);
    if (this.#sending.length > 1) return;
    try {
      for (let at = 0; at < this.#sending.length; at++) (this.#sending[at] as () => void)();
    } finally {
      this.#sending = [];
    }
  }
}

/** The leases of one process: locks by Redis's clock, trusted by its own. */
export class RedisLeases implements Leases {
  readonly #around: Surroundings;
  readonly #connected: Connected;
  readonly #locks: MemoryLeases;

  constructor(redis: SimulatedRedis, around: Surroundings, serverClock: Life) {
    this.#around = around;
    const { network, life, toRedis: path } = around;
    this.#connected = new Connected({ network, life, path, server: redis, timeoutMs: 1_000 });
    this.#locks = new MemoryLeases(redis.locks, serverClock, around.name);
  }

  acquire(shard: number): Promise<Lease | undefined> {
    return this.#ask(() => this.#locks.acquire(shard));
  }

  renew(lease: Lease): Promise<Lease | undefined> {
    return this.#ask(() => this.#locks.renew(lease));
  }

  adopt(shard: number, value: string): Promise<Lease | undefined> {
    return this.#ask(() => this.#locks.adopt(shard, value));
  }

  async #ask(work: () => Promise<Lease | undefined>): Promise<Lease | undefined> {
    const sentMs = this.#around.life.monotonic();
    const lease = await this.#connected.call(work);
    return lease && { ...lease, untilMs: sentMs + LEASE_MS - EARLY_MS };
  }

  async release(lease: Lease): Promise<void> {
    // A lock that is not given back runs out by itself.
    await this.#connected.call(() => this.#locks.release(lease)).catch(() => undefined);
  }

  async close(): Promise<void> {}

  drop(): void {
    this.#connected.reset();
  }
}
