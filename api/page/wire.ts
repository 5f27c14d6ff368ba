/**
 * The page's STOMP connection. One stompjs client per connection and never its own reconnect: a dead
 * client's late events cannot be taken for the living one's, and the pause before the next try has jitter
 * and can be shown. What to subscribe is the caller's to say, each time the wire is up.
 */
import { Client, type IMessage, TickerStrategy } from "@stomp/stompjs";
import { numberOf, type Position } from "./shapes.ts";

/** State of the connection. */
export type WireState =
  | { readonly kind: "off" }
  | { readonly kind: "connecting" }
  /** Next try at `retryAt`, ms since 1970. */
  | { readonly kind: "waiting"; readonly retryAt: number }
  /** `node`: which of many serves this page. */
  | { readonly kind: "up"; readonly node: string };

/** Why a connection ended. */
export interface Goodbye {
  /** The `code` of the ERROR frame, or empty. */
  readonly code: string;
  /** The `receipt-id` of the ERROR frame, or empty: which frame was at fault. */
  readonly receipt: string;
  /** The WebSocket close code. */
  readonly close: number;
}

/** An end of which nothing was heard. */
const SILENT: Goodbye = Object.freeze({ code: "", receipt: "", close: 1006 });

/** What the wire tells. */
export interface WireEvents {
  state(state: WireState): void;
  /** An access token for CONNECT. A rejection counts as a failed try, unless `stop` was called. */
  token(): Promise<string>;
  /** CONNECTED came. */
  up(): void;
  /** The connection ended, or could not be made. */
  down(goodbye: Goodbye): void;
  /** A MESSAGE of `/queue/user.{id}`. */
  notice(message: IMessage): void;
  /** A MESSAGE of `/user/queue/errors`. */
  refused(message: IMessage): void;
}

/** What a watched room tells. */
export interface RoomEvents {
  message(message: IMessage): void;
  signal(message: IMessage): void;
}

/** Pauses between tries, ms. */
export const BACKOFF = Object.freeze({ first: 500, most: 20_000 });

/** The pause before try number `attempt` (from 0): doubling, with jitter over its upper half. `random` in [0, 1). */
export function pauseMs(attempt: number, random: number): number {
  const whole = Math.min(BACKOFF.most, BACKOFF.first * 2 ** Math.min(attempt, 16));
  return Math.round(whole / 2 + (whole / 2) * random);
}

const STEADY_MS = 5_000; // a connection that lived this long starts the pauses anew
const CONNECT_MS = 10_000; // from the first byte to CONNECTED

// Fixed ids: all pages share the server's (room, subscription id) topics, and it encodes once for all of them.
const IDS = Object.freeze({ errors: "sub-0", user: "sub-1", room: "sub-2", signals: "sub-3" });

/** The connection of a signed-in user. */
export class Wire {
  readonly #url: string;
  readonly #events: WireEvents;
  #user: string | undefined;
  #client: Client | undefined;
  #up = false;
  #upAt = 0;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #room: string | undefined;

  constructor(url: string, events: WireEvents) {
    this.#url = url;
    this.#events = events;
  }

  /** Whether frames can be sent. */
  get up(): boolean {
    return this.#up;
  }

  /** The room that is watched on this connection. */
  get watched(): string | undefined {
    return this.#room;
  }

  /** Connects, and stays connected until `stop`. */
  start(user: string): void {
    this.stop();
    this.#user = user;
    this.#attempt = 0;
    void this.#connect();
  }

  /** Says goodbye and stays away. */
  stop(): void {
    this.#user = undefined;
    const client = this.#release();
    if (client !== undefined) void client.deactivate();
    this.#events.state({ kind: "off" });
  }

  /** Tries at once instead of at the end of the pause. */
  hurry(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void this.#connect();
  }

  /** Gives the connection up at once, as when the browser says it is offline; tries follow. */
  drop(): void {
    if (this.#client !== undefined) this.#lost(SILENT);
  }

  async #connect(): Promise<void> {
    const user = this.#user;
    if (user === undefined) return;
    this.#events.state({ kind: "connecting" });
    const client = new Client({
      brokerURL: this.#url,
      reconnectDelay: 0,
      connectionTimeout: CONNECT_MS,
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 10_000,
      heartbeatStrategy: TickerStrategy.Worker, // hidden tabs slow their own timers down
      discardWebsocketOnCommFailure: true,
    });
    this.#client = client;
    let token: string;
    try {
      token = await this.#events.token();
    } catch {
      if (this.#client === client) this.#lost(SILENT);
      return;
    }
    if (this.#client !== client) return;
    client.connectHeaders = { passcode: token };
    let code = "";
    let receipt = "";
    client.onStompError = ({ headers }) => {
      code = headers["code"] ?? "";
      receipt = headers["receipt-id"] ?? "";
    };
    client.onWebSocketClose = (event: { code?: number }) => {
      if (this.#client === client) this.#lost({ code, receipt, close: event.code ?? SILENT.close });
    };
    client.onConnect = (frame) => {
      if (this.#client === client) this.#connected(client, user, frame.headers["node"] ?? "");
    };
    client.activate();
  }

  #connected(client: Client, user: string, node: string): void {
    this.#up = true;
    this.#upAt = Date.now();
    const heard = (tell: (message: IMessage) => void) => (message: IMessage) => {
      if (this.#client === client) tell(message);
    };
    client.subscribe("/user/queue/errors", heard(this.#events.refused), { id: IDS.errors });
    client.subscribe(`/queue/user.${user}`, heard(this.#events.notice), { id: IDS.user });
    this.#events.state({ kind: "up", node });
    this.#events.up();
  }

  #lost(goodbye: Goodbye): void {
    if (this.#up && Date.now() - this.#upAt >= STEADY_MS) this.#attempt = 0;
    const client = this.#release();
    if (client !== undefined) void client.deactivate({ force: true });
    this.#events.down(goodbye);
    if (this.#user === undefined) return;
    const pause = pauseMs(this.#attempt++, Math.random());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#connect();
    }, pause);
    this.#events.state({ kind: "waiting", retryAt: Date.now() + pause });
  }

  #release(): Client | undefined {
    const client = this.#client;
    this.#client = undefined;
    this.#up = false;
    this.#room = undefined;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    return client;
  }

  /** Subscribes to a room's log after `position`, and to its signals, instead of the room watched before. */
  watch(room: string, position: Position, events: RoomEvents): void {
    const client = this.#client;
    if (client === undefined || !this.#up) return;
    this.unwatch();
    this.#room = room;
    const log = `/topic/room.${room}`;
    const heard = (destination: string, tell: (message: IMessage) => void) => (message: IMessage) => {
      // The id may just have belonged to another room.
      const from = message.headers["destination"] ?? destination;
      if (this.#client === client && this.#room === room && from === destination) tell(message);
    };
    client.subscribe(`${log}.signals`, heard(`${log}.signals`, events.signal), {
      id: IDS.signals,
      receipt: `signals.${room}`,
    });
    client.subscribe(log, heard(log, events.message), {
      id: IDS.room,
      receipt: `watch.${room}`,
      "after-offset": String(position.offset),
      "after-term": String(position.term),
    });
  }

  /** Leaves the room that is watched, if any. */
  unwatch(): void {
    if (this.#room === undefined) return;
    this.#room = undefined;
    this.#client?.unsubscribe(IDS.room);
    this.#client?.unsubscribe(IDS.signals);
  }

  /** Sends a message to a room; `stored` is told its offset by the RECEIPT. False when the wire is down. */
  send(room: string, message: { id: string; body: string }, stored: (offset: number) => void): boolean {
    const client = this.#client;
    if (client === undefined || !this.#up) return false;
    const receipt = `send.${message.id}`;
    client.watchForReceipt(receipt, (frame) => stored(numberOf(frame.headers["offset"])));
    client.publish({
      destination: `/topic/room.${room}`,
      body: message.body,
      headers: { receipt, "client-message-id": message.id, "content-type": "text/plain;charset=utf-8" },
    });
    return true;
  }

  /** Sends JSON to an `/app` destination, without a receipt. Nothing happens when the wire is down. */
  tell(destination: string, body: object): void {
    if (!this.#up) return;
    const headers = { "content-type": "application/json" };
    this.#client?.publish({ destination, body: JSON.stringify(body), headers });
  }

  /** Hands the connection a newer access token of the same user. */
  renew(token: string): void {
    if (!this.#up) return;
    this.#client?.publish({ destination: "/app/auth.refresh", headers: { Authorization: `Bearer ${token}` } });
  }
}
