/** For the property test of the promises: a world of clients that checks what it is told, as it is told. */
import assert from "node:assert/strict";
import { type Entry, type Position, shardOf } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Witness } from "./node.fixture.faults.ts";
import { type Client, caller, message, Stage, type Told } from "./node.fixture.ts";
import {
  type Asked,
  checkLog,
  checkOnce,
  checkOrder,
  checkRemoval,
  checkShown,
  checkStored,
  place,
  type Stream,
} from "./promises.checks.ts";
import type { From } from "./resume.ts";

/** Who there is, and where. The first user is the admin of the private room. */
export const USERS = ["alice", "bob", "carol"] as const;
/** Clients by slot: two of them are one user. */
const SLOTS = ["alice", "bob", "bob", "carol"] as const;
/** Slots of the world. */
export const SLOT_COUNT = SLOTS.length;

interface Slot {
  readonly user: string;
  client: Client;
  streams: Map<string, Stream>;
  /** SENDs by receipt id. */
  asked: Map<string, Asked>;
  /** The last position seen per room, for resumes. */
  readonly seen: Map<string, Position>;
}

/** In which world. */
export interface WorldOptions {
  readonly limits?: Partial<Limits>;
  readonly shared?: boolean;
}

/** A node, its clients, and what they may rely on. */
export class World implements Witness {
  readonly stage: Stage;
  readonly rooms: readonly string[];
  readonly #accepted = new Set<string>();
  readonly #durable = new Map<string, Entry>();
  readonly #slots: Slot[];
  readonly #streams: Stream[] = [];
  readonly #asked: Asked[] = [];
  #bodies = 0;
  #breach: unknown;
  #wiped = false;
  /** What was shown and not stored is gone. */
  #lost = false;
  /** REST calls under way. */
  readonly #calls = new Set<Promise<void>>();

  private constructor(stage: Stage, rooms: readonly string[]) {
    this.stage = stage;
    this.rooms = rooms;
    this.#slots = SLOTS.map((user) => this.#slot(user, new Map()));
  }

  static async open(seed: number, { limits = {}, shared = false }: WorldOptions): Promise<World> {
    let world: World | undefined;
    const early: Entry[] = [];
    const witness: Witness = {
      durable: (entries) => (world ? world.durable(entries) : void early.push(...entries)),
      accepted: (entries) => world?.accepted(entries),
    };
    const stage = await Stage.open({ seed, limits, witness, shared });
    const club = await stage.makeRoom("private", USERS[0], USERS.slice(1));
    world = new World(stage, ["general", club]);
    world.durable(early);
    return world;
  }

  #slot(user: string, seen: Map<string, Position>): Slot {
    const client = this.stage.connect(user);
    const slot: Slot = { user, client, streams: new Map(), asked: new Map(), seen };
    client.onHear = (told) => this.#hear(slot, told);
    return slot;
  }

  durable(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const there = this.#durable.get(`${entry.room}/${entry.offset}`);
      if (there) assert.equal(`${there.term} ${there.key}`, `${entry.term} ${entry.key}`, "a stored entry changed");
      else this.#durable.set(`${entry.room}/${entry.offset}`, entry);
    }
  }

  accepted(entries: readonly Entry[]): void {
    for (const entry of entries) this.#accepted.add(place(entry));
  }

  #isDurable(entry: Entry): boolean {
    const there = this.#durable.get(`${entry.room}/${entry.offset}`);
    return there?.term === entry.term && there.key === entry.key;
  }

  // ─── What is done ───

  #at(slot: number): Slot {
    return this.#slots[slot % SLOT_COUNT] as Slot;
  }

  #room(room: number): string {
    return this.rooms[room % this.rooms.length] as string;
  }

  /** SENDs of one connection in one turn; those with an id may be retries. */
  send(slotAt: number, roomAt: number, ids: readonly (number | undefined)[], early: boolean): void {
    const slot = this.#at(slotAt);
    const [user, room, level] = [slot.user, this.#room(roomAt), early ? "accepted" : "stored"] as const;
    for (const number of ids) {
      const id = number === undefined ? undefined : `m${number}`;
      const body = `${slotAt} ${this.#bodies++}`;
      const asked: Asked = { user, room, id, body, level, life: this.stage.lives, answers: 0, stored: undefined };
      this.#asked.push(asked);
      // The answer may come within the call.
      slot.asked.set(`send-${slot.asked.size}`, asked);
      slot.client.send(room, body, { id, level });
    }
  }

  subscribe(slotAt: number, roomAt: number, how: "now" | "resume" | number): void {
    const slot = this.#at(slotAt);
    const room = this.#room(roomAt);
    if (slot.streams.size >= 6) return;
    const seen = slot.seen.get(room);
    const from: From =
      typeof how === "number"
        ? { kind: "last", entries: how }
        : how === "resume" && seen
          ? { kind: "after", position: seen }
          : { kind: "now" };
    const { user } = slot;
    const stream: Stream = {
      ...{ user, room, from, life: this.stage.lives },
      ...{ at: undefined, granted: undefined, resumed: false, over: false, shown: [] },
    };
    const id = `s${this.#streams.length}`;
    this.#streams.push(stream);
    slot.streams.set(id, stream);
    slot.client.subscribe("log", room, { id, from });
  }

  unsubscribe(slotAt: number, pick: number): void {
    const slot = this.#at(slotAt);
    const id = [...slot.streams.keys()][pick % Math.max(1, slot.streams.size)];
    if (id === undefined) return;
    slot.client.connection.unsubscribe(id, `un-${id}`);
    const stream = slot.streams.get(id);
    if (stream) stream.over = true;
  }

  /** The socket is lost and comes back. */
  reconnect(slotAt: number): void {
    const slot = this.#at(slotAt);
    slot.client.lose();
    this.#slots[slotAt % SLOT_COUNT] = this.#slot(slot.user, slot.seen);
  }

  #call(work: Promise<unknown>): void {
    const call: Promise<void> = work.then(
      () => void this.#calls.delete(call),
      () => void this.#calls.delete(call),
    );
    this.#calls.add(call);
  }

  /** The admin removes a member of the private room, or adds one. */
  member(user: number, on: boolean): void {
    const id = USERS[1 + (user % (USERS.length - 1))] as string;
    const { chat } = this.stage;
    const [admin, club] = [caller(USERS[0]), this.#room(1)];
    this.#call(on ? chat.addMember(admin, club, { id, name: "", role: "member" }) : chat.removeMember(admin, club, id));
  }

  /** An edit, a deletion or a reaction; over REST also a message. */
  change(how: { user: number; room: number; offset: number; what: "edit" | "delete" | "react" | "post" }): void {
    const { chat } = this.stage;
    const by = caller(USERS[how.user % USERS.length] as string);
    const room = this.#room(how.room);
    if (how.what === "edit") this.#call(chat.edit(by, room, how.offset, message("edited")));
    else if (how.what === "delete") this.#call(chat.deleteMessage(by, room, how.offset));
    else if (how.what === "react") this.#call(chat.react(by, room, how.offset, { reaction: "+", on: true }));
    else this.#call(chat.post(by, room, message("posted")));
  }

  /** The hot log comes back empty. */
  wipe(): void {
    this.#wiped = true;
    // The owner of before is dead, and the new one may not have read the hot log yet.
    this.#lost ||= this.stage.lives > 1;
    this.stage.hub.wipe();
  }

  /** The process dies; with `keepHub` the hot log outlives it. */
  async crash({ keepHub }: { readonly keepHub: boolean }): Promise<void> {
    this.#lost ||= !keepHub || this.#wiped;
    for (const slot of this.#slots) slot.client.open = false;
    this.stage.faults.archiveAway = false;
    this.#calls.clear();
    await this.stage.crash({ keepHub });
    for (const [at, slot] of this.#slots.entries()) this.#slots[at] = this.#slot(slot.user, slot.seen);
  }

  // ─── What is heard ───

  /** Keeps the first breach: thrown into the engine it might be taken for a fault of the engine's own. */
  #hear(slot: Slot, told: Told): void {
    try {
      this.#judge(slot, told);
    } catch (error) {
      this.#breach ??= error;
    }
  }

  /** Throws the first breach of a promise, if there was one. */
  check(): void {
    if (this.#breach !== undefined) throw this.#breach;
  }

  #judge(slot: Slot, told: Told): void {
    if (told.kind === "receipt") return this.#receipt(slot, told);
    if (told.kind === "refused" && told.receipt !== undefined) {
      const asked = slot.asked.get(told.receipt);
      if (asked) asked.answers++;
      const stream = slot.streams.get(told.receipt);
      if (stream) stream.over = true;
      slot.streams.delete(told.receipt);
      return;
    }
    if (told.kind !== "resumed" && told.kind !== "entry" && told.kind !== "ended") return;
    const stream = slot.streams.get(told.on) as Stream;
    assert.ok(stream && !stream.over, `${told.on} is told ${told.kind} after its end`);
    if (told.kind === "ended") {
      stream.over = true;
      slot.streams.delete(told.on);
    } else if (told.kind === "resumed") {
      this.#resumed(stream, told);
    } else {
      this.#entry(slot, stream, told.entry);
    }
  }

  #receipt(slot: Slot, { id, entry, head }: Extract<Told, { kind: "receipt" }>): void {
    if (id.startsWith("un-")) {
      slot.streams.delete(id.slice(3));
      return;
    }
    const stream = slot.streams.get(id);
    if (stream) {
      if (stream.over) return;
      assert.ok(head, "a SUBSCRIBE's receipt names the head");
      assert.equal(stream.granted, undefined, "one receipt");
      stream.granted = head;
      if (stream.from.kind === "now") stream.at = head;
      return;
    }
    const asked = slot.asked.get(id);
    // Of a SUBSCRIBE that was taken back before it was granted.
    if (!asked) return assert.match(id, /^s\d/);
    assert.ok(entry, "a SEND's receipt names its entry");
    asked.answers++;
    assert.ok(this.#accepted.has(place(entry)) || this.#isDurable(entry), "receipted before it was accepted");
    if (asked.level === "accepted") return;
    assert.ok(this.#isDurable(entry), `receipted before it was stored: ${place(entry)}`);
    asked.stored = entry;
  }

  #resumed(stream: Stream, { recovered, head }: Extract<Told, { kind: "resumed" }>): void {
    assert.ok(stream.granted, "resumed before the receipt");
    assert.equal(stream.resumed, false, "resumed again");
    stream.resumed = true;
    const { from } = stream;
    assert.notEqual(from.kind, "now");
    if (recovered) {
      stream.at =
        from.kind === "after"
          ? from.position
          : { offset: Math.max(0, head.offset - (from as { entries: number }).entries), term: -1 };
      return;
    }
    assert.ok(this.#lost, "recovered: false without a loss");
    if (from.kind === "after") {
      const there = this.#durable.get(`${stream.room}/${from.position.offset}`);
      assert.notEqual(there?.term, from.position.term, "recovered: false for a position that is on the log");
    }
    stream.at = head;
  }

  #entry(slot: Slot, stream: Stream, entry: Entry): void {
    assert.equal(entry.room, stream.room);
    assert.ok(this.#accepted.has(place(entry)) || this.#isDurable(entry), "shown before it was accepted");
    assert.ok(stream.at, "an entry before the subscription's beginning is known");
    assert.equal(entry.offset, stream.at.offset + 1, "a gap or a repeat");
    if (stream.at.term >= 0 && stream.at.offset > 0) assert.equal(entry.prevTerm, stream.at.term, "the chain");
    stream.at = { offset: entry.offset, term: entry.term };
    stream.shown.push(entry);
    slot.seen.set(stream.room, stream.at);
  }

  // ─── What must hold in the end ───

  /** Lets everything come to rest, then checks it. */
  async end(): Promise<void> {
    const { stage } = this;
    stage.faults.archiveAway = false;
    stage.faults.rate = 0;
    stage.faults.delayMs = 0;
    // A dead node's shards are taken over when it is not heard of any more.
    const taken = (): boolean => stage.node.shards.every(({ mine }) => mine);
    const busy = (): boolean => !taken() || this.#calls.size + stage.node.writer.entries + stage.node.lines.waiting > 0;
    for (let i = 0; i < 60 && busy(); i++) await stage.clock.advance(500);
    await stage.clock.advance(3_000);
    this.check();
    assert.equal(this.#calls.size, 0, "a REST call was never answered");
    for (const [at, slot] of this.#slots.entries()) {
      assert.equal(slot.client.connection.pending, 0, `the connection ${at} still waits`);
      // A connection that was told to come back owes nothing more.
      if (!slot.client.open) continue;
      for (const [receipt, asked] of slot.asked) assert.equal(asked.answers, 1, `${receipt} of ${at}: ${asked.body}`);
      for (const [id, stream] of slot.streams) this.#caughtUp(id, stream);
    }
    await this.#logs();
    await this.#rest();
  }

  /** A live subscription has shown everything up to the head. */
  #caughtUp(id: string, stream: Stream): void {
    const room = this.stage.node.rooms.get(stream.room);
    assert.ok(stream.granted, `${id} was never answered`);
    const head = room?.state.accepted.offset ?? stream.at?.offset;
    assert.equal(stream.at?.offset, head, `${id} of ${stream.user} lags behind in ${stream.room}`);
  }

  async #logs(): Promise<void> {
    for (const room of this.rooms) {
      const log = await this.stage.log(room);
      const asked = this.#asked.filter((one) => one.room === room);
      checkLog(log);
      checkOrder(log);
      checkOnce(log, asked);
      checkStored(log, asked);
      for (const stream of this.#streams) {
        if (stream.room !== room) continue;
        const died = stream.life < this.stage.lives;
        checkShown(log, stream, { mayBeGone: died && this.#lost });
        if (!died) checkRemoval(log, stream);
      }
    }
  }

  /** Promise 6: when all have gone, nothing is left. */
  async #rest(): Promise<void> {
    const { stage } = this;
    for (const slot of this.#slots) slot.client.lose();
    await stage.clock.advance(120_000);
    const { node, hub, fanout } = stage;
    const left = {
      entries: node.writer.entries,
      bytes: node.writer.bytes,
      rooms: node.rooms.size,
      shardRooms: node.shards.reduce((sum, shard) => sum + shard.rooms.size, 0),
      audiences: this.rooms.filter((room) => node.audiences.has(room)).length,
      window: node.windowBudget.bytes,
      connections: node.registry.size,
      users: node.registry.users,
      attached: fanout.size,
      markers: node.markers.pending,
      signals: node.speaker.pending,
      hot: hub.bytes,
      hotRooms: this.rooms.filter((room) => hub.shard(shardOf(room, hub.shards)).rooms.has(room)).length,
      pending: this.#slots.reduce((sum, slot) => sum + slot.client.connection.pending, 0),
    };
    assert.deepEqual(left, Object.fromEntries(Object.keys(left).map((name) => [name, 0])));
    // Only an entry that was stored to seal a room may not have been published.
    if (!this.#wiped && !this.#lost) assert.equal(node.counters.gaps, 0, "one process has no gap to fill");
  }
}
