/** Other users: found by name, never by email (design 4). */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyPluginAsync } from "fastify";
import Type from "typebox";
import type { Accounts } from "../actors/accounts.ts";
import { Refusal, StoreFailure } from "../actors/codes.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import { LIMITS } from "../actors/limits.ts";
import { requireUser } from "./authenticate.ts";
import { answers, listOf, userIdOf } from "./schemas.ts";

/** Users of one answer when the request names no limit. */
const FOUND_DEFAULT = 20;

const FoundJson = Type.Object({ id: Type.String(), name: Type.String() }, { title: "FoundUser" });

const UserJson = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    deleted: Type.Optional(Type.Boolean({ description: "True for an account that is no more" })),
  },
  { title: "OtherUser" },
);

const tags = ["users"];
const security = [{ bearer: [] }];

/**
 * Tells accounts that were deleted. A user whom the directory does not know is none: others may make tokens, too.
 * While the directory is away nobody is, as chat goes on without it.
 */
export function deletedIn(accounts: Accounts): (user: string) => Promise<boolean> {
  return async (user) => {
    try {
      return (await accounts.user(user)).deleted;
    } catch (error) {
      if (error instanceof Refusal || error instanceof StoreFailure) return false;
      throw error;
    }
  };
}

/** Routes under `/api/users`. */
export function userRoutes(deps: { accounts: Accounts; verifier: TokenVerifier }): FastifyPluginAsync {
  const { accounts, verifier } = deps;
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    app.addHook("onRequest", requireUser(verifier));

    const find = {
      tags,
      security,
      summary: "Users whose name begins with a text, whatever its case",
      querystring: Type.Object({
        q: Type.String({ minLength: 1, maxLength: 128 }),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.usersFound, default: FOUND_DEFAULT })),
      }),
      response: answers({ 200: listOf(FoundJson) }),
    };
    app.get("/api/users", { schema: find }, async (request) => {
      const { q, limit = FOUND_DEFAULT } = request.query;
      return { items: await accounts.findUsers(q, limit) };
    });

    const show = {
      tags,
      security,
      summary: "A user",
      params: Type.Object({ id: Type.String() }),
      response: answers({ 200: UserJson }, 404),
    };
    app.get("/api/users/:id", { schema: show }, async (request) => {
      const { id, name, deleted } = await accounts.user(userIdOf(request.params.id, "id"));
      return deleted ? { id, name, deleted } : { id, name };
    });
  };
}
