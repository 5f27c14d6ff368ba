/**
 * The connections of one node, by id and by user, and the sweep that ends what must end: silent ones,
 * those that never said CONNECT, and those whose token is over. No timer per connection.
 */
import type { Clock } from "./clock.ts";
import type { CodeWord } from "./codes.ts";
import type { Connection } from "./connection.ts";
import { Lap } from "./lap.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import { LATE_MS } from "./presence.ts";

/** What the registry tells its node. */
export interface Watcher {
  /** The user's first connection here, after none for longer than the grace. */
  online(user: string): void;
  /** None left, and the grace is over. */
  offline(user: string): void;
}

/** What the registry needs. */
export interface RegistryOptions {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly watcher: Watcher;
}

/** How often all connections are looked at, ms; a token's end is in force within 1 s (promise 7). */
const SWEEP_MS = 500;

/** All connections of one node. */
export class Registry {
  readonly #options: RegistryOptions;
  readonly #byId = new Map<string, Connection>();
  /** First connection of each signed-in user; the others follow by `nextOfUser`. */
  readonly #byUser = new Map<string, Connection>();
  /** Users in their grace, with its end; rising, as all have the same. */
  readonly #leaving = new Map<string, number>();
  readonly #lap: Lap;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#lap = new Lap({
      ...{ clock: options.clock, log: options.log, pauseMs: SWEEP_MS },
      // Who stood still has not read what came meanwhile: it looks again before it judges anyone silent (rule 10).
      run: (lateMs) => (lateMs <= LATE_MS ? this.sweep() : undefined),
      failed: "the connections could not be looked at",
    });
    this.#lap.start();
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Users with a connection here. */
  get users(): number {
    return this.#byUser.size;
  }

  add(connection: Connection): void {
    this.#byId.set(connection.id, connection);
  }

  get(id: string): Connection | undefined {
    return this.#byId.get(id);
  }

  /** All connections, oldest first. */
  all(): IterableIterator<Connection> {
    return this.#byId.values();
  }

  signedIn(connection: Connection): void {
    const user = connection.user;
    const first = this.#byUser.get(user);
    connection.nextOfUser = first;
    this.#byUser.set(user, connection);
    if (first || (this.#leaving.size > 0 && this.#leaving.delete(user))) return;
    this.#options.watcher.online(user);
  }

  /** Forgets a connection; harmless when it is forgotten already. */
  remove(connection: Connection): void {
    if (!this.#byId.delete(connection.id)) return;
    const user = connection.user;
    const first = this.#byUser.get(user);
    if (!first) return;
    if (first === connection) {
      if (connection.nextOfUser) this.#byUser.set(user, connection.nextOfUser);
      else this.#byUser.delete(user);
    } else {
      for (let at: Connection | undefined = first; at; at = at.nextOfUser) {
        if (at.nextOfUser !== connection) continue;
        at.nextOfUser = connection.nextOfUser;
        break;
      }
    }
    connection.nextOfUser = undefined;
    if (!this.#byUser.has(user)) {
      this.#leaving.set(user, this.#options.clock.monotonic() + this.#options.limits.presenceGraceMs);
    }
  }

  /** Whether the user has a connection here, or had one within the grace. */
  isOnline(user: string): boolean {
    return this.#byUser.has(user) || this.#leaving.has(user);
  }

  /** The connections of one user. */
  ofUser(user: string): Connection[] {
    const list: Connection[] = [];
    for (let at = this.#byUser.get(user); at; at = at.nextOfUser) list.push(at);
    return list;
  }

  /** Ends a user's connections whose token it was, or all of those issued before a time. */
  revoke(user: string, token: string | undefined, beforeMs: number): void {
    for (const connection of this.ofUser(user)) {
      const claims = connection.claims;
      if (!claims) continue;
      const met = token === undefined ? claims.issuedAtMs < beforeMs : claims.jti === token || claims.sid === token;
      if (met) connection.end("token-revoked");
    }
  }

  /** Looks at every connection once. */
  sweep(): void {
    const now = this.#options.clock.now();
    const mono = this.#options.clock.monotonic();
    const { connectMs } = this.#options.limits;
    const at = { now, mono, connectMs };
    // Not `of`: nothing is made for each of many.
    this.#byId.forEach((connection) => {
      const over = overdue(connection, at);
      if (over) {
        connection.end(over);
      } else if (connection.beatMs > 0 && mono >= connection.beatAt) {
        connection.beatAt = mono + connection.beatMs;
        connection.link.beat();
      }
    });
    for (const [user, until] of this.#leaving) {
      if (until > mono) break;
      this.#leaving.delete(user);
      this.#options.watcher.offline(user);
    }
  }

  stop(): void {
    this.#lap.stop();
  }
}

function overdue(
  connection: Connection,
  at: { readonly now: number; readonly mono: number; readonly connectMs: number },
): CodeWord | undefined {
  const { claims } = connection;
  if (!claims) return at.mono - connection.beatAt > at.connectMs ? "connect-timeout" : undefined;
  if (claims.expiresAtMs <= at.now) return "token-expired";
  if (connection.silenceMs > 0 && at.mono - connection.seenAt > connection.silenceMs) return "heartbeat-lost";
  return undefined;
}
