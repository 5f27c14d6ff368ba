/**
 * One socket's STOMP session: frames in, frames out. The actor of the connection decides; this translates.
 * The order on the wire is the order of the calls; receipts of a turn leave in one write at its end.
 */
import type uWS from "uWebSockets.js";
import { type CodeWord, codeOf, Refusal } from "../../actors/codes.ts";
import type { Connection } from "../../actors/connection.ts";
import { type Entry, messageId, type Position } from "../../actors/entry.ts";
import type { About, Fanout, Link, Subscription } from "../../actors/link.ts";
import type { Edge, Keeper } from "../edge.ts";
import type { Sender } from "../fanout.ts";
import { addressText } from "../http.request.ts";
import { handleFrame } from "./commands.ts";
import { CONNECTED_AS, encodeFrame, encodeHeader, HEARTBEAT } from "./encoder.ts";
import type { Version } from "./frame.ts";
import { controlFrame, controlText, type Dialect } from "./message.ts";
import { FrameParser } from "./parser.ts";

/** Unsent bytes beyond which a replay waits for the socket. */
const CONGESTED_BYTES = 65_536;

/** Frames that wait in an outbox at most for a RECEIPT to come. */
const OUTBOX_FRAMES = 64;

/** A session. Small on purpose: there are hundreds of thousands. */
export class Session implements Link, Sender, Keeper {
  readonly edge: Edge;
  readonly connection: Connection;
  readonly parser: FrameParser;
  version: Version = "1.2";
  /** Agreed heart-beats, as CONNECTED says them. */
  heartbeat = "0,0";
  /** The id of the connection. */
  readonly id: string;
  readonly #forwarded: string | undefined;
  #ws: uWS.WebSocket<unknown> | undefined;
  /** Frames that leave at the end of the turn. */
  #outbox: (string | Buffer)[] = [];
  /** The outbox leaves at the end of this turn, and not only in time. */
  #due = false;
  keptIn = 0;
  /** Bytes from the socket are being read: what is sent meanwhile leaves in one write, as the socket is corked. */
  #reading = false;
  #drained: (() => void)[] | undefined;
  /** The highest offset acknowledged in this turn, by subscription. */
  #acks: Map<Subscription, number> | undefined;
  /** The socket dropped a message: it reads too slowly and is being closed. */
  slow = false;

  /** `forwarded`: the client's address as trusted proxies say it, where they do. */
  constructor(edge: Edge, ws: uWS.WebSocket<unknown>, forwarded: string | undefined) {
    this.edge = edge;
    this.#ws = ws;
    this.#forwarded = forwarded;
    this.id = edge.newId();
    this.parser = new FrameParser(edge.parserOptions);
    this.connection = edge.node.open(this, this);
  }

  /** The client's address; empty when it was the socket's and that is gone. Read only when somebody asks. */
  get address(): string {
    if (this.#forwarded !== undefined) return this.#forwarded;
    return this.#ws ? addressText(this.#ws.getRemoteAddressAsText()) : "";
  }

  /** Bytes from the socket; valid only during the call. */
  receive(bytes: Uint8Array): void {
    const { node } = this.edge;
    this.connection.seenAt = node.clock.monotonic();
    node.counters.bytesIn += bytes.byteLength;
    this.#reading = true;
    try {
      this.parser.push(bytes, (frame) => handleFrame(this, frame));
    } catch (error) {
      this.failed(error, { receipt: this.parser.receipt });
    }
    this.#reading = false;
  }

  /** A fault of the client's ends its connection; one of ours too, and is logged. */
  failed(error: unknown, about: About): void {
    this.parser.stop();
    if (error instanceof Refusal) return this.connection.fault(error, about);
    this.edge.node.log.error({ connection: this.connection.id, err: error }, "a frame met a fault of ours");
    this.connection.fault(new Refusal("internal"), about);
  }

  /** Runs a frame's work; a refusal of the protocol ends the connection with the frame's receipt named. */
  guard(about: About, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.failed(error, about);
    }
  }

  /** The socket is gone. */
  closed(): void {
    this.#ws = undefined;
    this.parser.stop();
    this.#outbox = [];
    this.connection.lost();
    this.drain();
  }

  /** The socket has taken some of what was unsent; who waits is told once little of it is left. */
  drain(): void {
    if (this.congested()) return;
    const waiting = this.#drained;
    this.#drained = undefined;
    if (waiting) for (const resolve of waiting) resolve();
  }

  /** Notes an ACK nobody waits for; of those of one turn only the highest of each subscription says anything. */
  acknowledge(subscription: Subscription, offset: number): void {
    if (!this.#acks) {
      this.#acks = new Map();
      this.edge.flushLater(this);
    }
    this.#acks.set(subscription, Math.max(offset, this.#acks.get(subscription) ?? 0));
  }

  #markDelivered(): void {
    const acks = this.#acks;
    if (!acks) return;
    this.#acks = undefined;
    const { connection, edge } = this;
    for (const [{ subject }, offset] of acks) {
      edge.node.mark(subject, connection.user, { kind: "delivered", offset }).catch((error: unknown) => {
        const refusal = error instanceof Refusal ? error : new Refusal("store-unavailable", undefined, 1_000);
        connection.refuse(refusal, {});
      });
    }
  }

  /** Does and sends what waits for the end of the turn. */
  flush(): void {
    this.#due = false;
    this.keptIn = 0;
    this.#markDelivered();
    const frames = this.#outbox;
    if (frames.length === 0) return;
    this.#outbox = [];
    this.#write(frames);
  }

  #write(frames: readonly (string | Buffer)[]): void {
    const ws = this.#ws;
    if (!ws) return;
    if (frames.length === 1) {
      ws.send(frames[0] as string | Buffer, false);
      return;
    }
    ws.cork(() => {
      for (const frame of frames) ws.send(frame, false);
    });
  }

  #now(frame: string | Buffer): void {
    this.flush();
    this.#ws?.send(frame, false);
  }

  // Frames without a body are given to the socket as text, which costs it less than bytes do.
  connected(user: string): void {
    const { banner, nodeLine } = this.edge;
    this.#now(
      `CONNECTED\nversion:${this.version}\nheart-beat:${this.heartbeat}\n${banner}session:${this.id}\n` +
        `${encodeHeader("user-name", user, CONNECTED_AS)}${nodeLine}\n\0`,
    );
  }

  receipt(id: string, about?: { readonly entry?: Entry; readonly head?: Position }): void {
    if (!this.#ws) return;
    let frame = `RECEIPT\n${encodeHeader("receipt-id", id, this.version)}`;
    const entry = about?.entry;
    if (entry) {
      const { room, term, offset } = entry;
      frame += `message-id:${messageId(room, term, offset)}\nroom:${room}\noffset:${offset}\nterm:${term}\n`;
    }
    const head = about?.head;
    if (head) frame += `head-offset:${head.offset}\nhead-term:${head.term}\n`;
    frame += "\n\0";
    if (this.#reading) return this.#now(frame);
    if (!this.#due) this.edge.flushLater(this);
    this.#due = true;
    this.#outbox.push(frame);
  }

  get fanout(): Fanout {
    return this.edge.fanout;
  }

  publish(topic: Uint8Array, frame: Buffer): boolean {
    const ws = this.#ws;
    if (!ws?.isSubscribed(topic)) return false;
    ws.publish(topic, frame, false);
    if (this.#outbox.push(frame) >= OUTBOX_FRAMES) this.flush();
    else if (this.#outbox.length === 1) this.edge.flushInTime(this);
    return true;
  }

  fault(refusal: Refusal, about: About): void {
    this.parser.stop();
    const headers = [
      "message",
      codeOf(refusal.code).sentence,
      ...refusalHeaders(refusal, about),
      "content-type",
      "text/plain",
    ];
    if (refusal.code === "version-unsupported") headers.push("version", "1.2,1.1,1.0");
    this.#now(encodeFrame("ERROR", headers, Buffer.from(refusal.message), this.version));
    this.#end(refusal.code);
  }

  refused(errors: Subscription, refusal: Refusal, about: About): void {
    const headers = ["event", "refused", ...refusalHeaders(refusal, about), "content-type", "text/plain"];
    this.#now(controlFrame(headers, this.#dialect(errors), Buffer.from(refusal.message)));
  }

  resumed(subscription: Subscription, recovered: boolean, head: Position): void {
    const lines =
      `event:resumed\nroom:${subscription.subject}\nrecovered:${recovered}\n` +
      `head-offset:${head.offset}\nhead-term:${head.term}\n`;
    this.#now(controlText(lines, this.#dialect(subscription)));
  }

  replay(subscription: Subscription, entries: readonly Entry[]): void {
    this.flush();
    const ws = this.#ws;
    if (!ws) return;
    const dialect = this.#dialect(subscription);
    ws.cork(() => this.edge.replays.each(entries, dialect, (frame, entry) => ws.send(frame, !entry.text)));
  }

  ended(subscription: Subscription, code: CodeWord): void {
    const lines = `event:ended\nroom:${subscription.subject}\ncode:${code}\n`;
    this.#now(controlText(lines, this.#dialect(subscription)));
  }

  #dialect(subscription: Subscription): Dialect {
    return {
      subscription: subscription.id,
      version: this.version,
      acked: subscription.ack !== "auto",
      destination: subscription.destination,
    };
  }

  attach(subscription: Subscription): void {
    if (this.#ws) this.edge.fanout.attach(this.#ws, subscription, this.version);
  }

  detach(subscription: Subscription): void {
    this.edge.fanout.detach(this.#ws, subscription, this.version);
  }

  congested(): boolean {
    return this.#ws !== undefined && this.#ws.getBufferedAmount() > CONGESTED_BYTES;
  }

  drained(): Promise<void> {
    if (!this.#ws || this.#ws.getBufferedAmount() === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained = this.#drained ?? [];
      this.#drained.push(resolve);
    });
  }

  beat(): void {
    this.#ws?.send(HEARTBEAT, false);
  }

  close(code: CodeWord): void {
    this.flush();
    this.#end(code);
  }

  #end(code: CodeWord): void {
    const ws = this.#ws;
    if (!ws) return;
    this.parser.stop();
    const { close } = codeOf(code);
    if (close === 1006) ws.close();
    else ws.end(close, code);
  }
}

function refusalHeaders(refusal: Refusal, about: About): string[] {
  const headers: string[] = ["code", refusal.code];
  if (about.receipt !== undefined) headers.push("receipt-id", about.receipt);
  if (about.clientMessageId !== undefined) headers.push("client-message-id", about.clientMessageId);
  if (refusal.retryAfterMs !== undefined) headers.push("retry-after", String(refusal.retryAfterMs));
  return headers;
}
