/**
 * What goes between nodes over Redis: who hears which room, and in which order.
 *
 * The owner of a shard delivers its own packs itself and does not listen to the channels of its rooms. Once its
 * term is known to be over it does, and says that something may have been missed.
 */
import type { Buffer } from "node:buffer";
import type { BusReceiver, Notice, Pack, Signal } from "../actors/bus.ts";
import type { Clock } from "../actors/clock.ts";
import { shardOf } from "../actors/entry.ts";
import type { Log } from "../actors/log.ts";
import type { Word } from "../actors/words.ts";
import { type Origin, readMessage } from "./bus.redis.codec.ts";
import type { RedisConnection } from "./bus.redis.connection.ts";
import { Damage } from "./bus.redis.damage.ts";
import type { RedisKeys } from "./bus.redis.keys.ts";
import { Lag } from "./bus.redis.lag.ts";
import { WordsOut } from "./bus.redis.words.ts";

/** Channels of one SUBSCRIBE. */
const CHANNELS_MAX = 1_000;

const NO_WORDS = new RangeError("Words have not the shape of their kind.");

/** What the wire works with. */
export interface WireOptions {
  readonly commands: RedisConnection;
  readonly subscriber: RedisConnection;
  readonly keys: RedisKeys;
  readonly origin: Origin;
  readonly shards: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly damage: Damage;
}

/** The wire of one node. */
export class RedisWire {
  readonly #options: WireOptions;
  readonly #words: WordsOut;
  readonly #lag: Lag;
  readonly #faults: Damage;
  /** Joined rooms by shard. */
  readonly #joined = new Map<number, Set<string>>();
  /** Shards of which this node is the owner as far as it knows, with their terms. */
  readonly #owned = new Map<number, number>();
  /** Shards whose term was found to be over this turn. */
  #over: number[] = [];
  #sending: (() => void)[] = [];
  #receiver: BusReceiver | undefined;

  constructor(options: WireOptions) {
    this.#options = options;
    this.#words = new WordsOut(options);
    this.#faults = new Damage(options.clock, (told) =>
      options.log.error(told, "what came over the bus met a fault of ours"),
    );
    this.#lag = new Lag({ clock: options.clock, ping: (number) => this.#ping(number) });
    options.subscriber.client.on("messageBuffer", (_channel: Buffer, message: Buffer) => this.#onMessage(message));
  }

  /** As of `WordsOut`. */
  get wordsDropped(): number {
    return this.#words.dropped;
  }

  /** As of `Lag`. */
  get lagMs(): number | undefined {
    return this.#lag.ms;
  }

  /** Listens to notices; from then on each lost connection is followed by `onGap`. */
  async open(): Promise<void> {
    await this.#subscribeAll();
    this.#options.subscriber.onReady(() => {
      this.#subscribeAll().then(() => {
        if (this.#receiver) this.#lag.start();
        this.#gap();
      }, this.#refused);
    });
  }

  /** Listens to the words to this node from the next answer of Redis on, and measures the lag with them. */
  receive(receiver: BusReceiver): void {
    this.#receiver = receiver;
    this.#subscribe([this.#options.keys.node(receiver.name)]).then(() => this.#lag.start(), this.#refused);
  }

  /** The connection went: the next one begins anew. If Redis refused, it must be made to. */
  readonly #refused = (error: unknown): void => {
    this.#options.log.warn({ err: error }, "channels of this node could not be subscribed to");
    this.#options.subscriber.renew();
  };

  async join(room: string): Promise<void> {
    const shard = shardOf(room, this.#options.shards);
    let rooms = this.#joined.get(shard);
    if (!rooms) {
      rooms = new Set();
      this.#joined.set(shard, rooms);
    }
    rooms.add(room);
    if (!this.#owned.has(shard)) await this.#subscribe([this.#options.keys.channel(shard, room)]);
  }

  leave(room: string): void {
    const shard = shardOf(room, this.#options.shards);
    const rooms = this.#joined.get(shard);
    if (!rooms?.delete(room)) return;
    if (rooms.size === 0) this.#joined.delete(shard);
    if (!this.#owned.has(shard)) this.#unsubscribe([this.#options.keys.channel(shard, room)]);
  }

  #isJoined(room: string): boolean {
    return this.#joined.get(shardOf(room, this.#options.shards))?.has(room) === true;
  }

  /** The shard was taken by this node. */
  own(shard: number, term: number): void {
    const owned = this.#owned.has(shard);
    this.#owned.set(shard, term);
    if (!owned) this.#unsubscribe(this.#channelsOf(shard));
  }

  /** The term of this node in a shard as far as it knows. */
  termOf(shard: number): number | undefined {
    return this.#owned.get(shard);
  }

  /** `term` of this node is not in force any more: others may write the shard. */
  over(shard: number, term: number): void {
    if (this.#owned.get(shard) !== term) return;
    this.#owned.delete(shard);
    if (!this.#joined.has(shard)) return;
    this.#over.push(shard);
    if (this.#over.length > 1) return;
    this.#options.clock.endOfTurn(() => {
      const channels = this.#over.filter((one) => !this.#owned.has(one)).flatMap((one) => this.#channelsOf(one));
      this.#over = [];
      this.#subscribe(channels).then(
        () => this.#gap(),
        // The connection is away: when it stands again all is subscribed to, and the gap told.
        (error: unknown) => this.#options.log.debug({ err: error }, "channels are subscribed to later"),
      );
    });
  }

  /** Here only: the script that accepted the packs has published them to others. */
  publish(packs: readonly Pack[]): void {
    this.#deliver(() => {
      for (const pack of packs) if (this.#isJoined(pack.room)) this.#receiver?.onPack(pack);
    });
  }

  signal(signals: readonly Signal[]): void {
    const { commands, keys, origin, shards } = this.#options;
    for (const [room, list] of byRoom(signals)) {
      commands.cast((client) => client.publish(keys.channel(shardOf(room, shards), room), origin.signals(list)));
    }
    this.#deliver(() => this.#hear(signals));
  }

  notify(notice: Notice): void {
    const { commands, keys, origin } = this.#options;
    commands.cast((client) => client.publish(keys.notices, origin.notice(notice)));
    this.#deliver(() => this.#receiver?.onNotice(notice));
  }

  /** To another node by the end of the turn; to this one then as well, without Redis. */
  tell(node: string, word: Word): void {
    const receiver = this.#receiver;
    if (!receiver) return;
    const { name } = receiver;
    if (node !== name) this.#words.tell(name, node, word);
    else this.#options.clock.endOfTurn(() => this.#deliver(() => receiver.onWord(name, word)));
  }

  #ping(number: number): boolean {
    const { commands, subscriber, keys, origin } = this.#options;
    const receiver = this.#receiver;
    if (!receiver || !commands.ready || !subscriber.ready) return false;
    commands.cast((client) => client.publish(keys.node(receiver.name), origin.ping(number)));
    return true;
  }

  close(): void {
    this.#lag.stop();
    this.#faults.stop();
  }

  #hear(signals: readonly Signal[]): void {
    const wanted = signals.filter((signal) => this.#isJoined(signal.room));
    if (wanted.length > 0) this.#receiver?.onSignals(wanted);
  }

  #onMessage(bytes: Buffer): void {
    const { origin } = this.#options;
    if (origin.isOf(bytes)) {
      const ping = origin.pingOf(bytes);
      if (ping !== undefined) this.#lag.heard(ping);
      return;
    }
    try {
      const message = readMessage(bytes);
      if (message.kind === "words" && message.damaged > 0) this.#options.damage.met(message.damaged, NO_WORDS);
      this.#deliver(() => {
        if (message.kind === "notice") this.#receiver?.onNotice(message.notice);
        else if (message.kind === "signals") this.#hear(message.signals);
        else if (message.kind === "words") this.#listen(message.from, message.words);
        else if (this.#isJoined(message.pack.room)) this.#receiver?.onPack(message.pack);
      });
    } catch (error) {
      this.#options.damage.met(1, error);
    }
  }

  /** Words of a message one after the other; what each leads to waits for the end of all. */
  #listen(from: string, words: readonly Word[]): void {
    for (const word of words) this.#receiver?.onWord(from, word);
  }

  #gap(): void {
    this.#deliver(() => this.#receiver?.onGap());
  }

  /** Calls the receiver once after the other: what is sent while it is in a call waits for its end. */
  #deliver(send: () => void): void {
    this.#sending.push(send);
    if (this.#sending.length > 1) return;
    for (let at = 0; at < this.#sending.length; at++) {
      try {
        (this.#sending[at] as () => void)();
      } catch (error) {
        // One message that cannot be taken costs the others nothing.
        this.#faults.met(1, error);
      }
    }
    this.#sending = [];
  }

  #channelsOf(shard: number): string[] {
    return [...(this.#joined.get(shard) ?? [])].map((room) => this.#options.keys.channel(shard, room));
  }

  async #subscribeAll(): Promise<void> {
    const shards = [...this.#joined.keys()].filter((shard) => !this.#owned.has(shard));
    const channels = shards.flatMap((shard) => this.#channelsOf(shard));
    const own = this.#receiver ? [this.#options.keys.node(this.#receiver.name)] : [];
    await this.#subscribe([this.#options.keys.notices, ...own, ...channels]);
  }

  async #subscribe(channels: readonly string[]): Promise<void> {
    for (let at = 0; at < channels.length; at += CHANNELS_MAX) {
      const some = channels.slice(at, at + CHANNELS_MAX);
      await this.#options.subscriber.run((client) => client.subscribe(...some));
    }
  }

  #unsubscribe(channels: readonly string[]): void {
    for (let at = 0; at < channels.length; at += CHANNELS_MAX) {
      const some = channels.slice(at, at + CHANNELS_MAX);
      this.#options.subscriber.cast((client) => client.unsubscribe(...some));
    }
  }
}

function byRoom(signals: readonly Signal[]): Map<string, Signal[]> {
  const rooms = new Map<string, Signal[]>();
  for (const signal of signals) {
    const list = rooms.get(signal.room);
    if (list) list.push(signal);
    else rooms.set(signal.room, [signal]);
  }
  return rooms;
}
