/**
 * One room's line at an edge: the data file of `lines.ts`. Numbers 1, 2, 3, and how far each got.
 *
 *   first …………………… mark …………………………… cursor ………………… last
 *   accepted, not stored │ sent, not accepted │ not sent
 *
 * An item that is answered leaves a hole until all before it are answered.
 */
import Denque from "denque";
import type { Entry, Position } from "./entry.ts";
import { bytesOf, type Posting, repliesOf } from "./posting.ts";
import type { Parcel } from "./words.ts";

/** Bytes of a word, about: so much of a line leaves at once. */
export const WORD_BYTES = 262_144;
/** Bytes of one line on their way and not accepted: beyond it what is new waits at the edge. */
const FLIGHT_BYTES = 1_048_576;
/** Bytes that are asked about at once when `stored` is missing. */
const ASK_BYTES = 65_536;

/** One posting in a line. */
export interface LineItem {
  readonly posting: Posting;
  readonly bytes: number;
  number: number;
  phase: "waiting" | "sent" | "accepted" | "answered";
  /** It was sent, or decided, before: it may be on the log already. */
  again: boolean;
  /** Who waits has heard `accepted`. */
  told: boolean;
  /** Monotonic ms of `accepted`. */
  acceptedAt: number;
}

/** A parcel, and its bytes in memory and nearly on the wire. */
export interface Wrapped {
  readonly parcel: Parcel;
  readonly bytes: number;
  /** Drafts in it that were sent before. */
  readonly again: number;
}

/** An item that nobody has sent; `again` for one that may have been decided before. */
export function lineItem(posting: Posting, { again }: { readonly again: boolean }): LineItem {
  return { posting, bytes: bytesOf(posting), number: 0, phase: "waiting", again, told: false, acceptedAt: 0 };
}

/** One line. */
export class Line {
  readonly room: string;
  readonly shard: number;
  /** Rises with every beginning; answers for another number are not for this line any more. */
  number: number;
  /** The owner that it leads to, while one is known. */
  to: string | undefined;
  /** It leaves at the end of this turn. */
  touched = false;
  /** Monotonic ms until which nothing leaves: the owner says that it is none. */
  heldUntil = 0;
  /** The owner asked for everything from this number on, 0 for all, and hears it at `backAt`. */
  backTo: number | undefined;
  backAt = 0;
  /** Monotonic ms of the last answer that was news, or of the last sending that waits for one. */
  quietAt = 0;
  /** Times that something was sent again since then. */
  tries = 0;
  /** Monotonic ms of the last question for `stored`, and how many went without one. */
  askedAt = 0;
  asks = 0;
  #items = new Denque<LineItem>();
  #first = 1;
  #cursor = 1;
  #mark = 1;
  #flight = 0;
  /** The highest number that was given a place on the log. */
  #placed = 0;

  readonly #term: () => number;

  /** `term`: under which the room's owner is known. */
  constructor(room: string, shard: number, number: number, term: () => number) {
    this.#term = term;
    this.room = room;
    this.shard = shard;
    this.number = number;
  }

  /** Whether nothing in it is unanswered. */
  get empty(): boolean {
    return this.#items.isEmpty();
  }

  /** Whether it has what was not sent. */
  get open(): boolean {
    return this.#cursor <= this.last;
  }

  /** The highest number; one below the first when it is empty. */
  get last(): number {
    return this.#first + this.#items.length - 1;
  }

  /** The next number to be sent. */
  get cursor(): number {
    return this.#cursor;
  }

  /** The unanswered item of a number. */
  at(number: number): LineItem | undefined {
    if (number < this.#first || number > this.last) return undefined;
    const item = this.#items.peekAt(number - this.#first) as LineItem;
    return item.phase === "answered" ? undefined : item;
  }

  /** All that is unanswered, in order. */
  unanswered(): LineItem[] {
    return this.#items.toArray().filter((item) => item.phase !== "answered");
  }

  /**
   * The same, for another owner. A room is given a line in order: what has no place here, and is before what has
   * one, has its place or was refused for good, and its next owner cannot know the latter.
   */
  leftOver(): LineItem[] {
    const items = this.unanswered();
    for (const { number, told, posting } of items) if (number < this.#placed && !told) posting.passed = true;
    return items;
  }

  push(item: LineItem): void {
    item.number = this.last + 1;
    this.#items.push(item);
  }

  /** Begins anew under another number, with `before` in front: all that is unanswered, without holes. */
  restart(number: number, to: string | undefined, before: readonly LineItem[] = []): void {
    const items = [...before, ...this.leftOver()];
    for (const [at, item] of items.entries()) {
      item.number = at + 1;
      item.phase = "waiting";
    }
    this.#items = new Denque(items);
    this.#first = 1;
    this.#cursor = 1;
    this.#mark = 1;
    this.#flight = 0;
    this.#placed = 0;
    this.number = number;
    this.to = to;
    this.heldUntil = 0;
    this.backTo = undefined;
    this.tries = 0;
    this.askedAt = 0;
    this.asks = 0;
  }

  /** The item has a place on the log. */
  place({ number }: LineItem): void {
    this.#placed = Math.max(this.#placed, number);
  }

  /** The owner has the item in its order. False when that is no news. */
  accept(item: LineItem, now: number): boolean {
    if (item.phase === "accepted") return false;
    this.#landed(item, "accepted");
    item.acceptedAt = now;
    return true;
  }

  /** The item has its last answer. */
  finish(item: LineItem): void {
    this.#landed(item, "answered");
    while (this.#items.peekFront()?.phase === "answered") {
      this.#items.shift();
      this.#first++;
    }
    if (this.#cursor < this.#first) this.#cursor = this.#first;
    if (this.#mark < this.#first) this.#mark = this.#first;
  }

  #landed(item: LineItem, phase: "accepted" | "answered"): void {
    if (item.phase === "sent") this.#flight -= item.bytes;
    item.phase = phase;
    if (item.number === this.backTo) this.backTo = undefined;
  }

  /** The oldest item that was sent and not accepted. */
  oldestSent(): LineItem | undefined {
    for (; this.#mark < this.#cursor; this.#mark++) {
      const item = this.at(this.#mark);
      if (item?.phase === "sent") return item;
    }
    return undefined;
  }

  /** The oldest unanswered item, if it is accepted: its `stored` is missing. */
  oldestAccepted(): LineItem | undefined {
    const item = this.#items.peekFront();
    return item?.phase === "accepted" ? item : undefined;
  }

  /**
   * Everything from a number on is to be sent again, but for what is accepted; that too with `forgotten`, when
   * the owner says that it does not know of it.
   */
  goBack(number: number, { forgotten }: { readonly forgotten: boolean }): void {
    const from = Math.max(number, this.#first);
    for (let at = from; at < this.#cursor; at++) {
      const item = this.at(at);
      if (item?.phase === "sent") this.#flight -= item.bytes;
      if (item?.phase === "sent" || (item && forgotten)) item.phase = "waiting";
    }
    this.#cursor = Math.min(this.#cursor, from);
    this.#mark = Math.min(this.#mark, from);
  }

  /** Takes the next parcel; undefined when there is none now. It ends at a hole, and at the bytes of a word. */
  take(): Wrapped | undefined {
    while (this.open && this.at(this.#cursor)?.phase !== "waiting") this.#cursor++;
    const items: LineItem[] = [];
    let bytes = 0;
    for (; this.open && this.#flight < FLIGHT_BYTES; this.#cursor++) {
      const item = this.at(this.#cursor);
      if (item?.phase !== "waiting" || (bytes > 0 && bytes + item.bytes > WORD_BYTES)) break;
      items.push(item);
      bytes += item.bytes;
      this.#flight += item.bytes;
      item.phase = "sent";
    }
    return items.length === 0 ? undefined : this.#wrap(items, bytes);
  }

  /** The oldest items, if they are accepted: asks for what is missing of them. Moves nothing. */
  ask(): Wrapped | undefined {
    const items: LineItem[] = [];
    let bytes = 0;
    for (let at = this.#first; at <= this.last; at++) {
      const item = this.at(at);
      if (item?.phase !== "accepted" || (bytes > 0 && bytes + item.bytes > ASK_BYTES)) break;
      items.push(item);
      bytes += item.bytes;
    }
    return items.length === 0 ? undefined : this.#wrap(items, bytes);
  }

  #wrap(items: readonly LineItem[], bytes: number): Wrapped {
    const urgent: number[] = [];
    const passed: number[] = [];
    let again = 0;
    for (const [at, item] of items.entries()) {
      if (repliesOf(item.posting).some((reply) => reply.urgent)) urgent.push(at);
      if (item.posting.passed) passed.push(at);
      if (item.again) again++;
      item.again = true;
    }
    const { room, number: line } = this;
    const [{ number: first }] = items as [LineItem];
    const drafts = items.map(({ posting }) => posting.draft);
    return {
      parcel: { room, line, first, oldest: this.#first, again, drafts, urgent, passed, term: this.#term() },
      bytes,
      again,
    };
  }
}

/** What the edge can know of an entry: its place, and what was sent. */
export function entryOf({ draft }: Posting, room: string, place: Position & { readonly at: number }): Entry {
  return {
    room,
    offset: place.offset,
    term: place.term,
    prevTerm: 0,
    event: draft.event,
    sender: draft.sender,
    senderName: draft.senderName,
    key: draft.key,
    at: place.at,
    count: 0,
    ref: draft.ref,
    contentType: draft.contentType,
    headers: draft.headers,
    body: draft.body,
    text: draft.text,
  };
}
