/** A client that behaves as a good one does: it comes back, resumes from what it saw, and asks again by its ids. */
import type { Signal } from "../bus.ts";
import type { CodeWord } from "../codes.ts";
import type { Position } from "../entry.ts";
import type { From } from "../resume.ts";
import type { Chance } from "./chance.ts";
import type { Memberships } from "./judge.access.ts";
import type { Stream } from "./judge.stream.ts";
import type { Sent } from "./judge.ts";
import type { Machine } from "./machine.ts";
import type { Plan } from "./plan.ts";
import type { How } from "./session.sends.ts";
import { type Hearer, Session } from "./session.ts";

/** What a client needs of its world. */
export interface PersonHost {
  readonly rooms: readonly string[];
  readonly users: readonly string[];
  readonly memberships: Memberships;
  readonly plan: Pick<Plan, "listening" | "leaving">;
  readonly nowMs: number;
  /** Whether a shard has one owner at most: Redis has not just forgotten a lock, which its holder relies on yet. */
  readonly owned: boolean;
  after(delayMs: number, task: () => void): void;
  /** A process that a balancer would send a new connection to. */
  chooseProcess(): Machine | undefined;
  nextSession(): number;
  /** A signal was sent to a client. */
  signalled(person: Person, machine: Machine, signals: readonly Signal[]): void;
  /** Ids that the user gave to messages lately, of any of its clients. */
  readonly lately: Map<string, string[]>;
}

/** Pause before a client comes back, ms. */
const BACK_MS = { least: 30, most: 900 } as const;
/** Pause before a subscription that was refused for now is opened again, ms. */
const AGAIN_MS = { least: 200, most: 900 } as const;

/** Pause before a client whose user was removed from a room tries to listen to it, ms. */
const KNOCK_MS = { least: 10, most: 1_500 } as const;

/** One client. */
export class Person implements Hearer {
  readonly user: string;
  readonly #host: PersonHost;
  readonly #chance: Chance;
  /** How long it waits for an answer before it tries another node, ms. */
  readonly #patienceMs: number;
  session: Session | undefined;
  /** Rooms it wants to listen to; whether to their signals too. */
  readonly wants = new Map<string, boolean>();
  readonly #seen = new Map<string, Position>();
  /** SENDs with an id that were not answered, in order, and how often they were sent. */
  readonly #open = new Map<string, { readonly room: string; readonly id: string; tries: number }>();
  #ids = 0;
  #gone = false;
  #coming = false;

  constructor(host: PersonHost, user: string, chance: Chance) {
    this.#host = host;
    this.user = user;
    this.#chance = chance;
    this.#patienceMs = chance.pick([2_500, 5_000, 12_000]);
    for (const room of host.rooms) if (chance.happens(host.plan.listening)) this.wants.set(room, chance.happens(0.5));
    this.#come();
  }

  // ─── Coming and going ───

  #come(): void {
    if (this.#coming || this.#gone) return;
    this.#coming = true;
    this.#host.after(this.#chance.between(BACK_MS.least, BACK_MS.most), () => {
      this.#coming = false;
      if (this.#gone || this.session) return;
      const machine = this.#host.chooseProcess();
      if (!machine) return this.#come();
      this.session = new Session(this.#host.nextSession(), machine, this);
      this.#watch(this.session);
    });
  }

  /** Gives a node up that does not answer. */
  #watch(session: Session): void {
    this.#host.after(500, () => {
      if (!session.open) return;
      const since = session.waitingSinceMs;
      if (since !== undefined && this.#host.nowMs - since > this.#patienceMs) session.leave("no answer");
      else this.#watch(session);
    });
  }

  /** Goes away for good. */
  go(): void {
    this.#gone = true;
    this.session?.leave("goes home");
  }

  connected(session: Session): void {
    if (!session.open) return;
    for (const { room, id } of [...this.#open.values()]) this.#sendAgain(session, room, id);
    for (const [room, signals] of this.wants) this.#listen(session, room, signals);
    if (this.#chance.happens(0.5)) session.listenTo("queue", this.user);
  }

  #sendAgain(session: Session, room: string, id: string): void {
    const open = this.#open.get(`${room} ${id}`);
    if (!open || ++open.tries > 6) return void this.#open.delete(`${room} ${id}`);
    session.send({ room }, { id, level: "stored", receipt: true });
  }

  #listen(session: Session, room: string, signals: boolean): void {
    session.listen(room, this.#from(room));
    if (signals) session.listenTo("signals", room);
  }

  #from(room: string): From {
    const seen = this.#seen.get(room);
    if (seen && this.#chance.happens(0.85)) return { kind: "after", position: seen };
    return this.#chance.happens(0.4) ? { kind: "last", entries: this.#chance.whole(0, 12) } : { kind: "now" };
  }

  closed(session: Session): void {
    if (this.session !== session) return;
    this.session = undefined;
    this.#come();
  }

  // ─── What it hears ───

  answered(_session: Session, sent: Sent): void {
    if (sent.id !== undefined) this.#open.delete(`${sent.room} ${sent.id}`);
  }

  seen(stream: Stream): void {
    if (stream.at && stream.at.term >= 0) this.#seen.set(stream.room, stream.at);
  }

  ended(session: Session, room: string, code: CodeWord): void {
    if (!this.wants.has(room)) return;
    if (code === "removed" || code === "room-not-found" || code === "room-deleted") {
      this.wants.delete(room);
      return;
    }
    this.#host.after(this.#chance.between(AGAIN_MS.least, AGAIN_MS.most), () => {
      const signals = this.wants.get(room);
      if (!session.open || signals === undefined) return;
      const open = [...session.streams.values()].some((stream) => stream.room === room && !stream.over);
      if (!open) this.#listen(session, room, signals);
    });
  }

  signalled(session: Session, _room: string, signals: readonly Signal[]): void {
    this.#host.signalled(this, session.machine, signals);
  }

  granting({ room, askedMs, name }: Stream): string | undefined {
    const out = this.#host.owned && this.#host.memberships.during(room, this.user, askedMs) === "out";
    return out ? `${name} is granted ${room}, which ${this.user} was removed from before` : undefined;
  }

  refusing({ room, askedMs, name }: Stream, code: CodeWord): string | undefined {
    if (code !== "room-not-found") return undefined;
    const isIn = this.#host.owned && this.#host.memberships.during(room, this.user, askedMs) === "in";
    return isIn ? `${name} is refused ${room}, and ${this.user} is a member of it` : undefined;
  }

  /** Its user was removed from a room: it may try the door. */
  removed(room: string): void {
    if (!this.#chance.happens(0.6)) return;
    this.#host.after(this.#chance.between(KNOCK_MS.least, KNOCK_MS.most), () => {
      if (this.session?.open && this.session.streams.size < 8) this.session.listen(room, this.#from(room));
    });
  }

  // ─── What it does ───

  /** Does something. */
  act(): void {
    const { session } = this;
    if (!session?.open) return;
    const room = this.#chance.pick(this.#host.rooms);
    const does = { send: 46, twice: 5, transact: 4, whisper: 4, listen: 6, type: 4, read: 3, receive: 3, leave: 1 };
    switch (this.#chance.weighed({ ...does, unlisten: this.#host.plan.leaving })) {
      case "send":
        return this.#send(session, room);
      case "twice":
        return this.#sendTwice(session, room);
      case "listen":
        return this.#want(session, room);
      case "unlisten":
        this.wants.delete(room);
        return session.unsubscribe(room);
      case "type":
        return session.type(room, this.#chance.happens(0.6));
      case "read":
        return session.mark(room, "read", this.#seen.get(room)?.offset ?? 1);
      case "receive":
        return session.mark(room, "delivered", this.#seen.get(room)?.offset ?? 1_000);
      case "transact":
        return this.#transact(session, room);
      case "whisper":
        return session.send({ user: this.#chance.pick(this.#host.users) }, this.#how({ named: false }));
      case "leave":
        return session.leave("reconnects");
    }
  }

  #want(session: Session, room: string): void {
    if (this.wants.has(room) && session.streams.size >= 8) return;
    this.wants.set(room, this.#chance.happens(0.5));
    session.listen(room, this.#from(room));
  }

  #send(session: Session, room: string): void {
    for (let count = this.#chance.pick([1, 1, 1, 2, 4]); count > 0; count--) {
      const how = this.#how({ named: this.#chance.happens(0.65) });
      this.#remember(room, how);
      session.send({ room }, how);
    }
  }

  #transact(session: Session, room: string): void {
    const commit = this.#chance.happens(0.8);
    const hows = Array.from({ length: this.#chance.whole(1, 4) }, () => this.#how({ named: commit }));
    if (commit) for (const how of hows) this.#remember(room, how);
    session.transact({ room }, hows, { commit });
  }

  #how({ named }: { readonly named: boolean }): How {
    const id = named ? `${this.user}-${this.session?.number}-${this.#ids++}` : undefined;
    const level = this.#chance.happens(0.15) ? ("accepted" as const) : ("stored" as const);
    return { id, level, receipt: this.#chance.happens(0.85) };
  }

  /** What has an id is sent again until it is answered, and now and then after that. */
  #remember(room: string, { id, level, receipt }: How): void {
    if (id === undefined) return;
    if (receipt && level === "stored") this.#open.set(`${room} ${id}`, { room, id, tries: 0 });
    const key = `${this.user} ${room}`;
    const ids = this.#host.lately.get(key) ?? [];
    ids.push(id);
    if (ids.length > 12) ids.shift();
    this.#host.lately.set(key, ids);
  }

  /** An id that the user used already, here or at another client. */
  #sendTwice(session: Session, room: string): void {
    const ids = this.#host.lately.get(`${this.user} ${room}`);
    if (ids) session.send({ room }, { id: this.#chance.pick(ids), level: "stored", receipt: true });
  }
}
