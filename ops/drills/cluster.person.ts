/**
 * One of hundreds of people in a drill of many nodes: connects to whichever node is chosen, subscribes rooms by
 * position, comes back when the connection ends, sends again under the same key what was not answered, and
 * writes down everything for the checker. What many saw alike is kept once, in their common `Ledger`.
 */
import type { Item, Place, Sending, Stream, StreamEvent } from "./checker.ts";
import { tokenFor } from "./harness.ts";
import { digest, itemOf, placeOf } from "./items.ts";
import type { Pace } from "./participant.ts";
import type { Random } from "./random.ts";
import type { Said, Testimony } from "./report.ts";
import { type Closing, StompClient, type StompFrame } from "./stomp.ts";

/** Messages without an answer, at most; beyond it a person waits. */
const PENDING_MOST = 400;
/** Entries kept by a ledger, and events by a subscription; a drill that needs more is wrong. */
const ENTRIES_MOST = 100_000;
/** Pause before another connection after one that ended or failed, ms. */
const BACK: Pace = { lowMs: 20, highMs: 250 };
/** Pause before a refused frame is sent again when the server did not say, ms. */
const RETRY_MS = 100;
/** The share of messages that are said twice at once under one key. */
const TWICE = 0.05;

/** A node to connect to. */
export interface Door {
  /** Which node: its place among the drill's. */
  readonly node: number;
  readonly wsUrl: string;
}

/** Hears of every entry that anybody is shown. */
export type Listener = (person: Person, item: Item, atMs: number) => void;

/** What all people saw, each entry kept once however many saw it. */
export class Ledger {
  readonly #known = new Map<string, { readonly item: Item; readonly body: Buffer }>();
  readonly listeners = new Set<Listener>();

  /** The entry of a frame: that which is known, if it is the same in everything, else a new one. */
  take({ headers, body }: StompFrame): Item {
    const id = headers["message-id"] ?? "";
    const known = this.#known.get(id);
    if (known && alike(known.item, headers) && known.body.equals(body)) return known.item;
    const item = itemOf(headers, body);
    if (this.#known.size >= ENTRIES_MOST) throw new Error("A ledger overflowed.");
    if (!known) this.#known.set(id, { item, body: Buffer.from(body) });
    return item;
  }
}

function alike(item: Item, headers: Readonly<Record<string, string>>): boolean {
  return (
    item.event === headers.event &&
    item.offset === Number(headers.offset) &&
    item.term === Number(headers.term) &&
    item.sender === (headers.sender ?? "") &&
    item.key === (headers["client-message-id"] ?? "") &&
    item.count === Number(headers.count) &&
    item.atMs === Number(headers.timestamp)
  );
}

/** The room of an entry, which is the first part of its id. */
export const roomOf = ({ id }: Item): string => id.slice(0, id.indexOf("."));

/** Who a person is. */
export interface PersonOptions {
  readonly id: string;
  readonly rooms: readonly string[];
  /** Where to connect now, to a certain node if one is named and stands; asked before every connection. */
  readonly choose: (node?: number) => Door;
  readonly ledger: Ledger;
  readonly random: Random;
}

interface Message extends Said {
  readonly body: string;
  readonly stored: Place[];
  answeredAtMs: number | undefined;
}

interface Listening {
  readonly room: string;
  readonly events: StreamEvent[];
  position: Place | undefined;
}

/** A connection's end, and of which node it was one. */
export interface Ended extends Closing {
  readonly node: number;
}

/** Somebody connected to one of many nodes. */
export class Person {
  readonly id: string;
  readonly rooms: readonly string[];
  /** Faults that are none of the checker's: an ERROR frame, a subscription that ended. */
  readonly faults: string[] = [];
  /** Ends of connections that this person did not bring about. */
  readonly endings: Ended[] = [];
  /** Command and code of a refusal → how often. */
  readonly refusals = new Map<string, number>();
  /** Why it could not connect → how often: the code of the refusal, or `unreachable`. */
  readonly turnedAway = new Map<string, number>();
  connections = 0;
  notRecovered = 0;
  heard = 0;
  /** Answers to messages. */
  receipts = 0;
  /** Since when it is connected, by `performance.now()`. */
  sinceMs = Number.NaN;
  /** Since when it was last away. */
  #awaySinceMs = performance.now();
  readonly #choose: (node?: number) => Door;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #listening: readonly Listening[];
  readonly #pending = new Map<string, Message>();
  readonly #done = new Map<string, Message>();
  readonly #orders = new Map<string, number>();
  /** Keys of refused messages that wait for their next try. */
  readonly #waiting = new Set<string>();
  readonly #talks = new Map<string, NodeJS.Timeout>();
  #client: StompClient | undefined;
  #node: number | undefined;
  /** The node of its next connection. */
  #next: number | undefined;
  #life: Promise<void> = Promise.resolve();
  #over = false;
  /** Whether this end of the connection is its own doing. */
  #own = false;
  #said = 0;

  constructor(options: PersonOptions) {
    this.id = options.id;
    this.rooms = options.rooms;
    this.#choose = options.choose;
    this.#ledger = options.ledger;
    this.#random = options.random;
    // Half of them read each room from its beginning, half from now on.
    const origin = this.#random.chance(0.5) ? { offset: 0, term: 0 } : undefined;
    this.#listening = options.rooms.map((room) => ({ room, events: [], position: origin }));
  }

  /** The node it is connected to; undefined while it is not. */
  get node(): number | undefined {
    return this.#node;
  }

  /** Whether every message was answered. */
  get settled(): boolean {
    return this.#pending.size === 0;
  }

  /** Whether the message of this key was answered. */
  answered(key: string): boolean {
    return this.#done.has(key);
  }

  /** Messages without an answer. */
  get unanswered(): readonly Sending[] {
    return [...this.#pending.values()];
  }

  /** Where it stands in a room. */
  position(room: string): Place | undefined {
    return this.#listening.find((listening) => listening.room === room)?.position;
  }

  /** For the checker. */
  get streams(): Stream[] {
    return this.#listening.map(({ room, events }) => ({ client: this.id, room, events }));
  }

  /** For the checker. */
  get sendings(): Sending[] {
    return [...this.#done.values(), ...this.#pending.values()];
  }

  /** For the report of a drill that broke. */
  get testimony(): Testimony {
    const { id, node, connections, streams } = this;
    const often = (what: string, times: number): readonly string[] => Array.from({ length: times }, () => what);
    return {
      ...{ id, node, connections, streams },
      sinceMs: node === undefined ? this.#awaySinceMs : this.sinceMs,
      said: [...this.#done.values(), ...this.#pending.values()],
      notes: [
        ...this.faults,
        ...this.endings.map(({ node: of, code, reason }) => `end ${code} ${reason} at node ${of}`),
        ...[...this.turnedAway].flatMap(([what, times]) => often(`turned away: ${what}`, times)),
        ...[...this.refusals].flatMap(([what, times]) => often(`refused: ${what}`, times)),
      ],
    };
  }

  /** Connects, and comes back whenever the connection ends. */
  start(): void {
    this.#life = this.#live();
  }

  /** Says something in a room again and again, whether it is connected or not. */
  talk(room: string, pace: Pace): void {
    clearTimeout(this.#talks.get(room));
    const speak = (): void => {
      this.#talks.set(room, setTimeout(speak, this.#random.whole(pace.lowMs, pace.highMs)));
      if (this.#pending.size < PENDING_MOST) this.say(room);
    };
    this.#talks.set(room, setTimeout(speak, this.#random.whole(0, pace.highMs)));
  }

  /** Says nothing new in a room, or in any; what is pending goes on being tried. */
  hush(room?: string): void {
    for (const [of, timer] of this.#talks) {
      if (room !== undefined && of !== room) continue;
      clearTimeout(timer);
      this.#talks.delete(of);
    }
  }

  /** Cuts its own connection and comes back, to this node if it can be, else to whichever is chosen then. */
  reconnect(node?: number): void {
    this.#next = node;
    this.#own = this.#client !== undefined;
    this.#client?.socket.terminate();
  }

  /** Goes for good: without a word, or by DISCONNECT, which answers when its RECEIPT came. */
  async leave(how: "cut" | "disconnect"): Promise<void> {
    this.hush();
    this.#over = true;
    const client = this.#client;
    if (how === "disconnect") await client?.disconnect();
    else client?.socket.terminate();
    await this.#life;
  }

  async #live(): Promise<void> {
    while (!this.#over) {
      const door = this.#choose(this.#next);
      this.#next = undefined;
      try {
        const client = await StompClient.connected(door.wsUrl, tokenFor(this.id));
        this.#connected(client, door);
        if (this.#over) client.socket.terminate();
        const ending = await client.closed;
        if (!this.#over && !this.#own) this.endings.push({ ...ending, node: door.node });
        this.#own = false;
      } catch (error) {
        // Nobody there, or not yet: it tries elsewhere.
        const code = /CONNECT was refused: (\S+)/.exec((error as Error).message)?.[1] ?? "unreachable";
        this.turnedAway.set(code, (this.turnedAway.get(code) ?? 0) + 1);
      }
      if (this.#node !== undefined) this.#awaySinceMs = performance.now();
      this.#client = undefined;
      this.#node = undefined;
      if (!this.#over) await pause(this.#random.whole(BACK.lowMs, BACK.highMs));
    }
  }

  #connected(client: StompClient, door: Door): void {
    this.connections++;
    this.#client = client;
    this.#node = door.node;
    this.sinceMs = performance.now();
    client.onFrame = (frame) => this.#hear(frame);
    client.send("SUBSCRIBE", { id: "errors", destination: "/user/queue/errors" });
    for (const at of this.#listening.keys()) this.#subscribe(at);
    for (const message of this.#pending.values()) this.#transmit(message);
  }

  #subscribe(at: number): void {
    const { room, position, events } = this.#listening[at] as Listening;
    const from = position && { "after-offset": String(position.offset), "after-term": String(position.term) };
    events.push({ kind: "subscribe", after: position });
    const destination = `/topic/room.${room}`;
    this.#client?.send("SUBSCRIBE", { id: `sub-${at}`, destination, receipt: `s${at}`, ...from });
  }

  #hear(frame: StompFrame): boolean {
    const { command, headers } = frame;
    if (command === "RECEIPT") return this.#receipt(headers);
    if (command === "ERROR") this.faults.push(`${this.id}: ERROR ${headers.code} ${headers.message}`);
    if (command !== "MESSAGE") return true;
    if (headers.subscription === "errors") this.#refused(headers);
    else this.#shown(this.#listening[Number(headers.subscription?.slice("sub-".length))] as Listening, frame);
    return true;
  }

  /** False for those that somebody waits for. */
  #receipt(headers: StompFrame["headers"]): boolean {
    const id = headers["receipt-id"] ?? "";
    const listening = /^s\d+$/.test(id) ? this.#listening[Number(id.slice(1))] : undefined;
    if (listening) {
      if (listening.events.at(-1)?.kind !== "subscribe" || listening.position) return true;
      const head = placeOf(headers, "head-");
      listening.events.push({ kind: "head", head });
      listening.position = head;
      return true;
    }
    const message = this.#pending.get(id) ?? this.#done.get(id);
    if (!message) return false;
    this.receipts++;
    message.stored.push(placeOf(headers));
    message.answeredAtMs ??= performance.now();
    if (this.#pending.delete(id)) this.#done.set(id, message);
    return true;
  }

  #shown(listening: Listening, frame: StompFrame): void {
    const { headers } = frame;
    if (listening.events.length >= ENTRIES_MOST) throw new Error("A subscription's record overflowed.");
    if (headers.event === "resumed") {
      const recovered = headers.recovered === "true";
      const head = placeOf(headers, "head-");
      listening.events.push({ kind: "resumed", recovered, head });
      if (recovered) return;
      this.notRecovered++;
      listening.position = head;
    } else if (headers.event === "ended") {
      this.faults.push(`${this.id}: the subscription of ${listening.room} ended: ${headers.code}`);
    } else {
      const item = this.#ledger.take(frame);
      this.heard++;
      listening.events.push({ kind: "entry", item });
      listening.position = item;
      for (const listener of this.#ledger.listeners) listener(this, item, performance.now());
    }
  }

  /** Says something in a room once; answers its key. */
  say(room: string): string {
    const key = `${this.id}-${++this.#said}`;
    const order = (this.#orders.get(room) ?? 0) + 1;
    this.#orders.set(room, order);
    const body = `${key} in ${room}`;
    const message: Message = {
      room,
      sender: this.id,
      key,
      order,
      body,
      bodies: [digest(body)],
      stored: [],
      accepted: [],
      saidAtMs: performance.now(),
      answeredAtMs: undefined,
    };
    this.#pending.set(key, message);
    this.#transmit(message);
    if (this.#random.chance(TWICE)) this.#transmit(message);
    return key;
  }

  #transmit({ room, key, body }: Message): void {
    const destination = `/topic/room.${room}`;
    this.#client?.send("SEND", { destination, receipt: key, "client-message-id": key }, body);
  }

  #refused(headers: StompFrame["headers"]): void {
    const retryAfter = Number(headers["retry-after"] ?? RETRY_MS);
    const client = this.#client;
    const subscribe = /^s(\d+)$/.exec(headers["receipt-id"] ?? "")?.[1];
    const what = `${subscribe === undefined ? "SEND" : "SUBSCRIBE"} ${headers.code}`;
    this.refusals.set(what, (this.refusals.get(what) ?? 0) + 1);
    if (subscribe !== undefined) {
      setTimeout(() => client === this.#client && client && this.#subscribe(Number(subscribe)), retryAfter);
      return;
    }
    const message = this.#pending.get(headers["client-message-id"] ?? "");
    if (!message) return;
    // Later ones may have been taken meanwhile: its place among them is no longer promised.
    this.#pending.set(message.key, Object.assign(message, { order: undefined }));
    if (this.#waiting.has(message.key)) return;
    this.#waiting.add(message.key);
    setTimeout(() => {
      this.#waiting.delete(message.key);
      if (this.#pending.has(message.key)) this.#transmit(message);
    }, retryAfter);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
