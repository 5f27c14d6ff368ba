/**
 * Who is in a room, as its owner sees it: one small integer per user over the table of the membership
 * machine, and the nodes where the user is. Signals about it are ephemeral and coalesced; nothing is said when
 * nobody listens.
 */
import type { Clock, Timer } from "./clock.ts";
import type { Limits } from "./limits.ts";
import { type MembershipEffect, type MembershipEvent, membershipTable } from "./membership.machine.ts";
import { type Left, REOPENED_MS } from "./returning.ts";

/** What presence says to the room's audience. */
export interface PresenceSpeaker {
  presence(user: string, state: "join" | "leave"): void;
  typing(user: string, state: "start" | "stop"): void;
}

/** What a room's presence needs. */
export interface PresenceOptions {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly speaker: PresenceSpeaker;
  /** Users that clients believe to be here were not introduced: who may have lost the words is to be asked. */
  doubted(): void;
  /** The room closed with these users in it; `leave` is told of each when it does not open soon. */
  closed(users: readonly Left[], leave: (user: string) => void): void;
}

/** A timer that runs later than this after it was due says that this process stood still, ms (rule 10). */
export const LATE_MS = 1_500;
/** Pause before somebody is judged absent again by a process that stood still, ms: what waited in its sockets is read. */
export const LOOK_AGAIN_MS = 1_000;
/**
 * How long a user that only others believe to be here may take to be introduced, ms: a lost word is said again
 * twice; and after how much of it all nodes are asked.
 */
const SUSPICION_MS = 600;
const DOUBT_MS = 250;
/** No node. */
const NOWHERE = "";

interface Here {
  state: number;
  /** A node where the user is subscribed; `NOWHERE` when the user lingers. */
  edge: string;
  /** The others; few users are at more than one. */
  others: string[] | undefined;
  name: string;
  /** Of who was here as the room closed and is expected back: monotonic ms until which. */
  untilMs: number | undefined;
  timer: Timer | undefined;
}

/** The people in one room. */
export class RoomPresence {
  readonly #options: PresenceOptions;
  readonly #users = new Map<string, Here>();
  /** Users of whom a leave is owed unless they come, each with the suspicion it is of. */
  readonly #suspects = new Map<string, object>();

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** Users that are here or linger. */
  get size(): number {
    return this.#users.size;
  }

  /** Whether a user is here or lingers. */
  has(user: string): boolean {
    return this.#users.has(user);
  }

  /** The user is subscribed to the room at a node; harmless when that is known. */
  arrive(user: string, name: string, edge: string): void {
    let here = this.#users.get(user);
    if (!here) {
      here = { state: membershipTable.initial, edge, others: undefined, name, untilMs: undefined, timer: undefined };
      this.#users.set(user, here);
      if (this.#suspects.size > 0) this.#suspects.delete(user);
      return this.#apply(user, here, "granted");
    }
    here.name = name;
    if (here.edge === NOWHERE) {
      here.edge = edge;
      here.untilMs = undefined;
      this.#apply(user, here, "returned");
    } else if (here.edge !== edge && !here.others?.includes(edge)) {
      if (here.others) here.others.push(edge);
      else here.others = [edge];
    }
  }

  /** The room opened again, and these are expected back: nobody has seen them leave. */
  adopt(users: readonly Left[]): void {
    for (const { user, name, untilMs } of users) {
      const here = {
        state: membershipTable.initial,
        edge: NOWHERE,
        others: undefined,
        name,
        untilMs,
        timer: undefined,
      };
      this.#users.set(user, here);
      this.#apply(user, here, "reopened");
    }
  }

  /** The user is not subscribed at a node any more; the last one begins the grace. */
  depart(user: string, edge: string): void {
    const here = this.#users.get(user);
    if (here && leave(here, edge)) this.#apply(user, here, "lastGone");
  }

  /** The same where the node is gone: noticing that took as long as a grace, so it leaves at once. */
  vanish(user: string, edge: string): void {
    const here = this.#users.get(user);
    if (here && leave(here, edge)) this.#apply(user, here, "removed");
  }

  /** The user is no member any more: gone at once. */
  remove(user: string): void {
    const here = this.#users.get(user);
    if (here) this.#apply(user, here, "removed");
  }

  /**
   * Clients somewhere believe that these users are here, of whom this owner may not know: they were at a node
   * that died together with the owner before, or will be introduced in a moment. Of those who are not here then,
   * `leave` is said. Bounded by `presenceListed`; further ones are left out.
   */
  suspect(users: Iterable<string>): void {
    const { limits } = this.#options;
    const suspicion = {};
    let any = false;
    for (const user of users) {
      if (this.#suspects.size >= limits.presenceListed) break;
      if (this.#users.has(user) || this.#suspects.has(user)) continue;
      this.#suspects.set(user, suspicion);
      any = true;
    }
    if (any) this.#doubtLater(suspicion);
  }

  /** Before anybody is judged the nodes are asked, as the words of one may be lost. */
  #doubtLater(suspicion: object): void {
    const { clock, doubted } = this.#options;
    const due = clock.monotonic() + DOUBT_MS;
    clock.after(DOUBT_MS, () => {
      if (![...this.#suspects.values()].includes(suspicion)) return;
      doubted();
      const late = clock.monotonic() - due > LATE_MS;
      this.#judgeLater(suspicion, late ? LOOK_AGAIN_MS : SUSPICION_MS - DOUBT_MS);
    });
  }

  #judgeLater(suspicion: object, delayMs: number): void {
    const { clock, speaker } = this.#options;
    const due = clock.monotonic() + delayMs;
    clock.after(delayMs, () => {
      if (clock.monotonic() - due > LATE_MS) return this.#judgeLater(suspicion, LOOK_AGAIN_MS);
      for (const [user, of] of this.#suspects) {
        if (of !== suspicion) continue;
        this.#suspects.delete(user);
        speaker.presence(user, "leave");
      }
    });
  }

  /** The user types or pauses; ignored from who is not here. */
  typing(user: string, on: boolean): void {
    const here = this.#users.get(user);
    if (here) this.#apply(user, here, on ? "type" : "pause");
  }

  /** Users present now, lingering ones included, up to `most`. */
  list(most: number): { id: string; name: string; typing: boolean }[] {
    const list: { id: string; name: string; typing: boolean }[] = [];
    for (const [id, here] of this.#users) {
      if (list.length >= most) break;
      list.push({ id, name: here.name, typing: membershipTable.name(here.state) === "typing" });
    }
    return list;
  }

  /**
   * Forgets everybody; the room closes. Its next opening expects who is here, and knows nothing of who typed or
   * lingered: these words are said now. Who goes in between is not introduced to it, and leaves later.
   */
  clear(): void {
    const { clock, speaker } = this.#options;
    const left: Left[] = [];
    const soonMs = clock.monotonic() + REOPENED_MS;
    for (const [user, here] of this.#users) {
      this.#cancel(here);
      const { name, untilMs } = here;
      const state = membershipTable.name(here.state);
      if (state === "typing") speaker.typing(user, "stop");
      if (state === "lingering" && untilMs === undefined) speaker.presence(user, "leave");
      else left.push({ user, name, untilMs: untilMs ?? soonMs });
    }
    this.#users.clear();
    // Who listens says to the next opening whom it believes to be here.
    this.#suspects.clear();
    // Where the room is owned elsewhere then, the term of these leaves is old, and nobody hears them.
    this.#options.closed(left, (user) => speaker.presence(user, "leave"));
  }

  #apply(user: string, here: Here, event: MembershipEvent): void {
    const index = membershipTable.event(event);
    const next = membershipTable.next(here.state, index);
    if (next < 0) return;
    const effects = membershipTable.effects(here.state, index);
    here.state = next;
    for (const effect of effects) this.#run(user, here, effect);
  }

  #run(user: string, here: Here, effect: MembershipEffect): void {
    const { speaker, limits } = this.#options;
    switch (effect) {
      case "announceJoin":
        return speaker.presence(user, "join");
      case "announceLeave":
        return speaker.presence(user, "leave");
      case "announceTypingStart":
        return speaker.typing(user, "start");
      case "announceTypingStop":
        return speaker.typing(user, "stop");
      case "startTypingTimer":
        return this.#start(user, here, limits.typingMs, "typingTimeout");
      case "startGrace":
        return this.#start(user, here, this.#graceOf(here), "graceOver");
      case "stopTypingTimer":
      case "stopGrace":
        return this.#cancel(here);
      case "forget":
        this.#cancel(here);
        this.#users.delete(user);
    }
  }

  #graceOf({ untilMs }: Here): number {
    const { clock, limits } = this.#options;
    return untilMs === undefined ? limits.presenceGraceMs : Math.max(0, untilMs - clock.monotonic());
  }

  #start(user: string, here: Here, delayMs: number, event: MembershipEvent): void {
    this.#cancel(here);
    const { clock } = this.#options;
    const due = clock.monotonic() + delayMs;
    here.timer = clock.after(delayMs, () => {
      here.timer = undefined;
      // Who stood still looks again before it judges anyone absent (rule 10).
      if (clock.monotonic() - due > LATE_MS) this.#start(user, here, LOOK_AGAIN_MS, event);
      else this.#apply(user, here, event);
    });
  }

  #cancel(here: Here): void {
    if (here.timer) this.#options.clock.cancel(here.timer);
    here.timer = undefined;
  }
}

/** Takes a node off those where a user is; whether it was the last. */
function leave(here: Here, edge: string): boolean {
  if (here.edge === edge) {
    here.edge = here.others?.pop() ?? NOWHERE;
    return here.edge === NOWHERE;
  }
  const at = here.others?.indexOf(edge) ?? -1;
  if (at >= 0) here.others?.splice(at, 1);
  return false;
}
