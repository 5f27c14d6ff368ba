/** What the page hears from the server: REST items and STOMP messages, both turned into one `LogEntry`. */

/** A user, as accounts and search answer. */
export interface User {
  readonly id: string;
  readonly name: string;
}

/** A place in a room's log; offset 0 is before the first entry. */
export interface Position {
  readonly offset: number;
  readonly term: number;
}

/** Reaction → the users who gave it, in the order they came. */
export type Reactions = Readonly<Record<string, readonly string[]>>;

/** One entry of a room's log as the page holds it. */
export interface LogEntry extends Position {
  /** `message`, `edited`, `deleted`, `reaction`, `member`; others are held and not shown. */
  readonly event: string;
  readonly sender: string;
  readonly senderName: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Offset of the message that an edit, a deletion or a reaction is about; else 0. */
  readonly ref: number;
  readonly clientMessageId: string | undefined;
  /** The name of the user that a `member` entry is about, when it says. */
  readonly memberName: string | undefined;
  /** The body when it is UTF-8 and not deleted. */
  readonly text: string | undefined;
  /** Bytes of the body. */
  readonly bytes: number;
  readonly edited: boolean;
  readonly deleted: boolean;
  readonly reactions: Reactions;
  /** Offset of the last change known to be in this entry; 0 when the source does not say. */
  readonly rev: number;
}

/** A message or other entry in REST answers (design 4). */
export interface Item {
  readonly event: string;
  readonly offset: number;
  readonly term: number;
  readonly sender: string;
  readonly senderName?: string;
  /** ISO 8601. */
  readonly at: string;
  readonly ref?: number;
  readonly clientMessageId?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly bodyBase64?: string;
  readonly editedAt?: string;
  readonly deletedAt?: string;
  readonly reactions?: readonly { readonly reaction: string; readonly users: readonly string[] }[];
}

/** A page of history. */
export interface HistoryPage {
  readonly items: readonly Item[];
  readonly storedOffset: number;
}

/** A room in REST answers, as its reader sees it. */
export interface RoomItem {
  readonly id: string;
  readonly name: string;
  readonly type: "public" | "private" | "direct";
  readonly role: string;
  readonly headOffset: number;
  readonly storedOffset: number;
  readonly unread: number;
  readonly readOffset: number;
  readonly lastMessage?: Item | null;
  readonly peer?: string | null;
}

/** A member in REST answers. */
export interface Member {
  readonly user: string;
  readonly name: string;
  readonly role: string;
}

/** Who is present in a room. */
export interface Presence {
  readonly count: number;
  readonly users: readonly { readonly id: string; readonly name: string; readonly typing?: boolean }[];
}

/** A list answer; `next` is the cursor of the page after. */
export interface ListOf<T> {
  readonly items: readonly T[];
  readonly next?: string | null;
}

/** The parts of a STOMP MESSAGE that the page reads. */
export interface MessageFrame {
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly binaryBody: Uint8Array;
}

const NO_REACTIONS: Reactions = Object.freeze({});

/** The entry of a REST item. */
export function entryOfItem(item: Item): LogEntry {
  const base64 = item.bodyBase64;
  return {
    offset: item.offset,
    term: item.term,
    event: item.event,
    sender: item.sender,
    senderName: item.senderName ?? item.sender,
    at: Date.parse(item.at) || 0,
    ref: item.ref ?? 0,
    clientMessageId: item.clientMessageId,
    memberName: item.event === "member" ? item.headers?.["member-name"] : undefined,
    text: item.body,
    bytes: base64 === undefined ? (item.body?.length ?? 0) : bytesOfBase64(base64),
    edited: item.editedAt !== undefined,
    deleted: item.deletedAt !== undefined,
    reactions: reactionsOf(item.reactions),
    rev: 0,
  };
}

function reactionsOf(list: Item["reactions"]): Reactions {
  return list === undefined ? NO_REACTIONS : Object.fromEntries(list.map(({ reaction, users }) => [reaction, users]));
}

/** Bytes that base64 text stands for, without decoding it. */
function bytesOfBase64(text: string): number {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return Math.max(0, Math.floor((text.length * 3) / 4) - padding);
}

/** The entry of a MESSAGE on a room's log; undefined when it has no offset (`resumed`, `ended`). */
export function entryOfFrame(frame: MessageFrame): LogEntry | undefined {
  const { headers } = frame;
  const offset = numberOf(headers["offset"]);
  if (offset === 0) return undefined;
  const sender = headers["sender"] ?? "";
  return {
    offset,
    term: numberOf(headers["term"]),
    event: headers["event"] ?? "message",
    sender,
    senderName: headers["sender-name"] ?? sender,
    at: numberOf(headers["timestamp"]),
    ref: numberOf(headers["ref"]),
    clientMessageId: headers["client-message-id"],
    memberName: headers["event"] === "member" ? headers["member-name"] : undefined,
    text: textOf(frame.binaryBody),
    bytes: frame.binaryBody.byteLength,
    edited: false,
    deleted: false,
    reactions: NO_REACTIONS,
    rev: 0,
  };
}

/** A whole number of a header; 0 when absent or none. */
export function numberOf(value: string | undefined): number {
  const number = Number(value ?? 0);
  return Number.isSafeInteger(number) && number > 0 ? number : 0;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of bytes; undefined when they are not UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The object of a JSON text; an empty one when the text is none. */
export function objectOf(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
