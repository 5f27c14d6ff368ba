/** One connection of a client to a node, both ends of it: what is said on it takes time and keeps its order. */
import type { Notice, Signal } from "../bus.ts";
import { type CodeWord, Refusal } from "../codes.ts";
import type { Connection } from "../connection.ts";
import type { Entry, Position } from "../entry.ts";
import type { About, Link, Subscription, SubscriptionKind } from "../link.ts";
import type { MarkKind } from "../marks.ts";
import { place } from "../promises.checks.ts";
import type { From } from "../resume.ts";
import type { SendRequest } from "../sends.ts";
import { Stream } from "./judge.stream.ts";
import type { Sent } from "./judge.ts";
import type { Machine } from "./machine.ts";
import { Wire } from "./network.ts";
import { type How, Sends } from "./session.sends.ts";

/** What a client makes of what it hears. */
export interface Hearer {
  readonly user: string;
  connected(session: Session): void;
  /** The connection is over, whoever ended it. */
  closed(session: Session, why: string): void;
  answered(session: Session, sent: Sent): void;
  /** A subscription began, went on after a loss, or showed an entry. */
  seen(stream: Stream): void;
  /** A subscription was refused, or ended. */
  ended(session: Session, subject: string, code: CodeWord): void;
  signalled(session: Session, room: string, signals: readonly Signal[]): void;
  /** Whether the client may be granted a room that it asked for at a time; the breach if not. */
  granting(stream: Stream): string | undefined;
  refusing(stream: Stream, code: CodeWord): string | undefined;
}

/** One connection. */
export class Session implements Link {
  readonly number: number;
  readonly machine: Machine;
  readonly #hearer: Hearer;
  readonly #up: Wire;
  readonly #down: Wire;
  /** What the client counts as open. */
  open = true;
  /** At the node. */
  #connection: Connection | undefined;
  #nodeOpen = true;
  readonly streams = new Map<string, Stream>();
  readonly #sends: Sends;
  /** Places of the entries that its queue told of. */
  readonly #told = new Set<string>();
  /** Kind and subject of other subscriptions, by id. */
  readonly #others = new Map<string, string>();
  /** Subscriptions to logs that the node ended: nothing more may come of them. */
  readonly #ended = new Set<string>();
  #counter = 0;
  /** ms of the world when the oldest unanswered question was asked. */
  waitingSinceMs: number | undefined;

  constructor(number: number, machine: Machine, hearer: Hearer) {
    this.number = number;
    this.machine = machine;
    this.#hearer = hearer;
    const { judge, network } = machine.shared;
    const { user } = hearer;
    this.#up = new Wire(network);
    this.#down = new Wire(network);
    this.#toNode(() => this.#arrive());
    this.#sends = new Sends({
      ...{ number, user, judge },
      get nowMs() {
        return network.time.nowMs;
      },
      say: (what) => this.#say(what),
      ask: () => this.#ask(),
      toNode: (frame) => this.#toNode(() => this.#connection && frame(this.#connection)),
    });
  }

  get name(): string {
    return `c${this.number}`;
  }

  /** SENDs that wait at the node. */
  get pending(): number {
    return this.#connection?.pending ?? 0;
  }

  #arrive(): void {
    const { machine } = this;
    if (machine.state !== "up" || machine.node.admission.enter() !== undefined) {
      this.#nodeOpen = false;
      return this.#toClient(() => this.#close("refused"));
    }
    machine.sessions.add(this);
    this.#connection = machine.node.open(this, { id: this.name, address: "127.0.0.1" });
    this.#connection.connect(this.#hearer.user);
    this.#connection.subscribe(requestOf("errors", "errors", ""), { kind: "now" });
    this.#toClient(() => this.#hearer.connected(this));
  }

  #toNode(frame: () => void): void {
    const { machine } = this;
    this.#up.send(() => machine.life.deliver(() => this.#nodeOpen && frame()));
  }

  #toClient(hear: () => void): void {
    this.#down.send(() => {
      if (this.open) hear();
    });
  }

  #say(what: string): void {
    this.machine.shared.story.say(this.name, what);
  }

  #judge(breach: string | undefined): void {
    if (breach !== undefined) this.machine.shared.judge.breaks(breach);
  }

  #ask(): void {
    this.waitingSinceMs ??= this.machine.shared.network.time.nowMs;
  }

  #answered(): void {
    const waiting = [...this.streams.values()].some(({ granted, over }) => !granted && !over) || this.#sends.waiting;
    this.waitingSinceMs = waiting ? this.machine.shared.network.time.nowMs : undefined;
  }

  // ─── What the client says ───

  send(to: SendRequest["to"], how: How): void {
    this.#sends.send(to, how);
  }

  transact(to: SendRequest["to"], hows: readonly How[], how: { readonly commit: boolean }): void {
    this.#sends.transact(to, hows, how);
  }

  /** SUBSCRIBEs to the log of a room. */
  listen(room: string, from: From): Stream {
    const { user } = this.#hearer;
    const { judge, network } = this.machine.shared;
    const id = `s${this.#counter++}`;
    const stream = new Stream(`${this.name}/${id} of ${user}`, { user, room, from, askedMs: network.time.nowMs });
    judge.opened(stream);
    this.streams.set(id, stream);
    this.#ask();
    this.#say(`SUBSCRIBE ${id} ${room} ${JSON.stringify(from)}`);
    this.#toNode(() => this.#connection?.subscribe(requestOf(id, "log", room), from));
    return stream;
  }

  /** SUBSCRIBEs to the signals of a room, or to the queue of the user. */
  listenTo(kind: Exclude<SubscriptionKind, "log" | "errors">, subject: string): void {
    const id = `o${this.#counter++}`;
    this.#others.set(id, subject);
    this.#toNode(() => this.#connection?.subscribe(requestOf(id, kind, subject), { kind: "now" }));
  }

  unsubscribe(room: string): void {
    for (const [id, stream] of this.streams) {
      if (stream.room !== room || stream.over) continue;
      this.#say(`UNSUBSCRIBE ${id}`);
      stream.over = true;
      this.streams.delete(id);
      this.#toNode(() => this.#connection?.unsubscribe(id, undefined));
    }
  }

  type(room: string, on: boolean): void {
    this.#toNode(() => {
      const { node } = this.machine;
      if (!this.#connection?.ready) return;
      node.typing(room, this.#hearer.user, on).catch((error: unknown) => this.#signalRefused(error));
    });
  }

  /** Says how far its user has read or received a room. */
  mark(room: string, kind: MarkKind, offset: number): void {
    this.#toNode(() => {
      const { node } = this.machine;
      if (!this.#connection?.ready) return;
      node.mark(room, this.#hearer.user, { kind, offset }).catch((error: unknown) => this.#signalRefused(error));
    });
  }

  #signalRefused(error: unknown): void {
    if (!(error instanceof Error)) throw error;
    if (!(error instanceof Refusal) && error.name !== "StoreFailure" && error.name !== "Unanswered") throw error;
  }

  /** The client goes away without a word. */
  leave(why: string): void {
    if (!this.open) return;
    this.#say(`leaves: ${why}`);
    this.#end();
    const { machine } = this;
    this.#up.send(() =>
      machine.life.deliver(() => {
        if (!this.#nodeOpen) return;
        this.#nodeOpen = false;
        machine.sessions.delete(this);
        this.#connection?.lost();
      }),
    );
    this.#hearer.closed(this, why);
  }

  #end(): void {
    this.open = false;
    this.waitingSinceMs = undefined;
    for (const stream of this.streams.values()) stream.over = true;
  }

  // ─── What the node says ───

  /** The process is gone. */
  severed(): void {
    this.#nodeOpen = false;
    this.#toClient(() => this.#close("severed"));
  }

  /** The node ends the connection. */
  sendAway(code: CodeWord): void {
    if (this.#nodeOpen) this.#connection?.end(code);
  }

  #close(why: string): void {
    if (!this.open) return;
    this.#say(`is closed: ${why}`);
    this.#end();
    this.#hearer.closed(this, why);
  }

  connected(): void {}

  receipt(id: string, about?: { readonly entry?: Entry; readonly head?: Position }): void {
    const sent = this.#sends.of(id);
    if (sent) this.machine.shared.judge.receipting(this.machine.name, sent, about?.entry);
    this.#toClient(() => {
      if (sent) return this.#receipted(id, sent, about?.entry as Entry);
      if (this.#sends.committed(id)) return this.#answered();
      const stream = this.streams.get(id);
      if (!stream || stream.over) return;
      this.#judge(stream.grant(about?.head));
      this.#judge(this.#hearer.granting(stream));
      this.#say(`${id} is granted at ${about?.head?.offset}.${about?.head?.term}`);
      this.#hearer.seen(stream);
      this.#answered();
    });
  }

  #receipted(id: string, sent: Sent, entry: Entry): void {
    this.#say(`RECEIPT of ${sent.body} at ${entry.offset}.${entry.term}`);
    this.#judge(this.#sends.receipted(id, sent, entry));
    this.#answered();
    this.#hearer.answered(this, sent);
  }

  fault(refusal: Refusal, about: About): void {
    this.#refused(refusal, about);
    this.close(refusal.code);
  }

  refused(_errors: Subscription, refusal: Refusal, about: About): void {
    this.#refused(refusal, about);
  }

  #refused({ code, message }: Refusal, { receipt }: About): void {
    if (receipt === undefined) return;
    this.#toClient(() => {
      this.#say(`${receipt} is refused: ${code} ${message}`);
      const sent = this.#sends.of(receipt);
      if (sent) {
        this.#judge(this.#sends.refused(receipt, sent, code));
        this.#answered();
        return this.#hearer.answered(this, sent);
      }
      if (this.#sends.uncommitted(receipt)) return this.#answered();
      const stream = this.streams.get(receipt);
      this.streams.delete(receipt);
      if (stream && !stream.over) {
        this.#judge(this.#hearer.refusing(stream, code));
        stream.over = true;
        this.#answered();
        return this.#hearer.ended(this, stream.room, code);
      }
      const other = this.#others.get(receipt);
      if (other !== undefined) this.#hearer.ended(this, other, code);
    });
  }

  resumed({ id }: Subscription, recovered: boolean, head: Position): void {
    this.#toClient(() => {
      const stream = this.streams.get(id);
      if (!stream || stream.over) return;
      this.#say(`${id} is resumed, recovered: ${recovered}, head ${head.offset}.${head.term}`);
      this.#judge(stream.resumed(recovered, head, this.machine.shared.judge));
      this.#hearer.seen(stream);
    });
  }

  replay({ id }: Subscription, entries: readonly Entry[]): void {
    for (const entry of entries) this.machine.shared.judge.showing(this.machine.name, entry);
    this.show(id, entries);
  }

  /** Entries, replayed or live. */
  show(id: string, entries: readonly Entry[]): void {
    this.#toClient(() => {
      if (this.#ended.has(id)) this.#judge(`${this.name}/${id} is shown an entry after its end`);
      const stream = this.streams.get(id);
      if (!stream || stream.over) return;
      for (const entry of entries) this.#judge(stream.entry(entry));
      const [first, last] = [entries[0], entries[entries.length - 1]];
      if (first && last) this.#say(`${id} sees ${first.room} ${first.offset}-${last.offset}.${last.term}`);
      this.#hearer.seen(stream);
    });
  }

  signals(room: string, signals: readonly Signal[]): void {
    this.#hearer.signalled(this, room, signals);
  }

  noticed(notice: Extract<Notice, { kind: "entry" | "notice" }>): void {
    if (notice.user !== this.#hearer.user) this.#judge(`${this.name} is told what is for ${notice.user}`);
    if (notice.kind !== "entry") return;
    const { name, shared } = this.machine;
    shared.judge.showing(name, notice.entry);
    if (this.#told.has(place(notice.entry))) this.#judge(`${this.name} is told of ${place(notice.entry)} twice`);
    this.#told.add(place(notice.entry));
  }

  ended({ id, subject }: Subscription, code: CodeWord): void {
    this.#toClient(() => {
      this.#say(`${id} of ${subject} ends: ${code}`);
      const stream = this.streams.get(id);
      this.streams.delete(id);
      this.#others.delete(id);
      if (stream) this.#ended.add(id);
      if (stream) stream.over = true;
      this.#answered();
      this.#hearer.ended(this, subject, code);
    });
  }

  attach(subscription: Subscription): void {
    if (this.#nodeOpen) this.machine.fanout.attach(this, subscription);
  }

  detach(subscription: Subscription): void {
    this.machine.fanout.detach(subscription);
  }

  congested(): boolean {
    return this.machine.shared.network.chance.happens(0.02);
  }

  drained(): Promise<void> {
    const { life, shared } = this.machine;
    return new Promise((resolve) => void life.after(shared.network.latencyMs(), resolve));
  }

  beat(): void {}

  close(code: CodeWord): void {
    this.#nodeOpen = false;
    this.machine.sessions.delete(this);
    this.#toClient(() => this.#close(code));
  }
}

function requestOf(id: string, kind: SubscriptionKind, subject: string) {
  return { id, kind, subject, destination: subject, ack: "auto", receipt: id } as const;
}
