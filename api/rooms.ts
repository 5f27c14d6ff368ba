/** Rooms: make, find, describe, rename, delete, join, leave. */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyPluginAsync } from "fastify";
import Type from "typebox";
import { NOT_IN_NAMES } from "../actors/accounts.input.ts";
import type { Chat } from "../actors/chat.ts";
import { Refusal } from "../actors/codes.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import { callerOf, requireUser } from "./authenticate.ts";
import {
  answers,
  listOf,
  NoContent,
  PageQuery,
  pageJson,
  pageOf,
  ROOM_NAME_LENGTH,
  RoomJson,
  RoomPath,
  roomIdOf,
  roomJson,
  UserId,
  userIdOf,
  words,
} from "./schemas.ts";

/** Members that may be named when a room is made. */
const MEMBERS_AT_ONCE = 256;

const RoomName = Type.String({ minLength: 1, maxLength: ROOM_NAME_LENGTH });

const NewRoom = Type.Object({
  name: Type.Optional(RoomName),
  type: words("public", "private", "direct"),
  members: Type.Optional(Type.Array(UserId, { maxItems: MEMBERS_AT_ONCE, uniqueItems: true })),
});

const RoomsQuery = Type.Object({ scope: Type.Optional(words("mine", "public")), ...PageQuery });

const tags = ["rooms"];
const security = [{ bearer: [] }];

/** A room's name, or `bad-request` when it has nothing to read or holds what is in no name. */
function roomNameOf(text: string): string {
  const name = text.trim();
  if (name === "" || NOT_IN_NAMES.test(name)) {
    throw new Refusal("bad-request", "body.name must have visible characters and no control characters.");
  }
  return name;
}

/** What these routes need. */
export interface RoomDeps {
  readonly chat: Chat;
  readonly verifier: TokenVerifier;
  /** Whether a user is an account that was deleted. */
  readonly isDeleted: (user: string) => Promise<boolean>;
}

/** Routes under `/api/rooms` (design 4). */
export function roomRoutes(deps: RoomDeps): FastifyPluginAsync {
  const { chat, verifier, isDeleted } = deps;
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    app.addHook("onRequest", requireUser(verifier));
    const room = answers({ 200: RoomJson }, 403, 404, 409);
    const nothing = answers({ 204: NoContent }, 403, 404, 409);

    const create = {
      tags,
      security,
      summary: "Make a room",
      description: "A `direct` room has no name and one other member; the one that two users have is answered again.",
      body: NewRoom,
      response: answers({ 201: RoomJson }, 404, 409),
    };
    app.post("/api/rooms", { schema: create }, async (request, reply) => {
      const { name, type, members = [] } = request.body;
      if (name === undefined && type !== "direct") throw new Refusal("bad-request", "body.name is required.");
      if (name !== undefined && type === "direct") {
        throw new Refusal("bad-request", "body.name is not for a direct room, which has no name.");
      }
      if (type === "direct" && members.length !== 1) {
        throw new Refusal("bad-request", "body.members of a direct room holds the one other user.");
      }
      for (const user of members) userIdOf(user, "body.members");
      for (const user of members) {
        if (await isDeleted(user)) throw new Refusal("user-not-found", `The account ${user} was deleted.`);
      }
      const wanted = { name: name === undefined ? "" : roomNameOf(name), type, members };
      return reply.code(201).send(roomJson(await chat.createRoom(callerOf(request), wanted)));
    });

    const list = {
      tags,
      security,
      summary: "My rooms, or the public ones",
      querystring: RoomsQuery,
      response: answers({ 200: listOf(RoomJson) }),
    };
    app.get("/api/rooms", { schema: list }, async (request) => {
      const page = pageOf(request.query);
      const caller = callerOf(request);
      const found = request.query.scope === "public" ? chat.publicRooms(caller, page) : chat.myRooms(caller, page);
      return pageJson(await found, roomJson);
    });

    const describe = { tags, security, summary: "A room as I see it", params: RoomPath, response: room };
    app.get("/api/rooms/:id", { schema: describe }, async (request) => {
      return roomJson(await chat.room(callerOf(request), roomIdOf(request.params.id)));
    });

    const body = Type.Object({ name: RoomName });
    const rename = { tags, security, summary: "Rename a room", params: RoomPath, body, response: room };
    app.patch("/api/rooms/:id", { schema: rename }, async (request) => {
      const id = roomIdOf(request.params.id);
      return roomJson(await chat.renameRoom(callerOf(request), id, roomNameOf(request.body.name)));
    });

    const remove = { tags, security, summary: "Delete a room", params: RoomPath, response: nothing };
    app.delete("/api/rooms/:id", { schema: remove }, async (request, reply) => {
      await chat.deleteRoom(callerOf(request), roomIdOf(request.params.id));
      return reply.code(204).send();
    });

    const join = { tags, security, summary: "Join a public room", params: RoomPath, response: room };
    app.post("/api/rooms/:id/join", { schema: join }, async (request) => {
      return roomJson(await chat.join(callerOf(request), roomIdOf(request.params.id)));
    });

    const leave = { tags, security, summary: "Leave a room", params: RoomPath, response: nothing };
    app.post("/api/rooms/:id/leave", { schema: leave }, async (request, reply) => {
      await chat.leave(callerOf(request), roomIdOf(request.params.id));
      return reply.code(204).send();
    });
  };
}
