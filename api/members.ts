/** Who belongs to a room, and with which role. */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyPluginAsync } from "fastify";
import Type from "typebox";
import { Refusal } from "../actors/codes.ts";
import { callerOf, requireUser } from "./authenticate.ts";
import type { RoomDeps } from "./rooms.ts";
import {
  answers,
  listOf,
  MemberJson,
  memberJson,
  NoContent,
  PageQuery,
  pageJson,
  pageOf,
  RoomPath,
  RoomUserPath,
  roomIdOf,
  UserId,
  userIdOf,
  words,
} from "./schemas.ts";

const NewMember = Type.Object({ user: UserId, role: Type.Optional(words("admin", "member")) });
const NewRole = Type.Object({ role: words("admin", "member") });

const tags = ["members"];
const security = [{ bearer: [] }];

/** Routes under `/api/rooms/{id}/members` (design 4). */
export function memberRoutes({ chat, verifier, isDeleted }: RoomDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    app.addHook("onRequest", requireUser(verifier));

    const list = {
      tags,
      security,
      summary: "Members of a room, by user id",
      params: RoomPath,
      querystring: Type.Object(PageQuery),
      response: answers({ 200: listOf(MemberJson) }, 404),
    };
    app.get("/api/rooms/:id/members", { schema: list }, async (request) => {
      const id = roomIdOf(request.params.id);
      return pageJson(await chat.members(callerOf(request), id, pageOf(request.query)), memberJson);
    });

    const add = {
      tags,
      security,
      summary: "Add a member",
      description:
        "Who is a member already is answered as they are, so that a retry is harmless. With another role than the one " +
        "asked for, that is refused as a `conflict`: PATCH changes roles.",
      params: RoomPath,
      body: NewMember,
      response: answers({ 201: MemberJson }, 403, 404, 409),
    };
    app.post("/api/rooms/:id/members", { schema: add }, async (request, reply) => {
      const room = roomIdOf(request.params.id);
      const id = userIdOf(request.body.user, "body.user");
      if (await isDeleted(id)) throw new Refusal("user-not-found", `The account ${id} was deleted.`);
      // Nobody names another: the directory does, and until the user's first token the id.
      const { role } = request.body;
      const member = await chat.addMember(callerOf(request), room, { id, name: "", role: role ?? "member" });
      if (role !== undefined && member.role !== role) {
        throw new Refusal("conflict", `The user is in the room already, with the role \`${member.role}\`.`);
      }
      return reply.code(201).send(memberJson(member));
    });

    const change = {
      tags,
      security,
      summary: "Change a member's role",
      params: RoomUserPath,
      body: NewRole,
      response: answers({ 200: MemberJson }, 403, 404, 409),
    };
    app.patch("/api/rooms/:id/members/:user", { schema: change }, async (request) => {
      const room = roomIdOf(request.params.id);
      const user = userIdOf(request.params.user, "path.user");
      return memberJson(await chat.setRole(callerOf(request), room, user, request.body.role));
    });

    const remove = {
      tags,
      security,
      summary: "Remove a member",
      params: RoomUserPath,
      response: answers({ 204: NoContent }, 403, 404, 409),
    };
    app.delete("/api/rooms/:id/members/:user", { schema: remove }, async (request, reply) => {
      const room = roomIdOf(request.params.id);
      await chat.removeMember(callerOf(request), room, userIdOf(request.params.user, "path.user"));
      return reply.code(204).send();
    });
  };
}
