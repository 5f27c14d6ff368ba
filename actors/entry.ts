/** What a room's log holds, and how places in it are named. */

/** The kinds of entries of a log (`event` header, `event` in JSON). */
export type EntryEvent = "message" | "edited" | "deleted" | "reaction" | "member";

/** A place in a log: an offset (1, 2, 3, no gaps; 0 is before the first) and the term of the entry there. */
export interface Position {
  readonly offset: number;
  readonly term: number;
}

/** The position before the first entry; it is on every log. */
export const ORIGIN: Position = Object.freeze({ offset: 0, term: 0 });

/** One entry of a room's log. Immutable once decided. Bytes of `body` belong to the entry alone. */
export interface Entry {
  readonly room: string;
  readonly offset: number;
  readonly term: number;
  /** Term of the entry before this one; 0 for the first. */
  readonly prevTerm: number;
  readonly event: EntryEvent;
  /** User id. */
  readonly sender: string;
  /** The sender's name as its token said it at the time. */
  readonly senderName: string;
  /** Duplicate key: `c/` + the client's message id, or `e/` + the edge's own (rule 8 of the protocol). */
  readonly key: string;
  /** Milliseconds since 1970; never falls along a log. */
  readonly at: number;
  /** Messages (event `message`) in the room up to and with this entry. */
  readonly count: number;
  /** Offset of the message that an edit, deletion or reaction is about; 0 otherwise. */
  readonly ref: number;
  /** MIME type of the body; empty when the sender gave none. */
  readonly contentType: string;
  /** Other headers of the SEND, flat: name, value, name, value. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** Whether `body` is valid UTF-8 (decides text or binary WebSocket message, `body` or `bodyBase64`). */
  readonly text: boolean;
}

/** What became of a message; derived from later entries, only over a lower `rev` (rule 12). */
export interface Fate {
  /** Offset of the last entry that changed it. */
  readonly rev: number;
  readonly editedAt?: number;
  readonly deletedAt?: number;
  /** Body after the last edit; absent when never edited or deleted. */
  readonly body?: Uint8Array;
  readonly contentType?: string;
  readonly text?: boolean;
  /** Reaction → user ids, in the order they came. */
  readonly reactions?: Readonly<Record<string, readonly string[]>>;
}

/** An entry with what became of it, as archive and history show it. */
export interface ArchivedEntry {
  readonly entry: Entry;
  readonly fate: Fate | undefined;
}

/** Key of a client's own message id. */
export function clientKey(id: string): string {
  return `c/${id}`;
}

/** The client's message id, if the key holds one. */
export function clientMessageId(key: string): string | undefined {
  return key.startsWith("c/") ? key.slice(2) : undefined;
}

/** `message-id`: room, term and offset with dots, so that no colon needs an escape. */
export function messageId(room: string, term: number, offset: number): string {
  return `${room}.${term}.${offset}`;
}

/** The position of an entry. */
export function positionOf(entry: { offset: number; term: number }): Position {
  return { offset: entry.offset, term: entry.term };
}

/** Approximate bytes an entry holds in memory: body, header text and a fixed share. Used for all bounds. */
export function entryBytes(entry: Entry): number {
  let bytes = entry.body.byteLength + entry.key.length + entry.sender.length + 256;
  for (const text of entry.headers) bytes += text.length;
  return bytes;
}

/**
 * The shard of a room: FNV-1a over the id's UTF-16 units, mixed, modulo the number of shards.
 * The number of shards is kept in the archive and never changes for a data set.
 */
export function shardOf(room: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < room.length; i++) hash = Math.imul(hash ^ room.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 12;
  return (hash >>> 0) % shards;
}

const ROOM_ID = /^[a-z0-9-]{1,64}$/;

/** Whether the text can be a room id. */
export function isRoomId(text: string): boolean {
  return ROOM_ID.test(text);
}

/** Whether every surrogate of the text has its partner. */
function wellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Whether the text can be a user id: 1 to 128 bytes of UTF-8, no control characters. */
export function isUserId(text: string): boolean {
  // A lone surrogate has no UTF-8 of its own: two such ids would be one to the stores.
  if (text.length === 0 || text.length > 128 || !wellFormed(text)) return false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 32 || (unit >= 127 && unit < 160)) return false;
  }
  // A UTF-16 unit is at most three bytes, so most ids need no look at their bytes.
  return text.length * 3 <= 128 || new TextEncoder().encode(text).byteLength <= 128;
}
