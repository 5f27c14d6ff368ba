/** The local audiences of one node: who may listen to a room, who is here, and who has to go. */

import type { Archive } from "./archive.ts";
import { OWNER_MS, pause } from "./asking.ts";
import { Audience, type AudienceHost } from "./audience.ts";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import type { Counters } from "./counters.ts";
import { Crowds, type CrowdsHost } from "./crowds.ts";
import { isRoomId, type Position } from "./entry.ts";
import type { Claims } from "./identity.ts";
import type { Limits } from "./limits.ts";
import type { Fanout, Subscription } from "./link.ts";
import type { Log } from "./log.ts";
import type { RoomPresence } from "./presence.ts";
import type { Registry } from "./registry.ts";
import type { Grant, Remote } from "./remote.ts";
import type { Room } from "./room.ts";
import { endSubscription } from "./subscribe.ts";

/** What the audiences need of their node. */
export interface AudiencesHost extends CrowdsHost {
  readonly archive: Archive;
  readonly bus: Bus;
  readonly fanout: Fanout;
  readonly limits: Limits;
  readonly log: Log;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly registry: Registry;
  readonly rooms: ReadonlyMap<string, Room>;
  /** Asks the owners of rooms. */
  readonly remote: Pick<Remote, "grant" | "strangers" | "present">;
}

/** Users asked about at once after a chain broke. */
const STRANGERS_PAGE = 500;

/** All audiences of one node. */
export class Audiences implements Pick<AudienceHost, "expel" | "broken" | "unfilled"> {
  readonly #host: AudiencesHost;
  readonly #byRoom = new Map<string, Audience>();
  /** Tells the owners of rooms who is here. */
  readonly crowds: Crowds;

  constructor(host: AudiencesHost) {
    this.#host = host;
    this.crowds = new Crowds(host, (room) => this.#byRoom.get(room)?.signals ?? 0);
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
      unfilled: (...a) => this.unfilled(...a),
    };
  }

  /** Tells a room that opens who is here already: after an owner change it knows nobody. */
  introduce(roomId: string, presence: RoomPresence): void {
    this.crowds.introduce(roomId, presence);
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
    audience.close();
    this.#host.bus.leave(audience.room);
  }

  /**
   * Grants in this turn, if the room is owned here, is awake, and the audience is at its head; answers where it
   * granted. `wanted` is where the client says it is. Throws the refusal.
   */
  grantNow(audience: Audience, user: string, wanted: Position): number | undefined {
    const room = this.#host.rooms.get(audience.room);
    if (!audience.position || room?.status !== "open" || !room.shard.holds) return undefined;
    if (audience.position.offset < room.state.accepted.offset) return undefined;
    if (audience.position.offset < wanted.offset) return undefined;
    room.state.requireSight(user);
    return room.state.accepted.offset;
  }

  /**
   * Grants once the owner said so, the audience is where the owner was then, and the room's packs are sure to
   * come; answers the offset from which on a removal holds. Rejects with the refusal.
   *
   * What a client saw elsewhere may be accepted before its owner has heard so: only a position beyond all that an
   * owner of no lower term decided is none (rule 6).
   */
  async grant(audience: Audience, user: string, wanted: Position): Promise<number> {
    if (!isRoomId(audience.room)) throw new Refusal("room-not-found");
    const { bus, clock, remote } = this.#host;
    const untilMs = clock.monotonic() + OWNER_MS;
    await bus.join(audience.room);
    for (;;) {
      const before = audience.position;
      // Where this node owns the room, in the turn in which its head is read: what comes after it is published.
      const grant = await remote.grant(audience.room, user, ({ accepted }) => audience.grant(accepted));
      const { accepted, head, term } = grant;
      const early = wanted.offset > accepted.offset && (wanted.offset <= head.offset || term < wanted.term);
      if (!early && (await this.#catchUpTo(audience, grant, { before, untilMs }))) return accepted.offset;
      if (clock.monotonic() >= untilMs) throw new Refusal("store-unavailable", undefined, 1_000);
      await pause(clock);
    }
  }

  /** Brings an audience to where its owner granted; false when it must be asked again. */
  #catchUpTo(
    audience: Audience,
    { accepted, head, term }: Grant,
    asked: { readonly before: Position | undefined; readonly untilMs: number },
  ): Promise<boolean> {
    const here = audience.position ?? accepted;
    // An owner that another one followed.
    if (term < here.term) return Promise.resolve(false);
    // Rule 6: what was taken before the owner was asked, and is beyond all it decided, is not on the log.
    const beyond = asked.before !== undefined && asked.before.offset > head.offset;
    if (beyond || (here.offset === accepted.offset && here.term !== accepted.term)) audience.lost(accepted);
    return audience.reach(accepted.offset, asked.untilMs - this.#host.clock.monotonic());
  }

  /** A log subscription of the user is live here. */
  arrived(roomId: string, claims: Claims): void {
    this.crowds.arrived(roomId, claims.sub);
  }

  departed(roomId: string, user: string): void {
    this.crowds.departed(roomId, user);
  }

  expel(roomId: string, user: string): void {
    this.#endSubscriptions(this.#host.registry.ofUser(user), roomId, "removed");
    this.#host.rooms.get(roomId)?.presence.remove(user);
  }

  /** Ends all local subscriptions of a deleted room, and the room itself where it was opened before that was known. */
  dissolve(roomId: string): void {
    this.#host.rooms.get(roomId)?.dissolve();
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

  broken(roomId: string, head: Position): Promise<void> {
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
    return this.#sift(roomId, head);
  }

  unfilled(roomId: string): void {
    for (const connection of [...this.#host.registry.all()]) {
      const listens = ({ kind, subject, state }: Subscription): boolean =>
        kind === "log" && subject === roomId && (state === "live" || state === "replaying");
      if (connection.subscriptions.some(listens)) connection.end("gap-unfilled");
    }
  }

  /**
   * Asks the owner again who may be here: a removal may be among what was lost. An owner that another one followed
   * may not know of it; and where more is lost meanwhile, that is asked then.
   */
  async #sift(roomId: string, head: Position): Promise<void> {
    const { clock, cluster, log, registry, remote } = this.#host;
    const shard = this.#host.shardIndexOf(roomId);
    const users = new Set<string>();
    for (const { user, subscriptions } of registry.all()) {
      if (subscriptions.some(({ subject, kind }) => subject === roomId && kind !== "queue")) users.add(user);
    }
    const waiting = [...users];
    while (waiting.length > 0 && this.#byRoom.get(roomId)?.position === head) {
      const some = waiting.slice(0, STRANGERS_PAGE);
      if (cluster.owners.term(shard) < head.term) {
        await pause(clock);
        continue;
      }
      try {
        for (const user of await remote.strangers(roomId, some)) this.expel(roomId, user);
        waiting.splice(0, some.length);
      } catch (error) {
        if (error instanceof Refusal && error.code === "room-not-found") return this.dissolve(roomId);
        log.warn({ room: roomId, err: error }, "it is not known who may be in a room; asking again");
        await pause(clock);
      }
    }
  }
}
