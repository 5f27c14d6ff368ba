/**
 * The bytes that go to Redis and between nodes.
 *
 * ```
 *   message on a channel   kind (1) · origin (8) · then
 *     pack                 opening (1) · prevTerm (8, double) · entries as the journal keeps them
 *     signals, notice      MessagePack
 *     words                MessagePack: the name of the node that says them, then one after the other
 *     ping                 number (8, double)
 * ```
 * A pack is logged as the bytes that are published. What is read is copied: it outlives the buffer it came in.
 */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { Packr } from "msgpackr";
import { areSignals, isBeat, isNotice, isPack, isWord } from "../actors/bus.shapes.ts";
import type { Beat, Notice, Pack, Signal } from "../actors/bus.ts";
import { StoreFailure } from "../actors/codes.ts";
import type { Entry, Position } from "../actors/entry.ts";
import type { Word } from "../actors/words.ts";
import { EntryPacker, unpackPlaced } from "./archive.lmdb.codec.ts";

const KIND = { pack: 1, signals: 2, notice: 3, words: 4, ping: 5 } as const;
const ORIGIN_BYTES = 8;
const BODY_AT = 1 + ORIGIN_BYTES;
const PACK_HEAD_BYTES = BODY_AT + 1 + 8;
/** Memory kept between turns. */
const KEPT_BYTES = 1_048_576;
const START_BYTES = 65_536;

const packr = new Packr({ useRecords: false, copyBuffers: true });

/** What came over a channel. */
export type Message =
  | { readonly kind: "pack"; readonly pack: Pack }
  | { readonly kind: "signals"; readonly signals: readonly Signal[] }
  | { readonly kind: "notice"; readonly notice: Notice }
  | {
      readonly kind: "words";
      readonly from: string;
      readonly words: readonly Word[];
      /** Further ones that had not their shape. */
      readonly damaged: number;
    };

/** Says who sent a message, so that its sender can drop it when it comes back. */
export class Origin {
  readonly #bytes = randomBytes(ORIGIN_BYTES);

  isOf(message: Buffer): boolean {
    // Anybody may publish anything to a channel.
    return message.length >= BODY_AT && message.compare(this.#bytes, 0, ORIGIN_BYTES, 1, BODY_AT) === 0;
  }

  write(target: Buffer, at: number): void {
    this.#bytes.copy(target, at);
  }

  signals(signals: readonly Signal[]): Buffer {
    return this.#message(KIND.signals, packr.pack(signals));
  }

  notice(notice: Notice): Buffer {
    return this.#message(KIND.notice, packr.pack(notice));
  }

  /** Words of the node `from`, each as `packWord` made it. */
  words(from: string, words: readonly Buffer[]): Buffer {
    return this.#message(KIND.words, packr.pack(from), ...words);
  }

  ping(number: number): Buffer {
    const body = Buffer.allocUnsafe(8);
    body.writeDoubleBE(number);
    return this.#message(KIND.ping, body);
  }

  /** The number of a ping of this sender; undefined when the message is none. */
  pingOf(message: Buffer): number | undefined {
    const is = message[0] === KIND.ping && message.length === BODY_AT + 8 && this.isOf(message);
    return is ? message.readDoubleBE(BODY_AT) : undefined;
  }

  #message(kind: number, ...body: readonly Buffer[]): Buffer {
    const head = Buffer.allocUnsafe(BODY_AT);
    head[0] = kind;
    this.write(head, 1);
    return Buffer.concat([head, ...body]);
  }
}

/** The bytes of one word. Fields that are undefined stay so; bytes become bytes, and nothing else is a class. */
export function packWord(word: Word): Buffer {
  return packr.pack(word);
}

/** Reads a pack as it is logged and published. Throws RangeError when it is none, or its entries do not follow each other. */
export function readPack(bytes: Buffer): Pack {
  if (bytes[0] !== KIND.pack || bytes.length <= PACK_HEAD_BYTES) throw new RangeError("These bytes are not a pack.");
  const entries = unpackPlaced(bytes.subarray(PACK_HEAD_BYTES));
  const { room } = entries[0] as Entry;
  const pack = { room, prevTerm: bytes.readDoubleBE(BODY_AT + 1), entries, opening: bytes[BODY_AT] === 1 };
  if (!isPack(pack)) throw new RangeError("These entries are not a pack.");
  return pack;
}

/** The same of one in the hot log. Throws `StoreFailure`: what is logged must be read, or nothing is decided on it. */
export function readLogged(bytes: Buffer): Pack {
  try {
    return readPack(bytes);
  } catch (error) {
    throw new StoreFailure("A pack in the hot log can not be read.", error);
  }
}

/** Reads what a node said of itself. Throws an error when it is none. */
export function readBeat(said: string): Beat {
  return checked(JSON.parse(said) as unknown, isBeat);
}

/**
 * Reads what came over a channel. Throws RangeError, or an error of the decoder, when it is none of ours. Of words
 * each is looked at by itself: any of them may be lost.
 */
export function readMessage(bytes: Buffer): Message {
  switch (bytes[0]) {
    case KIND.pack:
      return { kind: "pack", pack: readPack(bytes) };
    case KIND.signals:
      return { kind: "signals", signals: checked(packr.unpack(bytes.subarray(BODY_AT)), areSignals) };
    case KIND.notice:
      return { kind: "notice", notice: checked(packr.unpack(bytes.subarray(BODY_AT)), isNotice) };
    case KIND.words: {
      const [from, ...said] = packr.unpackMultiple(bytes.subarray(BODY_AT)) as [unknown, ...unknown[]];
      if (typeof from !== "string" || from === "") throw new RangeError("These words are nobody's.");
      const words = said.filter(isWord);
      return { kind: "words", from, words, damaged: said.length - words.length };
    }
    default:
      throw new RangeError(`Messages of kind ${bytes[0]} are not known.`);
  }
}

function checked<T>(value: unknown, is: (value: unknown) => value is T): T {
  if (!is(value)) throw new RangeError("A message has not the shape of its kind.");
  return value;
}

/** An append as it was called. */
export interface AppendCall {
  readonly shard: number;
  readonly term: number;
  readonly packs: readonly Pack[];
}

/** A call of `stored`. */
export interface StoredCall {
  readonly shard: number;
  readonly term: number;
  readonly room: string;
  readonly stored: Position;
}

/** Writes the calls of a turn as the scripts read them, into memory that is used again. */
export class TurnWriter {
  readonly #origin: Origin;
  readonly #packer = new EntryPacker();
  #bytes = Buffer.allocUnsafeSlow(START_BYTES);
  #at = 0;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  /** The argument of `append.lua`. */
  appends(calls: readonly AppendCall[]): Buffer {
    this.#begin(calls.length);
    for (const { shard, term, packs } of calls) {
      this.#reserve(16);
      this.#u32(shard);
      this.#double(term);
      this.#u32(packs.length);
      for (const pack of packs) this.#pack(pack);
    }
    return this.#end();
  }

  /** The rooms argument of `stored.lua`. */
  stored(calls: readonly StoredCall[]): Buffer {
    this.#begin(calls.length);
    for (const { shard, term, room, stored } of calls) {
      this.#reserve(32 + room.length);
      this.#u32(shard);
      this.#double(term);
      this.#room(room);
      this.#double(stored.offset);
      this.#double(stored.term);
    }
    return this.#end();
  }

  #pack(pack: Pack): void {
    const { room, prevTerm, entries, opening } = pack;
    const [first, last] = [entries[0] as Entry, entries[entries.length - 1] as Entry];
    this.#packer.reset();
    for (const entry of entries) this.#packer.packPlaced(entry);
    const packed = this.#packer.view();
    const size = PACK_HEAD_BYTES + packed.length;
    this.#reserve(40 + room.length + size);
    this.#room(room);
    this.#double(prevTerm);
    this.#double(first.offset);
    this.#double(last.offset);
    this.#double(last.term);
    this.#bytes[this.#at++] = opening ? 1 : 0;
    this.#u32(size);
    this.#bytes[this.#at++] = KIND.pack;
    this.#origin.write(this.#bytes, this.#at);
    this.#at += ORIGIN_BYTES;
    this.#bytes[this.#at++] = opening ? 1 : 0;
    this.#double(prevTerm);
    this.#bytes.set(packed, this.#at);
    this.#at += packed.length;
  }

  #begin(count: number): void {
    this.#at = 0;
    this.#u32(count);
  }

  /** A copy: the driver may hold it until the connection has taken it. */
  #end(): Buffer {
    const copy = Buffer.allocUnsafe(this.#at);
    this.#bytes.copy(copy, 0, 0, this.#at);
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(START_BYTES);
    return copy;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow((this.#at + bytes) * 2);
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  #u32(value: number): void {
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  #double(value: number): void {
    this.#at = this.#bytes.writeDoubleBE(value, this.#at);
  }

  /** Room ids are ASCII. */
  #room(room: string): void {
    this.#bytes[this.#at] = room.length;
    this.#at += 1 + this.#bytes.write(room, this.#at + 1, "latin1");
  }
}
