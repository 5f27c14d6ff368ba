/** One process of the cluster: a node over the simulated stores, from its start to its end. */
import type { Notice, Signal } from "../bus.ts";
import type { Caller } from "../chat.ts";
import { Refusal } from "../codes.ts";
import type { Entry } from "../entry.ts";
import type { Claims } from "../identity.ts";
import type { Limits } from "../limits.ts";
import type { Fanout, Subscription, SubscriptionKind } from "../link.ts";
import type { Log } from "../log.ts";
import { ChatService } from "../messages.ts";
import { Node } from "../node.ts";
import { RoutedChat } from "../routed.ts";
import type { Judge } from "./judge.ts";
import { mongoHandle, type SimulatedMongo } from "./mongo.ts";
import { type Network, Path } from "./network.ts";
import { RedisHandle, RedisLeases, type Surroundings } from "./redis.handle.ts";
import type { SimulatedRedis } from "./redis.ts";
import type { Session } from "./session.ts";
import type { Story } from "./story.ts";
import { Life, type Skew } from "./time.ts";

/** What all processes share. */
export interface Shared {
  readonly network: Network;
  readonly redis: SimulatedRedis;
  readonly mongo: SimulatedMongo;
  readonly judge: Judge;
  readonly story: Story;
  readonly limits: Limits;
  readonly shards: number;
  /** The clock of the stores' machines. */
  readonly serverLife: Life;
  /** A room id never given before. */
  newRoom(): string;
}

/** Native subscriptions: a publish reaches those that are attached at the time, in order. */
class SimulatedFanout implements Fanout {
  readonly #attached = new Map<string, Map<Subscription, Session>>();
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  #of(kind: SubscriptionKind, subject: string): Map<Subscription, Session> | undefined {
    return this.#attached.get(`${kind} ${subject}`);
  }

  /** Subscriptions attached now. */
  get size(): number {
    let size = 0;
    for (const some of this.#attached.values()) size += some.size;
    return size;
  }

  attach(session: Session, subscription: Subscription): void {
    const key = `${subscription.kind} ${subscription.subject}`;
    const some = this.#attached.get(key);
    if (some) some.set(subscription, session);
    else this.#attached.set(key, new Map([[subscription, session]]));
  }

  detach(subscription: Subscription): void {
    const key = `${subscription.kind} ${subscription.subject}`;
    const some = this.#attached.get(key);
    some?.delete(subscription);
    if (some?.size === 0) this.#attached.delete(key);
  }

  entries(room: string, entries: readonly Entry[]): number {
    const some = this.#of("log", room);
    if (!some) return 0;
    for (const entry of entries) this.#machine.shared.judge.showing(this.#machine.name, entry);
    for (const [{ id }, session] of some) session.show(id, entries);
    return some.size * entries.length;
  }

  signals(room: string, signals: readonly Signal[]): void {
    for (const [, session] of this.#of("signals", room) ?? []) session.signals(room, signals);
  }

  notice(notice: Extract<Notice, { kind: "entry" | "notice" }>): void {
    for (const [, session] of this.#of("queue", notice.user) ?? []) session.noticed(notice);
  }
}

/** A caller of REST by its id. */
export function callerOf(user: string): Caller {
  return { id: user, name: user.toUpperCase() };
}

function claimsOf(token: string): Claims {
  if (token === "") throw new Refusal("token-missing");
  const base = { groups: [], jti: undefined, sid: undefined, issuedAtMs: 0, expiresAtMs: Number.MAX_SAFE_INTEGER };
  return { ...base, sub: token, name: token.toUpperCase() };
}

/** One process, on a machine of its own. */
export class Machine {
  readonly name: string;
  readonly shared: Shared;
  readonly life: Life;
  readonly toRedis: Path;
  readonly toMongo: Path;
  readonly fanout: SimulatedFanout;
  readonly node: Node;
  readonly chat: RoutedChat;
  readonly sessions = new Set<Session>();
  /** `up` once it takes connections. */
  state: "starting" | "up" | "ending" | "dead" = "starting";
  readonly #bus: RedisHandle;
  readonly #leases: RedisLeases;

  constructor(name: string, shared: Shared, skew: Skew) {
    this.name = name;
    this.shared = shared;
    const { network, redis, mongo, judge, limits, shards } = shared;
    this.life = new Life(network.time, skew);
    this.toRedis = new Path(network.chance);
    this.toMongo = new Path(network.chance);
    const { life, toRedis, toMongo } = this;
    const around: Surroundings = { name, life, network, toRedis, toMongo, witness: judge };
    this.#bus = new RedisHandle(redis, around);
    this.#leases = new RedisLeases(redis, around, shared.serverLife);
    this.fanout = new SimulatedFanout(this);
    const chance = network.chance.fork();
    this.node = new Node({
      ...{ name, limits, shards, clock: life, fanout: this.fanout, bus: this.#bus, leases: this.#leases },
      archive: mongoHandle(mongo, around),
      log: this.#log(),
      random: chance.fraction,
      verify: claimsOf,
      nameOf: async () => undefined,
      archiveAway: () => toMongo.isCut || !mongo.up,
      refuseWhileFailing: false,
    });
    this.chat = new RoutedChat(this.node, new ChatService(this.node, () => shared.newRoom()));
  }

  #log(): Log {
    const { story, judge } = this.shared;
    const say = (fields: object, message: string): void => {
      if (this.life.dead) return;
      const { err, ...rest } = fields as { err?: Error };
      story.say(this.name, `! ${message} ${JSON.stringify(rest)} ${err ? err.message : ""}`);
      if (message.includes("fault of")) judge.breaks(`${this.name}: ${message}: ${err?.stack}`);
    };
    return { debug() {}, info() {}, warn: say, error: say };
  }

  /** Whether anything it does reaches anybody. */
  get alive(): boolean {
    return this.state !== "dead";
  }

  /** Starts the node; a start that fails ends the process. */
  start(): void {
    this.shared.story.say(this.name, "starts");
    this.node.start().then(
      () => {
        if (this.state !== "starting") return;
        this.shared.story.say(this.name, "is up");
        this.state = "up";
      },
      (error: Error) => {
        this.shared.story.say(this.name, `could not start: ${error.message}`);
        this.die();
      },
    );
  }

  /** SIGTERM: hands over, flushes, sends its connections away, and ends. */
  async end(): Promise<void> {
    if (this.state === "dead" || this.state === "ending") return;
    this.shared.story.say(this.name, "is told to end");
    this.state = "ending";
    const { network } = this.shared;
    const drained = this.node.drain();
    for (const session of this.sessions) {
      this.life.after(network.chance.between(0, 1_500), () => session.sendAway("draining"));
    }
    await drained;
    await new Promise<void>((resolve) => void this.life.after(1_600, resolve));
    await this.node.stop().then(
      () => this.shared.story.say(this.name, "has ended"),
      (error: Error) => this.shared.judge.breaks(`${this.name} did not end in order: ${error.stack}`),
    );
    this.die();
  }

  /** SIGKILL, or the end of an ordered one. */
  die(): void {
    if (this.state === "dead") return;
    this.shared.story.say(this.name, "dies");
    this.state = "dead";
    this.life.die();
    for (const session of [...this.sessions]) session.severed();
    this.sessions.clear();
  }

  /** SIGSTOP and SIGCONT. */
  stop(): void {
    this.shared.story.say(this.name, "stands still");
    this.life.stop();
  }

  goOn(): void {
    this.shared.story.say(this.name, "goes on");
    this.life.goOn();
  }

  /** The way to Redis is cut; after a while the subscriptions are given up. */
  cutRedis(): void {
    const { story, network } = this.shared;
    story.say(this.name, "is cut off from Redis");
    this.toRedis.cut();
    this.life.after(network.chance.between(1_000, 2_500), () => {
      if (this.toRedis.isCut) this.#bus.deafen();
    });
  }

  cutMongo(): void {
    this.shared.story.say(this.name, "is cut off from MongoDB");
    this.toMongo.cut();
  }

  heal(): void {
    if (this.toRedis.isCut || this.toMongo.isCut) this.shared.story.say(this.name, "reaches the stores again");
    this.toRedis.heal();
    this.toMongo.heal();
  }

  /** Redis closes its connections. */
  dropped(): void {
    this.#bus.drop();
    this.#leases.drop();
  }
}
