/** What administrators may see and end on this node. */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyPluginAsync } from "fastify";
import Type from "typebox";
import type { Administration } from "../actors/chat.ts";
import { Refusal } from "../actors/codes.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import { requireAdmin, requireUser } from "./authenticate.ts";
import {
  answers,
  listOf,
  NoContent,
  PageQuery,
  pageJson,
  pageOf,
  Time,
  timeJson,
  UserId,
  userIdOf,
} from "./schemas.ts";

const ConnectionJson = Type.Object(
  {
    id: Type.String(),
    user: Type.String(),
    address: Type.String(),
    connectedAt: Time,
    subscriptions: Type.Integer(),
  },
  { title: "Connection" },
);

const ShardJson = Type.Object(
  { shard: Type.Integer(), state: Type.String(), term: Type.Integer(), rooms: Type.Integer() },
  { title: "Shard" },
);

const AwakeRoomJson = Type.Object(
  {
    id: Type.String(),
    headOffset: Type.Integer(),
    storedOffset: Type.Integer(),
    present: Type.Integer(),
    subscriptions: Type.Integer(),
  },
  { title: "AwakeRoom" },
);

const Revocation = Type.Object({
  user: UserId,
  token: Type.Optional(Type.String({ minLength: 1, maxLength: 256, description: "`jti` of the one token meant" })),
});

const tags = ["administration"];
const security = [{ bearer: [] }];

/** What these routes need. */
export interface AdministrationDeps {
  readonly administration: Administration;
  readonly verifier: TokenVerifier;
  readonly adminGroup: string | undefined;
}

/** Routes under `/api/admin`. */
export function administrationRoutes({ administration, verifier, adminGroup }: AdministrationDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    app.addHook("onRequest", requireUser(verifier));
    app.addHook("onRequest", requireAdmin(adminGroup));
    const querystring = Type.Object(PageQuery);

    const revoke = {
      tags,
      security,
      summary: "End a user's connections and refuse the tokens issued until now, or one token",
      body: Revocation,
      response: answers({ 204: NoContent }, 403),
    };
    app.post("/api/admin/revocations", { schema: revoke }, async (request, reply) => {
      await administration.revoke(userIdOf(request.body.user, "body.user"), request.body.token);
      return reply.code(204).send();
    });

    const connections = {
      tags,
      security,
      summary: "Open connections",
      querystring,
      response: answers({ 200: listOf(ConnectionJson) }, 403),
    };
    app.get("/api/admin/connections", { schema: connections }, async (request) => {
      return pageJson(administration.connections(pageOf(request.query)), (view) => ({
        ...view,
        connectedAt: timeJson(view.connectedAt),
      }));
    });

    const close = {
      tags,
      security,
      summary: "Close a connection",
      params: Type.Object({ id: Type.String() }),
      response: answers({ 204: NoContent }, 403, 404),
    };
    app.delete("/api/admin/connections/:id", { schema: close }, async (request, reply) => {
      if (!administration.closeConnection(request.params.id)) {
        throw new Refusal("not-found", "No such connection is open.");
      }
      return reply.code(204).send();
    });

    const shards = {
      tags,
      security,
      summary: "Shards as this node sees them",
      response: answers({ 200: Type.Object({ items: Type.Array(ShardJson) }) }, 403),
    };
    app.get("/api/admin/shards", { schema: shards }, async () => ({ items: [...administration.shards()] }));

    const rooms = {
      tags,
      security,
      summary: "Rooms that are awake on this node",
      querystring,
      response: answers({ 200: listOf(AwakeRoomJson) }, 403),
    };
    app.get("/api/admin/rooms", { schema: rooms }, async (request) => {
      return pageJson(administration.rooms(pageOf(request.query)), (view) => view);
    });
  };
}
