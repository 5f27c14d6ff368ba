/** The simulated MongoDB: an archive that outlives every process, asked over connections that keep no order. */
import type { MemoryArchive } from "../archive.memory.ts";
import type { Archive } from "../archive.ts";
import { StoreFailure } from "../codes.ts";
import { Connected, type Network, type Server } from "./network.ts";
import type { Surroundings } from "./redis.handle.ts";

/** What becomes of a write that the primary took: a majority has it, has it and nobody hears so, or never has it. */
type Replicated = "done" | "unheard" | "gone";

/** The server: a primary, and others that have what it took a little later, in the same order. */
export class SimulatedMongo implements Server {
  up = true;
  readonly store: MemoryArchive;
  readonly #network: Network;
  #taken: ((outcome: Replicated) => void)[] = [];
  #lastMs = 0;

  constructor(store: MemoryArchive, network: Network) {
    this.store = store;
    this.#network = network;
  }

  /** Writes: it is seen and answered once a majority has it. Rejects when the primary steps down before that. */
  async write<T>(work: () => Promise<T>): Promise<T> {
    const { chance, time, weather } = this.#network;
    if (weather.replicationMs === 0) return work();
    this.#lastMs = Math.max(this.#lastMs, time.nowMs + chance.fraction() * weather.replicationMs);
    const outcome = await new Promise<Replicated>((resolve) => {
      this.#taken.push(resolve);
      time.at(this.#lastMs, () => {
        // Those before it, too; of one that stepped down there is nothing left to wait for.
        const at = this.#taken.indexOf(resolve);
        for (const done of this.#taken.splice(0, at + 1)) done("done");
      });
    });
    const answer = outcome === "gone" ? undefined : await work();
    if (outcome === "done") return answer as T;
    throw new StoreFailure("the primary stepped down");
  }

  /** Another becomes primary, which has a part of what no majority had yet; the rest vanishes. Nobody hears which. */
  stepDown(): void {
    const taken = this.#taken;
    this.#taken = [];
    const kept = this.#network.chance.whole(0, taken.length);
    for (const [at, settle] of taken.entries()) settle(at < kept ? "unheard" : "gone");
  }
}

/** A call without an answer is given up after so long, ms. */
const CALL_MS = 2_500;
/** What else writes, besides entries and terms. */
const WRITES: ReadonlySet<string | symbol> = new Set(["createRoom", "derive", "mark"] satisfies (keyof Archive)[]);

/** A process's handle on it. */
export function mongoHandle(mongo: SimulatedMongo, around: Surroundings): Archive {
  const { store } = mongo;
  const { name, network, life, toMongo: path, witness } = around;
  const { archiveMs: longerMs } = network.weather;
  const connected = new Connected({ network, life, path, server: mongo, timeoutMs: CALL_MS, pooled: true, longerMs });
  const insert: Archive["insert"] = (entries) =>
    connected.call((share) =>
      mongo.write(async () => {
        // An unclear write may have got as far as it likes.
        const part = share === 1 ? entries : entries.slice(0, Math.floor(share * (entries.length + 1)));
        const outcome = await store.insert(part);
        witness.durable(name, part.slice(0, outcome.stored));
        return outcome;
      }),
    );
  const claimTerm: Archive["claimTerm"] = (shard, node, nonce) =>
    connected.call(() =>
      mongo.write(async () => {
        const term = await store.claimTerm(shard, node, nonce);
        witness.claimed(name, shard, term);
        return term;
      }),
    );
  return new Proxy(store as Archive, {
    get(target, method) {
      if (method === "insert") return insert;
      if (method === "claimTerm") return claimTerm;
      const does: unknown = Reflect.get(target, method);
      if (typeof does !== "function") return does;
      return (...args: unknown[]) => {
        const work = (): Promise<unknown> => Reflect.apply(does, target, args) as Promise<unknown>;
        return connected.call(() => (WRITES.has(method) ? mongo.write(work) : work()));
      };
    },
  });
}
