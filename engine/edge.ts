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

/** How long a sender's own copy waits for its RECEIPT at least, ms: a commit on a disk of today takes less. */
const KEEP_MS = 5;

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
  #keeping: Flushable[] = [];
  #overdue: Flushable[] = [];
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

  /** Calls `flush` once between `KEEP_MS` and twice as much has passed, and two turns have ended. */
  flushInTime(one: Flushable): void {
    this.#keeping.push(one);
    if (this.#keeping.length === 1 && this.#overdue.length === 0) this.#flushOverdueSoon();
  }

  #flushOverdueSoon(): void {
    const { clock } = this.node;
    // Of a busy node the turns are long, and what a commit brings comes two turns after it was asked for.
    clock.after(KEEP_MS, () => clock.endOfTurn(() => clock.endOfTurn(() => this.#flushOverdue())));
  }

  #flushOverdue(): void {
    const overdue = this.#overdue;
    this.#overdue = this.#keeping;
    this.#keeping = [];
    for (const flushable of overdue) flushable.flush();
    if (this.#overdue.length > 0) this.#flushOverdueSoon();
  }
}
