/**
 * MongoDB's wire protocol as far as a driver's hello and commands need it.
 *
 * ```
 *   header   length (4) · request id (4) · answers to (4) · opcode (4), all little-endian
 *   OP_MSG   2013: flags (4) · sections: 0, a document | 1, length (4), name, NUL, documents
 *   OP_QUERY 2004: flags (4) · collection, NUL · skip (4) · return (4) · a document    (the first hello)
 *   OP_REPLY 1:    flags (4) · cursor (8) · from (4) · count (4) · a document          (its answer)
 * ```
 */
import { BSON } from "mongodb";
import type { Fields } from "./mongo.scripted.documents.ts";

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;
const HEADER_BYTES = 16;
const REPLY_BYTES = 20;
const MORE_TO_COME = 2;

/** How numbers and binary values are read. */
type Values = "plain" | "exact";

/** A command as it came. */
export interface WireRequest {
  readonly id: number;
  readonly opcode: number;
  readonly name: string;
  /** The command with the documents of its sections. */
  readonly body: Fields;
  /** False when the sender wants no answer. */
  readonly answered: boolean;
}

/** Cuts a connection's bytes into messages, of either direction. */
export class WireCutter {
  readonly #onMessage: (message: Buffer) => void;
  #bytes = Buffer.alloc(0);

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  read(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.#bytes.length >= HEADER_BYTES) {
      const length = this.#bytes.readInt32LE(0);
      if (this.#bytes.length < length) return;
      const message = this.#bytes.subarray(0, length);
      this.#bytes = this.#bytes.subarray(length);
      this.#onMessage(message);
    }
  }
}

/** Id of the request that a message answers; 0 when it answers none. */
export function answersTo(message: Buffer): number {
  return message.readInt32LE(8);
}

/**
 * The request of a message, or an answer in OP_MSG, read alike. Numbers and binary values come as plain ones, or
 * `exact`, as objects that lead to the same bytes again. Throws for another opcode.
 */
export function requestOf(message: Buffer, values: Values = "plain"): WireRequest {
  const opcode = message.readInt32LE(12);
  const flags = message.readInt32LE(HEADER_BYTES);
  let body: Fields = {};
  let at = HEADER_BYTES + 4;
  if (opcode === OP_QUERY) {
    body = document(message, message.indexOf(0, at) + 9, values);
  } else if (opcode === OP_MSG) {
    while (at < message.length) {
      const kind = message[at++];
      const end = at + message.readInt32LE(at);
      if (kind === 0) body = { ...body, ...document(message, at, values) };
      else body = { ...body, ...sequence(message.subarray(0, end), at + 4, values) };
      at = end;
    }
  } else throw new Error(`The scripted MongoDB has no opcode ${opcode}.`);
  const answered = opcode === OP_QUERY || (flags & MORE_TO_COME) === 0;
  // The documents of a section may stand before the command itself.
  const name = Object.keys(body).find((key) => key !== "documents" && key !== "updates") ?? "";
  return { id: message.readInt32LE(4), opcode, name, body, answered };
}

function sequence(section: Buffer, start: number, values: Values): Fields {
  const nameEnd = section.indexOf(0, start);
  const documents: Fields[] = [];
  for (let at = nameEnd + 1; at < section.length; at += section.readInt32LE(at))
    documents.push(document(section, at, values));
  return { [section.toString("utf8", start, nameEnd)]: documents };
}

function document(bytes: Buffer, at: number, values: Values): Fields {
  const options = values === "exact" ? { promoteValues: false } : { promoteBuffers: true };
  return BSON.deserialize(bytes.subarray(at, at + bytes.readInt32LE(at)), options);
}

/** The bytes of a command, in one section. */
export function commandBytes(id: number, command: Fields): Buffer {
  const body = BSON.serialize(command);
  const bytes = Buffer.alloc(HEADER_BYTES + 5 + body.length);
  bytes.writeInt32LE(bytes.length, 0);
  bytes.writeInt32LE(id, 4);
  bytes.writeInt32LE(OP_MSG, 12);
  bytes.set(body, HEADER_BYTES + 5);
  return bytes;
}

/** The bytes of an answer. */
export function answerBytes(request: WireRequest, reply: Fields): Buffer {
  const body = BSON.serialize(reply);
  const isReply = request.opcode === OP_QUERY;
  const before = HEADER_BYTES + (isReply ? REPLY_BYTES : 5);
  const bytes = Buffer.alloc(before + body.length);
  bytes.writeInt32LE(bytes.length, 0);
  bytes.writeInt32LE(request.id, 8);
  bytes.writeInt32LE(isReply ? OP_REPLY : OP_MSG, 12);
  if (isReply) bytes.writeInt32LE(1, HEADER_BYTES + 16);
  bytes.set(body, before);
  return bytes;
}
