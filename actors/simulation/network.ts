/**
 * The simulated network: how long things take, what fails, and connections to stores. On one connection
 * everything keeps its order; between two nothing does, and what was asked on one that broke may still arrive.
 */
import { StoreFailure } from "../codes.ts";
import type { Chance } from "./chance.ts";
import type { Life, SimulatedTime } from "./time.ts";

/** How bad the network and the stores are now. */
export interface Weather {
  /** Shortest way of a message, ms, and what chance adds to it. */
  readonly leastMs: number;
  readonly moreMs: number;
  /** Share of messages that take up to `slowMs` instead. */
  slow: number;
  readonly slowMs: number;
  /** What a message to or from MongoDB takes longer, ms: it writes to a disk. */
  readonly archiveMs: number;
  /** Most time until a majority of MongoDB's machines has a write, ms. */
  readonly replicationMs: number;
  /** Share of messages between nodes (packs, signals, notices, words) that are lost. */
  lost: number;
  /** Share of calls of a store that fail: not done, done and not answered, or done late. */
  failed: number;
}

/** What chance and weather make of messages. */
export class Network {
  readonly time: SimulatedTime;
  readonly chance: Chance;
  readonly weather: Weather;

  constructor(time: SimulatedTime, chance: Chance, weather: Weather) {
    this.time = time;
    this.chance = chance;
    this.weather = weather;
  }

  latencyMs(): number {
    const { leastMs, moreMs, slow, slowMs } = this.weather;
    if (this.chance.happens(slow)) return leastMs + this.chance.fraction() * slowMs;
    const share = this.chance.fraction();
    return leastMs + moreMs * share * share;
  }

  /** Whether a message between nodes is lost. */
  loses(): boolean {
    return this.chance.happens(this.weather.lost);
  }

  /** What becomes of a call; undefined when nothing happens to it. */
  fault(): "unasked" | "unheard" | "stalled" | undefined {
    if (!this.chance.happens(this.weather.failed)) return undefined;
    return this.chance.weighed({ unasked: 2, unheard: 3, stalled: 1 });
  }
}

/** One direction of one connection: first in, first out. */
export class Wire {
  readonly #network: Network;
  readonly #longerMs: number;
  #lastMs = 0;

  /** Everything takes `longerMs` longer. */
  constructor(network: Network, longerMs = 0) {
    this.#network = network;
    this.#longerMs = longerMs;
  }

  send(arrive: () => void): void {
    const { time } = this.#network;
    this.#lastMs = Math.max(this.#lastMs, time.nowMs + this.#network.latencyMs() + this.#longerMs);
    time.at(this.#lastMs, arrive);
  }

  /** Nothing more arrives for so long. */
  stall(ms: number): void {
    this.#lastMs = Math.max(this.#lastMs, this.#network.time.nowMs + ms);
  }
}

/** The way between a process and a store. While it is cut, what comes along is lost, or waits for its end. */
export class Path {
  readonly #chance: Chance;
  #cut = false;
  #waiting: (() => void)[] = [];

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  get isCut(): boolean {
    return this.#cut;
  }

  pass(task: () => void): void {
    if (!this.#cut) task();
    else if (this.#chance.happens(0.5)) this.#waiting.push(task);
  }

  cut(): void {
    this.#cut = true;
  }

  heal(): void {
    this.#cut = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const task of waiting) task();
  }
}

/** A store's machine. */
export interface Server {
  /** Whether it answers. */
  up: boolean;
}

/** What a connection is made of. */
export interface ConnectionParts {
  readonly network: Network;
  readonly life: Life;
  readonly path: Path;
  readonly server: Server;
  /** ms after which a call without an answer is given up, and its connection with it. */
  readonly timeoutMs: number;
  /** Every call has a connection of its own, so that calls keep no order. */
  readonly pooled?: boolean;
  /** What every message takes longer, ms. */
  readonly longerMs?: number;
  /** A connection broke; told in the process. */
  readonly onBreak?: () => void;
}

/** One connection as it stands; another takes its place when it breaks. */
export class Link {
  readonly up: Wire;
  readonly down: Wire;
  readonly calls = new Set<(error: StoreFailure) => void>();
  broken = false;

  constructor(network: Network, longerMs: number | undefined) {
    this.up = new Wire(network, longerMs);
    this.down = new Wire(network, longerMs);
  }
}

/** Pause before a connection that was refused says so, ms. */
const REFUSED_MS = { least: 20, most: 300 } as const;

/** A process's connection to a store, made again whenever it breaks. */
export class Connected {
  readonly #parts: ConnectionParts;
  #link: Link;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.#link = new Link(parts.network, parts.longerMs);
  }

  /** The connection as it stands now. */
  get link(): Link {
    return this.#link;
  }

  /**
   * Lets the store do something, and answers what it answered; rejects with StoreFailure when that is not heard.
   * `work` is told how much of it is done, as a share: a write that fails may be done in part.
   */
  call<T>(work: (share: number) => Promise<T>): Promise<T> {
    const { network, life, timeoutMs, pooled, longerMs } = this.#parts;
    const link = pooled === true ? new Link(network, longerMs) : this.#link;
    return new Promise((resolve, reject) => {
      const timer = life.after(timeoutMs, () => this.break(link, "no answer in time"));
      const fail = (error: StoreFailure): void => {
        life.cancel(timer);
        reject(error);
      };
      link.calls.add(fail);
      this.#ask(link, work, (answer) => {
        if (!link.calls.delete(fail)) return;
        life.cancel(timer);
        resolve(answer);
      });
    });
  }

  #ask<T>(link: Link, work: (share: number) => Promise<T>, heard: (answer: T) => void): void {
    const { network, life, path, server } = this.#parts;
    const { chance } = network;
    const fault = network.fault();
    if (fault === "stalled") link.up.stall(chance.between(100, 4_000));
    link.up.send(() =>
      path.pass(() => {
        if (!server.up || fault === "unasked") return this.#refused(link);
        void work(fault === "unheard" ? chance.fraction() : 1).then(
          (answer) => {
            if (fault === "unheard") return this.#refused(link);
            link.down.send(() => path.pass(() => life.deliver(() => heard(answer))));
          },
          (error: unknown) => {
            if (!(error instanceof StoreFailure)) throw error;
            this.#refused(link);
          },
        );
      }),
    );
  }

  /** The other end closed the connection. */
  #refused(link: Link): void {
    const { network, life, path } = this.#parts;
    const pauseMs = network.chance.between(REFUSED_MS.least, REFUSED_MS.most);
    network.time.after(pauseMs, () =>
      path.pass(() => life.deliver(() => this.break(link, "the connection was closed"))),
    );
  }

  /** Sends something that is not answered. */
  cast(work: () => void): void {
    const { path, server } = this.#parts;
    this.#link.up.send(() => path.pass(() => server.up && work()));
  }

  /** Gives a connection up: the outcome of what was asked on it is not known. */
  break(link: Link, why: string): void {
    if (link.broken) return;
    link.broken = true;
    if (link === this.#link) {
      this.#link = new Link(this.#parts.network, this.#parts.longerMs);
      this.#parts.onBreak?.();
    }
    const calls = [...link.calls];
    link.calls.clear();
    for (const fail of calls) fail(new StoreFailure(why));
  }

  /** The other end closes all connections, as a server that ends does. */
  reset(): void {
    this.#refused(this.#link);
  }
}
