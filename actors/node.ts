/**
 * One node: wires rooms, audiences, connections and the ports together. The way of one message:
 *
 *   connection.send → node.post → room.post → (end of turn) shard.flush → bus.append → bus.publish
 *                                                → audience.take → fanout.entries
 *                                                → writer.enqueue → archive → RECEIPT
 */
import { Admission } from "./admission.ts";
import type { Archive } from "./archive.ts";
import { Services } from "./asking.ts";
import { Audiences, type AudiencesHost } from "./audiences.ts";
import type { Beat, Bus, BusReceiver, Notice, Pack, Signal } from "./bus.ts";
import { Calls } from "./calls.ts";
import type { Clock } from "./clock.ts";
import { Cluster, type ClusterHost } from "./cluster.ts";
import { Connection } from "./connection.ts";
import { Counters } from "./counters.ts";
import { type Entry, shardOf } from "./entry.ts";
import { Guests } from "./guests.ts";
import type { Claims } from "./identity.ts";
import { Landings } from "./landings.ts";
import { LateWrites } from "./late.ts";
import type { Leases } from "./leases.ts";
import type { Limits } from "./limits.ts";
import { Lines } from "./lines.ts";
import type { Fanout, Link } from "./link.ts";
import type { Log } from "./log.ts";
import { Lookups } from "./lookups.ts";
import { Markers } from "./markers.ts";
import { OnlineWatch } from "./online.ts";
import type { Posting } from "./posting.ts";
import { Posts } from "./posts.ts";
import { fetchAfter } from "./reading.ts";
import { Registry } from "./registry.ts";
import { type Grant, type Mark, Remote } from "./remote.ts";
import type { ResumeHost } from "./resume.ts";
import type { Room } from "./room.ts";
import { Rooms } from "./rooms.ts";
import type { Shard } from "./shards.ts";
import { Speaker } from "./speaker.ts";
import { Watch } from "./watch.ts";
import type { WindowBudget } from "./window.ts";
import type { Word } from "./words.ts";
import { Writer } from "./writer.ts";

/** What a node is made of. */
export interface NodeOptions {
  /** Unique among nodes. */
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly leases: Leases;
  readonly fanout: Fanout;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly random: () => number;
  /** Verifies a token, revocations included; throws the refusal. */
  readonly verify: (token: string) => Claims;
  /** The name of a user the directory knows. */
  readonly nameOf: (user: string) => Promise<string | undefined>;
  readonly shards: number;
  readonly alike?: Beat["alike"];
  /** Whether the archive is left alone now, as it failed: no shard can be claimed. */
  readonly archiveAway?: () => boolean;
  /** Whether SENDs are refused while the archive fails (no hot log outlives the process). */
  readonly refuseWhileFailing: boolean;
}

/** Most time that what is logged may take to be stored at the end, ms: a part of the 10 s that SIGTERM has. */
const FLUSH_MS = 4_000;

/** One node. */
export class Node implements AudiencesHost, ResumeHost, BusReceiver, ClusterHost {
  readonly name: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly leases: Leases;
  readonly fanout: Fanout;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly counters = new Counters();
  readonly writer: Writer;
  readonly markers: Markers;
  readonly lookups: Lookups;
  readonly late: LateWrites;
  readonly speaker: Speaker;
  readonly registry: Registry;
  readonly online: OnlineWatch;
  readonly awake: Rooms;
  readonly rooms: ReadonlyMap<string, Room>;
  readonly shards: readonly Shard[];
  readonly audiences: Audiences;
  readonly admission: Admission;
  readonly options: NodeOptions;
  readonly watch: Watch;
  readonly cluster: Cluster;
  readonly services = new Services();
  readonly calls: Calls;
  readonly remote: Remote;
  readonly lines: Lines;
  readonly landings: Landings;
  readonly guests: Guests;
  readonly posts: Posts;
  readonly #reads = new Map<string, Promise<readonly Entry[]>>();
  #draining = false;

  constructor(options: NodeOptions) {
    this.options = options;
    this.name = options.name;
    this.archive = options.archive;
    this.bus = options.bus;
    this.leases = options.leases;
    this.fanout = options.fanout;
    this.clock = options.clock;
    this.limits = options.limits;
    this.log = options.log;
    this.writer = new Writer(options);
    this.late = new LateWrites(this);
    this.markers = new Markers({ ...options, written: (rooms) => this.late.marked(rooms) });
    this.speaker = new Speaker({ bus: this.bus, clock: this.clock, limits: this.limits, counters: this.counters });
    this.awake = new Rooms(this, options.shards);
    this.shards = this.awake.shards;
    this.rooms = this.awake.byId;
    this.cluster = new Cluster(this, options.shards);
    this.online = new OnlineWatch(this);
    this.registry = new Registry({ ...options, watcher: this.online });
    const { name, bus, clock, log, services } = this;
    const [serve, safe] = [services.serve.bind(services), services.safe.bind(services)];
    this.calls = new Calls({ name, bus, clock, log, serve, safe });
    this.remote = new Remote(this);
    this.audiences = new Audiences(this);
    this.watch = new Watch(this);
    this.admission = new Admission(this);
    this.lines = new Lines(this);
    this.landings = new Landings(this);
    this.guests = new Guests(this);
    this.posts = new Posts(this);
    this.lookups = new Lookups(this);
    this.bus.receive(this);
  }

  get replayEntries(): number {
    return this.limits.replayEntries;
  }

  /** Owns what it should of all shards; the claims are durable before anything listens (rule 1). */
  async start(): Promise<void> {
    await this.cluster.start();
    this.awake.start();
    this.watch.start();
    this.audiences.crowds.start();
    this.guests.start();
  }

  /** Flushes what is unstored and gives the shards up. Connections were ended before. */
  async stop(): Promise<void> {
    this.registry.stop();
    await this.drain();
    this.awake.stop();
    this.watch.stop();
    this.audiences.crowds.stop();
    this.guests.stop();
    this.online.stop();
    this.lines.stop();
    this.speaker.flush();
    await this.#flush();
    await this.awake.release();
    this.calls.stop();
    await this.cluster.stop();
  }

  /** Stores what is logged. Where a hot log outlives the process and the archive is away, it is left there. */
  async #flush(): Promise<void> {
    const flushed = this.writer
      .flushed()
      .then(() => this.markers.flush())
      .catch((error: unknown) => this.log.warn({ err: error }, "the last read markers were not written"));
    if (!this.bus.shared) return flushed;
    const late = new Promise<void>((resolve) => void this.clock.after(FLUSH_MS, resolve));
    await Promise.race([flushed, late]);
    const left = this.writer.entries;
    if (left > 0) this.log.warn({ entries: left }, "entries that are logged and not stored are left in the hot log");
  }

  /** From now on nobody new comes in, and shards go to the others; resolves when they have or it took too long. */
  drain(): Promise<void> {
    this.#draining = true;
    return this.cluster.drain();
  }

  get draining(): boolean {
    return this.#draining;
  }

  // ─── Connections ───

  /** A new socket; refused by `draining` or `try-later` when it may not come in. */
  open(link: Link, origin: { id: string; address: string }): Connection {
    const connection = new Connection(this, link, origin);
    this.registry.add(connection);
    this.counters.connectionsOpened++;
    return connection;
  }

  verify(token: string): Claims {
    return this.options.verify(token);
  }

  signedIn(connection: Connection): void {
    this.registry.signedIn(connection);
  }

  signedOut(connection: Connection): void {
    this.registry.remove(connection);
  }

  // ─── Rooms ───

  edgeKey(): string {
    return this.posts.edgeKey();
  }

  postPrivate(between: { from: Claims; to: string }, item: Posting): void {
    this.posts.postPrivate(between, item);
  }

  shardOf(room: string): Shard {
    return this.awake.shardOf(room);
  }

  get windowBudget(): WindowBudget {
    return this.awake.windowBudget;
  }

  /** The actor of a room that is owned here; see `Rooms.room`. */
  room(id: string): Room {
    return this.awake.room(id);
  }

  wake(roomId: string): void {
    this.awake.wake(roomId);
  }

  /** A SEND or a REST post; its reply hears the outcome. */
  post(roomId: string, item: Posting): void {
    this.posts.post(roomId, item);
  }

  repostHere(roomId: string, postings: readonly Posting[]): void {
    this.posts.repostHere(roomId, postings);
  }

  // ─── Reads ───

  fetchAfter(roomId: string, offset: number): Promise<readonly Entry[]> {
    const key = `${roomId}/${offset}`;
    let reading = this.#reads.get(key);
    if (!reading) {
      reading = fetchAfter(this, roomId, offset).finally(() => this.#reads.delete(key));
      this.#reads.set(key, reading);
    }
    return reading;
  }

  // ─── The cluster ───

  /** Connections open here. */
  get connections(): number {
    return this.registry.size;
  }

  /** The node that owns a room, this one's own name included; undefined while nobody is known to. */
  ownerOf(roomId: string): string | undefined {
    return this.cluster.owners.of(this.shardIndexOf(roomId));
  }

  shardIndexOf(roomId: string): number {
    return shardOf(roomId, this.shards.length);
  }

  ownerTerm(shard: number): number {
    return this.cluster.owners.term(shard);
  }

  termHere(roomId: string): number {
    return this.shardOf(roomId).term;
  }

  owns(roomId: string): boolean {
    return this.shardOf(roomId).mine;
  }

  ownerKnown(roomId: string): Promise<void> {
    return this.cluster.ownerKnown(this.shardIndexOf(roomId));
  }

  headAtOwner(roomId: string): Promise<Grant> {
    return this.remote.head(roomId);
  }

  forgotten(roomId: string): void {
    this.lookups.forget(roomId);
    this.landings.forget(roomId);
    this.guests.forget(roomId);
  }

  dissolve(roomId: string): void {
    this.audiences.dissolve(roomId);
  }

  ownerChanged(shard: number): void {
    this.lines.ownerChanged(shard);
    this.audiences.crowds.ownerChanged(shard);
  }

  nodeGone(node: string): void {
    this.calls.gone(node);
    this.landings.gone(node);
    this.guests.gone(node);
    this.online.gone(node);
  }

  // ─── The bus ───

  onPack(pack: Pack): void {
    this.audiences.get(pack.room)?.take(pack);
  }

  onGap(): void {
    this.watch.afterGap();
    this.audiences.crowds.onGap();
    this.online.onGap();
  }

  onSignals(signals: readonly Signal[]): void {
    const byRoom = new Map<string, Signal[]>();
    for (const signal of this.audiences.crowds.admit(signals)) {
      const list = byRoom.get(signal.room);
      if (list) list.push(signal);
      else byRoom.set(signal.room, [signal]);
    }
    for (const [room, list] of byRoom) this.fanout.signals(room, list);
  }

  onNotice(notice: Notice): void {
    switch (notice.kind) {
      case "entry":
      case "notice":
        return this.fanout.notice(notice);
      case "revoked":
        return this.registry.revoke(notice.user, notice.token, notice.beforeMs);
      case "close":
        return this.registry.get(notice.connection)?.end("closed-by-admin");
      case "owner":
        return this.cluster.onOwner(notice);
      case "farewell":
        return this.cluster.onFarewell(notice);
      case "dissolved":
        return this.audiences.dissolve(notice.room);
      case "changed":
        return this.late.onNotice(notice);
      case "online":
      case "offline":
        return this.online.onNotice(notice);
    }
  }

  onWord(from: string, word: Word): void {
    switch (word.kind) {
      case "sends":
        return this.landings.onSends(from, word.parcels);
      case "answers":
        return this.lines.onAnswers(from, word.lines);
      case "crowds":
        // Of a node that is not heard of, users would stay for ever.
        return this.cluster.peers.has(from) ? this.guests.onCrowds(from, word.crowds) : undefined;
      case "whoIsThere":
        return this.audiences.crowds.onWhoIsThere(from, word.rooms);
      case "prepare":
      case "prepared":
      case "pass":
        return this.cluster.onWord(from, word);
      default:
        return this.calls.take(from, word);
    }
  }

  /** Typing of a user who is here; refused to who may not see the room. */
  typing(roomId: string, user: string, on: boolean): Promise<void> {
    return this.remote.typing(roomId, user, on);
  }

  /** Raises a mark of a user who may see the room. */
  mark(roomId: string, user: string, mark: Mark): Promise<void> {
    return this.remote.mark(roomId, user, mark);
  }
}
