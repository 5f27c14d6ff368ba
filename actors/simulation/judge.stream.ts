/** One subscription as its client sees it: rising, without gap or repeat, and honest about what was lost. */
import type { Entry, Position } from "../entry.ts";
import { place } from "../promises.checks.ts";
import type { From } from "../resume.ts";
import { memberOf } from "../room.state.ts";

/** A subscription to the log of a room. */
export class Stream {
  readonly user: string;
  readonly room: string;
  readonly from: From;
  /** When it was asked for, ms of the world. */
  readonly askedMs: number;
  /** Name for the story. */
  readonly name: string;
  /** The last entry shown, or where it starts; undefined before that is known. */
  at: Position | undefined;
  granted: Position | undefined;
  over = false;
  #resumed = false;
  /** Where it began, and what was shown, since nothing was lost for the last time. */
  #since: Position | undefined;
  #shown: Entry[] = [];
  /** What was shown before that. */
  #before: Entry[] = [];

  constructor(name: string, of: { user: string; room: string; from: From; askedMs: number }) {
    this.name = name;
    this.user = of.user;
    this.room = of.room;
    this.from = of.from;
    this.askedMs = of.askedMs;
  }

  /** The SUBSCRIBE's RECEIPT. Answers what is broken, if anything is; so do the others. */
  grant(head: Position | undefined): string | undefined {
    if (!head) return `${this.name} is granted without a head`;
    if (this.granted) return `${this.name} is granted twice`;
    this.granted = head;
    if (this.from.kind === "now") this.#begin(head);
    return undefined;
  }

  #begin(at: Position): void {
    this.at = at;
    this.#since = at;
  }

  resumed(recovered: boolean, head: Position, { lossy }: { readonly lossy: boolean }): string | undefined {
    if (this.over) return `${this.name} is told resumed after its end`;
    if (!this.granted) return `${this.name} is resumed before its receipt`;
    const again = this.#resumed || this.from.kind === "now";
    this.#resumed = true;
    if (!recovered) {
      this.#before.push(...this.#shown);
      this.#shown = [];
      this.#begin(head);
      return lossy ? undefined : `${this.name} is told recovered: false, and nothing was lost`;
    }
    if (again) return `${this.name} is resumed again`;
    if (this.from.kind === "after") this.#begin(this.from.position);
    else this.#begin({ offset: Math.max(0, head.offset - (this.from as { entries: number }).entries), term: -1 });
    return undefined;
  }

  entry(entry: Entry): string | undefined {
    const shown = `${this.name} is shown ${place(entry)}`;
    if (this.over) return `${shown} after its end`;
    const { at } = this;
    if (!at) return `${shown} before its beginning is known`;
    if (entry.room !== this.room) return `${shown}, another room's`;
    if (entry.offset !== at.offset + 1) return `${shown} after ${at.offset}`;
    if (at.term >= 0 && entry.prevTerm !== at.term)
      return `${shown}, whose chain (${entry.prevTerm}) is not that of ${at.offset}.${at.term}`;
    this.at = { offset: entry.offset, term: entry.term };
    this.#shown.push(entry);
    return undefined;
  }

  /** Judges it against the log as it stands in the end. */
  judge(log: readonly Entry[], { lossy }: { readonly lossy: boolean }): string | undefined {
    const isThere = ({ offset, term }: Position): boolean => offset === 0 || log[offset - 1]?.term === term;
    // An entry of a connection that is over may have been lost after that; the next connection is told.
    const bound = !this.over || !lossy;
    if (bound && this.#since && this.#since.term >= 0 && !isThere(this.#since)) {
      return `${this.name} began at ${this.#since.offset}.${this.#since.term}, which is not on the log`;
    }
    for (const entry of this.#shown) {
      const there = log[entry.offset - 1];
      if (there?.term === entry.term && there.key === entry.key) continue;
      if (bound) return `${this.name} was shown ${place(entry)}, which is not on the log, and was not told`;
    }
    return this.#judgeRemoval(log);
  }

  /** Promise 7: nothing that was logged after a removal was shown to the removed. */
  #judgeRemoval(log: readonly Entry[]): string | undefined {
    const from = this.granted?.offset ?? 0;
    const removal = log.find((entry) => {
      if (entry.offset <= from || entry.event !== "member") return false;
      const member = memberOf(entry);
      return member?.user === this.user && member.role === "none";
    });
    if (!removal) return undefined;
    for (const entry of [...this.#before, ...this.#shown]) {
      const there = log[entry.offset - 1];
      if (entry.offset > removal.offset && there?.term === entry.term && there.key === entry.key)
        return `${this.name} was shown ${place(entry)} after the removal of ${this.user} at ${removal.offset}`;
    }
    return undefined;
  }
}
