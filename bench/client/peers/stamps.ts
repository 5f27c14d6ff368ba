/**
 * Order on a peer: what peers send names no place in any order, so each body begins with its number. There must be one
 * publisher per room.
 */
const DIGITS = 9;
const STAMP = /~(\d{9})~/g;
/** Characters of a stamp. */
const STAMP_CHARACTERS = DIGITS + 2;

/** A body of the same length that begins with this number; bodies too short for it stay as they are. */
export function stamped(body: string, number: number): string {
  if (body.length < STAMP_CHARACTERS) return body;
  return `~${String(number).padStart(DIGITS, "0")}~${body.slice(STAMP_CHARACTERS)}`;
}

/** Reads the stamps of one connection. */
export class StampReader {
  /** Messages that came after one that was sent later. */
  disordered = 0;
  #highest = -1;
  /** The end of the last payload, where a stamp may have been cut. */
  #tail = "";

  /** Takes the next payload. */
  take(payload: Buffer): void {
    const read = this.#tail + payload.toString("latin1");
    let end = 0;
    for (const match of read.matchAll(STAMP)) {
      const number = Number(match[1]);
      if (number < this.#highest) this.disordered += 1;
      else this.#highest = number;
      end = match.index + STAMP_CHARACTERS;
    }
    this.#tail = read.slice(Math.max(end, read.length - STAMP_CHARACTERS + 1));
  }
}
