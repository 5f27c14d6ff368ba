/** The JSON shapes that several routes share, and how views of the engine become them. */
import { Buffer } from "node:buffer";
import Type, { type Static, type TObject, type TSchema } from "typebox";
import type { MemberRecord } from "../actors/archive.ts";
import type { Page, PageOf, RoomView } from "../actors/chat.ts";
import { Refusal } from "../actors/codes.ts";
import { type ArchivedEntry, clientMessageId, isRoomId, isUserId, messageId } from "../actors/entry.ts";
import { LIMITS } from "../actors/limits.ts";
import { PROBLEM_TYPE } from "./problem.ts";

/** Items of a page when the request names no limit. */
const PAGE_DEFAULT = 50;

/** Longest name of a room, UTF-16 units. */
export const ROOM_NAME_LENGTH = 128;

/** A time, ISO 8601 in UTC. */
export const Time = Type.String({ format: "date-time", description: "ISO 8601, UTC" });

/** A user id: the token's `sub`, verbatim. */
export const UserId = Type.String({ minLength: 1, maxLength: 128 });

/** A text of fixed words. */
export function words<const W extends string>(...list: readonly W[]) {
  return Type.Unsafe<W>(Type.Enum([...list]));
}

const ProblemAnswer = Type.Object(
  {
    type: Type.String({ description: "Where the code is explained" }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: "A word of the table of codes" }),
    detail: Type.Optional(Type.String({ description: "What was wrong in this case" })),
    retryAfterMs: Type.Optional(Type.Integer({ description: "When to try again, ms from now" })),
  },
  { title: "Problem" },
);

const PROBLEM_TEXTS: Readonly<Record<number, string>> = Object.freeze({
  400: "The request does not fit its schema",
  401: "A valid token is required",
  403: "Not allowed",
  404: "Not there, or not to be seen",
  409: "Does not fit the present state",
  413: "The body is too large",
  415: "The content type is not supported",
  429: "Too many requests",
  500: "Something went wrong on our side",
  503: "Not now; try again",
});

/** What any route for signed-in users may be refused with. */
const PROBLEMS_COMMON = [400, 401, 429, 500, 503];

/** Answer without a body. */
export const NoContent = Type.Unsafe<void>({ type: "null", description: "Done; no body" });

/** The responses of a route: what it answers when all is well, and problems for the common statuses and `others`. */
export function answers<S extends Record<number, TSchema>>(well: S, ...others: readonly number[]): S {
  const problems: Record<number, unknown> = {};
  for (const status of [...PROBLEMS_COMMON, ...others]) {
    problems[status] = {
      description: PROBLEM_TEXTS[status] ?? "Problem",
      content: { [PROBLEM_TYPE]: { schema: ProblemAnswer } },
    };
  }
  // Typed as the good answers alone: problems leave through the error handler, never through a handler's return.
  return { ...problems, ...well };
}

/** Query of a list. */
export const PageQuery = {
  cursor: Type.Optional(Type.String({ maxLength: 512, description: "`next` of the page before" })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.historyPage, default: PAGE_DEFAULT })),
};

/** A page of a list. */
export function listOf<T extends TSchema>(item: T) {
  return Type.Object({ items: Type.Array(item), next: Type.Optional(Type.String({ description: "Opaque cursor" })) });
}

/** Hides a key in a cursor, so that nobody builds on what is in it. */
export function cursorOf(key: string): string {
  return Buffer.from(key, "utf8").toString("base64url");
}

/** The key in a cursor. Refuses with `bad-request` what was never one. */
export function keyOf(cursor: string): string {
  const key = Buffer.from(cursor, "base64url").toString("utf8");
  if (key === "" || cursorOf(key) !== cursor) throw new Refusal("bad-request", "query.cursor is not a cursor.");
  return key;
}

/** Which page a query asks for. */
export function pageOf(query: { cursor?: string; limit?: number }): PageOf {
  return {
    cursor: query.cursor === undefined ? undefined : keyOf(query.cursor),
    limit: query.limit ?? PAGE_DEFAULT,
  };
}

/** A page in JSON. */
export function pageJson<T, J>(page: Page<T>, json: (item: T) => J): { items: J[]; next?: string } {
  const items = page.items.map(json);
  return page.next === undefined ? { items } : { items, next: cursorOf(page.next) };
}

/** Path of a room. */
export const RoomPath: TObject<{ id: ReturnType<typeof Type.String> }> = Type.Object({ id: Type.String() });

/** Path of a user in a room. */
export const RoomUserPath = Type.Object({ id: Type.String(), user: Type.String() });

/** The room id of a path; what cannot be one is refused as a room that is not there. */
export function roomIdOf(text: string): string {
  if (!isRoomId(text)) throw new Refusal("room-not-found");
  return text;
}

/** A user id of a path or body; refused with `bad-request`, naming the field, when it cannot be one. */
export function userIdOf(text: string, field: string): string {
  if (!isUserId(text)) {
    throw new Refusal("bad-request", `${field} is not a user id: 1 to 128 bytes, no control characters.`);
  }
  return text;
}

/** An entry of a log, in JSON. */
export const MessageJson = Type.Object(
  {
    id: Type.String(),
    event: words("message", "edited", "deleted", "reaction", "member"),
    room: Type.String(),
    offset: Type.Integer(),
    term: Type.Integer(),
    count: Type.Integer({ description: "Messages in the room up to and with this entry" }),
    sender: Type.String(),
    senderName: Type.String(),
    at: Time,
    contentType: Type.String(),
    headers: Type.Record(Type.String(), Type.String(), { description: "Other headers of the SEND" }),
    body: Type.Optional(Type.String({ description: "A body that is text" })),
    bodyBase64: Type.Optional(Type.String({ description: "A body that is not" })),
    ref: Type.Optional(Type.Integer({ description: "Offset of the message that the entry is about" })),
    clientMessageId: Type.Optional(Type.String()),
    editedAt: Type.Optional(Time),
    deletedAt: Type.Optional(Time),
    reactions: Type.Optional(
      Type.Array(Type.Object({ reaction: Type.String(), count: Type.Integer(), users: Type.Array(Type.String()) })),
    ),
  },
  { title: "Entry" },
);

type Message = Static<typeof MessageJson>;

/** An entry and what became of it, as JSON shows it. A deleted message has no body and no headers. */
export function messageJson({ entry, fate }: ArchivedEntry): Message {
  const json: Message = {
    id: messageId(entry.room, entry.term, entry.offset),
    event: entry.event,
    room: entry.room,
    offset: entry.offset,
    term: entry.term,
    count: entry.count,
    sender: entry.sender,
    senderName: entry.senderName,
    at: timeJson(entry.at),
    contentType: fate?.contentType ?? entry.contentType,
    headers: fate?.deletedAt === undefined ? headersJson(entry.headers) : {},
  };
  if (fate?.deletedAt === undefined) {
    const edited = fate?.body;
    const body = edited ?? entry.body;
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    if (edited === undefined ? entry.text : (fate?.text ?? true)) json.body = bytes.toString("utf8");
    else json.bodyBase64 = bytes.toString("base64");
  }
  if (entry.ref > 0) json.ref = entry.ref;
  const own = clientMessageId(entry.key);
  if (own !== undefined) json.clientMessageId = own;
  if (fate?.editedAt !== undefined) json.editedAt = timeJson(fate.editedAt);
  if (fate?.deletedAt !== undefined) json.deletedAt = timeJson(fate.deletedAt);
  if (fate?.reactions !== undefined) {
    json.reactions = Object.entries(fate.reactions)
      .filter(([, users]) => users.length > 0)
      .map(([reaction, users]) => ({ reaction, count: users.length, users: [...users] }));
  }
  return json;
}

/** Flat headers as an object; the first of repeated ones wins [STOMP 1.2 Repeated Header Entries]. */
function headersJson(flat: readonly string[]): Record<string, string> {
  // Without a prototype, as a header may have any name.
  const headers: Record<string, string> = Object.create(null);
  for (let i = 0; i + 1 < flat.length; i += 2) headers[flat[i] as string] ??= flat[i + 1] as string;
  return headers;
}

/** ms since 1970 as JSON shows times. */
export function timeJson(ms: number): string {
  return new Date(ms).toISOString();
}

/** A room as one user sees it, in JSON. */
export const RoomJson = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    type: words("public", "private", "direct"),
    role: words("admin", "member", "none"),
    headOffset: Type.Integer(),
    storedOffset: Type.Integer(),
    unread: Type.Integer({ description: "Messages of others after the read marker" }),
    readOffset: Type.Integer(),
    lastMessage: Type.Optional(MessageJson),
    peer: Type.Optional(Type.String({ description: "The other user of a direct room" })),
  },
  { title: "Room" },
);

/** A room in JSON. */
export function roomJson(view: RoomView): Static<typeof RoomJson> {
  const { id, name, type, role, headOffset, storedOffset, unread, readOffset, lastMessage, peer } = view;
  const json = { id, name, type, role, headOffset, storedOffset, unread, readOffset };
  return {
    ...json,
    ...(lastMessage === undefined ? {} : { lastMessage: messageJson(lastMessage) }),
    ...(peer === undefined ? {} : { peer }),
  };
}

/** A member, in JSON. */
export const MemberJson = Type.Object(
  { user: Type.String(), name: Type.String(), role: words("admin", "member", "none"), joinedAt: Time },
  { title: "Member" },
);

/** A member in JSON. */
export function memberJson({ user, name, role, joinedAt }: MemberRecord): Static<typeof MemberJson> {
  return { user, name, role, joinedAt: timeJson(joinedAt) };
}
