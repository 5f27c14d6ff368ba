/**
 * The bus on Redis: hot log in streams, fenced by scripts; wire by publish and subscribe. One Redis (with
 * replicas or not), 6.2 or later; not a Redis Cluster. The layout is in `bus.redis.keys.ts`.
 */
import type { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";
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
} from "../actors/bus.ts";
import type { Clock } from "../actors/clock.ts";
import { type Entry, entryBytes, type Position, shardOf } from "../actors/entry.ts";
import type { Leases } from "../actors/leases.ts";
import type { Limits } from "../actors/limits.ts";
import type { Log } from "../actors/log.ts";
import type { Word } from "../actors/words.ts";
import { type AppendCall, Origin, readBeat, readLogged, type StoredCall, TurnWriter } from "./bus.redis.codec.ts";
import {
  type ConnectionOptions,
  RedisConnection,
  refuseUnfit,
  renewing,
  standAtStart,
} from "./bus.redis.connection.ts";
import { Damage } from "./bus.redis.damage.ts";
import { parseHead, parseOwner, prefixOf, RedisKeys, type ShardPart } from "./bus.redis.keys.ts";
import { Space } from "./bus.redis.space.ts";
import { Turn } from "./bus.redis.turn.ts";
import { RedisWire } from "./bus.redis.wire.ts";
import { RedisLeases } from "./leases.redis.ts";

/** What opens the bus and the leases of a node. */
export interface RedisOptions {
  /** redis:// or rediss://, with user, password and number of the database. */
  readonly url: string;
  /** Name of the node, for CLIENT LIST. */
  readonly node: string;
  readonly log: Log;
  readonly shards: number;
  readonly limits: Limits;
  readonly clock: Clock;
  /** Sets data sets of one Redis apart. */
  readonly prefix?: string;
}

/** What a bus on Redis tells of itself, for metrics. */
export interface RedisFigures {
  /**
   * ms that what this node sends takes to come back to it, measured each second from `receive` on; undefined
   * before the first answer and while the wire is down.
   */
  readonly lagMs: number | undefined;
  /** Words to other nodes that are known not to have got there. */
  readonly wordsDropped: number;
  /** Messages, words and beats of other nodes that were dropped because they had not their shape. */
  readonly damaged: number;
}

/** A node's handles on Redis. */
export interface RedisHandles {
  readonly bus: Bus & RedisFigures;
  readonly leases: Leases;
  close(): Promise<void>;
}

/** Bytes of entries beyond which a turn's appends leave in more than one call. */
const TURN_BYTES_MAX = 8_388_608;
/** Packs read at once from a stream; the fewer where the bytes are bounded, as a turn's pack may be large. */
const LOG_PAGE = 64;
const LOG_STEP = 8;
const ANSWERS: Readonly<Record<string, AppendAnswer>> = { o: "ok", a: "already", s: "stale", l: "lost" };
const SCRIPTS = {
  confabTake: "take",
  confabAppend: "append",
  confabStored: "stored",
  confabClear: "clear",
  confabBeat: "beat",
  confabRelieve: "relieve",
} as const;

/** A client that knows our scripts. */
type Scripted = Redis & Record<keyof typeof SCRIPTS, (...args: (string | number | Buffer)[]) => Promise<unknown>>;

/**
 * Connects a node to Redis. Rejects with StoreFailure when Redis is away for longer than a start may wait, and
 * with an Error of one sentence when it is one that must not be used.
 */
export async function openRedis(options: RedisOptions): Promise<RedisHandles> {
  const { url, node, log, clock, prefix = prefixOf(options.url) } = options;
  const common = { url, log, clock, onReplica: renewing(() => [commands, subscriber, locks], clock) };
  const connect = (part: string, uses: Pick<ConnectionOptions, "ping" | "lent"> = {}): RedisConnection =>
    new RedisConnection({ ...common, name: `confab-${node}-${part}`.replace(/[^!-~]/g, "_"), ...uses });
  const commands = connect("commands");
  const subscriber = connect("subscriber", { ping: true });
  const locks = connect("leases", { lent: true });
  const keys = new RedisKeys(prefix);
  const bus = new RedisBus({ commands, subscriber, keys, options });
  const leases = new RedisLeases({ connection: locks, keys, clock, log });
  const close = (): Promise<void> => bus.close().then(() => leases.close());
  try {
    await standAtStart([commands, subscriber, locks], url);
    await refuseUnfit(commands, log);
    await bus.open();
    return { bus, leases, close };
  } catch (error) {
    await close();
    throw error;
  }
}

class RedisBus implements Bus, RedisFigures {
  readonly shared = true;
  readonly #commands: RedisConnection;
  readonly #subscriber: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #wire: RedisWire;
  readonly #damage: Damage;
  readonly #shards: number;
  readonly #limits: Limits;
  readonly #appends: Turn<AppendCall, AppendAnswer>;
  readonly #stored: Turn<StoredCall, boolean>;
  readonly #writer: TurnWriter;
  readonly #space: Space;

  constructor(parts: {
    readonly commands: RedisConnection;
    readonly subscriber: RedisConnection;
    readonly keys: RedisKeys;
    readonly options: RedisOptions;
  }) {
    const { commands, subscriber, keys, options } = parts;
    const { shards, limits, clock, log } = options;
    const origin = new Origin();
    this.#commands = commands;
    this.#subscriber = subscriber;
    this.#keys = keys;
    this.#shards = shards;
    this.#limits = limits;
    this.#writer = new TurnWriter(origin);
    this.#damage = new Damage(clock, (told) => log.warn(told, "messages of other nodes could not be taken"));
    this.#wire = new RedisWire({ commands, subscriber, keys, origin, shards, clock, log, damage: this.#damage });
    this.#space = new Space({ replayBytes: limits.replayBytes, clock, log, relieve: () => this.#relieve() });
    for (const [name, file] of Object.entries(SCRIPTS)) {
      const lua = readFileSync(new URL(`./redis/${file}.lua`, import.meta.url), "utf8");
      commands.client.defineCommand(name, { lua });
    }
    this.#appends = new Turn({
      // The shards of a node are flushed one after the other at the end of a turn: this is just behind them.
      schedule: queueMicrotask,
      send: (calls) => this.#sendAppends(calls),
      bytesMax: TURN_BYTES_MAX,
    });
    this.#stored = new Turn({
      schedule: (task) => clock.endOfTurn(task),
      send: (calls) => this.#sendStored(calls),
      bytesMax: TURN_BYTES_MAX,
    });
  }

  open(): Promise<void> {
    return this.#wire.open();
  }

  async #script(name: keyof typeof SCRIPTS, ...args: (string | number | Buffer)[]): Promise<unknown> {
    try {
      return await this.#commands.run((client) => (client as Scripted)[name](...args));
    } catch (error) {
      this.#space.failed(error);
      throw error;
    }
  }

  /** Drops what is stored from the logs of this node, and from those that nobody holds: nobody could take them. */
  async #relieve(): Promise<void> {
    for (let shard = 0; shard < this.#shards; shard++) {
      const term = this.#wire.termOf(shard);
      const keys = this.#parts(shard, "term", "heads", "dirty", "bytes", "lock");
      const bytes = await this.#script("confabRelieve", keys.length, ...keys, term ?? "", this.#keys.log(shard, ""));
      if (term && this.#wire.termOf(shard) === term) this.#space.weigh(shard, Math.max(0, bytes as number));
    }
  }

  #parts(shard: number, ...parts: readonly ShardPart[]): string[] {
    return parts.map((part) => this.#keys.part(shard, part));
  }

  async take(shard: number, { lock, term, node, lossy }: Taking): Promise<Taken | undefined> {
    const keys = this.#parts(shard, "lock", "term", "lossy", "owner");
    const taken = await this.#script("confabTake", keys.length, ...keys, lock, term, node, lossy ? "1" : "0");
    if (!Array.isArray(taken)) {
      const mine = this.#wire.termOf(shard);
      if (mine !== undefined) this.#over(shard, mine);
      return undefined;
    }
    this.#wire.own(shard, term);
    return { previous: Number(taken[0]), lossy: Number(taken[1]) };
  }

  /** The term of this node in a shard is known to be over. */
  #over(shard: number, term: number): void {
    this.#wire.over(shard, term);
    if (this.#wire.termOf(shard) === undefined) this.#space.weigh(shard, 0);
  }

  async terms(shards: readonly number[]): Promise<readonly number[]> {
    const terms = (await this.#read(shards, "term")).map(Number);
    for (const [at, shard] of shards.entries()) this.#compare(shard, terms[at] as number);
    return terms;
  }

  async owners(shards: readonly number[]): Promise<readonly (Owner | undefined)[]> {
    return (await this.#read(shards, "owner")).map((text) => (text === null ? undefined : parseOwner(text)));
  }

  async #read(shards: readonly number[], part: ShardPart): Promise<(string | null)[]> {
    if (shards.length === 0) return [];
    return this.#commands.run((client) => client.mget(...shards.map((shard) => this.#keys.part(shard, part))));
  }

  #compare(shard: number, inForce: number): void {
    const mine = this.#wire.termOf(shard);
    if (mine !== undefined && mine !== inForce) this.#over(shard, mine);
  }

  async append(shard: number, term: number, packs: readonly Pack[]): Promise<AppendAnswer> {
    let bytes = 0;
    for (const { entries } of packs) for (const entry of entries) bytes += entryBytes(entry);
    const answer = await this.#appends.ask({ shard, term, packs }, bytes);
    if (answer === "stale" || answer === "lost") this.#over(shard, term);
    return answer;
  }

  async #sendAppends(calls: readonly AppendCall[]): Promise<readonly AppendAnswer[]> {
    const answers = await this.#script("confabAppend", 0, this.#keys.prefix, this.#writer.appends(calls));
    return Array.from(String(answers), (letter) => ANSWERS[letter] as AppendAnswer);
  }

  async heads(shard: number): Promise<ReadonlyMap<string, Position>> {
    const all = await this.#commands.run((client) => client.hgetall(this.#keys.part(shard, "heads")));
    return new Map(Object.entries(all).map(([room, text]) => [room, parseHead(text)]));
  }

  async headsOf(shard: number, rooms: readonly string[]): Promise<ReadonlyMap<string, Position>> {
    const heads = new Map<string, Position>();
    if (rooms.length === 0) return heads;
    const [term, texts] = await this.#commands.run((client) =>
      Promise.all([
        client.get(this.#keys.part(shard, "term")),
        client.hmget(this.#keys.part(shard, "heads"), ...rooms),
      ]),
    );
    this.#compare(shard, Number(term));
    for (const [at, text] of texts.entries()) if (text !== null) heads.set(rooms[at] as string, parseHead(text));
    return heads;
  }

  dirty(shard: number): Promise<readonly string[]> {
    return this.#commands.run((client) => client.smembers(this.#keys.part(shard, "dirty")));
  }

  async log(room: string, after: number, limit: number, bytes = Number.POSITIVE_INFINITY): Promise<readonly Entry[]> {
    const key = this.#keys.log(shardOf(room, this.#shards), room);
    const found: Entry[] = [];
    let read = 0;
    for (let from = after + 1; found.length < limit && read < bytes; ) {
      const count = Math.min(bytes === Number.POSITIVE_INFINITY ? LOG_PAGE : LOG_STEP, limit - found.length);
      const packs = await this.#commands.run((client) => client.xrangeBuffer(key, from, "+", "COUNT", count));
      for (const [, fields] of packs) {
        const { entries } = readLogged(fields[fields.length - 1] as Buffer);
        for (const entry of entries) {
          if (entry.offset <= after || found.length >= limit || read >= bytes) continue;
          found.push(entry);
          read += entryBytes(entry);
        }
      }
      if (packs.length < count) break;
      from = (found[found.length - 1] as Entry).offset + 1;
    }
    return found;
  }

  async stored(shard: number, term: number, room: string, stored: Position): Promise<boolean> {
    const done = await this.#stored.ask({ shard, term, room, stored }, room.length + 32);
    if (!done) this.#over(shard, term);
    return done;
  }

  async #sendStored(calls: readonly StoredCall[]): Promise<readonly boolean[]> {
    const { replayKeep, replayKeepBytes } = this.#limits;
    const crowded = this.#space.crowded ? "1" : "0";
    const rooms = this.#writer.stored(calls);
    const kept = [replayKeep, replayKeepBytes, crowded] as const;
    const answers = (await this.#script("confabStored", 0, this.#keys.prefix, ...kept, rooms)) as readonly number[];
    return calls.map(({ shard }, at) => {
      const bytes = answers[at] as number;
      if (bytes >= 0) this.#space.weigh(shard, bytes);
      return bytes >= 0;
    });
  }

  sleep(shard: number, term: number, room: string, head: Position): Promise<boolean> {
    return this.#remove(shard, term, { room, head, onlyStored: true });
  }

  clear(shard: number, term: number, room: string, head: Position): Promise<boolean> {
    return this.#remove(shard, term, { room, head, onlyStored: false });
  }

  async #remove(
    shard: number,
    term: number,
    { room, head, onlyStored }: { readonly room: string; readonly head: Position; readonly onlyStored: boolean },
  ): Promise<boolean> {
    const keys = [...this.#parts(shard, "term", "heads", "dirty", "bytes"), this.#keys.log(shard, room)];
    const named = [term, room, head.offset, head.term, onlyStored ? "1" : "0"];
    return (await this.#script("confabClear", keys.length, ...keys, ...named)) === 1;
  }

  publish(packs: readonly Pack[]): void {
    this.#wire.publish(packs);
  }

  signal(signals: readonly Signal[]): void {
    this.#wire.signal(signals);
  }

  notify(notice: Notice): void {
    this.#wire.notify(notice);
  }

  tell(node: string, word: Word): void {
    this.#wire.tell(node, word);
  }

  get lagMs(): number | undefined {
    return this.#wire.lagMs;
  }

  get wordsDropped(): number {
    return this.#wire.wordsDropped;
  }

  get damaged(): number {
    return this.#damage.count;
  }

  async beat(self: Beat, lifeMs: number): Promise<Living> {
    const { nodes, born } = this.#keys;
    const answer = await this.#script("confabBeat", 2, nodes, born, self.node, JSON.stringify(self), lifeMs);
    const [rememberedMs, ...said] = answer as readonly [number, ...string[]];
    return { nodes: said.flatMap((one) => this.#beatOf(one)), rememberedMs };
  }

  #beatOf(said: string): readonly Beat[] {
    try {
      return [readBeat(said)];
    } catch (error) {
      this.#damage.met(1, error);
      return [];
    }
  }

  async fade(node: string): Promise<void> {
    await this.#commands.run((client) => client.hdel(this.#keys.nodes, node));
  }

  join(room: string): Promise<void> {
    return this.#wire.join(room);
  }

  yielded(shard: number): void {
    const term = this.#wire.termOf(shard);
    if (term !== undefined) this.#over(shard, term);
  }

  leave(room: string): void {
    this.#wire.leave(room);
  }

  receive(receiver: BusReceiver): void {
    this.#wire.receive(receiver);
  }

  async close(): Promise<void> {
    this.#wire.close();
    this.#damage.stop();
    this.#commands.close();
    this.#subscriber.close();
  }
}
