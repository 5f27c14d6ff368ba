/** Fates of messages of one room that are decided and not yet derived in the archive. */
import type { DerivedWrite } from "./archive.ts";
import type { Entry, Fate } from "./entry.ts";
import { fateAfter } from "./fate.ts";

/** Holds one fate per message with an unstored change, so it is as bounded as the writer. */
export class Fates {
  readonly #room: string;
  readonly #newest = new Map<number, Fate>();

  constructor(room: string) {
    this.#room = room;
  }

  /** The fate of a message as far as it is decided, given what the archive says. */
  of(offset: number, archived: Fate | undefined): Fate | undefined {
    const mine = this.#newest.get(offset);
    return mine && (!archived || mine.rev > archived.rev) ? mine : archived;
  }

  /** Applies a decided entry about a message, given what the archive says of it; answers what follows. */
  apply(entry: Entry, archived: Fate | undefined): DerivedWrite[] {
    const fate = fateAfter(this.of(entry.ref, archived), entry);
    if (!fate) return [];
    this.#newest.set(entry.ref, fate);
    return [{ kind: "fate", roomId: this.#room, offset: entry.ref, fate }];
  }

  /** Takes what follows from entries that were logged before the room was opened. */
  adopt(writes: readonly DerivedWrite[]): void {
    for (const write of writes) if (write.kind === "fate") this.#newest.set(write.offset, write.fate);
  }

  /** The entry and what follows from it are stored. */
  settle(entry: Entry): void {
    if (this.#newest.get(entry.ref)?.rev === entry.offset) this.#newest.delete(entry.ref);
  }
}
