/** The story of a run: what happened, when and to whom, in order; its hash tells two runs apart. */
import type { SimulatedTime } from "./time.ts";

/** Writes the story of one run. */
export class Story {
  readonly lines: string[] = [];
  readonly #time: SimulatedTime;
  readonly #kept: boolean;
  #hash = 0x811c9dc5;

  /** Without `kept` only the hash is made. */
  constructor(time: SimulatedTime, { kept }: { readonly kept: boolean }) {
    this.#time = time;
    this.#kept = kept;
  }

  get nowMs(): number {
    return this.#time.nowMs;
  }

  say(who: string, what: string): void {
    const line = `${this.#time.nowMs.toFixed(2).padStart(9)} ${who.padEnd(9)} ${what}`;
    let hash = this.#hash;
    for (let at = 0; at < line.length; at++) hash = Math.imul(hash ^ line.charCodeAt(at), 0x01000193);
    this.#hash = hash;
    if (this.#kept) this.lines.push(line);
  }

  /** FNV-1a of all lines, as eight hexadecimal digits. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }
}
