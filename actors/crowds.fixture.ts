/**
 * For tests: a few ends with their crowds and guests over a wire that loses, delays and cuts, owners that move
 * and die, and clients that believe what they are told.
 */
import { MemoryHub } from "./bus.memory.ts";
import type { Bus, BusReceiver, Signal } from "./bus.ts";
import { SimulatedClock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { Counters } from "./counters.ts";
import { Crowds, type CrowdsHost } from "./crowds.ts";
import { Guests, type GuestsHost, type GuestsRoom } from "./guests.ts";
import { LIMITS, type Limits } from "./limits.ts";
import { SILENT } from "./log.ts";
import { MortalClock, seeded } from "./node.fixture.faults.ts";
import { RoomPresence } from "./presence.ts";
import { Returning } from "./returning.ts";
import { Speaker } from "./speaker.ts";
import type { Word } from "./words.ts";

/** Grace unless a test says otherwise, ms: short, so that what is measured is what the wire takes. */
const GRACE_MS = 100;
/** When the end of a node is noticed, and how long the takeover of its rooms takes at most, ms. */
const NOTICED_MS = 3_000;
const TAKEOVER_MS = 400;
const ENDS = 3;

/** A client that listens to the signals of a room, and asks once who is there, as a page does. */
export class Listener {
  readonly heard: string[] = [];
  readonly believes = new Set<string>();
  #heardOf = new Set<string>();

  hear(signal: Signal): void {
    if (signal.event !== "presence") return;
    this.heard.push(`${signal.user} ${signal.state}`);
    this.#heardOf.add(signal.user);
    if (signal.state === "join") this.believes.add(signal.user);
    else this.believes.delete(signal.user);
  }

  /** The answer to who is there. */
  read(present: readonly string[]): void {
    for (const user of present) if (!this.#heardOf.has(user)) this.believes.add(user);
  }
}

/** One node, as far as presence goes. */
export class End implements CrowdsHost, GuestsHost, BusReceiver {
  readonly name: string;
  readonly town: Town;
  readonly clock: MortalClock;
  readonly limits: Limits;
  readonly bus: Bus;
  readonly speaker: Speaker;
  readonly #returning: Returning;
  readonly rooms = new Map<string, GuestsRoom>();
  readonly crowds: Crowds;
  readonly guests: Guests;
  readonly listeners = new Map<string, Listener[]>();
  /** Users subscribed here, by room. */
  readonly here = new Map<string, string[]>();
  /** Owners as this end has heard, by shard. */
  readonly known: { node: string | undefined; term: number }[] = [];
  /** Whether nothing gets here or from here. */
  cut = false;
  readonly log = SILENT;
  readonly registry = { ofUser: (user: string) => [{ claims: { name: user.toUpperCase() } }] };
  readonly cluster: {
    readonly owners: { term(shard: number): number };
    readonly peers: { readonly living: readonly { readonly node: string }[] };
  };
  readonly remote = { present: (room: string) => this.town.present(this, room) };
  readonly fanout = {
    signals: (room: string, signals: readonly Signal[]) => {
      for (const listener of this.listeners.get(room) ?? []) for (const signal of signals) listener.hear(signal);
    },
  };

  constructor(town: Town, name: string) {
    this.town = town;
    this.name = name;
    this.clock = new MortalClock(town.clock);
    this.limits = town.limits;
    this.cluster = {
      owners: { term: (shard) => this.known[shard]?.term ?? 0 },
      peers: {
        get living() {
          return town.ends.filter((one) => !town.gone.has(one.name)).map((one) => ({ node: one.name }));
        },
      },
    };
    this.bus = town.connect(this);
    this.speaker = new Speaker({ bus: this.bus, clock: this.clock, limits: this.limits, counters: new Counters() });
    this.#returning = new Returning(this.clock);
    this.crowds = new Crowds(this, (room) => this.listeners.get(room)?.length ?? 0);
    this.guests = new Guests(this);
    this.bus.receive(this);
    this.crowds.start();
    this.guests.start();
  }

  get dead(): boolean {
    return this.clock.dead;
  }

  shardIndexOf(room: string): number {
    return this.town.roomIds.indexOf(room);
  }

  ownerOf(room: string): string | undefined {
    return this.known[this.shardIndexOf(room)]?.node;
  }

  owns(room: string): boolean {
    return this.town.owners.get(room)?.node === this.name && this.ownerOf(room) === this.name;
  }

  wake(room: string): void {
    if (this.owns(room)) this.room(room);
  }

  room(id: string): GuestsRoom {
    const awake = this.rooms.get(id);
    if (awake) return awake;
    if (!this.owns(id)) throw new Refusal("store-unavailable");
    const term = this.town.owners.get(id)?.term ?? 0;
    const say = (event: "presence" | "typing") => (user: string, state: string) =>
      this.speaker.say({ room: id, event, user, state, offset: 0, term });
    const speaker = { presence: say("presence"), typing: say("typing") };
    const presence = new RoomPresence({
      ...{ clock: this.clock, limits: this.limits, speaker },
      doubted: () => this.guests.doubt(id),
      closed: (users, leave) => this.#returning.closed({ room: id, term, users, leave }),
    });
    presence.adopt(this.#returning.take(id, term));
    const room = { presence, status: "open", state: { maySee: () => true } } as const;
    this.rooms.set(id, room);
    this.crowds.introduce(id, presence);
    return room;
  }

  /** The room closes, and opens again when it is used. */
  close(id: string): void {
    const room = this.rooms.get(id);
    if (!room) return;
    this.rooms.delete(id);
    room.presence.clear();
    this.guests.forget(id);
  }

  /** Hears whose a room is. */
  learn(room: string, node: string, term: number): void {
    const shard = this.shardIndexOf(room);
    if (this.dead || term <= (this.known[shard]?.term ?? 0)) return;
    this.known[shard] = { node, term };
    this.crowds.ownerChanged(shard);
  }

  arrive(room: string, user: string): void {
    const users = this.here.get(room) ?? [];
    this.here.set(room, [...users, user]);
    this.crowds.arrived(room, user);
  }

  depart(room: string, user: string): void {
    const users = this.here.get(room) ?? [];
    const at = users.indexOf(user);
    if (at < 0) return;
    this.here.set(room, users.toSpliced(at, 1));
    this.crowds.departed(room, user);
  }

  /** A client begins to listen to a room. */
  async listen(room: string): Promise<Listener> {
    const listener = new Listener();
    this.listeners.set(room, [...(this.listeners.get(room) ?? []), listener]);
    await this.bus.join(room);
    this.crowds.listening(room);
    const read = (): void => {
      if (!this.dead) this.town.present(this, room).then((present) => listener.read(present), read);
    };
    read();
    return listener;
  }

  onSignals(signals: readonly Signal[]): void {
    if (this.cut || this.dead) return;
    for (const signal of this.crowds.admit(signals)) this.fanout.signals(signal.room, [signal]);
  }

  onWord(from: string, word: Word): void {
    if (this.cut || this.dead || this.town.gone.has(from)) return;
    if (word.kind === "crowds") this.guests.onCrowds(from, word.crowds);
    if (word.kind === "whoIsThere") this.crowds.onWhoIsThere(from, word.rooms);
  }

  onPack(): void {}
  onNotice(): void {}
  onGap(): void {
    this.crowds.onGap();
  }
}

/** The ends, their wire and the truth. */
export class Town {
  readonly clock = new SimulatedClock();
  readonly limits: Limits;
  readonly random: () => number;
  readonly roomIds = ["a", "b"];
  readonly owners = new Map<string, { readonly node: string; readonly term: number }>();
  readonly ends: End[] = [];
  /** Ends that are known to live no more. */
  readonly gone = new Set<string>();
  /** Share of words that are lost, 0 to 1, and their longest delay, ms. */
  loss = 0;
  /** What is lost by a test's choice, by the name of who says it. */
  loses: (from: string) => boolean = () => false;
  delayMs = 60;
  /** Words that left. */
  words: Word[] = [];
  readonly #hub: MemoryHub;

  constructor(seed: number, { graceMs = GRACE_MS }: { readonly graceMs?: number } = {}) {
    this.random = seeded(seed);
    this.limits = { ...LIMITS, presenceGraceMs: graceMs };
    this.#hub = new MemoryHub(this.roomIds.length, this.limits, { shared: true });
    for (let i = 0; i < ENDS; i++) this.ends.push(new End(this, `n${i}`));
    for (const [i, room] of this.roomIds.entries()) this.own(room, this.end(i));
  }

  end(at: number): End {
    return this.ends[at] as End;
  }

  /** Ends that live. */
  get living(): readonly End[] {
    return this.ends.filter(({ dead }) => !dead);
  }

  /** An end's handle: words may be lost and come later, in order; signals come later. */
  connect(end: End): Bus {
    const inner = this.#hub.connect();
    let lastMs = 0;
    const later = (task: () => void): void => {
      lastMs = Math.max(lastMs, this.clock.monotonic() + this.random() * this.delayMs);
      end.clock.after(lastMs - this.clock.monotonic(), task);
    };
    const tell: Bus["tell"] = (node, word) => {
      this.words.push(word);
      if (!end.cut && this.random() >= this.loss && !this.loses(end.name))
        later(() => inner.tell(node, structuredClone(word)));
    };
    const signal: Bus["signal"] = (signals) => {
      if (!end.cut) later(() => inner.signal(signals));
    };
    return new Proxy(inner, {
      get(target, name) {
        if (name === "tell") return tell;
        if (name === "signal") return signal;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  /** Who an end's question about a room's users is answered with. */
  async present(end: End, room: string): Promise<readonly string[]> {
    await new Promise<void>((resolve) => void end.clock.after(this.random() * this.delayMs * 2, resolve));
    const owner = this.living.find((one) => one.owns(room));
    if (!owner || end.cut || this.random() < this.loss) throw new Refusal("store-unavailable");
    return owner
      .room(room)
      .presence.list(end.limits.presenceListed)
      .map(({ id }) => id);
  }

  /** An end owns a room from now on; the others hear of it a little later. */
  own(room: string, end: End): void {
    const before = this.owners.get(room);
    const term = (before?.term ?? 0) + 1;
    this.owners.set(room, { node: end.name, term });
    this.ends.find(({ name }) => name === before?.node)?.close(room);
    end.learn(room, end.name, term);
    for (const other of this.living) {
      if (other !== end) other.clock.after(this.random() * this.delayMs, () => other.learn(room, end.name, term));
    }
  }

  /** An end dies; that is noticed, and its rooms are taken over. */
  crash(end: End): void {
    end.clock.dead = true;
    this.clock.after(NOTICED_MS, () => {
      this.gone.add(end.name);
      for (const one of this.living) one.guests.gone(end.name);
    });
    const tookMs = NOTICED_MS + this.random() * TAKEOVER_MS;
    this.clock.after(tookMs, () => {
      for (const [room, owner] of this.owners) {
        const next = this.living[Math.floor(this.random() * this.living.length)];
        if (owner.node === end.name && next) this.own(room, next);
      }
    });
  }

  /** Who is in a room in truth. */
  truth(room: string): string[] {
    return [...new Set(this.living.flatMap((end) => end.here.get(room) ?? []))].sort();
  }

  /** Who is in a room as its owner sees it. */
  seen(room: string): string[] {
    const owner = this.living.find((one) => one.owns(room));
    const list = owner?.rooms.get(room)?.presence.list(1_000) ?? [];
    return list.map(({ id }) => id).sort();
  }

  /** What is not as it is in truth: at the owners, and in what the clients were told. */
  wrong(): string[] {
    const wrong: string[] = [];
    for (const room of this.roomIds) {
      const truth = this.truth(room).join(" ");
      const check = (who: string, sees: readonly string[]): void => {
        if (sees.join(" ") !== truth) wrong.push(`${who} sees [${sees.join(" ")}] in ${room} where [${truth}] are`);
      };
      check("its owner", this.seen(room));
      for (const end of this.living) {
        for (const listener of end.listeners.get(room) ?? []) {
          check(`a client at ${end.name}`, [...listener.believes].sort());
        }
      }
    }
    return wrong;
  }
}
