/**
 * The users of this edge and their rooms, told to the owners of the rooms. Words may be lost, so each of them
 * may be said again without harm, and each bears a count and a digest by which the owner finds what it missed:
 *
 *   first or last subscription of a user ── end of turn ──> crowds: who came and went
 *   for 2 s after a change ── every lap ─────────────────> the same again
 *   every second ────────────────────────────────────────> count and digest of every room
 *   an owner that is new, or asks whoIsThere ────────────> everybody, and whom clients here believe to be there
 *   0.75 s after an owner is new, until it answers ──────> who is there? (what clients believe is in no digest)
 *
 * Of rooms that this node owns itself nothing is said: it calls their presence.
 */
import { Believed } from "./believed.ts";
import type { Bus, Signal } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { LocalCrowd } from "./crowd.ts";
import type { Claims } from "./identity.ts";
import { Lap } from "./lap.ts";
import type { Limits } from "./limits.ts";
import type { Fanout } from "./link.ts";
import type { Log } from "./log.ts";
import type { RoomPresence } from "./presence.ts";
import type { Crowd } from "./words.ts";

/** What the crowds need of their node. */
export interface CrowdsHost {
  readonly name: string;
  readonly bus: Pick<Bus, "tell" | "shared">;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<Limits, "presenceListed">;
  readonly fanout: Pick<Fanout, "signals">;
  /** The awake rooms of this node. */
  readonly rooms: ReadonlyMap<string, { readonly presence: RoomPresence }>;
  readonly registry: { ofUser(user: string): readonly { readonly claims: Pick<Claims, "name"> | undefined }[] };
  /** Asks the owner of a room whom it sees in it, at most `presenceListed`; rejects when it does not answer. */
  readonly remote: { present(room: string): Promise<readonly string[]> };
  /** The highest terms heard of, by shard. */
  readonly cluster: { readonly owners: { term(shard: number): number } };
  shardIndexOf(room: string): number;
  /** The node that owns a room, as far as is known. */
  ownerOf(room: string): string | undefined;
  /** Wakes a room of this node; nothing happens where another owns it. */
  wake(room: string): void;
}

/** Pause between two laps, ms. */
const LAP_MS = 250;
/** How long a change is said again, ms. */
const HOT_MS = 2_000;
/** How long a new owner is told everybody again, ms, and of how many users at most; of more the digest is said. */
const NEW_MS = 1_500;
const NEW_MOST = 64;
/** The same for an owner that asked. */
const ASKED_MS = 750;
/** After this the new owner is asked whom it sees, ms: it has judged by then whom clients here believe to be there. */
const SURE_MS = 750;
/** Pause between two rounds of digests, ms; and most rooms of one lap, beyond which a round takes longer. */
const ROUND_MS = 1_000;
const LAP_ROOMS_MOST = 2_000;
/** Most crowds, and most guests, of one word. */
const WORD_CROWDS_MOST = 500;
const WORD_GUESTS_MOST = 1_000;
/** Rooms of one lap whose owner is asked who is there. */
const ASKED_MOST = 32;

interface Doubt {
  /** Whether the clients here are told what differs. */
  readonly tell: boolean;
  /** Monotonic ms before which the owner is not asked. */
  readonly fromMs: number;
}

/** The crowds of one edge. */
export class Crowds {
  readonly #host: CrowdsHost;
  readonly #listeners: (room: string) => number;
  readonly #rooms = new Map<string, LocalCrowd>();
  /** Rooms that are said with every lap. */
  readonly #hot = new Set<LocalCrowd>();
  /** Rooms to be said at the end of this turn, with the monotonic ms of their first change in it. */
  #turn = new Map<LocalCrowd, number>();
  /** Shards whose owner changed in this turn. */
  #moved = new Set<number>();
  /** What is said to whom when the words of a turn or a lap are complete. */
  #out = new Map<string, Crowd[]>();
  #round: IterableIterator<LocalCrowd> | undefined;
  #roundAtMs = Number.NEGATIVE_INFINITY;
  /** Rooms of which the owner must be asked who is there. */
  readonly #unsure = new Map<string, Doubt>();
  readonly #lap: Lap;
  readonly #nameOf = (user: string): string => this.#host.registry.ofUser(user)[0]?.claims?.name ?? user;

  /** `listeners`: how many subscriptions there are here to the signals of a room. */
  constructor(host: CrowdsHost, listeners: (room: string) => number) {
    this.#host = host;
    this.#lap = new Lap({
      ...{ clock: host.clock, log: host.log, pauseMs: LAP_MS },
      run: () => this.#runLap(),
      failed: "who is here was not told",
    });
    this.#listeners = listeners;
  }

  /** Rooms with users or listeners here, and those left a moment ago. */
  get size(): number {
    return this.#rooms.size;
  }

  /** Begins the laps; a node that shares its bus with nobody owns every room and needs none. */
  start(): void {
    if (this.#host.bus.shared) this.#lap.start();
  }

  stop(): void {
    this.#lap.stop();
  }

  // ─── Who is here ───

  /** A log subscription of a user is live here. */
  arrived(room: string, user: string): void {
    const crowd = this.#of(room);
    if (crowd.arrive(user)) this.#changed(crowd, user);
  }

  /** One that was live ended. */
  departed(room: string, user: string): void {
    const crowd = this.#rooms.get(room);
    if (crowd?.depart(user)) this.#changed(crowd, user);
  }

  /** A room of this node opens: it is told who is here. */
  introduce(room: string, presence: RoomPresence): void {
    const crowd = this.#rooms.get(room);
    if (!crowd) return;
    const { name } = this.#host;
    for (const user of crowd.users()) presence.arrive(user, this.#nameOf(user), name);
    // A room that opens again at the owner it had says itself who did not return to it.
    if (crowd.believed && this.#host.clock.monotonic() < crowd.newUntilMs) presence.suspect(crowd.believed.users);
  }

  /** The owner of a shard is new, or of a new term, or gone: at the end of the turn it is told everybody. */
  ownerChanged(shard: number): void {
    if (!this.#host.bus.shared) return;
    if (this.#moved.size === 0) this.#host.clock.endOfTurn(() => this.#greetOwners());
    this.#moved.add(shard);
  }

  #greetOwners(): void {
    const shards = this.#moved;
    this.#moved = new Set();
    for (const crowd of this.#rooms.values()) {
      if (!shards.has(crowd.shard)) continue;
      crowd.owner = this.#host.ownerOf(crowd.room);
      this.#greet(crowd);
    }
  }

  /** A node that owns rooms has another picture of them: it is told everybody, and again with the next laps. */
  onWhoIsThere(from: string, rooms: readonly string[]): void {
    for (const room of rooms) {
      const crowd = this.#rooms.get(room);
      this.#say(from, (crowd ?? new LocalCrowd(room, 0)).whole(this.#nameOf));
      if (!crowd) continue;
      crowd.newUntilMs = Math.max(crowd.newUntilMs, this.#host.clock.monotonic() + ASKED_MS);
      this.#heat(crowd);
    }
    this.#send();
  }

  /** Words and signals may have been missed until now. */
  onGap(): void {
    if (!this.#host.bus.shared) return;
    // What broke the wire may have changed owners, too: they are told everybody first.
    const fromMs = this.#host.clock.monotonic() + HOT_MS;
    for (const crowd of this.#rooms.values()) {
      this.#heat(crowd);
      if (crowd.believed) this.#unsure.set(crowd.room, { tell: true, fromMs });
    }
  }

  #of(room: string): LocalCrowd {
    let crowd = this.#rooms.get(room);
    if (!crowd) {
      crowd = new LocalCrowd(room, this.#host.shardIndexOf(room));
      this.#rooms.set(room, crowd);
    }
    return crowd;
  }

  #changed(crowd: LocalCrowd, user: string): void {
    const { name, clock, bus } = this.#host;
    const here = this.#host.rooms.get(crowd.room)?.presence;
    if (!crowd.has(user)) here?.depart(user, name);
    else here?.arrive(user, this.#nameOf(user), name);
    if (!bus.shared) return this.#dropIfOver(crowd);
    this.#findOwner(crowd);
    this.#heat(crowd);
    if (crowd.owner !== name) {
      crowd.note(user, clock.monotonic());
      this.#saySoon(crowd);
    } else if (!here && crowd.size > 0) this.#host.wake(crowd.room);
  }

  #findOwner(crowd: LocalCrowd): void {
    const owner = this.#host.ownerOf(crowd.room);
    if (owner === crowd.owner) return;
    crowd.owner = owner;
    this.#greet(crowd);
  }

  /** The crowd's owner is new. */
  #greet(crowd: LocalCrowd): void {
    if (crowd.owner === undefined) return;
    const now = this.#host.clock.monotonic();
    crowd.newUntilMs = now + NEW_MS;
    // No digest tells an owner that heard no greeting whom clients here believe to be there: it is asked.
    if (crowd.believed && crowd.believed.users.size > 0) {
      this.#unsure.set(crowd.room, { tell: true, fromMs: now + SURE_MS });
    }
    if (crowd.owner === this.#host.name) return this.#greetHere(crowd);
    crowd.wholeDue = true;
    this.#heat(crowd);
    this.#saySoon(crowd);
  }

  #greetHere(crowd: LocalCrowd): void {
    const presence = this.#host.rooms.get(crowd.room)?.presence;
    if (presence) this.introduce(crowd.room, presence);
    else if (crowd.size > 0 || (crowd.believed?.users.size ?? 0) > 0) this.#host.wake(crowd.room);
  }

  // ─── Saying it ───

  #heat(crowd: LocalCrowd): void {
    crowd.hotUntilMs = this.#host.clock.monotonic() + HOT_MS;
    this.#hot.add(crowd);
  }

  #saySoon(crowd: LocalCrowd): void {
    if (this.#turn.has(crowd)) return;
    this.#turn.set(crowd, this.#host.clock.monotonic());
    if (this.#turn.size > 1) return;
    this.#host.clock.endOfTurn(() => {
      const turn = this.#turn;
      this.#turn = new Map();
      for (const [one, sinceMs] of turn) this.#sayOwner(one, sinceMs);
      this.#send();
    });
  }

  #sayOwner(crowd: LocalCrowd, sinceMs: number): void {
    const { name, clock } = this.#host;
    if (crowd.owner === undefined || crowd.owner === name) return;
    const few = crowd.size + (crowd.believed?.users.size ?? 0) <= NEW_MOST;
    const whole = crowd.wholeDue || (few && clock.monotonic() < crowd.newUntilMs);
    crowd.wholeDue = false;
    this.#say(crowd.owner, whole ? crowd.whole(this.#nameOf) : [crowd.since(sinceMs, this.#nameOf)]);
  }

  #say(node: string, crowds: readonly Crowd[]): void {
    const out = this.#out.get(node);
    if (out) out.push(...crowds);
    else this.#out.set(node, [...crowds]);
  }

  #send(): void {
    const { bus } = this.#host;
    for (const [node, crowds] of this.#out) {
      let from = 0;
      let guests = 0;
      for (const [at, crowd] of crowds.entries()) {
        const more = crowd.came.length + crowd.went.length + crowd.believed.length;
        if (at > from && (at - from >= WORD_CROWDS_MOST || guests + more > WORD_GUESTS_MOST)) {
          bus.tell(node, { kind: "crowds", crowds: crowds.slice(from, at) });
          from = at;
          guests = 0;
        }
        guests += more;
      }
      bus.tell(node, { kind: "crowds", crowds: from === 0 ? crowds : crowds.slice(from) });
    }
    this.#out = new Map();
  }

  #runLap(): void {
    const now = this.#host.clock.monotonic();
    let left = LAP_ROOMS_MOST;
    for (const crowd of [...this.#hot]) {
      if (crowd.hotUntilMs <= now) this.#cool(crowd);
      else if (left-- > 0) this.#look(crowd, now);
    }
    this.#goRound(now);
    this.#send();
    this.#askWhoIsPresent(now);
  }

  #cool(crowd: LocalCrowd): void {
    this.#hot.delete(crowd);
    crowd.cool();
    this.#dropIfOver(crowd);
  }

  /** A part of the round over all rooms. */
  #goRound(now: number): void {
    if (!this.#round) {
      if (now - this.#roundAtMs < ROUND_MS) return;
      this.#roundAtMs = now;
      this.#round = this.#rooms.values();
    }
    for (let count = 0; count < LAP_ROOMS_MOST; count++) {
      const next = this.#round.next();
      if (next.done) {
        this.#round = undefined;
        return;
      }
      const crowd = next.value;
      if (crowd.believed && this.#listeners(crowd.room) === 0) crowd.believed = undefined;
      if (!this.#hot.has(crowd)) this.#look(crowd, now);
      this.#dropIfOver(crowd);
    }
  }

  /** Says the room once more; of one that is owned here, sees that it is awake. */
  #look(crowd: LocalCrowd, now: number): void {
    this.#findOwner(crowd);
    if (crowd.owner === this.#host.name) {
      if (crowd.size > 0 && !this.#host.rooms.has(crowd.room)) this.#host.wake(crowd.room);
    } else if (crowd.size > 0 || this.#hot.has(crowd)) {
      this.#sayOwner(crowd, now - HOT_MS);
    }
  }

  #dropIfOver(crowd: LocalCrowd): void {
    if (crowd.size > 0 || crowd.believed || this.#hot.has(crowd)) return;
    this.#rooms.delete(crowd.room);
    this.#unsure.delete(crowd.room);
  }

  // ─── Signals ───

  /** A subscription to the signals of a room is live here: from now on it is known whom its clients believe present. */
  listening(room: string): void {
    if (!this.#host.bus.shared) return;
    const crowd = this.#of(room);
    // Of what was said while nobody listened nothing is known.
    if (crowd.believed && this.#listeners(room) > 1) return;
    crowd.believed = new Believed(this.#host.limits.presenceListed);
    this.#unsure.set(room, { tell: false, fromMs: 0 });
    this.#findOwner(crowd);
  }

  /** The signals that may be passed on: those that somebody here listens to and no older owner said (rule 10). */
  admit(signals: readonly Signal[]): readonly Signal[] {
    return signals.filter((signal) => {
      const { room } = signal;
      if (this.#listeners(room) === 0) return false;
      if (!this.#host.bus.shared) return true;
      if (!this.#rooms.get(room)?.believed) this.listening(room);
      return this.#of(room).believed?.hear(signal, this.#host.cluster.owners.term(this.#of(room).shard)) ?? true;
    });
  }

  #askWhoIsPresent(now: number): void {
    let left = ASKED_MOST;
    for (const [room, doubt] of this.#unsure) {
      if (doubt.fromMs > now) continue;
      if (left-- === 0) return;
      this.#unsure.delete(room);
      const believed = this.#rooms.get(room)?.believed;
      if (believed) this.#askOwner(room, believed, doubt);
    }
  }

  #askOwner(room: string, believed: Believed, doubt: Doubt): void {
    believed.ask();
    this.#host.remote.present(room).then(
      (present) => {
        const { joined, left } = believed.learn(present);
        if (!doubt.tell || this.#rooms.get(room)?.believed !== believed) return;
        const said = (state: "join" | "leave") => (user: string) =>
          ({ room, event: "presence", user, state, offset: 0, term: believed.term }) as const;
        const signals = [...left.map(said("leave")), ...joined.map(said("join"))];
        if (signals.length > 0) this.#host.fanout.signals(room, signals);
      },
      () => {
        if (this.#rooms.get(room)?.believed === believed) this.#unsure.set(room, doubt);
      },
    );
  }
}
