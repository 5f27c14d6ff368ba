/**
 * The bus port: the hot log and the wire between nodes. Embedded: memory; production: Redis.
 * The guarantees are those of the protocol of a room's log; `bus.conformance.ts` checks every backend.
 */
import type { Alike } from "./alike.ts";
import type { Entry, Position } from "./entry.ts";
import type { Link } from "./link.ts";
import type { Word } from "./words.ts";

/** Entries of one room decided in one turn. */
export interface Pack {
  readonly room: string;
  /** Term of the entry before the first. */
  readonly prevTerm: number;
  /** Rising without gap, at least one. */
  readonly entries: readonly Entry[];
  /** First pack after an opening that found the room's head absent: only then may it be absent. */
  readonly opening: boolean;
  /** The wire that all of it came in on, if its client waits for RECEIPTs. Known in the process that decided it only. */
  readonly origin?: Link | undefined;
}

/**
 * - `ok`: accepted and in the hot log.
 * - `already`: my term, and the head is at or past the pack's last: an earlier try was accepted.
 * - `stale`: a higher term is in force; nothing was written.
 * - `lost`: the term is missing or lower, or a head does not fit: the hot log lost data; nothing was written.
 */
export type AppendAnswer = "ok" | "already" | "stale" | "lost";

/** What `take` found. */
export interface Taken {
  /** The term in force before; 0 when there was none. */
  readonly previous: number;
  /** The first term whose predecessor's hot log may be incomplete. */
  readonly lossy: number;
}

/** A signal: ephemeral, never logged, dropped first. Carries the owner's term (rule 10). */
export interface Signal {
  readonly room: string;
  readonly event: "typing" | "presence" | "read" | "delivered";
  readonly user: string;
  /** typing: start, stop; presence: join, leave, online, offline; empty for markers. */
  readonly state: string;
  /** For read and delivered. */
  readonly offset: number;
  readonly term: number;
}

/** A notice for all connections of one user, or a control word for every node. */
export type Notice =
  | { readonly kind: "entry"; readonly user: string; readonly entry: Entry }
  | {
      readonly kind: "notice";
      readonly user: string;
      readonly event: "added" | "removed" | "direct";
      readonly room: string;
      readonly by: string;
    }
  | { readonly kind: "revoked"; readonly user: string; readonly token: string | undefined; readonly beforeMs: number }
  | { readonly kind: "close"; readonly connection: string }
  /** Shards that a node now owns, each with its term; only a higher term is believed (becoming owner, step 6). */
  | { readonly kind: "owner"; readonly node: string; readonly shards: readonly (readonly [number, number])[] }
  /** A node ends in order: nobody need wait until its beat is missed. */
  | { readonly kind: "farewell"; readonly node: string }
  | { readonly kind: "dissolved"; readonly room: string }
  /** What is stored of rooms was changed by a node that does not own them now: what was read of them is old. */
  | { readonly kind: "changed"; readonly what: "entries" | "markers"; readonly rooms: readonly string[] }
  /** Users whose last connection at `node` ended, or of whom it is not known: who has one says `online`. */
  | { readonly kind: "offline"; readonly node: string; readonly users: readonly string[] }
  | { readonly kind: "online"; readonly node: string; readonly users: readonly string[] };

/** Who asks for a shard. */
export interface Taking {
  /** Value of the lock that the caller holds. */
  readonly lock: string;
  /** Claimed in the archive before. */
  readonly term: number;
  /** The name of the caller's node, for `owners`. */
  readonly node: string;
  /** The caller has proof that the hot log lost data: `lossy` becomes `term` whatever was in force before. */
  readonly lossy: boolean;
}

/** Whom a shard was last taken by. */
export interface Owner {
  readonly node: string;
  readonly term: number;
}

/** What a node says of itself while it lives. */
export interface Beat {
  readonly node: string;
  /** It gives its shards away and takes none. */
  readonly draining: boolean;
  /** When it started, ms since 1970. */
  readonly since: number;
  readonly connections: number;
  /** Shards it owns. */
  readonly shards: number;
  /** It does not reach the archive now, so it can claim no shard. */
  readonly unable?: boolean | undefined;
  /** What must be the same at all nodes; not told by every version. */
  readonly alike?: Alike | undefined;
}

/** Who lives, as the bus knows. */
export interface Living {
  /** Nodes whose last beat is younger than the life they asked for, by name, the asking one included. */
  readonly nodes: readonly Beat[];
  /** For how long the bus has remembered anything, ms: little says that it came back empty. */
  readonly rememberedMs: number;
}

/** What a node does with what comes over the bus. Called once per pack, signal or notice, never re-entrantly. */
export interface BusReceiver {
  /** The node's name: words to it arrive here. */
  readonly name: string;
  onPack(pack: Pack): void;
  onSignals(signals: readonly Signal[]): void;
  onNotice(notice: Notice): void;
  onWord(from: string, word: Word): void;
  /**
   * Packs, signals and notices may have been missed until now: the wire was down and all that was joined is
   * joined again (rule 7: after each re-subscribe the heads are compared).
   */
  onGap(): void;
}

/**
 * The bus. A write bears the shard and the term of its writer and changes nothing under another term.
 * A rejected promise means that the outcome is unknown: repeat the same call until it is answered.
 */
export interface Bus {
  /**
   * Whether other processes may write the same hot log and it may lose data while this one lives. False for
   * the embedded one: then nobody need look whether it still is what it was.
   */
  readonly shared: boolean;
  /** Fences the shard for `term`, if the lock has this value and the term in force is lower; else undefined. */
  take(shard: number, taking: Taking): Promise<Taken | undefined>;
  /** The terms in force of shards, in their order; 0 where none is. */
  terms(shards: readonly number[]): Promise<readonly number[]>;
  /** Whom shards were last taken by, in their order; undefined where nobody is known. */
  owners(shards: readonly number[]): Promise<readonly (Owner | undefined)[]>;
  /** Appends all packs or none. */
  append(shard: number, term: number, packs: readonly Pack[]): Promise<AppendAnswer>;
  /** `append` of a hot log in this process, which answers at once. */
  appendNow?(shard: number, term: number, packs: readonly Pack[]): AppendAnswer;
  /** Heads of the shard's rooms that are in the hot log. */
  heads(shard: number): Promise<ReadonlyMap<string, Position>>;
  /** The same of some rooms of the shard only. */
  headsOf(shard: number, rooms: readonly string[]): Promise<ReadonlyMap<string, Position>>;
  /** Rooms of the shard with entries that are not yet known to be stored. */
  dirty(shard: number): Promise<readonly string[]>;
  /**
   * Entries of a room after an offset, rising, as far as the hot log has them; at most `limit`. With `bytes` they end
   * at the latest with the one by which there are so many.
   */
  log(room: string, after: number, limit: number, bytes?: number): Promise<readonly Entry[]>;
  /**
   * Says that a room is stored up to `stored`: trims beyond the last kept for replay, and when `stored`
   * is the head takes the room off the dirty ones. False when the term is not in force.
   */
  stored(shard: number, term: number, room: string, stored: Position): Promise<boolean>;
  /** `stored` of a hot log in this process, which answers at once. */
  storedNow?(shard: number, term: number, room: string, stored: Position): boolean;
  /** Removes a room whose head is still `head` and all of which is stored. */
  sleep(shard: number, term: number, room: string, head: Position): Promise<boolean>;
  /**
   * Removes a room whose head is still `head`, stored or not: the hot log lost data of it and what is left can
   * not be stored. False when the term or the head is another.
   */
  clear(shard: number, term: number, room: string, head: Position): Promise<boolean>;

  /** Sends packs that were accepted to the nodes with subscriptions in their rooms, then here. */
  publish(packs: readonly Pack[]): void;
  /** Sends signals the same way, at most once. */
  signal(signals: readonly Signal[]): void;
  /** Sends a notice to every node, then here; at most once. */
  notify(notice: Notice): void;
  /** Sends a word to one node, also to itself; at most once, in order while the wire holds. Words of a turn leave together. */
  tell(node: string, word: Word): void;
  /** Says that this node lives for `lifeMs` from now by the bus's own clock, and hears who else does. */
  beat(self: Beat, lifeMs: number): Promise<Living>;
  /** Says that a node lives no more: it ended in order. */
  fade(node: string): Promise<void>;
  /** This node owns the shard no more: from now on what others write in it comes over the wire. */
  yielded(shard: number): void;
  /** Wants a room's packs and signals. Resolves when they are sure to come. */
  join(room: string): Promise<void>;
  leave(room: string): void;
  /** Sets who receives; once, before anything is joined. */
  receive(receiver: BusReceiver): void;
  close(): Promise<void>;
}
