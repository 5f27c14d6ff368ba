/** For tests: stores that are slow, fail, or answer unclearly, by the numbers of a seed. */
import type { Archive } from "./archive.ts";
import type { Bus } from "./bus.ts";
import type { Clock, Timer } from "./clock.ts";
import { StoreFailure } from "./codes.ts";
import type { Entry } from "./entry.ts";

/** Numbers from 0 up to, not with, 1; the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** How bad the stores are now. */
export interface Faults {
  readonly random: () => number;
  /** Longest delay of a call or an answer, ms. */
  delayMs: number;
  /** Share of calls that fail or are answered unclearly, 0 to 1. */
  rate: number;
  /** The archive takes and answers nothing. */
  archiveAway: boolean;
  /** Share of words between nodes that are lost, 0 to 1; none when it is not given. */
  wordsLost?: number;
}

/** The time of one process: when the process dies, its timers never run. */
export class MortalClock implements Clock {
  readonly #clock: Clock;
  dead = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  after(delayMs: number, task: () => void): Timer {
    return this.#clock.after(delayMs, () => this.dead || task());
  }

  cancel(timer: Timer): void {
    this.#clock.cancel(timer);
  }

  endOfTurn(task: () => void): void {
    this.#clock.endOfTurn(() => this.dead || task());
  }
}

/** Puts delays, failures and unclear outcomes around calls of a store; a dead process hears and does nothing more. */
class Around {
  readonly #faults: Faults;
  readonly #clock: MortalClock;

  constructor(faults: Faults, clock: MortalClock) {
    this.#faults = faults;
    this.#clock = clock;
  }

  pause(): Promise<void> {
    const { random, delayMs } = this.#faults;
    if (delayMs === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#clock.after(random() * delayMs, resolve));
  }

  fails(): boolean {
    return this.#faults.random() < this.#faults.rate;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.pause();
    if (this.#clock.dead) return new Promise<T>(() => {});
    if (this.fails()) throw new StoreFailure("It did not happen.");
    const answer = await work();
    await this.pause();
    if (this.fails()) throw new StoreFailure("It happened, unheard.");
    return answer;
  }
}

/** What a simulated store tells its test. */
export interface Witness {
  /** The entries are durable, whatever the writer hears of it. */
  durable(entries: readonly Entry[]): void;
  /** The hot log has accepted the entries. */
  accepted(entries: readonly Entry[]): void;
}

/** One process's handle on an archive that outlives it. */
export function faultyArchive(inner: Archive, faults: Faults, clock: MortalClock, witness: Witness): Archive {
  const around = new Around(faults, clock);
  const insert: Archive["insert"] = async (entries) => {
    await around.pause();
    if (clock.dead) return new Promise(() => {});
    if (faults.archiveAway) throw new StoreFailure("The archive is away.");
    const cut = around.fails();
    // An unclear write may have got as far as it likes.
    const part = cut ? entries.slice(0, Math.floor(faults.random() * (entries.length + 1))) : entries;
    const outcome = await inner.insert(part);
    witness.durable(part.slice(0, outcome.stored));
    await around.pause();
    if (cut) throw new StoreFailure("How far it got is not known.");
    return outcome;
  };
  return new Proxy(inner, {
    get(target, name) {
      if (name === "insert") return insert;
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return (...args: unknown[]) => {
        if (faults.archiveAway) return Promise.reject(new StoreFailure("The archive is away."));
        return around.run(() => Reflect.apply(method, target, args) as Promise<unknown>);
      };
    },
  });
}

/**
 * One process's handle on a bus. Only what may fail does: a publish within a process is never lost, a word only
 * when the faults say so.
 */
export function faultyBus(inner: Bus, faults: Faults, clock: MortalClock, witness: Witness): Bus {
  const around = new Around(faults, clock);
  return {
    shared: inner.shared,
    take: (shard, taking) => around.run(() => inner.take(shard, taking)),
    terms: (shards) => around.run(() => inner.terms(shards)),
    owners: (shards) => around.run(() => inner.owners(shards)),
    headsOf: (shard, rooms) => around.run(() => inner.headsOf(shard, rooms)),
    clear: (shard, term, room, head) => around.run(() => inner.clear(shard, term, room, head)),
    append: (shard, term, packs) =>
      around.run(async () => {
        const answer = await inner.append(shard, term, packs);
        if (answer === "ok") for (const pack of packs) witness.accepted(pack.entries);
        return answer;
      }),
    heads: (shard) => around.run(() => inner.heads(shard)),
    dirty: (shard) => around.run(() => inner.dirty(shard)),
    log: (room, after, limit, bytes) => around.run(() => inner.log(room, after, limit, bytes)),
    stored: (shard, term, room, stored) => around.run(() => inner.stored(shard, term, room, stored)),
    sleep: (shard, term, room, head) => around.run(() => inner.sleep(shard, term, room, head)),
    publish: (packs) => inner.publish(packs),
    signal: (signals) => inner.signal(signals),
    notify: (notice) => inner.notify(notice),
    tell: (node, word) => {
      const { random, wordsLost = 0 } = faults;
      if (clock.dead || (wordsLost > 0 && random() < wordsLost)) return;
      inner.tell(node, word);
    },
    beat: (self, lifeMs) => around.run(() => inner.beat(self, lifeMs)),
    fade: (node) => around.run(() => inner.fade(node)),
    join: async (room) => {
      // It counts from the call on: a leave that comes later ends it.
      const joined = inner.join(room);
      await around.pause();
      return joined;
    },
    leave: (room) => inner.leave(room),
    yielded: (shard) => inner.yielded(shard),
    receive: (receiver) => inner.receive(receiver),
    close: () => inner.close(),
  };
}
