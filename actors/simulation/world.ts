/** A simulated cluster: its stores, processes and clients, and what befalls them. */
import { MemoryArchive } from "../archive.memory.ts";
import type { Signal } from "../bus.ts";
import { LEASE_MS } from "../leases.memory.ts";
import { GENERAL } from "../service.ts";
import type { Chance } from "./chance.ts";
import { Clerk } from "./clerk.ts";
import { Memberships } from "./judge.access.ts";
import { Judge } from "./judge.ts";
import { Machine, type Shared } from "./machine.ts";
import { SimulatedMongo } from "./mongo.ts";
import { Network } from "./network.ts";
import { Person, type PersonHost } from "./person.ts";
import { type Fault, LOSSES, type Plan } from "./plan.ts";
import { SimulatedRedis } from "./redis.ts";
import { Story } from "./story.ts";
import { Life, SimulatedTime } from "./time.ts";

/** Users; the first is the admin of the private rooms. */
export const USERS = ["alice", "bob", "carol", "dave", "erin"] as const;
/** Rooms, on different shards of four: a public one that is there, a public and two private ones that are made. */
const MADE = [
  { name: "hall", type: "public" },
  { name: "club", type: "private" },
  { name: "den", type: "private" },
] as const;
/** Most time that a cluster may take to settle once nothing befalls it any more, ms. */
export const SETTLE_MS = 60_000;

/** How long what was said by an owner whose lock Redis forgot may be heard, ms: its lease, and the way. */
const FORGOTTEN_MS = LEASE_MS + 3_000;

/** One simulated cluster. */
export class World implements PersonHost {
  readonly time = new SimulatedTime();
  readonly plan: Plan;
  readonly judge: Judge;
  readonly story: Story;
  readonly network: Network;
  readonly redis: SimulatedRedis;
  readonly mongo: SimulatedMongo;
  readonly memberships = new Memberships();
  readonly lately = new Map<string, string[]>();
  readonly persons: Person[] = [];
  readonly processes: Machine[] = [];
  rooms: string[] = [GENERAL.id];
  readonly users = USERS;
  readonly clerk: Clerk;
  readonly #shared: Shared;
  readonly #chance: Chance;
  #processes = 0;
  #sessions = 0;
  #roomIds = 0;
  /** Until when what a node knows may be late, ms. */
  #troubledUntilMs = 0;
  /** Until then a lock that Redis forgot may be relied on, ms. */
  #ownedFromMs = 0;
  #healed = false;

  constructor(plan: Plan, chance: Chance, { kept }: { readonly kept: boolean }) {
    this.plan = plan;
    this.#chance = chance;
    this.story = new Story(this.time, { kept });
    this.judge = new Judge(this.story);
    this.network = new Network(this.time, chance.fork(), plan.weather);
    this.redis = new SimulatedRedis(this.network, plan.shards, plan.limits);
    this.mongo = new SimulatedMongo(new MemoryArchive(), this.network);
    this.#shared = {
      ...{ network: this.network, redis: this.redis, mongo: this.mongo, judge: this.judge, story: this.story },
      ...{ limits: plan.limits, shards: plan.shards },
      serverLife: new Life(this.time, { rate: 1, wallMs: 0 }),
      newRoom: () => `r${this.#roomIds++}`,
    };
    this.clerk = new Clerk(this, chance.fork());
  }

  get nowMs(): number {
    return this.time.nowMs;
  }

  after(delayMs: number, task: () => void): void {
    this.time.after(delayMs, task);
  }

  get owned(): boolean {
    return this.nowMs >= this.#ownedFromMs;
  }

  nextSession(): number {
    return this.#sessions++;
  }

  // ─── Processes ───

  startProcess(): Machine {
    const { drift, wallMs } = this.plan;
    const skew = {
      rate: 1 + this.#chance.between(-drift, drift),
      wallMs: Math.round(this.#chance.between(-wallMs, wallMs)),
    };
    const machine = new Machine(`n${++this.#processes}`, this.#shared, skew);
    this.processes.push(machine);
    machine.start();
    return machine;
  }

  /** Those that live. */
  get alive(): Machine[] {
    return this.processes.filter(({ alive }) => alive);
  }

  chooseProcess(): Machine | undefined {
    const up = this.processes.filter(({ state }) => state === "up");
    return up.length === 0 ? undefined : this.#chance.pick(up);
  }

  signalled(person: Person, machine: Machine, signals: readonly Signal[]): void {
    const { nowMs } = this;
    if (nowMs < this.#troubledUntilMs) return;
    for (const { room, event } of signals) {
      if (this.memberships.during(room, person.user, nowMs - 1_000) !== "out") continue;
      this.judge.breaks(`${machine.name} says ${event} of ${room} to ${person.user}, removed over 1 s ago`);
    }
  }

  removed(room: string, user: string): void {
    for (const person of this.persons) if (person.user === user) person.removed(room);
  }

  // ─── A run ───

  /** Lets it all happen; answers when it is over or broken. */
  async run(): Promise<void> {
    const over = (): boolean => this.judge.breach !== undefined;
    await this.#open();
    const beginMs = this.nowMs;
    for (const fault of this.plan.faults) this.time.at(beginMs + fault.atMs, () => this.#befall(fault));
    for (let at = 0; at < this.plan.clients; at++) {
      const person = new Person(this, USERS[at % USERS.length] as string, this.#chance.fork());
      this.persons.push(person);
      this.#actLater(person, beginMs + this.plan.actsMs);
    }
    this.clerk.begin(beginMs + this.plan.actsMs);
    await this.time.run(beginMs + this.plan.actsMs, over);
    if (!over()) this.#heal();
  }

  #actLater(person: Person, untilMs: number): void {
    this.time.after(this.plan.pauseMs * this.#chance.between(0.1, 1.9), () => {
      if (this.nowMs >= untilMs) return;
      person.act();
      this.#actLater(person, untilMs);
    });
  }

  /** Starts the nodes and makes the rooms, in good weather. */
  async #open(): Promise<void> {
    const { weather } = this.network;
    const { lost, failed, slow } = weather;
    Object.assign(weather, { lost: 0, failed: 0, slow: 0 });
    await this.mongo.store.createRoom(GENERAL);
    for (let at = 0; at < this.plan.nodes; at++) this.startProcess();
    await this.time.run(15_000, () => this.processes.every(({ state }) => state === "up"));
    const [first] = this.processes as [Machine];
    let made = 0;
    for (const { name, type } of MADE) {
      const others = type === "private" ? USERS.slice(1, 4) : [];
      first.chat.createRoom({ id: USERS[0], name: "ALICE" }, { name, type, members: others }).then(
        ({ id }) => {
          made++;
          this.rooms.push(id);
          if (type !== "private") return;
          this.judge.closedRooms.add(id);
          this.clerk.opened(id, [USERS[0], ...others]);
        },
        (error: Error) => this.judge.breaks(`a room could not be made: ${error.message}`),
      );
    }
    await this.time.run(this.nowMs + 20_000, () => made === MADE.length || this.judge.breach !== undefined);
    if (made < MADE.length) this.judge.breaks(`${made} rooms were made, states ${this.processes.map((p) => p.state)}`);
    this.rooms.sort();
    Object.assign(weather, { lost, failed, slow });
  }

  // ─── What befalls it ───

  #befall({ kind, lastsMs }: Fault): void {
    if (this.#healed) return;
    this.story.say("fault", `${kind} for ${lastsMs.toFixed(0)} ms`);
    this.#troubledUntilMs = Math.max(this.#troubledUntilMs, this.nowMs + lastsMs + 6_000);
    const victims = this.alive.filter(({ life, state }) => !life.stopped && state === "up");
    const victim = victims.length === 0 ? undefined : this.#chance.pick(victims);
    const later = (task: () => void): void => void this.time.after(lastsMs, () => this.#healed || task());
    if (LOSSES.includes(kind)) return this.#loseData(kind, lastsMs);
    if (kind === "redisDown" || kind === "mongoDown" || kind === "stepDown") return this.#storeDown(kind, later);
    if (kind === "loss" || kind === "failures" || kind === "slowness") return this.#worsen(kind, later);
    if (kind === "join") return this.alive.length < 4 ? void this.startProcess() : undefined;
    if (!victim) return;
    switch (kind) {
      case "crash":
        victim.die();
        return later(() => void this.startProcess());
      case "end":
        void victim.end();
        return later(() => this.alive.length < 3 && void this.startProcess());
      case "stand":
        victim.stop();
        return later(() => victim.goOn());
      default:
        if (kind !== "cutMongo") victim.cutRedis();
        if (kind !== "cutRedis") victim.cutMongo();
        return later(() => victim.heal());
    }
  }

  #storeDown(kind: "redisDown" | "mongoDown" | "stepDown", later: (task: () => void) => void): void {
    const store = kind === "redisDown" ? this.redis : this.mongo;
    store.up = false;
    if (kind === "stepDown") this.mongo.stepDown();
    if (kind === "redisDown") for (const machine of this.alive) machine.dropped();
    later(() => {
      store.up = true;
      this.story.say("fault", `${kind} is over`);
    });
  }

  /** Redis ends, and comes back without its data or without the last of it. */
  #loseData(kind: Fault["kind"], lastsMs: number): void {
    if (kind === "forget") {
      this.redis.remember();
      this.time.after(lastsMs, () => this.#healed || this.#restartRedis(() => this.redis.forgetSince()));
    } else {
      this.#restartRedis(() => this.redis.wipe());
    }
  }

  #restartRedis(lose: () => void): void {
    this.judge.lossy = true;
    this.story.say("fault", "Redis loses data");
    this.#ownedFromMs = this.nowMs + FORGOTTEN_MS;
    lose();
    this.redis.up = false;
    for (const machine of this.alive) machine.dropped();
    this.time.after(this.#chance.between(0, 1_000), () => {
      this.redis.up = true;
    });
  }

  #worsen(kind: "loss" | "failures" | "slowness", later: (task: () => void) => void): void {
    const { weather } = this.network;
    const name = ({ loss: "lost", failures: "failed", slowness: "slow" } as const)[kind];
    const before = this.plan.weather[name];
    weather[name] = this.#chance.between(0.1, 0.5);
    later(() => {
      weather[name] = before;
    });
  }

  /** Nothing befalls it any more, and there are nodes. */
  #heal(): void {
    this.#healed = true;
    this.story.say("fault", "all is mended");
    Object.assign(this.network.weather, { lost: 0, failed: 0, slow: 0 });
    this.redis.up = true;
    this.mongo.up = true;
    for (const machine of this.alive) {
      machine.heal();
      if (machine.life.stopped) machine.goOn();
    }
    this.time.after(1_000, () => {
      while (this.alive.filter(({ state }) => state !== "ending").length < 2) this.startProcess();
    });
  }
}
