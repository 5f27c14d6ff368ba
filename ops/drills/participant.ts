/**
 * One person in a drill, with `@stomp/stompjs` as their client: subscribes by position, sends under
 * their own message ids, sends again what was not receipted, and writes down everything for the checker.
 */
import { Client, type IMessage, type IStompSocket } from "@stomp/stompjs";
import WebSocket from "ws";
import type { Place, Sending, Stream, StreamEvent } from "./checker.ts";
import { call, tokenFor } from "./harness.ts";
import { digest, itemOf, placeOf } from "./items.ts";
import type { Random } from "./random.ts";
import type { Said, Testimony } from "./report.ts";

/** Messages without an answer, at most; beyond it the person waits. */
const PENDING_MOST = 50;

/** How many stay away for how long after their connection ended. */
const AWAY: Away = { share: 0.3, lowMs: 2_000, highMs: 8_000 };

/** Pause between two messages of a person, ms. */
const PACE: Pace = { lowMs: 20, highMs: 120 };

/** Pause before a refused SEND or a failed REST call is tried again, ms. */
const RETRY_MS = 100;

/** How long a person says nothing after a message, ms. */
export interface Pace {
  readonly lowMs: number;
  readonly highMs: number;
}

/** The share of ended connections after which a person stays away, and for how long, ms. */
export interface Away extends Pace {
  readonly share: number;
}

/** An answer to a message, as the person heard it. */
export interface Receipted {
  readonly room: string;
  readonly level: "stored" | "accepted";
  /** When the message was first said and when this answer came, by `performance.now()`. */
  readonly saidAtMs: number;
  readonly atMs: number;
}

/** Who a person is, and where and how they talk. */
export interface ParticipantOptions {
  readonly id: string;
  readonly rooms: readonly string[];
  readonly address: Address;
  readonly random: Random;
  readonly pace?: Pace;
  readonly away?: Away;
  /** Hears of every answer. */
  readonly onReceipt?: (receipted: Receipted) => void;
}

interface Message extends Said {
  answeredAtMs: number | undefined;
  readonly bodies: string[];
  readonly stored: Place[];
  readonly accepted: Place[];
  /** What is sent: first the body of the message, then bodies of deliberate repeats under the same key. */
  readonly payloads: (string | Uint8Array)[];
  readonly ackLevel: "stored" | "accepted";
}

interface Listening {
  readonly room: string;
  readonly events: StreamEvent[];
  position: Place | undefined;
}

/** What became of SENDs that were refused: code → how often. */
export type Refusals = Map<string, number>;

/** Where the server is now; the port stays the same over restarts. */
export interface Address {
  readonly url: string;
  readonly wsUrl: string;
}

/** A person who talks in some rooms until told to be quiet. */
export class Participant {
  readonly id: string;
  readonly refusals: Refusals = new Map();
  /** Faults that are none of the checker's: an ERROR frame, a REST answer that makes no sense. */
  readonly faults: string[] = [];
  connections = 0;
  notRecovered = 0;
  /** Entries that were shown to it. */
  heard = 0;
  readonly #rooms: readonly Listening[];
  readonly #address: Address;
  readonly #random: Random;
  readonly #pace: Pace;
  readonly #away: Away;
  readonly #onReceipt: (receipted: Receipted) => void;
  readonly #client: Client;
  readonly #pending = new Map<string, Message>();
  readonly #done: Message[] = [];
  readonly #orders = new Map<string, number>();
  /** SUBSCRIBEs without an answer: receipt → what is sent again when it is refused. */
  readonly #subscribing = new Map<string, () => void>();
  /** Keys of refused messages that wait for their next try. */
  readonly #waiting = new Set<string>();
  /** What goes over REST and has no answer. */
  readonly #posting = new Set<Message>();
  /** Since when it is connected or away, and how often a connection, or a try of one, ended with which code. */
  #sinceMs = performance.now();
  #there = false;
  readonly #ends = new Map<number, number>();
  /** How long to stay away before the next connection, ms. */
  #awayMs = 0;
  #sent = 0;
  #tries = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ParticipantOptions) {
    this.id = options.id;
    this.#address = options.address;
    this.#random = options.random;
    this.#pace = options.pace ?? PACE;
    this.#away = options.away ?? AWAY;
    this.#onReceipt = options.onReceipt ?? (() => undefined);
    // Half of them read each room from its beginning, half from now on.
    const origin = this.#random.chance(0.5) ? { offset: 0, term: 0 } : undefined;
    this.#rooms = options.rooms.map((room) => ({ room, events: [], position: origin }));
    this.#client = new Client({
      webSocketFactory: () => new WebSocket(options.address.wsUrl, ["v12.stomp"]) as unknown as IStompSocket,
      connectHeaders: { passcode: tokenFor(options.id) },
      reconnectDelay: 50 + this.#random.whole(0, 100),
      beforeConnect: () => this.#rest(),
      onConnect: () => this.#connected(),
      onWebSocketClose: ({ code }: { code: number }) => this.#closed(code),
      onStompError: (frame) => this.faults.push(`${this.id}: ERROR ${frame.headers.code} ${frame.headers.message}`),
      onUnhandledMessage: (message) =>
        this.faults.push(`${this.id}: a MESSAGE nobody asked for: ${message.headers.destination}`),
    });
  }

  /** Connects, and begins to talk. */
  start(): void {
    this.#client.activate();
    this.#speak();
  }

  /** Sends nothing new; what is pending goes on being tried. */
  hush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Whether every message was answered. */
  get settled(): boolean {
    return this.#pending.size === 0 && this.#posting.size === 0;
  }

  /** Where it stands in a room. */
  position(room: string): Place | undefined {
    return this.#rooms.find((listening) => listening.room === room)?.position;
  }

  /** Goes for good. */
  async stop(): Promise<void> {
    this.hush();
    await this.#client.deactivate();
  }

  /** For the checker. */
  get streams(): Stream[] {
    return this.#rooms.map(({ room, events }) => ({ client: this.id, room, events }));
  }

  /** For the checker. Where a SEND was refused or went over REST, order is not promised. */
  get sendings(): Sending[] {
    return [...this.#done, ...this.#pending.values()];
  }

  /** For the report of a drill that broke. */
  get testimony(): Testimony {
    const { id, connections, streams, faults } = this;
    const often = (words: string, times: number): readonly string[] => Array.from({ length: times }, () => words);
    const refused = [...this.refusals].flatMap(([code, times]) => often(`refused: ${code}`, times));
    const ends = [...this.#ends].flatMap(([code, times]) => often(`end ${code}`, times));
    return {
      ...{ id, connections, streams },
      node: this.#there ? 0 : undefined,
      sinceMs: this.#sinceMs,
      said: [...this.#done, ...this.#pending.values(), ...this.#posting],
      notes: [...faults, ...ends, ...refused],
    };
  }

  /** Some stay away long enough for their position to be known to the archive alone. */
  async #rest(): Promise<void> {
    const ms = this.#awayMs;
    this.#awayMs = 0;
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
  }

  #closed(code: number): void {
    this.#ends.set(code, (this.#ends.get(code) ?? 0) + 1);
    if (this.#there) this.#sinceMs = performance.now();
    this.#there = false;
  }

  #connected(): void {
    this.connections++;
    this.#sinceMs = performance.now();
    this.#there = true;
    const { share, lowMs, highMs } = this.#away;
    this.#awayMs = this.#random.chance(share) ? this.#random.whole(lowMs, highMs) : 0;
    this.#subscribing.clear();
    this.#client.subscribe("/user/queue/errors", (message) => this.#refused(message), { id: "errors" });
    for (const [at, listening] of this.#rooms.entries()) this.#subscribe(listening, `sub-${at}`);
    for (const message of this.#pending.values()) this.#transmit(message);
  }

  #subscribe(listening: Listening, id: string): void {
    const after = listening.position;
    const from = after ? { "after-offset": String(after.offset), "after-term": String(after.term) } : undefined;
    const receipt = `s${++this.#tries}`;
    listening.events.push({ kind: "subscribe", after });
    this.#subscribing.set(receipt, () => this.#subscribe(listening, id));
    this.#client.watchForReceipt(receipt, ({ headers }) => {
      this.#subscribing.delete(receipt);
      if (from) return;
      const head = placeOf(headers, "head-");
      listening.events.push({ kind: "head", head });
      listening.position ??= head;
    });
    const hear = (message: IMessage) => this.#hear(listening, message);
    this.#client.subscribe(`/topic/room.${listening.room}`, hear, { id, receipt, ...from });
  }

  #hear(listening: Listening, message: IMessage): void {
    const { event } = message.headers;
    if (event === "resumed") {
      const recovered = message.headers.recovered === "true";
      const head = placeOf(message.headers, "head-");
      listening.events.push({ kind: "resumed", recovered, head });
      if (recovered) return;
      this.notRecovered++;
      listening.position = head;
    } else if (event === "ended") {
      this.faults.push(`${this.id}: the subscription of ${listening.room} ended: ${message.headers.code}`);
    } else {
      const item = itemOf(message.headers, message.binaryBody);
      this.heard++;
      listening.events.push({ kind: "entry", item });
      listening.position = { offset: item.offset, term: item.term };
    }
  }

  /** Says something and comes back after a while. */
  #speak(): void {
    this.#timer = setTimeout(() => this.#speak(), this.#random.whole(this.#pace.lowMs, this.#pace.highMs));
    if (this.#pending.size >= PENDING_MOST) return;
    const { room } = this.#random.pick(this.#rooms);
    const key = `${this.id}-${++this.#sent}`;
    const payload = this.#random.chance(0.1) ? this.#random.bytes(this.#random.whole(1, 300)) : this.#words(key);
    if (this.#random.chance(0.05)) void this.#post(this.#message(room, key, { payload, ordered: false }));
    else this.#send(this.#message(room, key, { payload, ordered: true }));
  }

  #words(key: string): string {
    return `${key}: ${"Grüße, 你好, hello ".repeat(this.#random.whole(0, 12))}`;
  }

  #message(room: string, key: string, how: { payload: string | Uint8Array; ordered: boolean }): Message {
    const order = how.ordered ? (this.#orders.get(room) ?? 0) + 1 : undefined;
    if (order !== undefined) this.#orders.set(room, order);
    const ackLevel = this.#random.chance(0.1) ? "accepted" : "stored";
    return {
      saidAtMs: performance.now(),
      answeredAtMs: undefined,
      room,
      sender: this.id,
      key,
      order,
      bodies: [digest(how.payload)],
      payloads: [how.payload],
      stored: [],
      accepted: [],
      ackLevel,
    };
  }

  #send(message: Message): void {
    if (this.#random.chance(0.05)) {
      const other = `${message.key}, said otherwise`;
      message.payloads.push(other);
      message.bodies.push(digest(other));
    }
    this.#pending.set(message.key, message);
    if (this.#client.connected) this.#transmit(message);
  }

  #transmit(message: Message): void {
    for (const payload of message.payloads) {
      const receipt = `m${++this.#tries}`;
      const level = message.ackLevel === "accepted" ? { "ack-level": "accepted" } : {};
      this.#client.watchForReceipt(receipt, ({ headers }) => this.#answered(message, placeOf(headers)));
      this.#client.publish({
        destination: `/topic/room.${message.room}`,
        headers: { receipt, "client-message-id": message.key, ...level },
        ...(typeof payload === "string" ? { body: payload } : { binaryBody: payload }),
      });
    }
  }

  #answered(message: Message, place: Place): void {
    message[message.ackLevel].push(place);
    this.#tell(message, message.ackLevel);
    if (this.#pending.delete(message.key)) this.#done.push(message);
  }

  #tell(message: Message, level: "stored" | "accepted"): void {
    const { room, saidAtMs } = message;
    const atMs = performance.now();
    message.answeredAtMs ??= atMs;
    this.#onReceipt({ room, level, saidAtMs, atMs });
  }

  #refused({ headers }: IMessage): void {
    const code = headers.code ?? "";
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    if (/queue-full|store-unavailable/.test(code) && !(Number(headers["retry-after"]) > 0))
      this.faults.push(`${this.id}: refused for now, and not told when to come again: ${JSON.stringify(headers)}`);
    const receipt = headers["receipt-id"] ?? "";
    if (this.#subscribing.has(receipt)) this.#subscribeLater(receipt, headers["retry-after"]);
    const message = this.#pending.get(headers["client-message-id"] ?? "");
    if (!message) return;
    // Later ones may have been taken meanwhile: its place among them is no longer promised.
    this.#pending.set(message.key, Object.assign(message, { order: undefined }));
    // One try for all that was refused under this key.
    if (this.#waiting.has(message.key)) return;
    this.#waiting.add(message.key);
    const again = (): void => {
      this.#waiting.delete(message.key);
      if (this.#client.connected && this.#pending.has(message.key)) this.#transmit(message);
    };
    setTimeout(again, Number(headers["retry-after"] ?? RETRY_MS));
  }

  /** Asks again for a subscription that was refused for now, on the same connection or not at all. */
  #subscribeLater(receipt: string, retryAfter: string | undefined): void {
    const again = (): void => {
      const subscribe = this.#subscribing.get(receipt);
      if (!this.#subscribing.delete(receipt) || !this.#client.connected) return;
      subscribe?.();
    };
    setTimeout(again, Number(retryAfter ?? RETRY_MS));
  }

  /** The same over REST, again and again until it is answered. */
  async #post(message: Message): Promise<void> {
    this.#posting.add(message);
    const [payload] = message.payloads;
    const body =
      typeof payload === "string" ? { body: payload } : { bodyBase64: Buffer.from(payload ?? []).toString("base64") };
    for (;;) {
      try {
        const options = { token: tokenFor(this.id), body: { ...body, clientMessageId: message.key } };
        const answer = await call<Place>(this.#address, `POST /api/rooms/${message.room}/messages`, options);
        if (answer.status === 201) {
          message.stored.push({ offset: answer.body.offset, term: answer.body.term });
          this.#tell(message, "stored");
          break;
        }
        if (answer.status < 500 && answer.status !== 429) {
          this.faults.push(`${this.id}: POST was answered ${answer.status} ${JSON.stringify(answer.body)}`);
          break;
        }
      } catch {
        // The server is away; the same message goes again under the same id.
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.#done.push(message);
    this.#posting.delete(message);
  }
}
