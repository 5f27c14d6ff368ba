/** Who is in one room at this edge: the data file of `crowds.ts`. Words the crowd; says nothing by itself. */
import type { Believed } from "./believed.ts";
import type { Crowd, Guest } from "./words.ts";

/** Most guests of one crowd in a word; a larger one is said in parts. */
export const PART_MOST = 1_000;
/** Most users of whom it is remembered that they came or went lately; the digest finds what is missing. */
const RECENT_MOST = 256;

/**
 * The digest of one user. Those of a crowd are added up modulo 2^32, so that their order is of no matter and
 * one who comes or goes costs one addition.
 */
export function digestOf(user: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < user.length; i++) hash = Math.imul(hash ^ user.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** The users of one room at this edge. */
export class LocalCrowd {
  readonly room: string;
  readonly shard: number;
  /** The node that it was last said to; undefined while nobody is known to own the room. */
  owner: string | undefined;
  /** Monotonic ms until which it is said with every lap, and until which it is said whole. */
  hotUntilMs = Number.NEGATIVE_INFINITY;
  newUntilMs = Number.NEGATIVE_INFINITY;
  /** Its next word must say everybody. */
  wholeDue = false;
  /** Whom the clients here believe to be in the room; undefined when none of them listens to its signals. */
  believed: Believed | undefined;
  /** User → log subscriptions. */
  readonly #users = new Map<string, number>();
  #digest = 0;
  /** Users who came or went lately, with the monotonic ms of it, rising. */
  #recent: Map<string, number> | undefined;

  constructor(room: string, shard: number) {
    this.room = room;
    this.shard = shard;
  }

  get size(): number {
    return this.#users.size;
  }

  /** The users here. */
  users(): IterableIterator<string> {
    return this.#users.keys();
  }

  has(user: string): boolean {
    return this.#users.has(user);
  }

  /** A subscription of the user went live; whether it is the first. */
  arrive(user: string): boolean {
    const count = this.#users.get(user) ?? 0;
    this.#users.set(user, count + 1);
    if (count === 0) this.#digest = (this.#digest + digestOf(user)) >>> 0;
    return count === 0;
  }

  /** A subscription of the user ended; whether it was the last. */
  depart(user: string): boolean {
    const count = this.#users.get(user);
    if (count === undefined) return false;
    if (count > 1) {
      this.#users.set(user, count - 1);
      return false;
    }
    this.#users.delete(user);
    this.#digest = (this.#digest - digestOf(user)) >>> 0;
    return true;
  }

  /** Remembers that the user came or went. */
  note(user: string, atMs: number): void {
    this.#recent ??= new Map();
    this.#recent.delete(user);
    if (this.#recent.size >= RECENT_MOST) this.#recent.delete(this.#recent.keys().next().value as string);
    this.#recent.set(user, atMs);
  }

  /** Forgets who came and went lately. */
  cool(): void {
    this.#recent = undefined;
  }

  /** Where everybody who came or went since then is now; the same word again does no harm. */
  since(sinceMs: number, nameOf: (user: string) => string): Crowd {
    const came: Guest[] = [];
    const went: string[] = [];
    for (const [user, atMs] of this.#recent ?? []) {
      if (atMs < sinceMs) continue;
      if (this.#users.has(user)) came.push({ user, name: nameOf(user) });
      else went.push(user);
    }
    return { room: this.room, came, went, whole: false, count: this.size, digest: this.#digest, believed: [] };
  }

  /** Everybody, in parts of which the first forgets who was there before. */
  whole(nameOf: (user: string) => string): Crowd[] {
    const believed = [...(this.believed?.users ?? [])].filter((user) => !this.#users.has(user));
    const parts: Crowd[] = [];
    const users = [...this.#users.keys()];
    let digest = 0;
    for (let from = 0; from === 0 || from < users.length; from += PART_MOST) {
      const part = users.slice(from, from + PART_MOST);
      for (const user of part) digest = (digest + digestOf(user)) >>> 0;
      const first = from === 0;
      parts.push({
        room: this.room,
        came: part.map((user) => ({ user, name: nameOf(user) })),
        went: [],
        whole: first,
        count: from + part.length,
        digest,
        believed: first ? believed : [],
      });
    }
    return parts;
  }
}
