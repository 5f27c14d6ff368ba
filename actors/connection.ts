/**
 * The actor of one client connection: who it is, what it may do now, what it waits for. Knows no wire
 * format: the edge turns frames into these calls and what is told to its `Link` into frames.
 */
import { type CodeWord, codeOf, Refusal } from "./codes.ts";
import { type ConnectionEvent, connectionTable } from "./connection.machine.ts";
import { countCode } from "./counters.ts";
import type { Entry } from "./entry.ts";
import type { Claims } from "./identity.ts";
import type { About, Link, Subscription } from "./link.ts";
import type { Node } from "./node.ts";
import { type Draft, posting } from "./posting.ts";
import type { From } from "./resume.ts";
import { type CommitGroup, SendReply, type SendRequest } from "./sends.ts";
import { endSubscription, openSubscription, type SubscribeRequest } from "./subscribe.ts";
import { Transactions } from "./transactions.ts";

const READY = connectionTable.state("ready");

/** One connection. Small on purpose: there are hundreds of thousands. */
export class Connection {
  readonly id: string;
  readonly link: Link;
  readonly node: Node;
  readonly openedAt: number;
  claims: Claims | undefined;
  /** Token given at the handshake; CONNECT's own wins. */
  handshakeToken: string | undefined;
  subscriptions: Subscription[] = [];
  /** SENDs whose outcome is not known yet. */
  pending = 0;
  /** Monotonic ms of the last sign of life. */
  seenAt: number;
  /** ms of silence after which the connection ends; 0 for never. Set by the edge after CONNECT. */
  silenceMs = 0;
  /** ms between our heart-beats; 0 for none. Set by the edge after CONNECT. */
  beatMs = 0;
  /** Monotonic ms of the next one; until CONNECT, of the opening. */
  beatAt = 0;
  /** The next connection of the same user, as the registry links them. */
  nextOfUser: Connection | undefined;
  readonly #origin: { readonly address: string };
  #state = connectionTable.initial;
  #tokens: number;
  #refilledAt: number;
  #transactions: Transactions | undefined;
  /** Runs when nothing is pending any more. */
  #settled: (() => void)[] | undefined;

  constructor(node: Node, link: Link, origin: { readonly id: string; readonly address: string }) {
    this.node = node;
    this.link = link;
    this.id = origin.id;
    this.#origin = origin;
    this.openedAt = node.clock.now();
    this.seenAt = node.clock.monotonic();
    this.beatAt = this.seenAt;
    this.#tokens = node.limits.sendsBurst;
    this.#refilledAt = this.seenAt;
  }

  /** The client's address, as the edge says it. */
  get address(): string {
    return this.#origin.address;
  }

  /** The state by name, for tests and administrators. */
  get state(): string {
    return connectionTable.name(this.#state);
  }

  get ready(): boolean {
    return this.#state === READY;
  }

  get user(): string {
    return this.claims?.sub ?? "";
  }

  /** Moves the machine; false when the event is not allowed in this state. */
  #step(event: ConnectionEvent): boolean {
    const next = connectionTable.next(this.#state, connectionTable.event(event));
    if (next < 0) return false;
    this.#state = next;
    return true;
  }

  /** CONNECT: a signed token is enough; the directory is not asked. Throws the refusal that ends the connection. */
  connect(token: string | undefined): Claims {
    if (this.claims || !this.#step("connect")) throw new Refusal("wrong-state", "The connection is open already.");
    const given = token || this.handshakeToken || "";
    this.handshakeToken = undefined;
    this.claims = this.node.verify(given);
    this.#step("accepted");
    this.node.signedIn(this);
    return this.claims;
  }

  /** A fresh token for the same user; a bad one is refused and the old holds (design 3, Token). */
  refresh(token: string, about: About): void {
    this.attempt(about, () => {
      const claims = this.node.verify(token);
      if (claims.sub !== this.user) throw new Refusal("subject-mismatch");
      this.claims = claims;
      this.receipt(about.receipt);
    });
  }

  /** Refuses a frame that is not allowed before CONNECT or after DISCONNECT. */
  requireReady(): void {
    if (this.#state !== READY) throw new Refusal("wrong-state", `The connection is ${this.state}.`);
  }

  subscribe(request: SubscribeRequest, from: From): void {
    if (this.subscriptions.some((other) => other.id === request.id)) throw new Refusal("duplicate-subscription");
    this.attempt({ receipt: request.receipt }, () => {
      if (this.subscriptions.length >= this.node.limits.subscriptions) throw new Refusal("too-many-subscriptions");
      openSubscription(this, request, from);
    });
  }

  /** Ends a subscription; its RECEIPT follows the last MESSAGE. An unknown id is nothing to do. */
  unsubscribe(id: string, receipt: string | undefined): void {
    const subscription = this.subscriptions.find((other) => other.id === id);
    if (subscription) endSubscription(this, subscription);
    this.receipt(receipt);
  }

  /** SEND of a message. */
  send(request: SendRequest, group?: CommitGroup): void {
    this.node.counters.received++;
    const refusal = this.#refusalNow();
    if (refusal) {
      const { receipt, clientMessageId } = request;
      return this.refuse(refusal, { receipt, clientMessageId });
    }
    this.pending++;
    group?.add();
    const item = posting(this.#draft(request), new SendReply(this, request, group));
    if ("room" in request.to) this.node.post(request.to.room, item);
    else this.node.postPrivate({ from: this.claims as Claims, to: request.to.user }, item);
  }

  /** Why a SEND is refused now, whatever it says. */
  #refusalNow(): Refusal | undefined {
    const { sendsPerSecond, pendingSends } = this.node.limits;
    if (!this.#takeToken()) return new Refusal("rate-limited", undefined, Math.ceil(1_000 / sendsPerSecond));
    if (this.pending < pendingSends) return undefined;
    return new Refusal("queue-full", "Too many SENDs of this connection wait.", 1_000);
  }

  #draft(request: SendRequest): Draft {
    const claims = this.claims as Claims;
    return {
      event: "message",
      sender: claims.sub,
      senderName: claims.name,
      key: request.clientMessageId === undefined ? this.node.edgeKey() : `c/${request.clientMessageId}`,
      ref: 0,
      contentType: request.contentType,
      headers: request.headers,
      body: request.body,
      text: request.text,
    };
  }

  /** The token bucket of SENDs, per connection. */
  #takeToken(): boolean {
    const { sendsPerSecond, sendsBurst } = this.node.limits;
    if (sendsPerSecond === 0) return true;
    const now = this.node.clock.monotonic();
    this.#tokens = Math.min(sendsBurst, this.#tokens + ((now - this.#refilledAt) * sendsPerSecond) / 1_000);
    this.#refilledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Takes one SEND's worth from the bucket for a signal; false when it is empty and the signal is dropped. */
  takeSignalToken(): boolean {
    return this.#takeToken();
  }

  /** Runs a frame's work; a refusal answers the frame and nothing else. */
  attempt(about: About, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.failed(error, about);
    }
  }

  /** A frame's work threw: a refusal answers the frame, anything else is thrown on. */
  failed(error: unknown, about: About): void {
    if (!(error instanceof Refusal)) throw error;
    this.refuse(error, about);
  }

  /** Refuses a sound frame: on the errors subscription where there is one, else by ERROR and close (design 3). */
  refuse(refusal: Refusal, about: About): void {
    if (this.#state !== READY && this.state !== "draining") return;
    const errors = this.subscriptions.find((other) => other.kind === "errors");
    if (!errors) return this.fault(refusal, about);
    countCode(this.node.counters.refusals, refusal.code);
    this.link.refused(errors, refusal, about);
  }

  /** A fault that ends the connection. */
  fault(refusal: Refusal, about: About): void {
    if (!this.#step("fault")) return;
    countCode(this.node.counters.refusals, refusal.code);
    this.#release();
    this.link.fault(refusal, about);
  }

  /** Sends a receipt, if one was asked for. */
  receipt(id: string | undefined, about?: { entry?: Entry }): void {
    if (id === undefined) return;
    this.node.counters.receipts++;
    this.link.receipt(id, about);
  }

  /** The bounded transactions of this connection. */
  get transactions(): Transactions {
    this.#transactions ??= new Transactions(this);
    return this.#transactions;
  }

  /** One SEND less is pending. */
  settle(): void {
    this.pending--;
    if (this.pending > 0 || !this.#settled) return;
    const waiting = this.#settled;
    this.#settled = undefined;
    for (const run of waiting) run();
  }

  /** DISCONNECT: the RECEIPT comes after the outcome of all before it, then close 1000. */
  disconnect(receipt: string | undefined): void {
    if (!this.#step("disconnect")) return;
    const finish = (): void => {
      if (!this.#step("settled")) return;
      this.receipt(receipt);
      this.#release();
      this.link.close("done");
    };
    if (this.pending === 0) finish();
    else this.#settled = [...(this.#settled ?? []), finish];
  }

  /** Ends the connection from our side with a coded goodbye. */
  end(code: CodeWord, detail?: string): void {
    if (codeOf(code).retry === "login" || codeOf(code).close === 1002) return this.fault(new Refusal(code, detail), {});
    if (!this.#step("fault")) return;
    countCode(this.node.counters.closes, code);
    this.#release();
    this.link.close(code);
  }

  /** The socket is gone. */
  lost(): void {
    this.#step("lost");
    this.#release();
  }

  #release(): void {
    for (const subscription of [...this.subscriptions]) endSubscription(this, subscription);
    this.#transactions = undefined;
    this.node.signedOut(this);
  }
}
