/**
 * What must be the same at all nodes that share a bus, told with every beat: nodes of two data sets would spoil each
 * other's hot log, and nodes with other keys refuse each other's users without anybody knowing why.
 */
import type { Beat } from "./bus.ts";
import type { Log } from "./log.ts";

/** What a node tells of its own. No secret can be had from it. */
export interface Alike {
  /** The number of shards of its data set. */
  readonly shards: number;
  /** Its data set: the same for all who use the same archive. */
  readonly dataSet: string;
  /** A mark of the key, issuer and audience that it signs tokens with; undefined where it signs none. */
  readonly signs: string | undefined;
  /** Marks of those whose tokens it takes. */
  readonly takes: readonly string[];
}

/** Compares this node with the others. */
export class Likeness {
  readonly #own: Alike | undefined;
  readonly #log: Log;
  /** Nodes that a line was logged about; those that live. */
  #told = new Set<string>();

  /** Without `own` every other node is like this one. */
  constructor(own: Alike | undefined, log: Log) {
    this.#own = own;
    this.#log = log;
  }

  /** Why this node must not serve beside those that do; undefined when it may. A full sentence. */
  refusal(beats: readonly Beat[]): string | undefined {
    for (const { node, draining, alike } of beats) {
      // Who starts says that it drains until it knows: it keeps nobody from starting.
      if (draining || !alike || !this.#own) continue;
      const what = otherData(this.#own, alike);
      if (what) return `Node ${node}, which shares REDIS_URL, ${what}; all nodes need the same MONGODB_URL.`;
    }
    return undefined;
  }

  /** Logs what differs at others, once for each of them. */
  look(beats: readonly Beat[]): void {
    const told = new Set<string>();
    for (const { node, alike } of beats) {
      const what = alike && this.#own ? differences(this.#own, alike) : [];
      if (what.length === 0) continue;
      told.add(node);
      if (!this.#told.has(node)) this.#log.error({ other: node, what }, "another node is set up otherwise");
    }
    this.#told = told;
  }
}

function otherData(own: Alike, other: Alike): string | undefined {
  if (other.shards !== own.shards) return `has ${other.shards} shards and this one ${own.shards}`;
  return other.dataSet === own.dataSet ? undefined : "uses another archive";
}

function differences(own: Alike, other: Alike): string[] {
  const data = otherData(own, other);
  const what = data ? [`it ${data}`] : [];
  if (other.signs !== undefined && !own.takes.includes(other.signs)) {
    what.push("its tokens are refused here: JWT_SECRET or the keys, JWT_ISSUER or JWT_AUDIENCE differ");
  }
  if (own.signs !== undefined && !other.takes.includes(own.signs)) {
    what.push("it refuses the tokens of this node: JWT_SECRET or the keys, JWT_ISSUER or JWT_AUDIENCE differ");
  }
  return what;
}
