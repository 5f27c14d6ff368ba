/** The local audiences of one node: who may listen to a room, who is here, and who has to go. */

import type { Archive } from "./archive.ts";
import { Audience, type AudienceHost } from "./audience.ts";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import type { Counters } from "./counters.ts";
import { isRoomId, type Position } from "./entry.ts";
import type { Claims } from "./identity.ts";
import type { Limits } from "./limits.ts";
import type { Fanout } from "./link.ts";
import type { Log } from "./log.ts";
import type { RoomPresence } from "./presence.ts";
import type { Registry } from "./registry.ts";
import type { Room } from "./room.ts";
import { endSubscription } from "./subscribe.ts";

/** What the audiences need of their node. */
export interface AudiencesHost {
  readonly archive: Archive;
  readonly bus: Bus;
  readonly fanout: Fanout;
  readonly limits: Limits;
  readonly log: Log;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly registry: Registry;
  readonly rooms: ReadonlyMap<string, Room>;
  room(id: string): Room;
}

/** All audiences of one node. */
export class Audiences implements Pick<AudienceHost, "expel" | "broken"> {
  readonly #host: AudiencesHost;
  readonly #byRoom = new Map<string, Audience>();

  constructor(host: AudiencesHost) {
    this.#host = host;
  }

  /** The audience of a room, if anybody listens here. */
  get(roomId: string): Audience | undefined {
    return this.#byRoom.get(roomId);
  }

  /** All audiences. */
  all(): Iterable<Audience> {
    return this.#byRoom.values();
  }

  has(roomId: string): boolean {
    return this.#byRoom.has(roomId);
  }

  #hostOf(): AudienceHost {
    const { archive, bus, fanout, limits, log, clock, counters } = this.#host;
    return {
      archive,
      bus,
      fanout,
      limits,
      log,
      clock,
      counters,
      expel: (...a) => this.expel(...a),
      broken: (...a) => this.broken(...a),
    };
  }

  /** Tells a room that opens who is here already: after an owner change it knows nobody. */
  introduce(roomId: string, presence: RoomPresence): void {
    if ((this.#byRoom.get(roomId)?.logs ?? 0) === 0) return;
    for (const connection of this.#host.registry.all()) {
      for (const one of connection.subscriptions) {
        if (one.kind !== "log" || one.subject !== roomId || one.state !== "live") continue;
        presence.arrive(connection.user, connection.claims?.name ?? connection.user);
      }
    }
  }

  /**
   * The owner's head, as the room opens. What was stored to seal it, or logged without an answer, may never
   * have been published.
   */
  catchUp(roomId: string, head: Position): void {
    const audience = this.#byRoom.get(roomId);
    if (audience?.position && audience.position.offset < head.offset) audience.fill();
  }

  /** The local audience of a room, made on first use. */
  of(roomId: string): Audience {
    let audience = this.#byRoom.get(roomId);
    if (!audience) {
      audience = new Audience(roomId, this.#hostOf());
      this.#byRoom.set(roomId, audience);
    }
    return audience;
  }

  /** Nobody here listens to the room any more. */
  unheard(audience: Audience): void {
    if (this.#byRoom.get(audience.room) !== audience) return;
    this.#byRoom.delete(audience.room);
    this.#host.bus.leave(audience.room);
  }

  /** Grants in this turn, if the audience is at a position and the room is awake; throws the refusal. */
  grantNow(audience: Audience, user: string): boolean {
    const room = this.#host.rooms.get(audience.room);
    if (!audience.position || room?.status !== "open") return false;
    room.state.requireSight(user);
    return true;
  }

  /** Grants once the room is awake and its packs are sure to come. Rejects with the refusal. */
  async grant(audience: Audience, user: string): Promise<void> {
    if (!isRoomId(audience.room)) throw new Refusal("room-not-found");
    await this.#host.bus.join(audience.room);
    await this.#host.room(audience.room).ask((state) => {
      state.requireSight(user);
      // In the turn in which the position is read: what is accepted after it is published to this audience.
      audience.grant(state.accepted);
    });
  }

  /** A log subscription of the user is live here. */
  arrived(roomId: string, claims: Claims): void {
    this.#host.rooms.get(roomId)?.presence.arrive(claims.sub, claims.name);
  }

  departed(roomId: string, user: string): void {
    this.#host.rooms.get(roomId)?.presence.depart(user);
  }

  expel(roomId: string, user: string): void {
    this.#endSubscriptions(this.#host.registry.ofUser(user), roomId, "removed");
    this.#host.rooms.get(roomId)?.presence.remove(user);
  }

  /** Ends all local subscriptions of a deleted room. */
  dissolve(roomId: string): void {
    this.#endSubscriptions([...this.#host.registry.all()], roomId, "room-deleted");
  }

  #endSubscriptions(connections: Connection[], roomId: string, code: "removed" | "room-deleted"): void {
    for (const connection of connections) {
      for (const one of [...connection.subscriptions]) {
        const ofRoom = one.subject === roomId && (one.kind === "log" || one.kind === "signals");
        if (ofRoom && one.state !== "joining") endSubscription(connection, one, code);
      }
    }
  }

  broken(roomId: string, head: Position): void {
    for (const connection of this.#host.registry.all()) {
      for (const one of connection.subscriptions) {
        if (one.kind !== "log" || one.subject !== roomId) continue;
        if (one.state === "replaying") {
          // What it was shown may not be on the log: it resumes from there, and is told.
          connection.end("gap-unfilled");
          break;
        }
        if (one.state !== "live") continue;
        this.#host.counters.unrecovered++;
        connection.link.resumed(one, false, head);
      }
    }
  }
}
