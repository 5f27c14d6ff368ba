/**
 * Words to other nodes over Redis: those of one turn to one node leave in one message. Words that cannot leave
 * now are dropped and counted, as whoever needs them says them again.
 */
import type { Buffer } from "node:buffer";
import type { Clock } from "../actors/clock.ts";
import type { Word } from "../actors/words.ts";
import { type Origin, packWord } from "./bus.redis.codec.ts";
import type { RedisConnection } from "./bus.redis.connection.ts";
import type { RedisKeys } from "./bus.redis.keys.ts";

/** Words to one node beyond this leave without waiting for the end of the turn. */
const MESSAGE_BYTES = 1_048_576;
/** Sent and not yet taken by Redis; then words are dropped. A Redis disconnects listeners about as far behind. */
const UNANSWERED_BYTES_MAX = 33_554_432;

/** Words to one node that have not left. */
interface Outgoing {
  readonly words: Buffer[];
  bytes: number;
}

/** What words leave by. */
export interface WordsOptions {
  readonly commands: RedisConnection;
  readonly keys: RedisKeys;
  readonly origin: Origin;
  readonly clock: Clock;
}

/** The words of one node on their way out. */
export class WordsOut {
  readonly #options: WordsOptions;
  #outgoing = new Map<string, Outgoing>();
  #scheduled = false;
  #unanswered = 0;
  #dropped = 0;

  constructor(options: WordsOptions) {
    this.#options = options;
  }

  /** Words that did not get to a node, as far as is known: Redis away or too slow, or nobody of that name there. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Sends a word of the node `from` by the end of the turn. */
  tell(from: string, to: string, word: Word): void {
    if (!this.#options.commands.ready) {
      this.#dropped++;
      return;
    }
    let outgoing = this.#outgoing.get(to);
    if (!outgoing) {
      outgoing = { words: [], bytes: 0 };
      this.#outgoing.set(to, outgoing);
    }
    const bytes = packWord(word);
    outgoing.words.push(bytes);
    outgoing.bytes += bytes.length;
    if (outgoing.bytes > MESSAGE_BYTES) {
      this.#outgoing.delete(to);
      this.#send(from, to, outgoing);
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      this.#options.clock.endOfTurn(() => this.#flush(from));
    }
  }

  #flush(from: string): void {
    this.#scheduled = false;
    const all = this.#outgoing;
    this.#outgoing = new Map();
    for (const [to, outgoing] of all) this.#send(from, to, outgoing);
  }

  #send(from: string, to: string, { words, bytes }: Outgoing): void {
    const { commands, keys, origin } = this.#options;
    if (!commands.ready || this.#unanswered + bytes > UNANSWERED_BYTES_MAX) {
      this.#dropped += words.length;
      return;
    }
    this.#unanswered += bytes;
    const ended = (hearers: number): void => {
      this.#unanswered -= bytes;
      if (hearers === 0) this.#dropped += words.length;
    };
    commands.cast((client) =>
      client.publish(keys.node(to), origin.words(from, words)).then(ended, (error: unknown) => {
        ended(0);
        throw error;
      }),
    );
  }
}
