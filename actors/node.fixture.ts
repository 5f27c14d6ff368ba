/** For tests: a whole node over in-memory backends on a simulated clock, and clients that keep what they are told. */
import { Buffer } from "node:buffer";
import { MemoryArchive } from "./archive.memory.ts";
import { type MemoryBus, MemoryHub } from "./bus.memory.ts";
import type { Notice, Signal } from "./bus.ts";
import type { Caller, NewMessage } from "./chat.ts";
import { SimulatedClock } from "./clock.ts";
import { type CodeWord, Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import type { Entry, Position } from "./entry.ts";
import type { Claims } from "./identity.ts";
import { MemoryLeases, MemoryLeaseTable } from "./leases.memory.ts";
import { LIMITS, type Limits } from "./limits.ts";
import type { About, Fanout, Link, Subscription, SubscriptionKind } from "./link.ts";
import { SILENT } from "./log.ts";
import { ChatService } from "./messages.ts";
import { type Faults, faultyArchive, faultyBus, MortalClock, seeded, type Witness } from "./node.fixture.faults.ts";
import { Node } from "./node.ts";
import type { From } from "./resume.ts";
import { RoutedChat } from "./routed.ts";
import { GENERAL } from "./service.ts";

/** What a client was told, in order. */
export type Told =
  | { readonly kind: "connected" }
  | {
      readonly kind: "receipt";
      readonly id: string;
      readonly entry: Entry | undefined;
      readonly head: Position | undefined;
    }
  | { readonly kind: "fault"; readonly code: CodeWord; readonly receipt: string | undefined }
  | {
      readonly kind: "refused";
      readonly code: CodeWord;
      readonly receipt: string | undefined;
      readonly retryAfterMs: number | undefined;
    }
  | { readonly kind: "resumed"; readonly on: string; readonly recovered: boolean; readonly head: Position }
  | { readonly kind: "entry"; readonly on: string; readonly entry: Entry; readonly replayed: boolean }
  | { readonly kind: "signal"; readonly on: string; readonly signal: Signal }
  | { readonly kind: "notice"; readonly on: string; readonly notice: Notice }
  | { readonly kind: "ended"; readonly on: string; readonly code: CodeWord }
  | { readonly kind: "beat" }
  | { readonly kind: "closed"; readonly code: CodeWord };

/** Native subscriptions as sockets have them: a publish reaches those that are attached at the time, in order. */
export class LocalFanout implements Fanout {
  readonly #attached = new Map<Subscription, Client>();

  attach(client: Client, subscription: Subscription): void {
    this.#attached.set(subscription, client);
  }

  detach(subscription: Subscription): void {
    this.#attached.delete(subscription);
  }

  /** Subscriptions attached now. */
  get size(): number {
    return this.#attached.size;
  }

  *#of(kind: SubscriptionKind, subject: string): Generator<readonly [Client, string]> {
    for (const [one, client] of this.#attached) {
      if (one.kind === kind && one.subject === subject) yield [client, one.id];
    }
  }

  entries(room: string, entries: readonly Entry[]): number {
    let deliveries = 0;
    for (const [client, on] of this.#of("log", room)) {
      for (const entry of entries) client.hear({ kind: "entry", on, entry, replayed: false });
      deliveries += entries.length;
    }
    return deliveries;
  }

  signals(room: string, signals: readonly Signal[]): void {
    for (const [client, on] of this.#of("signals", room)) {
      for (const signal of signals) client.hear({ kind: "signal", on, signal });
    }
  }

  notice(notice: Extract<Notice, { kind: "entry" | "notice" }>): void {
    for (const [client, on] of this.#of("queue", notice.user)) client.hear({ kind: "notice", on, notice });
  }
}

const NOW: From = { kind: "now" };

/** One client's wire without a socket. */
export class Client implements Link {
  readonly told: Told[] = [];
  readonly connection: Connection;
  /** Told of everything as it is said. */
  onHear: ((told: Told) => void) | undefined;
  open = true;
  readonly #stage: Stage;
  #counter = 0;

  constructor(stage: Stage, id: string) {
    this.#stage = stage;
    this.connection = stage.node.open(this, { id, address: "127.0.0.1" });
  }

  hear(told: Told): void {
    if (!this.open) return;
    this.told.push(told);
    this.onHear?.(told);
  }

  /** What was told of one kind. */
  all<K extends Told["kind"]>(kind: K): Extract<Told, { kind: K }>[] {
    return this.told.filter((told): told is Extract<Told, { kind: K }> => told.kind === kind);
  }

  /** Bodies heard on a subscription, as text; other events by their name. */
  heard(on: string): string[] {
    return this.all("entry")
      .filter((told) => told.on === on)
      .map(({ entry }) => (entry.event === "message" ? Buffer.from(entry.body).toString() : entry.event));
  }

  /** Signals heard, as `event user state-or-offset`. */
  signalsHeard(): string[] {
    return this.all("signal").map(
      ({ signal }) => `${signal.event} ${signal.user} ${signal.state === "" ? signal.offset : signal.state}`,
    );
  }

  receiptOf(id: string): Extract<Told, { kind: "receipt" }> | undefined {
    return this.all("receipt").find((told) => told.id === id);
  }

  /** Subscribes; the subscription's id is the receipt's too. */
  subscribe(
    kind: SubscriptionKind,
    subject: string,
    more: { readonly from?: From; readonly id?: string; readonly ack?: Subscription["ack"] } = {},
  ): string {
    const id = more.id ?? `${kind}-${this.#counter++}`;
    const request = { id, kind, subject, destination: subject, ack: more.ack ?? "auto", receipt: id } as const;
    this.connection.subscribe(request, more.from ?? NOW);
    return id;
  }

  /** Sends a message; answers its receipt id. */
  send(
    to: string | { readonly user: string },
    body: string,
    more: { readonly id?: string | undefined; readonly level?: "stored" | "accepted" } = {},
  ): string {
    const receipt = `send-${this.#counter++}`;
    this.connection.send({
      to: typeof to === "string" ? { room: to } : to,
      headers: [],
      contentType: "text/plain",
      body: Buffer.from(body),
      text: true,
      clientMessageId: more.id,
      receipt,
      level: more.level ?? "stored",
    });
    return receipt;
  }

  /** The socket is gone. */
  lose(): void {
    this.open = false;
    this.connection.lost();
  }

  connected(): void {
    this.hear({ kind: "connected" });
  }

  receipt(id: string, about?: { readonly entry?: Entry; readonly head?: Position }): void {
    this.hear({ kind: "receipt", id, entry: about?.entry, head: about?.head });
  }

  fault(refusal: Refusal, about: About): void {
    this.hear({ kind: "fault", code: refusal.code, receipt: about.receipt });
    this.open = false;
  }

  refused(_errors: Subscription, refusal: Refusal, about: About): void {
    this.hear({ kind: "refused", code: refusal.code, receipt: about.receipt, retryAfterMs: refusal.retryAfterMs });
  }

  resumed(subscription: Subscription, recovered: boolean, head: Position): void {
    this.hear({ kind: "resumed", on: subscription.id, recovered, head });
  }

  replay(subscription: Subscription, entries: readonly Entry[]): void {
    for (const entry of entries) this.hear({ kind: "entry", on: subscription.id, entry, replayed: true });
  }

  ended(subscription: Subscription, code: CodeWord): void {
    this.hear({ kind: "ended", on: subscription.id, code });
  }

  attach(subscription: Subscription): void {
    if (this.open) this.#stage.fanout.attach(this, subscription);
  }

  detach(subscription: Subscription): void {
    this.#stage.fanout.detach(subscription);
  }

  congested(): boolean {
    return this.#stage.faults.random() < this.#stage.faults.rate;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => void this.#stage.clock.after(1, resolve));
  }

  beat(): void {
    this.hear({ kind: "beat" });
  }

  close(code: CodeWord): void {
    this.hear({ kind: "closed", code });
    this.open = false;
  }
}

/** A caller of REST by its id. */
export const caller = (id: string): Caller => ({ id, name: id.toUpperCase() });

/** A message for REST. */
export function message(text: string, clientMessageId?: string): NewMessage {
  return { body: Buffer.from(text), text: true, contentType: "text/plain", headers: [], clientMessageId };
}

/** What a token of the tests says; a plain word is a user id. */
export function tokenOf(claims: Partial<Claims> & { readonly sub: string }): string {
  return JSON.stringify(claims);
}

function claimsOf(token: string): Claims {
  if (token === "") throw new Refusal("token-missing");
  const given = (token.startsWith("{") ? JSON.parse(token) : { sub: token }) as Partial<Claims> & { sub: string };
  const base = { name: given.sub.toUpperCase(), groups: [], jti: undefined, sid: undefined };
  return { ...base, issuedAtMs: 0, expiresAtMs: Number.MAX_SAFE_INTEGER, ...given };
}

/** What a test may choose. */
export interface StageOptions {
  readonly limits?: Partial<Limits>;
  readonly seed?: number;
  readonly shards?: number;
  readonly witness?: Witness;
  readonly refuseWhileFailing?: boolean;
  /** A hot log and locks as Redis has them: they outlive a process, may forget, and others may write them. */
  readonly shared?: boolean;
  /** Another stage whose stores and time this node shares: both then have `shared`. */
  readonly beside?: Stage;
}

/** An archive that outlives processes, and the process that now serves it. */
export class Stage {
  readonly clock: SimulatedClock;
  readonly store: MemoryArchive;
  readonly faults: Faults;
  readonly limits: Limits;
  fanout = new LocalFanout();
  hub: MemoryHub;
  node: Node;
  chat: RoutedChat;
  /** Processes so far. */
  lives = 0;
  readonly #options: StageOptions;
  readonly #shards: number;
  #locks: MemoryLeaseTable;
  #life: MortalClock;
  #handle!: MemoryBus;
  #connections = 0;
  /** Counts rooms and nodes over all stages that share their stores. */
  readonly #made: { ids: number; nodes: number };

  private constructor(options: StageOptions) {
    const { beside } = options;
    this.#options = beside ? { ...options, shared: true } : options;
    this.#shards = beside ? beside.#shards : (options.shards ?? 2);
    this.clock = beside ? beside.clock : new SimulatedClock();
    this.store = beside ? beside.store : new MemoryArchive();
    this.#locks = beside ? beside.#locks : new MemoryLeaseTable();
    this.#made = beside ? beside.#made : { ids: 0, nodes: 0 };
    this.#life = new MortalClock(this.clock);
    this.limits = { ...LIMITS, sendsPerSecond: 0, ...options.limits };
    this.faults = { random: seeded(options.seed ?? 1), delayMs: 0, rate: 0, archiveAway: false };
    this.hub = beside ? beside.hub : this.#newHub();
    this.node = this.#newNode();
    this.chat = this.#newChat();
  }

  #newHub(): MemoryHub {
    const now = (): number => this.clock.monotonic();
    return new MemoryHub(this.#shards, this.limits, { shared: this.#options.shared ?? false, now });
  }

  /** A started node with the room `general`. */
  static async open(options: StageOptions = {}): Promise<Stage> {
    const stage = new Stage(options);
    await stage.store.createRoom(GENERAL);
    await stage.run(stage.node.start());
    return stage;
  }

  #newNode(): Node {
    this.lives++;
    this.#made.nodes++;
    const name = `n${this.#made.nodes}`;
    this.#handle = this.hub.connect();
    const witness = this.#options.witness ?? { durable() {}, accepted() {} };
    return new Node({
      name,
      archive: faultyArchive(this.store, this.faults, this.#life, witness),
      bus: faultyBus(this.#handle, this.faults, this.#life, witness),
      leases: new MemoryLeases(this.#locks, this.#life, name),
      fanout: this.fanout,
      clock: this.#life,
      limits: this.limits,
      log: SILENT,
      random: this.faults.random,
      verify: claimsOf,
      nameOf: async () => undefined,
      archiveAway: () => this.faults.archiveAway,
      shards: this.#shards,
      refuseWhileFailing: this.#options.refuseWhileFailing ?? !this.#options.shared,
    });
  }

  #newChat(): RoutedChat {
    return new RoutedChat(this.node, new ChatService(this.node, () => `room-${this.#made.ids++}`));
  }

  /**
   * The process dies and another starts on what the archive has, and with `keepHub` on what the hot log has, as
   * with a Redis that lives on. Its clients must be dropped by the test.
   */
  async crash(more: { readonly keepHub?: boolean } = {}): Promise<void> {
    this.die();
    if (more.keepHub !== true && !this.#options.beside) this.hub = this.#newHub();
    if (!this.#options.shared) this.#locks = new MemoryLeaseTable();
    await this.rise();
  }

  /** The process dies, at once and for good. */
  die(): void {
    this.#life.dead = true;
    this.hub.handles.delete(this.#handle);
  }

  /** Another process starts in the place of one that died. */
  async rise(): Promise<void> {
    this.#life = new MortalClock(this.clock);
    this.fanout = new LocalFanout();
    this.node = this.#newNode();
    this.chat = this.#newChat();
    let started = false;
    const starting = this.node.start().then(() => {
      started = true;
    });
    while (!started) await this.clock.advance(10);
    await starting;
  }

  /** A connected client of a user; with a subscription for refusals unless told otherwise. */
  connect(token: string, more: { readonly errors?: boolean } = {}): Client {
    const client = new Client(this, `c${this.#connections++}`);
    client.connection.connect(token);
    if (more.errors !== false) client.subscribe("errors", "", { id: "errors" });
    return client;
  }

  /** Runs until the promise is settled, letting time pass; for calls that wait for timers. */
  async run<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const end = (): void => {
      done = true;
    };
    work.then(end, end);
    for (let i = 0; i < 2_000 && !done; i++) await this.clock.advance(10);
    if (!done) throw new Error("The work is not done after 20 s.");
    return work;
  }

  /** Makes a room over REST, by its first member; answers its id. */
  async makeRoom(type: "public" | "private", by: string, members: readonly string[] = []): Promise<string> {
    return (await this.run(this.chat.createRoom(caller(by), { name: "room", type, members }))).id;
  }

  /** The stored log of a room. */
  async log(room: string): Promise<Entry[]> {
    return (await this.store.page(room, { limit: 100_000, end: "first" })).map(({ entry }) => entry);
  }
}
