/**
 * Fan-out to this node's subscriptions. STOMP wants each receiver's own subscription id in MESSAGE, so a room is
 * not one byte string; but clients number their ids, so a room has few distinct ones. One native topic per
 * (room, subscription id, dialect): encode once per topic, publish natively, outside every socket handler.
 *
 *   room ─┬─ topic "sub-0" 1.2 ──→ 990 sockets      one encoding, one native publish
 *         └─ topic "sub-7" 1.2 ──→  10 sockets      another
 */
import type uWS from "uWebSockets.js";
import type { Notice, Signal } from "../actors/bus.ts";
import type { Entry } from "../actors/entry.ts";
import type { Fanout, Link, Subscription } from "../actors/link.ts";
import type { Version } from "./stomp/frame.ts";
import { type Dialect, entryFrame, entryLead, entryLines, noticeFrame, signalFrame } from "./stomp/message.ts";

/** A native topic and how its frames look. */
export interface Topic extends Dialect {
  /** The native name: short, as the library hashes it with every publish. No two topics of a fan-out had the same. */
  readonly name: string;
  /** The same as bytes: given on each publish, they cost less than a text. */
  readonly bytes: Uint8Array;
  /** How all frames of entries begin. */
  readonly lead: string;
  /** Sockets subscribed. */
  count: number;
  /** Whose own copy of what was published last may still wait for its RECEIPT. */
  holder: Sender | undefined;
}

/** A wire whose client sent what is published, and waits for its RECEIPT. */
export interface Sender {
  /** The fan-out that its subscriptions are in. */
  readonly fanout: Fanout;
  /**
   * Publishes to all others of a topic, and keeps its own copy for the write that brings the RECEIPT; false, and
   * nothing was done, when it is not subscribed to it.
   */
  publish(topic: Uint8Array, frame: Buffer): boolean;
  /** Sends what was kept. */
  flush(): void;
}

/** A frame of an entry for the sockets of one topic. */
interface Encoded {
  readonly topic: Topic;
  readonly frame: Buffer;
}

/**
 * Rooms with more kinds of receivers are not encoded ahead, nor are packs of more bytes: what is made holds a copy of
 * each body for each kind, and while the hot log is away every shard's pack on its way keeps its own.
 */
const AHEAD_TOPICS = 8;
const AHEAD_BYTES = 1_048_576;

/** Publishes natively; `app.publish` of uWebSockets.js. */
export type Publish = (topic: Uint8Array, message: Uint8Array, binary: boolean) => boolean;

/** The topics of one node, by subject. */
export class NativeFanout implements Fanout {
  readonly #publish: Publish;
  readonly #logs = new Map<string, Topic[]>();
  readonly #signals = new Map<string, Topic[]>();
  readonly #queues = new Map<string, Topic[]>();
  /** What was encoded ahead, by the entries of one pack, for as long as the pack is on its way. */
  readonly #ahead = new WeakMap<readonly Entry[], readonly (readonly Encoded[])[]>();
  /** Topics made so far. */
  #named = 0;
  /** Encodings made. */
  encodings = 0;
  /** Native subscriptions open now. */
  subscriptions = 0;

  constructor(publish: Publish) {
    this.#publish = publish;
  }

  /** Native topics open now. */
  get topics(): number {
    let count = 0;
    for (const map of [this.#logs, this.#signals, this.#queues]) for (const list of map.values()) count += list.length;
    return count;
  }

  /** The topic of a subscription, made on first use. Its count is raised. */
  attach(ws: uWS.WebSocket<unknown>, subscription: Subscription, version: Version): Topic {
    const map = this.#mapOf(subscription);
    let topics = map.get(subscription.subject);
    if (!topics) {
      topics = [];
      map.set(subscription.subject, topics);
    }
    const acked = subscription.ack !== "auto";
    let topic = topics.find(
      (one) =>
        one.subscription === subscription.id &&
        one.version === version &&
        one.acked === acked &&
        one.destination === subscription.destination,
    );
    if (!topic) {
      const { id, destination } = subscription;
      this.#named++;
      const name = this.#named.toString(36);
      const dialect = { subscription: id, version, acked, destination };
      topic = { ...dialect, name, bytes: bytesOf(name), lead: entryLead(dialect), count: 0, holder: undefined };
      topics.push(topic);
    }
    topic.count++;
    this.subscriptions++;
    ws.subscribe(topic.name);
    return topic;
  }

  /** The subscription ends; `ws` is undefined when its socket is gone already. */
  detach(ws: uWS.WebSocket<unknown> | undefined, subscription: Subscription, version: Version): void {
    const map = this.#mapOf(subscription);
    const topics = map.get(subscription.subject);
    const acked = subscription.ack !== "auto";
    const at = topics?.findIndex(
      (one) =>
        one.subscription === subscription.id &&
        one.version === version &&
        one.acked === acked &&
        one.destination === subscription.destination,
    );
    if (!topics || at === undefined || at < 0) return;
    const topic = topics[at] as Topic;
    release(topic);
    ws?.unsubscribe(topic.name);
    topic.count--;
    this.subscriptions--;
    if (topic.count > 0) return;
    topics.splice(at, 1);
    if (topics.length === 0) map.delete(subscription.subject);
  }

  #mapOf(subscription: Subscription): Map<string, Topic[]> {
    if (subscription.kind === "log") return this.#logs;
    return subscription.kind === "signals" ? this.#signals : this.#queues;
  }

  prepare(room: string, entries: readonly Entry[]): void {
    const topics = this.#logs.get(room);
    if (!topics || topics.length > AHEAD_TOPICS) return;
    let bytes = 0;
    for (const { body } of entries) bytes += body.length;
    if (bytes * topics.length > AHEAD_BYTES) return;
    const ahead = entries.map((entry) => {
      const encode = this.#encoder(entry);
      return topics.map((topic) => ({ topic, frame: encode(topic) }));
    });
    this.#ahead.set(entries, ahead);
  }

  entries(room: string, entries: readonly Entry[], origin?: Link): number {
    const topics = this.#logs.get(room);
    if (!topics) return 0;
    const ahead = this.#ahead.get(entries);
    let deliveries = 0;
    const sender = this.#senderOf(origin);
    for (let at = 0; at < entries.length; at++) {
      deliveries += this.#show(entries[at] as Entry, topics, ahead?.[at], sender);
    }
    return deliveries;
  }

  /** The origin, if its subscriptions are here: a hub in memory may join several nodes. */
  #senderOf(origin: (Link & Partial<Sender>) | undefined): Sender | undefined {
    return origin?.fanout === this ? (origin as Link & Sender) : undefined;
  }

  /** Makes the frames of one entry; what receivers of one version share is made once. */
  #encoder(entry: Entry): (topic: Topic) => Buffer {
    let shared = "";
    let version: Version | undefined;
    return (topic) => {
      if (version !== topic.version) {
        version = topic.version;
        shared = entryLines(entry, version);
      }
      this.encodings++;
      return entryFrame(entry, topic, topic.lead, shared);
    };
  }

  /**
   * Publishes an entry to each topic. A frame that was not made ahead is made when its turn comes and dropped with it:
   * of a room of very many kinds of receivers all together would be as many copies of the body.
   */
  #show(entry: Entry, topics: readonly Topic[], ahead?: readonly Encoded[], sender?: Sender): number {
    const encode = this.#encoder(entry);
    let deliveries = 0;
    for (let at = 0; at < topics.length; at++) {
      const topic = topics[at] as Topic;
      // Who came or went meanwhile changed the topics: then it is made anew.
      const made = ahead?.[at];
      const frame = made?.topic === topic ? made.frame : encode(topic);
      if (topic.holder !== sender) release(topic);
      if (entry.text && sender?.publish(topic.bytes, frame)) topic.holder = sender;
      else {
        release(topic);
        this.#publish(topic.bytes, frame, !entry.text);
      }
      deliveries += topic.count;
    }
    return deliveries;
  }

  signals(room: string, signals: readonly Signal[]): void {
    for (const topic of this.#signals.get(room) ?? []) {
      for (const signal of signals) this.#publish(topic.bytes, signalFrame(signal, topic), false);
    }
  }

  notice(notice: Extract<Notice, { kind: "entry" | "notice" }>): void {
    const topics = this.#queues.get(notice.user);
    if (!topics) return;
    if (notice.kind === "entry") {
      this.#show(notice.entry, topics);
      return;
    }
    for (const topic of topics) this.#publish(topic.bytes, noticeFrame(notice, topic), false);
  }
}

/** Nothing published to a topic overtakes what was published before. */
function release(topic: Topic): void {
  const { holder } = topic;
  if (!holder) return;
  topic.holder = undefined;
  holder.flush();
}

/** The bytes of a name, in memory of their own: those of a pool would keep all of it alive. */
function bytesOf(name: string): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(name));
  bytes.write(name);
  return bytes;
}
