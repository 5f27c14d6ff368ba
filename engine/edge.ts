/** What all sessions of one node share. */
import type { Limits } from "../actors/limits.ts";
import type { Node } from "../actors/node.ts";
import type { NativeFanout } from "./fanout.ts";
import { CONNECTED_AS, encodeHeaders } from "./stomp/encoder.ts";
import type { FrameParserOptions } from "./stomp/parser.ts";
import { Replays } from "./stomp/replays.ts";

/** Anything with frames to send at the end of the turn. */
export interface Flushable {
  flush(): void;
}

/** Anything that keeps frames for a while. */
export interface Keeper extends Flushable {
  /** The round of the edge in which it began to; 0 while it keeps none. */
  keptIn: number;
}

/** How long a sender's own copy waits for its RECEIPT at least, ms: a commit on a disk of today takes less. */
const KEEP_MS = 5;

/** For how many turns at least: those of a busy node are long, and a commit takes it this many from asking to hearing. */
const KEEP_TURNS = 3;

/** The shared part of the edge. */
export class Edge {
  readonly node: Node;
  readonly fanout: NativeFanout;
  readonly parserOptions: FrameParserOptions;
  /** The lines of CONNECTED that name the server, escaped. */
  readonly banner: string;
  /** The line of CONNECTED that names the node, escaped. */
  readonly nodeLine: string;
  readonly replays = new Replays();
  #waiting: Flushable[] = [];
  /** Sessions that keep something, and those that did when time was last up. */
  #keeping: Keeper[] = [];
  #overdue: Keeper[] = [];
  #round = 1;
  #sessions = 0;
  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const flushable of waiting) flushable.flush();
  };

  constructor(node: Node, fanout: NativeFanout, options: { limits: Limits; version: string }) {
    this.node = node;
    this.fanout = fanout;
    const { bodyBytes, headerBytes, headers, frameOverheadBytes } = options.limits;
    this.parserOptions = { bodyBytes, headerBytes, headers, overheadBytes: frameOverheadBytes };
    this.banner = encodeHeaders(["server", `confab/${options.version}`], CONNECTED_AS);
    this.nodeLine = encodeHeaders(["node", node.name], CONNECTED_AS);
  }

  /** A fresh connection id. A name and no secret: it grants nothing, and only administrators may use it. */
  newId(): string {
    this.#sessions++;
    return `${this.node.name}-${this.#sessions.toString(36)}`;
  }

  /** Calls `flush` at the end of this turn: what one turn has for one socket leaves in one write. */
  flushLater(one: Flushable): void {
    this.#waiting.push(one);
    if (this.#waiting.length === 1) this.node.clock.endOfTurn(this.#flush);
  }

  /** It begins to keep: calls `flush` once `KEEP_MS` and `KEEP_TURNS`, or up to twice as much, are over, unless it was by then. */
  flushInTime(one: Keeper): void {
    one.keptIn = this.#round;
    this.#keeping.push(one);
    if (this.#keeping.length === 1 && this.#overdue.length === 0) this.#flushOverdueSoon();
  }

  #flushOverdueSoon(): void {
    const { clock } = this.node;
    const pass = (turns: number): void => (turns === 0 ? this.#flushOverdue() : clock.endOfTurn(() => pass(turns - 1)));
    clock.after(KEEP_MS, () => pass(KEEP_TURNS));
  }

  #flushOverdue(): void {
    const overdue = this.#overdue;
    this.#overdue = this.#keeping;
    this.#keeping = [];
    // Who was flushed since and keeps again began to in a later round.
    for (const keeper of overdue) if (keeper.keptIn > 0 && keeper.keptIn < this.#round) keeper.flush();
    this.#round++;
    if (this.#overdue.length > 0) this.#flushOverdueSoon();
  }
}
