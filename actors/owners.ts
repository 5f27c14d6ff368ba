/**
 * Which node owns which shard, as this node has heard: from announcements, and for lost ones from the bus's
 * own record. Only a higher term is believed (becoming owner, step 6).
 */

/** What the table tells when it changes. */
export interface OwnersListener {
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
  readonly #listener: OwnersListener;
  #waiting: (() => void)[] = [];
  /** Owners that changed since the start. */
  moves = 0;

  constructor(shards: number, listener: OwnersListener) {
    this.#known = Array.from({ length: shards }, () => ({ node: undefined, term: 0 }));
    this.#listener = listener;
  }

  /** The node that owns a shard; undefined while nobody is known to. */
  of(shard: number): string | undefined {
    return this.#known[shard]?.node;
  }

  /** The highest term heard of. */
  term(shard: number): number {
    return this.#known[shard]?.term ?? 0;
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
    known.node = node;
    known.term = term;
    this.moves++;
    this.#changed(shard);
    return true;
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

  /** Resolves at the next change of any owner. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #changed(shard: number): void {
    this.#listener.ownerChanged(shard);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
