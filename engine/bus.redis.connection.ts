/** One connection to Redis under a policy: what may wait, for how long, and when the connection is given up. */
import { Redis } from "ioredis";
import type { Clock, Timer } from "../actors/clock.ts";
import { StoreFailure } from "../actors/codes.ts";
import type { Log } from "../actors/log.ts";
import { REDIS_POLICY } from "./policy.ts";
import { quickenStrings } from "./strings.ts";

export { REDIS_POLICY };

// Loading ioredis has made them slow.
quickenStrings();

/** What opens a connection. */
export interface ConnectionOptions {
  readonly url: string;
  /** Shown by CLIENT LIST, and in the log. */
  readonly name: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Ask an idle connection whether it still answers. */
  readonly ping?: boolean;
  /** Its client is also handed to others, who await promises of ioredis itself, as redlock does. */
  readonly lent?: boolean;
  /** Told when Redis refuses a write as it is a replica by now: the connection leads to the wrong one. */
  readonly onReplica?: () => void;
}

interface Call {
  readonly sentMs: number;
  readonly fail: (error: StoreFailure) => void;
}

/**
 * A connection that comes back by itself. ioredis would keep calls of a lost connection without end, or send
 * them again behind the caller's back; here each is answered or fails within `callMs`, and only its caller
 * repeats it.
 */
export class RedisConnection {
  readonly client: Redis;
  readonly #options: ConnectionOptions;
  readonly #calls = new Set<Call>();
  readonly #waiting = new Set<() => void>();
  readonly #listeners: (() => void)[] = [];
  #watch: Timer | undefined;
  #handshake: Timer | undefined;
  #pinging: Timer | undefined;
  /** Ours, not the client's: it takes a connection that was given up for a standing one until it has closed. */
  #standing = false;
  #closed = false;
  /** What the client said last of why it has no connection; empty while it said nothing. */
  lastError = "";

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.client = new Redis(options.url, {
      connectionName: options.name,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      // A timer for each call, and so only for those whom the watch below knows nothing of.
      ...(options.lent ? { commandTimeout: REDIS_POLICY.callMs * 2 } : {}),
      reconnectOnError: (error) => {
        // Within a script the word stands behind what Redis says of the script.
        if (error.message.includes("READONLY")) options.onReplica?.();
        return false;
      },
      connectTimeout: REDIS_POLICY.handshakeMs,
      retryStrategy: pauseBefore,
    });
    this.client.on("connect", () => this.#onConnect());
    this.client.on("ready", () => this.#onReady());
    this.client.on("close", () => this.#onClose());
    this.client.on("error", (error: Error) => {
      this.lastError = error.message;
      options.log.debug({ err: error, redis: options.name }, "redis connection");
    });
  }

  get ready(): boolean {
    return this.#standing;
  }

  /** Calls `listener` each time the connection stands, also after it was lost. */
  onReady(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Sends a call once the connection stands. Rejects with StoreFailure when it is not answered in time. */
  run<T>(send: (client: Redis) => Promise<T>): Promise<T> {
    return this.ready ? this.#send(send) : this.stands(REDIS_POLICY.callMs).then(() => this.#send(send));
  }

  /** Sends what may get lost, and only if the connection stands now. */
  cast(send: (client: Redis) => Promise<unknown>): void {
    if (!this.ready) return;
    this.#send(send).catch((error: unknown) => {
      this.#options.log.debug({ err: error, redis: this.#options.name }, "something sent over redis was lost");
    });
  }

  /** Resolves when the connection stands; rejects with StoreFailure after `waitMs`. */
  stands(waitMs: number): Promise<void> {
    if (this.ready) return Promise.resolve();
    const full = this.#waiting.size >= REDIS_POLICY.waitingMax;
    if (this.#closed || full) return Promise.reject(new StoreFailure("Redis is away."));
    return new Promise((resolve, reject) => {
      const { clock } = this.#options;
      const done = (): void => {
        clock.cancel(timer);
        this.#waiting.delete(done);
        if (this.ready) resolve();
        else reject(new StoreFailure("Redis is away."));
      };
      const timer = clock.after(waitMs, done);
      this.#waiting.add(done);
    });
  }

  #send<T>(send: (client: Redis) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const call: Call = { sentMs: this.#options.clock.monotonic(), fail: reject };
      this.#calls.add(call);
      if (!this.#watch) this.#arm(REDIS_POLICY.callMs);
      send(this.client).then(
        (answer) => {
          this.#calls.delete(call);
          resolve(answer);
        },
        (error: unknown) => {
          this.#calls.delete(call);
          reject(error instanceof StoreFailure ? error : new StoreFailure(`Redis failed: ${String(error)}`, error));
        },
      );
    });
  }

  /** Calls are answered in order: when the oldest is overdue, so is the connection. */
  #arm(delayMs: number): void {
    this.#watch = this.#options.clock.after(delayMs, () => {
      this.#watch = undefined;
      for (const { sentMs } of this.#calls) {
        const leftMs = sentMs + REDIS_POLICY.callMs - this.#options.clock.monotonic();
        if (leftMs > 0) return this.#arm(leftMs);
        this.#options.log.warn({ redis: this.#options.name }, "redis does not answer; connecting again");
        this.#failCalls("Redis did not answer in time.");
        // What waits in its socket must not pile up, nor arrive later than what is sent next.
        return this.#drop();
      }
    });
  }

  /** Gives a connection up that stands but is of no use; the next one follows by itself. */
  renew(): void {
    if (this.ready) this.#drop();
  }

  #drop(): void {
    this.#standing = false;
    this.client.stream?.destroy();
  }

  #failCalls(sentence: string): void {
    const calls = [...this.#calls];
    this.#calls.clear();
    for (const call of calls) call.fail(new StoreFailure(sentence));
  }

  #onConnect(): void {
    const { clock } = this.#options;
    if (this.#handshake) clock.cancel(this.#handshake);
    this.#handshake = clock.after(REDIS_POLICY.handshakeMs, () => this.#drop());
  }

  #onReady(): void {
    this.#standing = true;
    const { clock, ping } = this.#options;
    if (this.#handshake) clock.cancel(this.#handshake);
    this.#handshake = undefined;
    if (ping && !this.#pinging) this.#ping();
    for (const done of [...this.#waiting]) done();
    for (const listener of this.#listeners) listener();
  }

  #ping(): void {
    this.#pinging = this.#options.clock.after(REDIS_POLICY.pingMs, () => {
      this.cast((client) => client.ping());
      this.#ping();
    });
  }

  #onClose(): void {
    this.#standing = false;
    if (this.#handshake) this.#options.clock.cancel(this.#handshake);
    this.#handshake = undefined;
    this.#failCalls("The connection to Redis was lost.");
  }

  /** Ends it at once; what was not answered fails. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#standing = false;
    for (const timer of [this.#watch, this.#handshake, this.#pinging]) if (timer) this.#options.clock.cancel(timer);
    this.#pinging = undefined;
    this.client.disconnect();
    this.#failCalls("The connection to Redis was closed.");
    for (const done of [...this.#waiting]) done();
  }
}

function pauseBefore(attempt: number): number {
  const pause = Math.min(REDIS_POLICY.retryFirstMs * 2 ** Math.min(attempt - 1, 10), REDIS_POLICY.retryLongestMs);
  return pause * (1 + Math.random() / 2);
}

/** What a start looks at of a connection. */
export type Standing = Pick<RedisConnection, "stands" | "lastError">;

/** Resolves when all stand; rejects with a StoreFailure that says which Redis a start waited for, and why in vain. */
export async function standAtStart(connections: readonly Standing[], url: string): Promise<void> {
  try {
    await Promise.all(connections.map((one) => one.stands(REDIS_POLICY.startMs)));
  } catch (error) {
    const why = connections.find(({ lastError }) => lastError !== "")?.lastError ?? "no answer";
    // The host alone: a URL may bear a password.
    throw new StoreFailure(`Redis at ${new URL(url).host} (REDIS_URL) is away: ${why}.`, error);
  }
}

/** Rejects with a sentence for a Redis that must not be used: one that drops keys of its own accord, or is a cluster. */
export async function refuseUnfit(commands: RedisConnection, log: Log): Promise<void> {
  const info = await commands.run((client) => client.info());
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy === undefined) {
    log.warn({}, "redis does not tell its maxmemory-policy; it must be noeviction");
  } else if (policy !== "noeviction") {
    throw new Error(`Redis has the maxmemory-policy ${policy} and may drop messages; set it to noeviction.`);
  }
  if (/^cluster_enabled:1/m.test(info)) {
    throw new Error("Redis runs as a Redis Cluster, which is not supported; use a single Redis with replicas.");
  }
}

/**
 * Makes connections anew, at most as often as a lost one is tried. After a failover the name of Redis leads to
 * another server, while connections to the former one stand, and that one may answer everything but writes for ever.
 */
export function renewing(connections: () => readonly RedisConnection[], clock: Clock): () => void {
  let renewedMs = Number.NEGATIVE_INFINITY;
  return () => {
    if (clock.monotonic() - renewedMs < REDIS_POLICY.retryLongestMs) return;
    renewedMs = clock.monotonic();
    for (const connection of connections()) connection.renew();
  };
}
