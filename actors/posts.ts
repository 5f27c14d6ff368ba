/**
 * Where postings go: to the room's actor if its shard is owned here, else into the room's line to its owner; and
 * back again, in order and under their keys, when that changes.
 */
import { LRUCache } from "lru-cache";
import { Refusal } from "./codes.ts";
import type { Claims } from "./identity.ts";
import { type Lines, ownOf } from "./lines.ts";
import { answerRefused, type Posting } from "./posting.ts";
import type { Room } from "./room.ts";
import type { Shard } from "./shards.ts";
import type { Writer } from "./writer.ts";

/** What the posts need of their node. */
export interface PostsHost {
  readonly name: string;
  readonly writer: Writer;
  readonly lines: Lines;
  room(id: string): Room;
  shardOf(room: string): Shard;
}

/** Pairs of users whose direct room is remembered: 740 to 790 bytes of heap each, measured on Node 20 over 9,900. */
const PAIRS_MOST = 10_000;

/** The postings of one node. */
export class Posts {
  readonly #host: PostsHost;
  #counter = 0;
  /**
   * Pairs of users → their direct room; only a short cut: the room itself checks access. Bounded by sizes of 1, as
   * a cache with a greatest count takes the room of all of them at once, in every node.
   */
  readonly #pairs = new LRUCache<string, Promise<string>>({ maxSize: PAIRS_MOST });
  /** How a direct room is made; set by the service, which knows how rooms are. */
  makeDirect: ((from: { id: string; name: string }, to: string) => Promise<string>) | undefined;

  constructor(host: PostsHost) {
    this.#host = host;
  }

  /** A fresh key for what no client named (rule 8). */
  edgeKey(): string {
    this.#counter++;
    return `e/${this.#host.name}/${this.#counter}`;
  }

  /** A SEND or a REST post; its reply hears the outcome. */
  post(roomId: string, item: Posting): void {
    try {
      if (this.#host.shardOf(roomId).mine) this.#host.room(roomId).post(item);
      else this.#host.lines.post(roomId, item);
    } catch (error) {
      refused(item, error);
    }
  }

  /** The same, for a room that is owned here. */
  postHere(roomId: string, item: Posting): void {
    try {
      this.#host.room(roomId).post(item);
    } catch (error) {
      refused(item, error);
    }
  }

  /** Postings of a room that was closed here, in order, before anything new. */
  repost(roomId: string, postings: readonly Posting[]): void {
    for (const item of postings) {
      // It may have been accepted without our hearing of it: from now on it is known by its key.
      if (item.entry) {
        if (item.bytes > 0) this.#host.writer.release(item.bytes);
        item.keyed = true;
        item.again = true;
      }
      // Another node's, which may have given it to another owner since.
      if (item.reply?.patient) item.again = true;
      item.bytes = 0;
      item.entry = undefined;
      item.derived = undefined;
    }
    if (this.#host.shardOf(roomId).mine) {
      // A line has one source: what stands in another node's comes again from there, or went elsewhere since.
      return this.repostHere(
        roomId,
        postings.flatMap((item) => ownOf(item) ?? []),
      );
    }
    // What only this node can word is asked anew by who wanted it: the new owner may decide otherwise.
    const [messages, words] = [
      postings.filter(({ draft }) => draft.event === "message"),
      postings.filter(({ draft }) => draft.event !== "message"),
    ];
    for (const item of words)
      answerRefused(item, new Refusal("store-unavailable", "The room moved; ask again.", 1_000));
    if (messages.length > 0) this.#host.lines.repost(roomId, messages);
  }

  /** Postings from a line or a closed room to the room that is owned here now. */
  repostHere(roomId: string, postings: readonly Posting[]): void {
    for (const item of postings) {
      try {
        this.#host.room(roomId).repost(item);
      } catch (error) {
        refused(item, error);
      }
    }
  }

  /** A private message: to the direct room of the two, made on first use. */
  postPrivate(between: { from: Claims; to: string }, item: Posting): void {
    this.directRoom({ id: between.from.sub, name: between.from.name }, between.to).then(
      (room) => this.post(room, item),
      (error: unknown) => {
        answerRefused(item, error instanceof Refusal ? error : new Refusal("store-unavailable", undefined, 1_000));
      },
    );
  }

  /** The id of the direct room of two users. */
  directRoom(from: { id: string; name: string }, to: string): Promise<string> {
    const pair = from.id < to ? `${from.id}\n${to}` : `${to}\n${from.id}`;
    let found = this.#pairs.get(pair);
    if (!found) {
      if (!this.makeDirect) throw new Error("The node was started without its rooms service.");
      found = this.makeDirect(from, to);
      this.#pairs.set(pair, found, { size: 1 });
      found.catch(() => this.#pairs.delete(pair));
    }
    return found;
  }
}

/** A posting found no place to go to: a refusal answers it, anything else is thrown on. */
function refused(item: Posting, error: unknown): void {
  if (!(error instanceof Refusal)) throw error;
  answerRefused(item, error);
}
