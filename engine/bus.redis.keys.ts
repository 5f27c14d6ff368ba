/**
 * The names in Redis. All keys and channels of a shard bear one hash tag, `{shard}`:
 *
 * ```
 *   {s}:lock          value of the lock
 *   {s}:term          term in force
 *   {s}:lossy         first term whose predecessor's log may be incomplete
 *   {s}:owner         term and node that took it last
 *   {s}:heads         hash: room → offset and term of the head, first offset and bytes of the log
 *   {s}:dirty         set: rooms with entries not known to be stored
 *   {s}:bytes         bytes of all logs of the shard
 *   {s}:log:<room>    stream: id = last offset of a pack; first, term, prevTerm, bytes
 *   {s}:room:<room>   channel: packs and signals of a room
 *   notices           channel: notices to all nodes
 *   node:<name>       channel: words to one node
 *   nodes             hash: node → end of its life (ms since 1970 by the server's clock) and what it said of itself
 *   born              since when the server remembers, ms since 1970 by its own clock
 * ```
 */
import type { Owner } from "../actors/bus.ts";
import type { Position } from "../actors/entry.ts";

const PREFIX = "confab:";

/** What sets the data sets of one Redis apart. Channels know no database numbers, so another one has other names. */
export function prefixOf(url: string): string {
  const database = new URL(url).pathname.slice(1);
  return database === "" || database === "0" ? PREFIX : `${PREFIX}${database}:`;
}

/** A name of a shard's part. */
export type ShardPart = "lock" | "term" | "lossy" | "owner" | "heads" | "dirty" | "bytes";

/** The names under one prefix, which sets data sets of one Redis apart. */
export class RedisKeys {
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  part(shard: number, part: ShardPart): string {
    return `${this.prefix}{${shard}}:${part}`;
  }

  log(shard: number, room: string): string {
    return `${this.prefix}{${shard}}:log:${room}`;
  }

  channel(shard: number, room: string): string {
    return `${this.prefix}{${shard}}:room:${room}`;
  }

  get notices(): string {
    return `${this.prefix}notices`;
  }

  node(name: string): string {
    return `${this.prefix}node:${name}`;
  }

  get nodes(): string {
    return `${this.prefix}nodes`;
  }

  get born(): string {
    return `${this.prefix}born`;
  }
}

/** The node and its term in `owner`; undefined when it says neither. */
export function parseOwner(text: string): Owner | undefined {
  const space = text.indexOf(" ");
  const term = Number(text.slice(0, space));
  return space > 0 && Number.isSafeInteger(term) ? { term, node: text.slice(space + 1) } : undefined;
}

/** The head in a field of `heads`. */
export function parseHead(text: string): Position {
  const [offset, term] = text.split(" ");
  return { offset: Number(offset), term: Number(term) };
}
