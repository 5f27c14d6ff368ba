/**
 * Which node owns which shard, as this node has heard: from announcements, and for lost ones from the bus's
 * own record. Only a higher term is believed (becoming owner, step 6).
 */
import type { Clock } from "./clock.ts";

/** What the table needs of its node. */
export interface OwnersHost {
  readonly clock: Pick<Clock, "after" | "cancel">;
  /** The owner of a shard is another now, or is not known any more. */
  ownerChanged(shard: number): void;
}

interface Known {
  node: string | undefined;
  term: number;
}

/** The owners of all shards. */
export class Owners {
  readonly #known: Known[];
  readonly #host: OwnersHost;
  /** Who waits for a change; each leaves with it or when its time is over. */
  readonly #waiting = new Set<() => void>();
  /** Owners that changed since the start. */
  moves = 0;

  constructor(shards: number, host: OwnersHost) {
    this.#known = Array.from({ length: shards }, () => ({ node: undefined, term: 0 }));
    this.#host = host;
  }

  /** The node that owns a shard; undefined while nobody is known to. */
  of(shard: number): string | undefined {
    return this.#known[shard]?.node;
  }

  /** The highest term heard of. */
  term(shard: number): number {
    return this.#known[shard]?.term ?? 0;
  }

  /** How many wait for a change now. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Hears that a node owns a shard under a term; false when that is no news. With `lives` it is known to live: one
   * that was thought gone and came back in time owns what it owned. With `record` the bus itself says so, which
   * fences the shard by that term: where no owner is known it is believed whatever was heard before.
   */
  learn(shard: number, node: string, term: number, { lives = false, record = false } = {}): boolean {
    const known = this.#known[shard];
    if (!known) return false;
    const vacant = lives && known.node === undefined;
    if (term <= known.term && !(vacant && (record || term === known.term))) return false;
    this.#set(shard, node, term);
    return true;
  }

  /** This node owns a shard. Of itself it knows better than anybody: a term that was heard of and is no higher was none. */
  own(shard: number, node: string, term: number): void {
    this.#set(shard, node, term);
  }

  #set(shard: number, node: string, term: number): void {
    this.#known[shard] = { node, term };
    this.moves++;
    this.#changed(shard);
  }

  /** The shard has no owner until a higher term is heard of, if it was this node. */
  forget(shard: number, node: string): void {
    const known = this.#known[shard];
    if (known?.node !== node) return;
    known.node = undefined;
    this.#changed(shard);
  }

  /** A node lives no more: nobody owns what it owned. */
  gone(node: string): void {
    for (const [shard, known] of this.#known.entries()) if (known.node === node) this.forget(shard, node);
  }

  /** Shards owned by a node. */
  countOf(node: string): number {
    return this.#known.reduce((count, known) => count + (known.node === node ? 1 : 0), 0);
  }

  /** Resolves at the next change of any owner, or after so many ms. */
  changed(withinMs: number): Promise<void> {
    const { clock } = this.#host;
    return new Promise((resolve) => {
      const end = (): void => {
        clock.cancel(timer);
        this.#waiting.delete(end);
        resolve();
      };
      const timer = clock.after(withinMs, end);
      this.#waiting.add(end);
    });
  }

  #changed(shard: number): void {
    this.#host.ownerChanged(shard);
    for (const end of [...this.#waiting]) end();
  }
}
