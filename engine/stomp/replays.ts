/**
 * The frames of entries that many resumes ask for: after a node or a network fell, all its clients come back for
 * the same ones. What is asked for a second time is encoded once and kept, by room, kind of receiver and offset.
 */
import { Buffer } from "node:buffer";
import { type Entry, entryBytes } from "../../actors/entry.ts";
import { type Dialect, entryFrame, entryLead, entryLines } from "./message.ts";

/** Frames of one line, by offset modulo this: more than the entries that a room keeps in memory for resumes. */
const SLOTS = 256;
/** Bytes of an empty line, and of what a kept frame costs beside its own and its entry's. */
const LINE_BYTES = 5_000;
const FRAME_BYTES = 256;

interface Line {
  readonly dialect: Dialect;
  /** How all its frames begin. */
  readonly lead: string;
  /** What was asked for, by slot; the same entry is the same object. */
  readonly entries: (Entry | undefined)[];
  readonly frames: (Buffer | undefined)[];
}

/** Frames of replays, all of one node. */
export class Replays {
  /** Room → kinds of receivers. */
  readonly #lines = new Map<string, Line[]>();
  readonly #bytesMost: number;
  #bytes = 0;

  /** `bytesMost`: when more is kept, all of it is dropped and gathered anew. */
  constructor(bytesMost = 8_388_608) {
    this.#bytesMost = bytesMost;
  }

  /** Bytes kept, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Gives the frame of each entry of one room, in their order. A frame is not to be changed. */
  each(entries: readonly Entry[], dialect: Dialect, send: (frame: Buffer, entry: Entry) => void): void {
    const first = entries[0];
    if (!first) return;
    if (this.#bytes > this.#bytesMost) {
      this.#lines.clear();
      this.#bytes = 0;
    }
    const line = this.#lineOf(first.room, dialect);
    for (const entry of entries) send(this.#frameOf(entry, line), entry);
  }

  #lineOf(room: string, dialect: Dialect): Line {
    let lines = this.#lines.get(room);
    if (!lines) {
      lines = [];
      this.#lines.set(room, lines);
    }
    for (const line of lines) if (isSame(line.dialect, dialect)) return line;
    const slots = { entries: new Array<undefined>(SLOTS), frames: new Array<undefined>(SLOTS) };
    const line = { dialect, lead: entryLead(dialect), ...slots };
    lines.push(line);
    this.#bytes += LINE_BYTES;
    return line;
  }

  #frameOf(entry: Entry, line: Line): Buffer {
    const slot = entry.offset % SLOTS;
    const known = line.entries[slot] === entry;
    const kept = known ? line.frames[slot] : undefined;
    if (kept) return kept;
    const frame = entryFrame(entry, line.dialect, line.lead, entryLines(entry, line.dialect.version));
    if (!known) {
      const before = line.entries[slot];
      if (before) this.#bytes -= entryBytes(before) + bytesOf(line.frames[slot]);
      line.entries[slot] = entry;
      line.frames[slot] = undefined;
      this.#bytes += entryBytes(entry);
      return frame;
    }
    // Bytes of its own: a part of Node's pool would keep the pool alive.
    const own = Buffer.allocUnsafeSlow(frame.length);
    frame.copy(own);
    line.frames[slot] = own;
    this.#bytes += bytesOf(own);
    return own;
  }
}

function bytesOf(frame: Buffer | undefined): number {
  return frame ? frame.length + FRAME_BYTES : 0;
}

function isSame(one: Dialect, other: Dialect): boolean {
  return (
    one.subscription === other.subscription &&
    one.version === other.version &&
    one.acked === other.acked &&
    one.destination === other.destination
  );
}
