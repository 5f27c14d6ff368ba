/**
 * The bus in memory: complete for one process, and for several nodes on one hub in tests.
 *
 * On one machine the archive is the only log that outlives the process, and the lock on the data folder
 * keeps every other writer out. So a shard that is new here was never written by anybody since its last
 * stored entry: `take` answers that its predecessor's term ended in order ("intact" in the protocol).
 * A shared hub stands for a store of its own: there a shard without a term is one that was lost.
 */
import { cutPage } from "./archive.page.ts";
import { areSignals, isBeat, isNotice, isPack, isWord } from "./bus.shapes.ts";
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
} from "./bus.ts";
import type { Entry, Position } from "./entry.ts";
import { entryBytes, shardOf } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Word } from "./words.ts";

interface HotRoom {
  /** Rising without gap; the last is the head. */
  entries: Entry[];
  head: Position;
  stored: number;
  bytes: number;
}

interface HotShard {
  term: number;
  lossy: number;
  owner: Owner | undefined;
  readonly rooms: Map<string, HotRoom>;
  readonly dirty: Set<string>;
}

/** What a hub may be told. */
export interface HubOptions {
  /** Takes a shard without a term as one that was lost, as a store that outlives nodes does. */
  readonly shared?: boolean;
  /** The same for one process, beside an archive that others may have written since; `shared` when left out. */
  readonly forgets?: boolean;
  /** Monotonic ms, by which lives end; without it no time passes and who beats once lives until `fade`. */
  readonly now?: () => number;
}

/** What the handles of one hub share. */
export class MemoryHub {
  readonly shards: number;
  readonly limits: Limits;
  readonly shared: boolean;
  readonly forgets: boolean;
  readonly #hot = new Map<number, HotShard>();
  readonly handles = new Set<MemoryBus>();
  readonly #now: () => number;
  /** What nodes said of themselves, by name, and until when they live. */
  readonly #beats = new Map<string, { readonly beat: Beat; readonly untilMs: number }>();
  #bornMs: number;
  #sending: (() => void)[] = [];
  /** Bytes of all hot logs, for the node-wide bound. */
  bytes = 0;

  constructor(shards: number, limits: Limits, { shared = false, forgets = shared, now = () => 0 }: HubOptions = {}) {
    this.shards = shards;
    this.limits = limits;
    this.shared = shared;
    this.forgets = forgets;
    this.#now = now;
    this.#bornMs = now();
  }

  /** The hot part of a shard, made on first use. */
  shard(id: number): HotShard {
    let shard = this.#hot.get(id);
    if (!shard) {
      shard = { term: 0, lossy: 0, owner: undefined, rooms: new Map(), dirty: new Set() };
      this.#hot.set(id, shard);
    }
    return shard;
  }

  /**
   * On a hub that stands for a store of its own nothing may be said that a real wire would not take: what the
   * shapes refuse there would be lost without a word. Throws RangeError.
   */
  demand(holds: () => boolean): void {
    if (this.shared && !holds()) throw new RangeError("This has not the shape of what goes over the bus.");
  }

  /** Calls receivers one after the other: what is sent while one of them is in a call waits for its end. */
  deliver(send: () => void): void {
    this.#sending.push(send);
    if (this.#sending.length > 1) return;
    try {
      for (let at = 0; at < this.#sending.length; at++) (this.#sending[at] as () => void)();
    } finally {
      this.#sending = [];
    }
  }

  /** A node lives for `lifeMs` from now; answers who does. Forgets whose life is over. */
  beat(self: Beat, lifeMs: number): Living {
    const now = this.#now();
    this.#beats.set(self.node, { beat: self, untilMs: now + lifeMs });
    const nodes: Beat[] = [];
    for (const [node, { beat, untilMs }] of this.#beats) {
      if (untilMs > now) nodes.push(beat);
      else this.#beats.delete(node);
    }
    return { nodes, rememberedMs: now - this.#bornMs };
  }

  /** A node lives no more. */
  fade(node: string): void {
    this.#beats.delete(node);
  }

  /** Forgets every log, every term and every beat, as a Redis does that comes back empty; for simulators. */
  wipe(): void {
    this.#hot.clear();
    this.bytes = 0;
    this.#beats.clear();
    this.#bornMs = this.#now();
  }

  /** Remembers everything as it is now; what is answered brings it back, as a Redis that lost its last writes has it. */
  snapshot(): () => void {
    const [shards, bytes, beats, bornMs] = [copyOf(this.#hot), this.bytes, new Map(this.#beats), this.#bornMs];
    return () => {
      this.#hot.clear();
      for (const [id, shard] of copyOf(shards)) this.#hot.set(id, shard);
      this.bytes = bytes;
      this.#beats.clear();
      for (const [node, beat] of beats) this.#beats.set(node, beat);
      this.#bornMs = bornMs;
    };
  }

  /** A node's own handle. */
  connect(): MemoryBus {
    const bus = new MemoryBus(this);
    this.handles.add(bus);
    return bus;
  }
}

/** One node's handle on the hub. */
export class MemoryBus implements Bus {
  readonly #hub: MemoryHub;
  readonly #joined = new Set<string>();
  #receiver: BusReceiver | undefined;

  constructor(hub: MemoryHub) {
    this.#hub = hub;
  }

  get shared(): boolean {
    return this.#hub.shared;
  }

  async take(shardId: number, { term, node, lossy }: Taking): Promise<Taken | undefined> {
    const shard = this.#hub.shard(shardId);
    if (shard.term >= term) return undefined;
    const previous = shard.term === 0 && !this.#hub.forgets ? term - 1 : shard.term;
    if (lossy || previous !== term - 1) shard.lossy = term;
    shard.term = term;
    shard.owner = { node, term };
    return { previous, lossy: shard.lossy };
  }

  async terms(shards: readonly number[]): Promise<readonly number[]> {
    return shards.map((shard) => this.#hub.shard(shard).term);
  }

  async owners(shards: readonly number[]): Promise<readonly (Owner | undefined)[]> {
    return shards.map((shard) => this.#hub.shard(shard).owner);
  }

  async append(shardId: number, term: number, packs: readonly Pack[]): Promise<AppendAnswer> {
    return this.appendNow(shardId, term, packs);
  }

  appendNow(shardId: number, term: number, packs: readonly Pack[]): AppendAnswer {
    const shard = this.#hub.shard(shardId);
    if (shard.term > term) return "stale";
    if (shard.term < term) return "lost";
    let already = 0;
    for (const pack of packs) {
      const fit = fits(shard.rooms.get(pack.room), pack, term);
      if (fit === "lost") return "lost";
      if (fit === "already") already++;
    }
    if (already === packs.length) return "already";
    if (already > 0) return "lost";
    for (const pack of packs) this.#write(shard, pack);
    return "ok";
  }

  #write(shard: HotShard, pack: Pack): void {
    let room = shard.rooms.get(pack.room);
    const last = pack.entries[pack.entries.length - 1] as Entry;
    if (!room) {
      room = { entries: [], head: last, stored: (pack.entries[0] as Entry).offset - 1, bytes: 0 };
      shard.rooms.set(pack.room, room);
    }
    for (const entry of pack.entries) {
      room.entries.push(entry);
      const bytes = entryBytes(entry);
      room.bytes += bytes;
      this.#hub.bytes += bytes;
    }
    room.head = { offset: last.offset, term: last.term };
    shard.dirty.add(pack.room);
  }

  async heads(shardId: number): Promise<ReadonlyMap<string, Position>> {
    const heads = new Map<string, Position>();
    for (const [id, room] of this.#hub.shard(shardId).rooms) heads.set(id, room.head);
    return heads;
  }

  async headsOf(shardId: number, rooms: readonly string[]): Promise<ReadonlyMap<string, Position>> {
    const heads = new Map<string, Position>();
    for (const id of rooms) {
      const room = this.#hub.shard(shardId).rooms.get(id);
      if (room) heads.set(id, room.head);
    }
    return heads;
  }

  async dirty(shardId: number): Promise<readonly string[]> {
    return [...this.#hub.shard(shardId).dirty];
  }

  async log(roomId: string, after: number, limit: number, bytes?: number): Promise<readonly Entry[]> {
    const room = this.#hub.shard(shardOf(roomId, this.#hub.shards)).rooms.get(roomId);
    if (!room || room.entries.length === 0) return [];
    const first = (room.entries[0] as Entry).offset;
    const from = Math.max(0, after + 1 - first);
    return cutPage(room.entries.slice(from, from + limit), { end: "first", bytes }, entryBytes);
  }

  async stored(shardId: number, term: number, roomId: string, stored: Position): Promise<boolean> {
    return this.storedNow(shardId, term, roomId, stored);
  }

  storedNow(shardId: number, term: number, roomId: string, stored: Position): boolean {
    const shard = this.#hub.shard(shardId);
    if (shard.term !== term) return false;
    const room = shard.rooms.get(roomId);
    if (!room) return true;
    room.stored = Math.max(room.stored, stored.offset);
    if (room.head.offset === stored.offset && room.head.term === stored.term) shard.dirty.delete(roomId);
    this.#trim(room);
    return true;
  }

  /** Drops stored entries beyond what is kept for replay; in steps, so that the cost per entry stays flat. */
  #trim(room: HotRoom): void {
    const limits = this.#hub.limits;
    const crowded = this.#hub.bytes > limits.replayBytes;
    const keep = crowded ? 0 : limits.replayKeep;
    if (room.entries.length <= keep * 2 && room.bytes <= limits.replayKeepBytes && !crowded) return;
    let drop = 0;
    let bytes = room.bytes;
    while (drop < room.entries.length) {
      const entry = room.entries[drop] as Entry;
      if (entry.offset > room.stored) break;
      if (room.entries.length - drop <= keep && bytes <= limits.replayKeepBytes) break;
      bytes -= entryBytes(entry);
      drop++;
    }
    this.#hub.bytes -= room.bytes - bytes;
    room.bytes = bytes;
    room.entries.splice(0, drop);
  }

  async sleep(shardId: number, term: number, roomId: string, head: Position): Promise<boolean> {
    if (this.#hub.shard(shardId).dirty.has(roomId)) return false;
    return this.clear(shardId, term, roomId, head);
  }

  async clear(shardId: number, term: number, roomId: string, head: Position): Promise<boolean> {
    const shard = this.#hub.shard(shardId);
    const room = shard.rooms.get(roomId);
    if (shard.term !== term) return false;
    if (!room) return true;
    if (room.head.offset !== head.offset || room.head.term !== head.term) return false;
    this.#hub.bytes -= room.bytes;
    shard.rooms.delete(roomId);
    shard.dirty.delete(roomId);
    return true;
  }

  publish(packs: readonly Pack[]): void {
    this.#hub.demand(() => packs.every(isPack));
    this.#hub.deliver(() => {
      for (const handle of this.#hub.handles) {
        for (const pack of packs) if (handle.#joined.has(pack.room)) handle.#receiver?.onPack(pack);
      }
    });
  }

  signal(signals: readonly Signal[]): void {
    this.#hub.demand(() => areSignals(signals));
    this.#hub.deliver(() => {
      for (const handle of this.#hub.handles) {
        const wanted = signals.filter((signal) => handle.#joined.has(signal.room));
        if (wanted.length > 0) handle.#receiver?.onSignals(wanted);
      }
    });
  }

  notify(notice: Notice): void {
    this.#hub.demand(() => isNotice(notice));
    this.#hub.deliver(() => {
      for (const handle of this.#hub.handles) handle.#receiver?.onNotice(notice);
    });
  }

  tell(node: string, word: Word): void {
    this.#hub.demand(() => isWord(word));
    const from = this.#receiver?.name;
    if (from === undefined) return;
    const hear = (): void => {
      for (const handle of this.#hub.handles) {
        if (handle.#receiver?.name === node) handle.#receiver.onWord(from, word);
      }
    };
    // As over a network: an answer never comes while its question is still being asked.
    queueMicrotask(() => this.#hub.deliver(hear));
  }

  async beat(self: Beat, lifeMs: number): Promise<Living> {
    this.#hub.demand(() => isBeat(self));
    return this.#hub.beat(self, lifeMs);
  }

  async fade(node: string): Promise<void> {
    this.#hub.fade(node);
  }

  async join(room: string): Promise<void> {
    this.#joined.add(room);
  }

  /** Everything comes over the one hub anyway. */
  yielded(): void {}

  leave(room: string): void {
    this.#joined.delete(room);
  }

  receive(receiver: BusReceiver): void {
    this.#receiver = receiver;
  }

  async close(): Promise<void> {
    this.#hub.handles.delete(this);
  }
}

/** Shards with logs of their own; entries never change. */
function copyOf(shards: ReadonlyMap<number, HotShard>): Map<number, HotShard> {
  const copies = new Map<number, HotShard>();
  for (const [id, shard] of shards) {
    const rooms = new Map<string, HotRoom>();
    for (const [name, room] of shard.rooms) rooms.set(name, { ...room, entries: [...room.entries] });
    copies.set(id, { ...shard, rooms, dirty: new Set(shard.dirty) });
  }
  return copies;
}

/** Rule 2: head = (first − 1, prevTerm); an absent head only for an opening pack. */
function fits(room: HotRoom | undefined, pack: Pack, term: number): "ok" | "already" | "lost" {
  const first = pack.entries[0] as Entry;
  const last = pack.entries[pack.entries.length - 1] as Entry;
  if (!room) return pack.opening ? "ok" : "lost";
  if (room.head.term === term && room.head.offset >= last.offset) return "already";
  return room.head.offset === first.offset - 1 && room.head.term === pack.prevTerm ? "ok" : "lost";
}
