/**
 * How the embedded archive lays its rows out.
 *
 * ```
 *   key of an entry    room · 0 · offset (7 bytes, big-endian)
 *   key of a pair      first · 0 · second      (member: room, user; membership: user, room; ...)
 *   entry              format, event, text (1) · at (8, double) · term, prevTerm, count, ref (varints)
 *                      · key, sender, senderName, contentType (length, UTF-8)
 *                      · number of header texts · each (length, UTF-8) · body
 * ```
 * No room or user id holds a 0 byte, so no key is the beginning of another room's.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { DamagedRow } from "../actors/codes.ts";
import type { Entry, EntryEvent } from "../actors/entry.ts";

const FORMAT = 1;
/** The index of an event is stored: only ever append. */
const EVENTS: readonly EntryEvent[] = ["message", "edited", "deleted", "reaction", "member"];
/** Longer keys are hashed: LMDB takes 1,978 bytes. */
const KEY_BYTES_MAX = 1_900;
const OFFSET_BYTES = 7;
/** Entries whose keys are indexed together; a search tries each group of a room. */
const GROUP_ENTRIES = 16_384;
const GROUP_DIGITS = 12;

/** A key of text parts with a 0 byte between them; `""` as last part makes the prefix of all below. */
export function textKey(...parts: readonly string[]): Buffer {
  return Buffer.from(parts.join("\0"), "utf8");
}

/** The key just above a text key and below all other text keys. */
export function textKeyAfter(...parts: readonly string[]): Buffer {
  return Buffer.from(`${parts.join("\0")}\0`, "utf8");
}

/** The key above all keys that begin with these parts. */
export function textKeyEnd(...parts: readonly string[]): Buffer {
  return Buffer.from(`${parts.join("\0")}\x01`, "utf8");
}

/**
 * The key of the index row of an entry's (room, sender, key). Rows are grouped by the entry's offset, so that
 * the keys of a busy room, which come in no order, fall on few pages; `group` is `duplicateGroup(offset)`.
 * Texts too long for a row are replaced by their hash.
 */
export function duplicateKey(room: string, group: number, sender: string, key: string): Buffer {
  const prefix = `${room}\0${String(group).padStart(GROUP_DIGITS, "0")}\0${sender}\0`;
  const plain = Buffer.from(prefix + key, "utf8");
  if (plain.byteLength <= KEY_BYTES_MAX) return plain;
  return Buffer.from(`${prefix}#${createHash("sha256").update(key).digest("base64")}`, "utf8");
}

/** The group of an offset in the index of keys. */
export function duplicateGroup(offset: number): number {
  return Math.floor(offset / GROUP_ENTRIES);
}

/** The key of a place in a log; offsets beyond 2^53 mean "above all". */
export function placeKey(room: string, offset: number): Buffer {
  const key = Buffer.allocUnsafe(room.length + 1 + OFFSET_BYTES);
  key.write(room, 0, "latin1");
  key[room.length] = 0;
  writeOffset(key, room.length + 1, offset);
  return key;
}

/** An offset alone, as key or value. */
export function offsetBytes(offset: number): Buffer {
  const bytes = Buffer.allocUnsafe(OFFSET_BYTES);
  writeOffset(bytes, 0, offset);
  return bytes;
}

/** The offset at the end of a key or value. */
export function readOffset(bytes: Uint8Array): number {
  const at = bytes.length - OFFSET_BYTES;
  let offset = 0;
  for (let i = 0; i < OFFSET_BYTES; i++) offset = offset * 256 + (bytes[at + i] as number);
  return offset;
}

function writeOffset(bytes: Uint8Array, at: number, offset: number): void {
  const high = Math.floor(Math.min(offset, Number.MAX_SAFE_INTEGER) / 0x1_0000_0000);
  const low = Math.min(offset, Number.MAX_SAFE_INTEGER) >>> 0;
  bytes[at] = high >>> 16;
  bytes[at + 1] = high >>> 8;
  bytes[at + 2] = high;
  bytes[at + 3] = low >>> 24;
  bytes[at + 4] = low >>> 16;
  bytes[at + 5] = low >>> 8;
  bytes[at + 6] = low;
}

/** Packs entries one after another into memory that is used again. */
export class EntryPacker {
  #bytes: Buffer;
  #at = 0;

  /** `size`: bytes to begin with; more are taken when an entry needs them. */
  constructor(size = 65_536) {
    this.#bytes = Buffer.allocUnsafeSlow(size);
  }

  /** Bytes packed so far. */
  get length(): number {
    return this.#at;
  }

  /** Forgets what was packed. */
  reset(): void {
    this.#at = 0;
    if (this.#bytes.length > 1_048_576) this.#bytes = Buffer.allocUnsafeSlow(65_536);
  }

  /** What was packed from `start` on; valid until the next call of anything else. */
  view(start = 0): Uint8Array {
    return this.#bytes.subarray(start, this.#at);
  }

  /** A copy of all that was packed. */
  copy(): Buffer {
    const copy = Buffer.allocUnsafeSlow(this.#at);
    this.#bytes.copy(copy, 0, 0, this.#at);
    return copy;
  }

  /** Packs key and sender as they stand in an entry; no longer than `size` says. */
  name(key: string, sender: string): void {
    this.#text(key);
    this.#text(sender);
  }

  #write(entry: Entry): void {
    const bytes = this.#bytes;
    bytes[this.#at++] = (FORMAT << 4) | (EVENTS.indexOf(entry.event) << 1) | (entry.text ? 1 : 0);
    this.#at = bytes.writeDoubleLE(entry.at, this.#at);
    this.#number(entry.term);
    this.#number(entry.prevTerm);
    this.#number(entry.count);
    this.#number(entry.ref);
    this.name(entry.key, entry.sender);
    this.#text(entry.senderName);
    this.#text(entry.contentType);
    this.#number(entry.headers.length);
    for (const text of entry.headers) this.#text(text);
    bytes.set(entry.body, this.#at);
    this.#at += entry.body.byteLength;
  }

  /** Packs an entry with its place before it, as the journal keeps it; answers where the entry itself begins. */
  packPlaced(entry: Entry): number {
    this.#reserve(entry);
    this.#text(entry.room);
    writeOffset(this.#bytes, this.#at, entry.offset);
    const sizeAt = this.#at + OFFSET_BYTES;
    this.#at = sizeAt + 4;
    this.#write(entry);
    this.#bytes.writeUInt32LE(this.#at - sizeAt - 4, sizeAt);
    return sizeAt + 4;
  }

  /** Makes room for the largest form of an entry: three bytes per UTF-16 unit, eight per number. */
  #reserve(entry: Entry): void {
    const { key, sender, senderName, contentType, headers, body, room } = entry;
    let units = key.length + sender.length + senderName.length + contentType.length + room.length;
    for (const text of headers) units += text.length;
    const needed = this.#at + units * 3 + headers.length * 8 + body.byteLength + 128;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(needed * 2);
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  #number(value: number): void {
    let rest = value;
    while (rest > 127) {
      this.#bytes[this.#at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = rest;
  }

  #text(text: string): void {
    const bytes = this.#bytes;
    const start = this.#at;
    const { length } = text;
    if (length < 64) {
      // Short ASCII, which is nearly all, is quicker here than by a call out of JavaScript.
      let i = 0;
      for (; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 127) break;
        bytes[start + 1 + i] = unit;
      }
      if (i === length) {
        bytes[start] = length;
        this.#at = start + 1 + length;
        return;
      }
    }
    this.#number(Buffer.byteLength(text, "utf8"));
    this.#at += bytes.write(text, this.#at, "utf8");
  }
}

/** `at` of a packed entry. */
export function packedAt(packed: Buffer): number {
  return packed.readDoubleLE(1);
}

/** Unpacks an entry; its body is a copy of its own. Throws `DamagedRow` when it is of an unknown format or too short. */
export function unpackEntry(room: string, offset: number, packed: Buffer): Entry {
  try {
    return unpack(room, offset, packed);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DamagedRow(`Entry ${offset} of room ${room} in the embedded archive is damaged: ${error.message}`, error);
  }
}

function unpack(room: string, offset: number, packed: Buffer): Entry {
  const reader = new PackedReader(packed);
  const first = packed[0] as number;
  const event = EVENTS[(first >>> 1) & 7];
  if (first >>> 4 !== FORMAT || event === undefined) throw new RangeError(`Entry format ${first} is not known.`);
  reader.at = 9;
  const [term, prevTerm, count, ref] = [reader.number(), reader.number(), reader.number(), reader.number()];
  const [key, sender, senderName, contentType] = [reader.text(), reader.text(), reader.text(), reader.text()];
  const headers = Array.from({ length: reader.number() }, () => reader.text());
  return {
    room,
    offset,
    term,
    prevTerm,
    event,
    sender,
    senderName,
    key,
    at: packedAt(packed),
    count,
    ref,
    contentType,
    headers,
    body: new Uint8Array(packed.subarray(reader.at)),
    text: (first & 1) === 1,
  };
}

/** Sender and key of a packed entry alone, for searches. */
export function packedName(packed: Buffer): { key: string; sender: string } {
  const reader = new PackedReader(packed);
  reader.at = nameAt(packed, 0);
  return { key: reader.text(), sender: reader.text() };
}

/** Where key and sender of a packed entry begin: behind its four numbers. */
function nameAt(packed: Buffer, start: number): number {
  let at = start + 9;
  // Also where damaged bytes end too early.
  for (let left = 4; left > 0; at++) if (!((packed[at] as number) > 127)) left--;
  return at;
}

/** Whether a packed entry's key is a client's (`c/`), which has an index; an edge's has none. */
export function hasClientKey(packed: Buffer): boolean {
  let at = nameAt(packed, 0);
  // Its length comes first.
  while ((packed[at] as number) > 127) at++;
  return packed[at + 1] === 99 && packed[at + 2] === 47;
}

/** Key and sender as they stand in a packed entry, for `isNamed`. */
export function packName(key: string, sender: string): Buffer {
  const packer = new EntryPacker(256 + (key.length + sender.length) * 3);
  packer.name(key, sender);
  return packer.copy();
}

/** Whether a packed entry has this name, as `packName` made it. */
export function isNamed(packed: Buffer, start: number, name: Buffer): boolean {
  const at = nameAt(packed, start);
  for (let i = 0; i < name.length; i++) if (packed[at + i] !== name[i]) return false;
  return true;
}

/** The length of a packed entry with its place before it, of which `packPlaced` or `eachPlaced` said where it begins. */
export function packedLength(placed: Buffer, start: number): number {
  return placed.readUInt32LE(start - 4);
}

/** The bytes of such an entry. */
export function packedEntry(placed: Buffer, start: number): Buffer {
  return placed.subarray(start, start + packedLength(placed, start));
}

/** Goes through a row of the journal: the place of each entry, and where in the row it begins. */
export function eachPlaced(row: Buffer, see: (room: string, offset: number, start: number) => void): void {
  const reader = new PackedReader(row);
  while (reader.at < row.length) {
    const room = reader.text();
    const offset = readOffset(row.subarray(reader.at, reader.at + OFFSET_BYTES));
    const start = reader.at + OFFSET_BYTES + 4;
    reader.at = start + packedLength(row, start);
    see(room, offset, start);
  }
}

/** Unpacks a row of the journal. */
export function unpackPlaced(row: Buffer): Entry[] {
  const entries: Entry[] = [];
  eachPlaced(row, (room, offset, start) => entries.push(unpackEntry(room, offset, packedEntry(row, start))));
  return entries;
}

/** Reads what was packed. Throws `RangeError` beyond the end: the bytes are damaged. */
class PackedReader {
  at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  number(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) throw new RangeError("A packed entry ends too early.");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  text(): string {
    const length = this.number();
    const start = this.at;
    this.at += length;
    if (this.at > this.#bytes.length) throw new RangeError("A packed entry ends too early.");
    return this.#bytes.toString("utf8", start, this.at);
  }
}
