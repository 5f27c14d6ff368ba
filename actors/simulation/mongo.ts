/** The simulated MongoDB: an archive that outlives every process, asked over connections that keep no order. */
import type { MemoryArchive } from "../archive.memory.ts";
import type { Archive } from "../archive.ts";
import { Connected, type Server } from "./network.ts";
import type { Surroundings } from "./redis.handle.ts";

/** The server. */
export class SimulatedMongo implements Server {
  up = true;
  readonly store: MemoryArchive;

  constructor(store: MemoryArchive) {
    this.store = store;
  }
}

/** A call without an answer is given up after so long, ms. */
const CALL_MS = 2_500;

/** A process's handle on it. */
export function mongoHandle(mongo: SimulatedMongo, around: Surroundings): Archive {
  const { store } = mongo;
  const { name, network, life, toMongo: path, witness } = around;
  const connected = new Connected({ network, life, path, server: mongo, timeoutMs: CALL_MS, pooled: true });
  const insert: Archive["insert"] = (entries) =>
    connected.call(async (share) => {
      // An unclear write may have got as far as it likes.
      const part = share === 1 ? entries : entries.slice(0, Math.floor(share * (entries.length + 1)));
      const outcome = await store.insert(part);
      witness.durable(name, part.slice(0, outcome.stored));
      return outcome;
    });
  const claimTerm: Archive["claimTerm"] = (shard, node, nonce) =>
    connected.call(async () => {
      const term = await store.claimTerm(shard, node, nonce);
      witness.claimed(name, shard, term);
      return term;
    });
  return new Proxy(store as Archive, {
    get(target, method) {
      if (method === "insert") return insert;
      if (method === "claimTerm") return claimTerm;
      const does: unknown = Reflect.get(target, method);
      if (typeof does !== "function") return does;
      return (...args: unknown[]) => connected.call(() => Reflect.apply(does, target, args) as Promise<unknown>);
    },
  });
}
