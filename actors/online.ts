/**
 * Online and offline: whether a user has any connection at all, at any node. Said only to awake rooms that the
 * user is a member of and that are small enough to care (a storm of these has melted other systems).
 *
 *   first connection at a node ── notice online ──> every node says it to its rooms
 *   last one there ended, grace over ── notice offline ──> every node suspects the user
 *                      who has the user too ── online ──> nobody says anything
 *                      nobody within 1 s ──────────────> every node says offline to its rooms
 *
 * A notice may be lost, so each is said three times; the same again does no harm. A node that is alone says
 * what it sees at once.
 */
import type { Bus, Notice } from "./bus.ts";
import type { Clock, Timer } from "./clock.ts";
import type { Limits } from "./limits.ts";
import { LATE_MS, LOOK_AGAIN_MS } from "./presence.ts";
import type { Room } from "./room.ts";
import type { Speaker } from "./speaker.ts";

/** What the watch needs of its node. */
export interface OnlineHost {
  readonly name: string;
  readonly bus: Pick<Bus, "notify">;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly speaker: Pick<Speaker, "say">;
  readonly rooms: ReadonlyMap<string, Room>;
  readonly registry: { isOnline(user: string): boolean };
  /** Whether no other node lives. */
  readonly cluster: { readonly alone: boolean };
}

/** A notice that users have a connection, or have none. */
export type LineNotice = Extract<Notice, { kind: "online" | "offline" }>;

/** How long a contradiction may take, ms. */
const SUSPICION_MS = 1_000;
/** Pause between two sayings of the same, and how often it is said. */
const LAP_MS = 300;
const SAYINGS = 3;
/** Most users of one notice; most notices of one lap, the rest follow with the next. */
const USERS_MOST = 1_000;
const NOTICES_MOST = 5;
/** Most users that wait to be said something of; further ones are left out. */
const WAITING_MOST = 20_000;
/** How long after the end of a node it is asked about the members of rooms that wake: they may be its own, ms. */
const TAKEOVER_MS = 10_000;

interface Saying {
  readonly state: "online" | "offline";
  left: number;
}

/** Which awake rooms want to hear of which users. */
export class OnlineWatch {
  readonly #host: OnlineHost;
  /** User → rooms. Bounded by awake rooms × `presenceMembers`. */
  readonly #watched = new Map<string, Set<string>>();
  readonly #members = new Map<string, readonly string[]>();
  /** What was last said to the rooms of a watched user: whether it is online. */
  readonly #known = new Map<string, boolean>();
  /** Watched users of whom offline is said at this monotonic time, ms, unless somebody has them. */
  readonly #suspects = new Map<string, number>();
  /** What is to be said to all nodes, and how many times more. */
  readonly #sayings = new Map<string, Saying>();
  #timer: Timer | undefined;
  #turnEnds = false;
  #takeoverUntilMs = Number.NEGATIVE_INFINITY;

  constructor(host: OnlineHost) {
    this.#host = host;
  }

  /** A room woke up. */
  awake(room: Room): void {
    if (room.state.members.size > this.#host.limits.presenceMembers) return;
    const members = [...room.state.members.keys()];
    this.#members.set(room.id, members);
    for (const user of members) this.#watch(user, room.id);
    if (this.#host.clock.monotonic() < this.#takeoverUntilMs) for (const user of members) this.#doubt(user);
  }

  /** A user became a member of an awake room. */
  joined(room: Room, user: string): void {
    const members = this.#members.get(room.id);
    if (!members || members.includes(user) || members.length >= this.#host.limits.presenceMembers) return;
    this.#members.set(room.id, [...members, user]);
    this.#watch(user, room.id);
  }

  #watch(user: string, room: string): void {
    const rooms = this.#watched.get(user);
    if (rooms) rooms.add(room);
    else this.#watched.set(user, new Set([room]));
  }

  /** A room sleeps or is gone. */
  asleep(room: string): void {
    for (const user of this.#members.get(room) ?? []) {
      const rooms = this.#watched.get(user);
      rooms?.delete(room);
      if (rooms?.size !== 0) continue;
      this.#watched.delete(user);
      this.#known.delete(user);
      this.#suspects.delete(user);
    }
    this.#members.delete(room);
  }

  // ─── What this node sees ───

  /** The user's first connection here. */
  online(user: string): void {
    if (this.#host.cluster.alone) this.#say(user, "online");
    else this.#tell(user, "online");
  }

  /** None left here, and the grace is over. */
  offline(user: string): void {
    if (this.#host.cluster.alone) this.#say(user, "offline");
    else this.#tell(user, "offline");
  }

  /** A node lives no more: of whom it may have had, nobody knows until another says that it has them. */
  gone(_node: string): void {
    this.#takeoverUntilMs = this.#host.clock.monotonic() + TAKEOVER_MS;
    // First those whom clients were told to be online; of the others nobody knows what they were told before.
    for (const [user, online] of this.#known) if (online) this.#doubt(user);
    for (const user of this.#watched.keys()) this.#doubt(user);
  }

  /** Notices may have been missed until now. */
  onGap(): void {
    if (!this.#host.cluster.alone) for (const user of this.#watched.keys()) this.#doubt(user);
  }

  #doubt(user: string): void {
    if (this.#suspects.has(user) || this.#known.get(user) === false || this.#host.registry.isOnline(user)) return;
    this.#tell(user, "offline");
  }

  // ─── What is said between nodes ───

  #tell(user: string, state: "online" | "offline"): void {
    if (!this.#sayings.has(user) && this.#sayings.size >= WAITING_MOST) return;
    // To the end: what is new is said before what is repeated is said again.
    this.#sayings.delete(user);
    this.#sayings.set(user, { state, left: SAYINGS });
    if (this.#turnEnds) return;
    this.#turnEnds = true;
    this.#host.clock.endOfTurn(() => {
      this.#turnEnds = false;
      this.#notify((saying) => saying.left === SAYINGS);
      this.#lapSoon();
    });
  }

  /** Says once more what is to be said. */
  #notify(which: (saying: Saying) => boolean): void {
    const users: Record<Saying["state"], string[]> = { online: [], offline: [] };
    let left = USERS_MOST * NOTICES_MOST;
    for (const [user, saying] of this.#sayings) {
      if (!which(saying)) continue;
      if (left-- === 0) break;
      users[saying.state].push(user);
      saying.left--;
      if (saying.left === 0) this.#sayings.delete(user);
    }
    for (const kind of ["online", "offline"] as const) {
      for (let from = 0; from < users[kind].length; from += USERS_MOST) {
        const some = users[kind].slice(from, from + USERS_MOST);
        this.#host.bus.notify({ kind, node: this.#host.name, users: some });
      }
    }
  }

  /** Hears what a node says, this one included. */
  onNotice(notice: LineNotice): void {
    if (notice.kind === "online") for (const user of notice.users) this.#heardOnline(user);
    else for (const user of notice.users) this.#heardOffline(user);
    if (this.#suspects.size > 0) this.#lapSoon();
  }

  #heardOnline(user: string): void {
    this.#suspects.delete(user);
    if (this.#sayings.get(user)?.state === "offline") this.#sayings.delete(user);
    if (!this.#watched.has(user) || this.#known.get(user) === true) return;
    this.#say(user, "online");
  }

  #heardOffline(user: string): void {
    if (this.#host.registry.isOnline(user)) return this.#tell(user, "online");
    if (!this.#watched.has(user) || this.#known.get(user) === false || this.#suspects.has(user)) return;
    this.#suspects.set(user, this.#host.clock.monotonic() + SUSPICION_MS);
  }

  #lapSoon(): void {
    if (this.#timer || (this.#suspects.size === 0 && this.#sayings.size === 0)) return;
    const { clock } = this.#host;
    const due = clock.monotonic() + LAP_MS;
    this.#timer = clock.after(LAP_MS, () => {
      this.#timer = undefined;
      // Who stood still looks again before it judges anyone absent (rule 10).
      if (clock.monotonic() - due > LATE_MS) this.#putOff();
      this.#judge();
      this.#notify(() => true);
      this.#lapSoon();
    });
  }

  #putOff(): void {
    const until = this.#host.clock.monotonic() + LOOK_AGAIN_MS;
    for (const user of this.#suspects.keys()) this.#suspects.set(user, until);
  }

  #judge(): void {
    const now = this.#host.clock.monotonic();
    for (const [user, until] of this.#suspects) {
      if (until > now) continue;
      this.#suspects.delete(user);
      this.#say(user, "offline");
    }
  }

  /** Ends; nothing more is said. */
  stop(): void {
    if (this.#timer) this.#host.clock.cancel(this.#timer);
    this.#timer = undefined;
    this.#suspects.clear();
    this.#sayings.clear();
  }

  #say(user: string, state: "online" | "offline"): void {
    const rooms = this.#watched.get(user);
    if (!rooms) return;
    this.#known.set(user, state === "online");
    for (const id of rooms) {
      const room = this.#host.rooms.get(id);
      if (room?.status !== "open" || !room.state.members.has(user)) continue;
      this.#host.speaker.say({ room: id, event: "presence", user, state, offset: 0, term: room.shard.term });
    }
  }
}
