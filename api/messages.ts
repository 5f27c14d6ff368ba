/** A room's log over REST: history, and what goes into it. */
import { Buffer, isUtf8 } from "node:buffer";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyPluginAsync } from "fastify";
import Type, { type Static } from "typebox";
import type { Chat, History, HistoryQuery, NewMessage } from "../actors/chat.ts";
import { Refusal } from "../actors/codes.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import { LIMITS } from "../actors/limits.ts";
import { callerOf, requireUser } from "./authenticate.ts";
import { answerError, isTooLarge, tooLarge } from "./problem.ts";
import {
  answers,
  cursorOf,
  keyOf,
  MessageJson,
  messageJson,
  NoContent,
  PageQuery,
  RoomPath,
  roomIdOf,
  Time,
} from "./schemas.ts";

/** Bytes that JSON makes of one at most: a control character is written `\u0001`, where Base64 adds but a third. */
const JSON_BYTES_PER_BYTE = 6;

/** Bytes of a request around a body: its other fields, headers and quotes. */
const REQUEST_OVERHEAD_BYTES = 65_536;

/** Longest client message id and content type, UTF-16 units. */
const KEY_LENGTH = 128;

/** Longest reaction, bytes: a joined emoji of a family has 25. */
const REACTION_BYTES = 64;

/** Headers that the engine sets or reads itself (design 3); a message cannot bring its own. */
const HEADERS_OF_ENGINE: ReadonlySet<string> = new Set(
  (
    "message-id subscription ack room offset term count sender sender-name timestamp event ref client-message-id " +
    "destination receipt transaction ack-level authorization Authorization passcode content-length content-type"
  ).split(" "),
);

/** A surrogate without its partner: it has no UTF-8, so it would be stored as another text than was shown live. */
const HALF = /\p{Cs}/u;

const Offset = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const HistoryQueryJson = Type.Object({
  after: Type.Optional(Offset),
  before: Type.Optional(Offset),
  from: Type.Optional(Time),
  to: Type.Optional(Time),
  ...PageQuery,
});

const HistoryJson = Type.Object({
  items: Type.Array(MessageJson),
  next: Type.Optional(Type.String({ description: "Opaque cursor of the page beyond, in the direction of reading" })),
  storedOffset: Type.Integer({ description: "Up to here the log is durable" }),
});

const NewMessageJson = Type.Object({
  body: Type.Optional(Type.String({ description: "A body that is text" })),
  bodyBase64: Type.Optional(Type.String({ description: "A body that is any bytes" })),
  contentType: Type.Optional(Type.String({ maxLength: KEY_LENGTH })),
  headers: Type.Optional(
    Type.Record(Type.String(), Type.String(), { maxProperties: LIMITS.userHeaders, description: "Kept and shown" }),
  ),
  clientMessageId: Type.Optional(
    Type.String({ minLength: 1, maxLength: KEY_LENGTH, description: "Makes a retry the same message" }),
  ),
});

const OffsetPath = Type.Object({ id: Type.String(), offset: Type.String() });
const ReactionPath = Type.Object({ id: Type.String(), offset: Type.String(), reaction: Type.String() });

const tags = ["messages"];
const security = [{ bearer: [] }];

/** What these routes need. */
export interface MessageDeps {
  readonly chat: Chat;
  readonly verifier: TokenVerifier;
  /** Largest body of a message, bytes. */
  readonly bodyLimit: number;
}

/** The largest request that may carry a body of `bodyLimit` bytes. */
function requestLimitOf(bodyLimit: number): number {
  return bodyLimit * JSON_BYTES_PER_BYTE + REQUEST_OVERHEAD_BYTES;
}

/** Routes under `/api/rooms/{id}/messages` (design 4). */
export function messageRoutes(deps: MessageDeps): FastifyPluginAsync {
  return async (app) => {
    app.addHook("onRequest", requireUser(deps.verifier));
    // Whoever sends too much learns how long a body may be, not its JSON.
    app.setErrorHandler((error, request, reply) => {
      answerError(isTooLarge(error) ? tooLarge(deps.bodyLimit) : error, request, reply);
    });
    await app.register(historyRoutes(deps));
    await app.register(changeRoutes(deps));
    await app.register(reactionRoutes(deps));
  };
}

function historyRoutes({ chat, bodyLimit }: MessageDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    const history = {
      tags,
      security,
      summary: "Entries in rising offset: the newest page, or those after an offset or from a time",
      params: RoomPath,
      querystring: HistoryQueryJson,
      response: answers({ 200: HistoryJson }, 404),
    };
    app.get("/api/rooms/:id/messages", { schema: history }, async (request) => {
      const query = historyQueryOf(request.query);
      const found = await chat.history(callerOf(request), roomIdOf(request.params.id), query);
      const next = found.more ? nextOf(query, found) : undefined;
      const page = { items: found.items.map(messageJson), storedOffset: found.storedOffset };
      return next === undefined ? page : { ...page, next };
    });

    const post = {
      tags,
      security,
      summary: "Post a message; answered once it is stored",
      params: RoomPath,
      body: NewMessageJson,
      response: answers({ 201: MessageJson }, 403, 404, 413, 415),
    };
    const options = { schema: post, bodyLimit: requestLimitOf(bodyLimit) };
    app.post("/api/rooms/:id/messages", options, async (request, reply) => {
      const message = newMessageOf(request.body, bodyLimit);
      const stored = await chat.post(callerOf(request), roomIdOf(request.params.id), message);
      return reply.code(201).send(messageJson(stored));
    });
  };
}

function changeRoutes({ chat, bodyLimit }: MessageDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    const edit = {
      tags,
      security,
      summary: "Edit one's message; an entry `edited` follows in the log",
      params: OffsetPath,
      body: NewMessageJson,
      response: answers({ 200: MessageJson }, 403, 404, 409, 413, 415),
    };
    const options = { schema: edit, bodyLimit: requestLimitOf(bodyLimit) };
    app.patch("/api/rooms/:id/messages/:offset", options, async (request) => {
      const room = roomIdOf(request.params.id);
      const offset = offsetOf(request.params.offset);
      return messageJson(await chat.edit(callerOf(request), room, offset, newMessageOf(request.body, bodyLimit)));
    });

    const remove = {
      tags,
      security,
      summary: "Delete a message; an entry `deleted` follows in the log",
      params: OffsetPath,
      response: answers({ 204: NoContent }, 403, 404, 409),
    };
    app.delete("/api/rooms/:id/messages/:offset", { schema: remove }, async (request, reply) => {
      const room = roomIdOf(request.params.id);
      await chat.deleteMessage(callerOf(request), room, offsetOf(request.params.offset));
      return reply.code(204).send();
    });
  };
}

function reactionRoutes({ chat }: MessageDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    for (const [method, on, summary] of [
      ["PUT", true, "Add a reaction"],
      ["DELETE", false, "Take a reaction back"],
    ] as const) {
      const schema = {
        tags,
        security,
        summary: `${summary}; an entry \`reaction\` follows in the log`,
        params: ReactionPath,
        response: answers({ 200: MessageJson }, 403, 404, 409),
      };
      app.route({
        method,
        url: "/api/rooms/:id/messages/:offset/reactions/:reaction",
        schema,
        handler: async (request) => {
          const room = roomIdOf(request.params.id);
          const offset = offsetOf(request.params.offset);
          const reaction = reactionOf(request.params.reaction);
          return messageJson(await chat.react(callerOf(request), room, offset, { reaction, on }));
        },
      });
    }
  };
}

/** The query of a page of history: of a cursor, or of offsets and times. Refuses both together. */
function historyQueryOf(query: Static<typeof HistoryQueryJson>): HistoryQuery {
  const { after, before, from, to, cursor, limit = 50 } = query;
  if (cursor === undefined) {
    return {
      after,
      before,
      fromMs: from === undefined ? undefined : Date.parse(from),
      toMs: to === undefined ? undefined : Date.parse(to),
      limit,
    };
  }
  if (after !== undefined || before !== undefined || from !== undefined || to !== undefined) {
    throw new Refusal("bad-request", "query.cursor goes with query.limit alone.");
  }
  const fields = /^(\d*),(\d*),(\d*)$/.exec(keyOf(cursor));
  if (fields === null) throw new Refusal("bad-request", "query.cursor is not a cursor of this list.");
  const [nextAfter, nextBefore, toMs] = fields.slice(1).map((text) => (text === "" ? undefined : Number(text)));
  return { after: nextAfter, before: nextBefore, toMs, limit };
}

/** The cursor of the page after this one: forwards when the query asked for a start, else back in time. */
function nextOf(query: HistoryQuery, { items }: History): string | undefined {
  const forwards = query.after !== undefined || query.fromMs !== undefined;
  const edge = (forwards ? items.at(-1) : items[0])?.entry.offset;
  if (edge === undefined) return undefined;
  return cursorOf(forwards ? `${edge},${query.before ?? ""},${query.toMs ?? ""}` : `,${edge},`);
}

/** The offset of a path; what is no number names no message. */
function offsetOf(text: string): number {
  const offset = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : 0;
  if (offset === 0 || !Number.isSafeInteger(offset)) throw new Refusal("message-not-found");
  return offset;
}

function reactionOf(text: string): string {
  if (text === "" || Buffer.byteLength(text) > REACTION_BYTES || /\p{Cc}/u.test(text)) {
    throw new Refusal("bad-request", `path.reaction has 1 to ${REACTION_BYTES} bytes and no control characters.`);
  }
  return text;
}

/** A message of a request. Refuses with `bad-request`, `body-too-large`, `too-many-headers` or `header-too-long`. */
function newMessageOf(json: Static<typeof NewMessageJson>, bodyLimit: number): NewMessage {
  const { body, bodyBase64, contentType = "", clientMessageId, headers = {} } = json;
  if ((body === undefined) === (bodyBase64 === undefined)) {
    throw new Refusal("bad-request", "body has either `body` or `bodyBase64`.");
  }
  if (/\p{Cc}/u.test(contentType) || /\p{Cc}/u.test(clientMessageId ?? "")) {
    throw new Refusal("bad-request", "body.contentType and body.clientMessageId have no control characters.");
  }
  // Half a character has no bytes of its own: two ids would be one, and the second message a retry of the first.
  if (HALF.test(contentType) || HALF.test(clientMessageId ?? "")) {
    throw new Refusal(
      "bad-request",
      "body.contentType or body.clientMessageId has half of a character, which is no text.",
    );
  }
  const bytes = body === undefined ? bytesOf(bodyBase64 as string) : Buffer.from(body, "utf8");
  if (bytes.byteLength > bodyLimit) throw tooLarge(bodyLimit);
  return { body: bytes, text: isUtf8(bytes), contentType, headers: headersOf(headers), clientMessageId };
}

/** Bytes of strict Base64 [RFC 4648 4]. */
function bytesOf(text: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  // Node skips what is not Base64; an exact text comes back the same.
  if (bytes.toString("base64") !== text) throw new Refusal("bad-request", "body.bodyBase64 is not Base64.");
  return bytes;
}

function headersOf(headers: Readonly<Record<string, string>>): string[] {
  const flat: string[] = [];
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (name === "" || /\p{Cc}/u.test(name) || value.includes("\0") || HALF.test(name) || HALF.test(value)) {
      throw new Refusal("bad-request", "body.headers has a name or value with characters that are not allowed.");
    }
    if (HEADERS_OF_ENGINE.has(name)) {
      throw new Refusal("bad-request", `body.headers cannot set \`${name}\`, which belongs to the engine.`);
    }
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
    flat.push(name, value);
  }
  if (flat.length > 2 * LIMITS.userHeaders) throw new Refusal("too-many-headers");
  if (bytes > LIMITS.headerBytes) throw new Refusal("header-too-long");
  return flat;
}
