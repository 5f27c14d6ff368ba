/**
 * Who is in a room, as its owner sees it: one small integer per user over the table of the membership
 * machine. Signals about it are ephemeral and coalesced; nothing is said when nobody listens.
 */
import type { Clock, Timer } from "./clock.ts";
import type { Limits } from "./limits.ts";
import { type MembershipEffect, type MembershipEvent, membershipTable } from "./membership.machine.ts";

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
}

interface Here {
  state: number;
  /** Subscriptions of this user, over all its connections. */
  connections: number;
  name: string;
  timer: Timer | undefined;
}

/** The people in one room. */
export class RoomPresence {
  readonly #options: PresenceOptions;
  readonly #users = new Map<string, Here>();

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** Users that are here or linger. */
  get size(): number {
    return this.#users.size;
  }

  /** A connection of the user subscribed to the room. */
  arrive(user: string, name: string): void {
    let here = this.#users.get(user);
    if (!here) {
      here = { state: membershipTable.initial, connections: 0, name, timer: undefined };
      this.#users.set(user, here);
    }
    here.connections++;
    here.name = name;
    this.#apply(
      user,
      here,
      here.connections === 1 && membershipTable.name(here.state) === "lingering" ? "returned" : "granted",
    );
  }

  /** A subscription of the user ended. */
  depart(user: string): void {
    const here = this.#users.get(user);
    if (!here || here.connections === 0) return;
    here.connections--;
    if (here.connections === 0) this.#apply(user, here, "lastGone");
  }

  /** The user is no member any more: gone at once. */
  remove(user: string): void {
    const here = this.#users.get(user);
    if (here) this.#apply(user, here, "removed");
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
   * Forgets everybody; the room closes. Who is here is introduced to its next opening, which knows nothing of
   * who typed or lingered: these words are said now.
   */
  clear(): void {
    const { speaker } = this.#options;
    for (const [user, here] of this.#users) {
      this.#cancel(here);
      const state = membershipTable.name(here.state);
      if (state === "typing") speaker.typing(user, "stop");
      else if (state === "lingering") speaker.presence(user, "leave");
    }
    this.#users.clear();
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
        return this.#start(user, here, limits.presenceGraceMs, "graceOver");
      case "stopTypingTimer":
      case "stopGrace":
        return this.#cancel(here);
      case "forget":
        this.#cancel(here);
        this.#users.delete(user);
    }
  }

  #start(user: string, here: Here, delayMs: number, event: MembershipEvent): void {
    this.#cancel(here);
    here.timer = this.#options.clock.after(delayMs, () => {
      here.timer = undefined;
      this.#apply(user, here, event);
    });
  }

  #cancel(here: Here): void {
    if (here.timer) this.#options.clock.cancel(here.timer);
    here.timer = undefined;
  }
}
