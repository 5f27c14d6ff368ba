/** What all sessions of one node share. */
import type { Limits } from "../actors/limits.ts";
import type { Node } from "../actors/node.ts";
import type { NativeFanout } from "./fanout.ts";
import type { FrameParserOptions } from "./stomp/parser.ts";

/** Anything with frames to send at the end of the turn. */
export interface Flushable {
  flush(): void;
}

/** The shared part of the edge. */
export class Edge {
  readonly node: Node;
  readonly fanout: NativeFanout;
  readonly parserOptions: FrameParserOptions;
  /** The `server` header of CONNECTED. */
  readonly banner: string;
  #waiting: Flushable[] = [];

  constructor(node: Node, fanout: NativeFanout, options: { limits: Limits; version: string }) {
    this.node = node;
    this.fanout = fanout;
    const { bodyBytes, headerBytes, headers, frameOverheadBytes } = options.limits;
    this.parserOptions = { bodyBytes, headerBytes, headers, overheadBytes: frameOverheadBytes };
    this.banner = `confab/${options.version}`;
  }

  /** Calls `flush` at the end of this turn: what one turn has for one socket leaves in one write. */
  flushLater(one: Flushable): void {
    this.#waiting.push(one);
    if (this.#waiting.length > 1) return;
    this.node.clock.endOfTurn(() => {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const flushable of waiting) flushable.flush();
    });
  }
}
