/** What administrators may see and end, at any node of all. */
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

const NodeName = Type.String({ description: "Name of a node" });

const ConnectionJson = Type.Object(
  {
    id: Type.String(),
    node: NodeName,
    user: Type.String(),
    address: Type.String(),
    connectedAt: Time,
    subscriptions: Type.Integer(),
  },
  { title: "Connection" },
);

const ShardJson = Type.Object(
  {
    shard: Type.Integer(),
    owner: Type.Optional(Type.String({ description: "Node that owns it, as far as it is known" })),
    term: Type.Integer({ description: "The highest heard of" }),
    state: Type.String({ description: "At the node that was asked" }),
    rooms: Type.Integer({ description: "Awake at the node that was asked" }),
  },
  { title: "Shard" },
);

const NodeJson = Type.Object(
  {
    node: NodeName,
    here: Type.Boolean({ description: "Whether it is the node that was asked" }),
    draining: Type.Boolean(),
    since: Time,
    connections: Type.Integer(),
    shards: Type.Integer(),
  },
  { title: "Node" },
);

const AwakeRoomJson = Type.Object(
  {
    id: Type.String(),
    node: NodeName,
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
    const node = Type.Optional(Type.String({ description: "Only of this node" }));
    const querystring = Type.Object({ ...PageQuery, node });

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
      response: answers({ 200: listOf(ConnectionJson) }, 403, 404),
    };
    app.get("/api/admin/connections", { schema: connections }, async (request) => {
      const { query } = request;
      const page = await administration.connections({ ...pageOf(query), node: query.node });
      return pageJson(page, (view) => ({ ...view, connectedAt: timeJson(view.connectedAt) }));
    });

    const close = {
      tags,
      security,
      summary: "Close a connection",
      params: Type.Object({ id: Type.String() }),
      response: answers({ 204: NoContent }, 403, 404),
    };
    app.delete("/api/admin/connections/:id", { schema: close }, async (request, reply) => {
      if (!(await administration.closeConnection(request.params.id))) {
        throw new Refusal("not-found", "No such connection is open.");
      }
      return reply.code(204).send();
    });

    const nodes = {
      tags,
      security,
      summary: "Living nodes",
      response: answers({ 200: Type.Object({ items: Type.Array(NodeJson) }) }, 403),
    };
    app.get("/api/admin/nodes", { schema: nodes }, async () => ({
      items: administration.nodes().map((view) => ({ ...view, since: timeJson(view.since) })),
    }));

    const shards = {
      tags,
      security,
      summary: "Shards and their owners, as this node knows them",
      response: answers(
        {
          200: Type.Object({
            items: Type.Array(ShardJson),
            moves: Type.Integer({ description: "Changes of owners that this node heard of since it started" }),
          }),
        },
        403,
      ),
    };
    app.get("/api/admin/shards", { schema: shards }, async () => {
      const { items, moves } = administration.shards();
      return { items: items.map(({ owner, ...view }) => (owner === undefined ? view : { ...view, owner })), moves };
    });

    const rooms = {
      tags,
      security,
      summary: "Rooms that are awake at their owners",
      querystring,
      response: answers({ 200: listOf(AwakeRoomJson) }, 403, 404),
    };
    app.get("/api/admin/rooms", { schema: rooms }, async (request) => {
      const { query } = request;
      return pageJson(await administration.rooms({ ...pageOf(query), node: query.node }), (view) => view);
    });
  };
}
