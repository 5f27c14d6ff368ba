/** Who is here, how many are in which room, and how far one has read. */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyPluginAsync } from "fastify";
import Type from "typebox";
import type { Chat } from "../actors/chat.ts";
import { isRoomId } from "../actors/entry.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import { callerOf, requireUser } from "./authenticate.ts";
import { answers, RoomPath, roomIdOf } from "./schemas.ts";

/** Rooms that may be counted in one request. */
const ROOMS_AT_ONCE = 200;

const PresenceJson = Type.Object({
  count: Type.Integer(),
  users: Type.Array(Type.Object({ id: Type.String(), name: Type.String(), typing: Type.Boolean() }), {
    description: "At most 1,000 of them",
  }),
});

const ReadJson = Type.Object({ readOffset: Type.Integer(), unread: Type.Integer() });
const CountsJson = Type.Object({ counts: Type.Record(Type.String(), Type.Integer()) });

const tags = ["presence"];
const security = [{ bearer: [] }];

/** Routes `…/presence`, `…/read` and `/api/rooms/counts` (design 4). */
export function presenceRoutes({ chat, verifier }: { chat: Chat; verifier: TokenVerifier }): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    app.addHook("onRequest", requireUser(verifier));

    const here = {
      tags,
      security,
      summary: "Who is present in a room",
      params: RoomPath,
      response: answers({ 200: PresenceJson }, 404),
    };
    app.get("/api/rooms/:id/presence", { schema: here }, async (request) => {
      const { count, users } = await chat.presence(callerOf(request), roomIdOf(request.params.id));
      return { count, users: users.map(({ id, name, typing }) => ({ id, name, typing })) };
    });

    const read = {
      tags,
      security,
      summary: "Move my read marker up; durable when answered",
      params: RoomPath,
      body: Type.Object({ offset: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) }),
      response: answers({ 200: ReadJson }, 403, 404),
    };
    app.put("/api/rooms/:id/read", { schema: read }, async (request) => {
      const { readOffset, unread } = await chat.markRead(
        callerOf(request),
        roomIdOf(request.params.id),
        request.body.offset,
      );
      return { readOffset, unread };
    });

    const count = {
      tags,
      security,
      summary: "How many are present in each of these rooms; rooms one may not see are left out",
      body: Type.Object({ rooms: Type.Array(Type.String({ maxLength: 64 }), { maxItems: ROOMS_AT_ONCE }) }),
      response: answers({ 200: CountsJson }),
    };
    app.post("/api/rooms/counts", { schema: count }, async (request) => {
      const rooms = request.body.rooms.filter(isRoomId);
      return { counts: { ...(await chat.counts(callerOf(request), rooms)) } };
    });
  };
}
