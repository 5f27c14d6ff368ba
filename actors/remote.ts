/**
 * What connections ask of rooms: to listen, that they type, how far they have read. It is asked of the room's
 * owner, which may be this node; the owner's part is offered to other nodes.
 */
import {
  askOwner,
  atMost,
  OWNER_MS,
  type OwnerHost,
  pause,
  type Question,
  type Service,
  type Services,
  whileOwned,
} from "./asking.ts";
import { Unanswered } from "./calls.ts";
import { Refusal } from "./codes.ts";
import type { Counters } from "./counters.ts";
import { isRoomId, type Position } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { MarkKind } from "./marks.ts";
import type { Room } from "./room.ts";

/** What the owner of a room says when a user may listen to it. */
export interface Grant {
  /** The last entry that was accepted: what comes after it is published. */
  readonly accepted: Position;
  /** The last entry that is decided; no entry after it was ever seen by anybody. */
  readonly head: Position;
  /** The term under which it is owned. */
  readonly term: number;
}

/** What is needed of the node. */
export interface RemoteHost extends OwnerHost {
  readonly services: Services;
  readonly counters: Counters;
  readonly limits: Pick<Limits, "presenceListed">;
  /** The actor of a room that this node owns. */
  room(id: string): Room;
}

/** How long a word about typing is worth an answer, ms. */
const TYPING_MS = 1_000;

/** Rooms as connections see them, wherever they are owned. */
export class Remote {
  readonly #host: RemoteHost;

  constructor(host: RemoteHost) {
    this.#host = host;
    host.services.offer({
      "room.grant": this.#service(([room, user]) => this.#grantHere(room, user as string, () => {})),
      "room.strangers": this.#service(([room, users]) => this.#strangersHere(room, users as readonly string[])),
      "room.present": this.#service(([room]) => this.#presentHere(room)),
      "room.head": this.#service(([room]) => this.#headHere(room)),
      "room.typing": this.#service(([room, user, on]) => this.#typingHere(room, user as string, on as boolean)),
      "room.mark": this.#service(([room, user, mark]) => this.#markHere(room, user as string, mark as Mark)),
    });
  }

  #service(serve: (args: readonly [string, ...unknown[]]) => Promise<unknown>): Service {
    return {
      safe: true,
      serve: (args) => {
        const asked = args as readonly [string, ...unknown[]];
        return whileOwned(this.#host, { room: asked[0], safe: true }, () => serve(asked));
      },
    };
  }

  #ask<T>(
    method: string,
    args: readonly [string, ...unknown[]],
    here: () => Promise<T>,
    withinMs?: number,
  ): Promise<T> {
    const [room] = args;
    const question: Question = { room, method, args, safe: true, ...(withinMs === undefined ? {} : { withinMs }) };
    return askOwner(this.#host, question, here);
  }

  /**
   * Asks whether a user may listen to a room, each time anew: what is remembered never grants (rule 11). `heard`
   * is told in the turn in which the answer is known; of a room owned here it is told before anything more of it
   * is accepted. Rejects with the refusal.
   */
  async grant(room: string, user: string, heard: (grant: Grant) => void): Promise<Grant> {
    let told = false;
    const once = (grant: Grant): void => {
      if (!told) heard(grant);
      told = true;
    };
    const grant = await this.#ask("room.grant", [room, user], () => this.#grantHere(room, user, once));
    once(grant);
    return grant;
  }

  /** Waits out a lease that lapsed and a room that opens anew: it is this node's to answer all the while. */
  async #grantHere(roomId: string, user: string, heard: (grant: Grant) => void): Promise<Grant> {
    const { clock, name } = this.#host;
    const untilMs = clock.monotonic() + OWNER_MS;
    for (;;) {
      const room = this.#host.room(roomId);
      // Who may not decide now may not know who is a member now.
      while (!room.shard.holds && this.#host.ownerOf(roomId) === name) {
        const leftMs = untilMs - clock.monotonic();
        if (leftMs <= 0) throw new Refusal("store-unavailable", undefined, 1_000);
        await atMost(clock, leftMs, room.shard.held());
      }
      try {
        return await room.ask((state) => {
          state.requireSight(user);
          const grant = grantOf(room);
          heard(grant);
          return grant;
        });
      } catch (error) {
        const reopens = error instanceof Refusal && error.code === "store-unavailable" && room.status === "closed";
        if (!reopens || this.#host.ownerOf(roomId) !== name || clock.monotonic() >= untilMs) throw error;
        await pause(clock);
      }
    }
  }

  /** Which of the users may not see the room. */
  strangers(room: string, users: readonly string[]): Promise<readonly string[]> {
    return this.#ask("room.strangers", [room, users], () => this.#strangersHere(room, users));
  }

  #strangersHere(roomId: string, users: readonly string[]): Promise<readonly string[]> {
    return this.#host.room(roomId).ask((state) => users.filter((user) => !state.maySee(user)));
  }

  /** Users present in the room, at most `presenceListed`. */
  present(room: string): Promise<readonly string[]> {
    return this.#ask("room.present", [room], () => this.#presentHere(room));
  }

  #presentHere(roomId: string): Promise<readonly string[]> {
    const room = this.#host.room(roomId);
    return room.ask(() => room.presence.list(this.#host.limits.presenceListed).map(({ id }) => id));
  }

  /** Where the room's log ends, as its owner says. Rejects with `room-not-found` when there is no such room. */
  head(room: string): Promise<Grant> {
    return this.#ask("room.head", [room], () => this.#headHere(room));
  }

  #headHere(roomId: string): Promise<Grant> {
    const room = this.#host.room(roomId);
    return room.ask(() => grantOf(room));
  }

  /**
   * A user types or pauses; refused to who may not see the room. Dropped when the owner can not be asked at
   * once: a signal is dropped first.
   */
  async typing(room: string, user: string, on: boolean): Promise<void> {
    if (this.#host.ownerOf(room) === undefined && isRoomId(room)) return this.#drop();
    try {
      await this.#ask("room.typing", [room, user, on], () => this.#typingHere(room, user, on), TYPING_MS);
    } catch (error) {
      if (error instanceof Refusal && error.code !== "busy" && error.code !== "store-unavailable") throw error;
      if (!(error instanceof Refusal) && !(error instanceof Unanswered)) throw error;
      this.#drop();
    }
  }

  #drop(): void {
    this.#host.counters.signalsDropped++;
  }

  async #typingHere(roomId: string, user: string, on: boolean): Promise<void> {
    const room = await this.#seen(roomId, user);
    room.presence.typing(user, on);
  }

  /** Raises a mark of a user who may see the room. */
  mark(room: string, user: string, mark: Mark): Promise<void> {
    return this.#ask("room.mark", [room, user, mark], () => this.#markHere(room, user, mark));
  }

  async #markHere(roomId: string, user: string, mark: Mark): Promise<void> {
    const room = await this.#seen(roomId, user);
    await room.marks.raise(user, mark.kind, mark.offset);
  }

  /** A room that the user may see; signals do not stand in the line of its commands. */
  async #seen(roomId: string, user: string): Promise<Room> {
    const room = this.#host.room(roomId);
    if (room.status === "open") room.state.requireSight(user);
    else await room.ask((state) => state.requireSight(user));
    return room;
  }
}

/** Up to where a user has read or received a room. */
export interface Mark {
  readonly kind: MarkKind;
  readonly offset: number;
}

function grantOf({ state, shard }: Room): Grant {
  const head = { offset: state.offset, term: state.headTerm };
  return { accepted: state.accepted, head, term: shard.term };
}
