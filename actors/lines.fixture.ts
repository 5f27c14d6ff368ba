/** For tests: edges with lines, owners with landings, and a wire between them that loses, delays and repeats words. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { SimulatedClock } from "./clock.ts";
import type { Refusal } from "./codes.ts";
import { Counters } from "./counters.ts";
import { type Entry, shardOf } from "./entry.ts";
import { Landings } from "./landings.ts";
import type { Limits } from "./limits.ts";
import { Lines } from "./lines.ts";
import { SILENT } from "./log.ts";
import { type Draft, type Posting, posting, type Reply } from "./posting.ts";
import type { Answers, Parcel, Word } from "./words.ts";

/** Shards of the worlds of these tests. */
export const SHARDS = 2;

/** A draft of a user of an edge. */
export function draftOf(key: string, body: Uint8Array = Buffer.from(key)): Draft {
  const said = { contentType: "", headers: [], body, text: true, ref: 0 };
  return { ...said, event: "message", sender: "alice", senderName: "Alice", key };
}

/** What a sender hears, in order. */
export class Ear implements Reply {
  readonly heard: string[] = [];
  readonly places: string[] = [];
  urgent = true;

  accepted(entry: Entry): void {
    this.heard.push("accepted");
    this.places.push(`${entry.offset}.${entry.term}`);
  }

  stored(entry: Entry): void {
    this.heard.push("stored");
    this.places.push(`${entry.offset}.${entry.term}`);
  }

  refused(refusal: Refusal): void {
    this.heard.push(refusal.code);
  }
}

/** A wire between ends by name; what is told to nobody is lost. */
export class Wire {
  readonly clock: SimulatedClock;
  readonly random: () => number;
  readonly ends = new Map<string, (from: string, word: Word) => void>();
  /** All that was told, lost or not: from, to, word. */
  readonly told: (readonly [string, string, Word])[] = [];
  /** Shares of words that are lost and that come twice, and the longest delay, ms. */
  loss = 0;
  copies = 0;
  delayMs = 0;
  /** What is lost by a test's choice. */
  loses: (word: Word) => boolean = () => false;

  constructor(clock: SimulatedClock, random: () => number) {
    this.clock = clock;
    this.random = random;
  }

  /** One end of it. */
  from(name: string): { tell(to: string, word: Word): void } {
    return { tell: (to, word) => this.#tell(name, to, word) };
  }

  #tell(from: string, to: string, word: Word): void {
    this.told.push([from, to, word]);
    if (this.loses(word)) return;
    const copies = this.random() < this.copies ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.random() < this.loss) continue;
      const plain = structuredClone(word);
      this.clock.after(1 + Math.floor(this.random() * this.delayMs), () => this.ends.get(to)?.(from, plain));
    }
  }

  /** Parcels told so far. */
  parcels(): Parcel[] {
    return this.told.flatMap(([, , word]) => (word.kind === "sends" ? word.parcels : []));
  }

  /** Answers told so far. */
  answers(): Answers[] {
    return this.told.flatMap(([, , word]) => (word.kind === "answers" ? word.lines : []));
  }
}

/** What an edge is made of. */
export interface EdgeOptions {
  readonly name: string;
  readonly wire: Wire;
  readonly limits: Limits;
}

/** A node that owns nothing until it is told so. */
export class Edge {
  readonly name: string;
  readonly lines: Lines;
  readonly counters = new Counters();
  owner: string | undefined;
  /** What it was given as the owner. */
  readonly here: Posting[] = [];
  readonly #sent: { readonly room: string; readonly key: string; readonly ear: Ear }[] = [];

  constructor({ name, wire, limits }: EdgeOptions) {
    this.name = name;
    this.lines = new Lines({
      name,
      limits,
      bus: wire.from(name),
      clock: wire.clock,
      log: SILENT,
      counters: this.counters,
      ownerOf: () => this.owner,
      shardIndexOf: (room) => shardOf(room, SHARDS),
      ownerTerm: () => 0,
      repostHere: (_room, postings) => void this.here.push(...postings),
    });
    wire.ends.set(name, (from, word) => {
      if (word.kind === "answers") this.lines.onAnswers(from, word.lines);
    });
  }

  /** Sends a message under the edge's own key, or a given one; answers who hears of it. */
  send(room: string, more: { readonly key?: string; readonly body?: Uint8Array } = {}): Ear {
    const key = more.key ?? `e/${this.name}/${this.#sent.length + 1}`;
    const ear = new Ear();
    this.#sent.push({ room, key, ear });
    this.lines.post(room, posting(draftOf(key, more.body), ear));
    return ear;
  }

  /** The owner of everything is another. */
  turnTo(owner: string | undefined): void {
    this.owner = owner;
    for (let shard = 0; shard < SHARDS; shard++) this.lines.ownerChanged(shard);
  }

  /**
   * Everything is on the logs once, in the order it was sent, and was said to be so; nothing is left. With
   * `refused` some were, and count for nothing.
   */
  checkStored(logs: ReadonlyMap<string, readonly Entry[]>, { refused = false } = {}): void {
    const told = this.#sent.filter(({ ear }) => !(refused && isRefused(ear)));
    for (const { key, ear } of told) assert.deepEqual(ear.heard, ["accepted", "stored"], key);
    for (const [room, log] of logs) {
      const sent = told.filter((one) => one.room === room);
      const keys = new Set(sent.map(({ key }) => key));
      const ours = log.filter(({ key }) => keys.has(key));
      assert.deepEqual(
        ours.map(({ key }) => key),
        [...keys],
        `the order of ${this.name} in ${room}`,
      );
      for (const [at, { offset, term }] of ours.entries()) {
        assert.equal(sent[at]?.ear.places[1], `${offset}.${term}`, "the place that was told");
      }
    }
    assert.deepEqual([this.lines.waiting, this.lines.bytes, this.lines.size], [0, 0, 0]);
  }
}

/** Whether all that was heard at the end is one refusal that asks to try again. */
function isRefused({ heard }: Ear): boolean {
  return heard.length <= 2 && (heard.at(-1) === "store-unavailable" || heard.at(-1) === "queue-full");
}

/** What an owner is made of. */
export interface OwnerOptions {
  readonly name: string;
  readonly wire: Wire;
  readonly post: (room: string, item: Posting) => void;
}

/** The owner of all rooms, while it is. */
export class Owner {
  readonly name: string;
  readonly landings: Landings;
  readonly counters = new Counters();
  owns = true;

  constructor({ name, wire, post }: OwnerOptions) {
    this.name = name;
    this.landings = new Landings({
      name,
      bus: wire.from(name),
      clock: wire.clock,
      counters: this.counters,
      owns: () => this.owns,
      termHere: () => 0,
      post,
    });
    wire.ends.set(name, (from, word) => {
      if (word.kind === "sends") this.landings.onSends(from, word.parcels);
    });
  }
}

/** A room without a log: answers when it is told to, and refuses what it is told to. */
export class PlainRoom {
  readonly items: Posting[] = [];
  /** Answers at once unless it is held. */
  held = false;
  refuses: (item: Posting) => Refusal | undefined = () => undefined;

  readonly post = (_room: string, item: Posting): void => {
    const refusal = this.refuses(item);
    if (refusal) return item.reply?.refused(refusal);
    this.items.push(item);
    if (!this.held) this.answer(item);
  };

  /** Says that a posting is accepted and stored. */
  answer(item: Posting): void {
    item.reply?.stored(this.accept(item));
  }

  /** Says that a posting is accepted. */
  accept(item: Posting): Entry {
    const at = { offset: this.items.indexOf(item) + 1, term: 1 };
    const entry: Entry = { ...item.draft, ...at, room: "a", prevTerm: 1, at: 0, count: 0 };
    item.reply?.accepted(entry);
    return entry;
  }

  /** The keys of what it was given. */
  get keys(): string[] {
    return this.items.map(({ draft }) => draft.key);
  }
}
