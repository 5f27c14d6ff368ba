/** Accounts: sign up, log in, refresh, log out, one's own account (design 4). */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyPluginAsync, FastifyRequest } from "fastify";
import Type from "typebox";
import type { Accounts, Origin } from "../actors/accounts.ts";
import { Refusal } from "../actors/codes.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import { callerOf, claimsOf, type Guard, requireUser } from "./authenticate.ts";
import { type Leavable, leaveRooms } from "./leaving.ts";
import { answers, NoContent } from "./schemas.ts";

/** Public keys of access tokens, as RFC 7517 writes them. */
export interface KeySet {
  jwks(): { readonly keys: readonly Readonly<Record<string, string>>[] };
}

/** What the routes of accounts need. */
export interface AuthDeps {
  readonly accounts: Accounts;
  readonly verifier: TokenVerifier;
  readonly keys: KeySet;
  readonly chat: Leavable;
}

/** Bytes of a request: the largest one is a password change of two long passwords. */
const BODY_BYTES = 16_384;

const Email = Type.String({ maxLength: 320, description: "Compared without regard to case" });
const Name = Type.String({ minLength: 1, maxLength: 128, description: "At most 128 bytes of UTF-8" });
const NewPassword = Type.String({ minLength: 8, maxLength: 1_024, description: "At most 1,024 bytes of UTF-8" });
const Password = Type.String({ maxLength: 1_024 });
const RefreshToken = Type.String({ maxLength: 256 });

const UserJson = Type.Object({ id: Type.String(), name: Type.String(), email: Type.String() }, { title: "User" });

const ProfileJson = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    email: Type.Optional(Type.String({ description: "Absent for a user of another issuer" })),
  },
  { title: "Profile" },
);

const SessionJson = Type.Object(
  {
    accessToken: Type.String(),
    refreshToken: Type.String({ description: "Good for one refresh" }),
    expiresIn: Type.Integer({ description: "Life of the access token, seconds" }),
    user: UserJson,
  },
  { title: "Session" },
);

const KeysJson = Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.String())) }, { title: "KeySet" });

const LogoutBody = Type.Union([
  Type.Null(),
  Type.Object({ refreshToken: Type.Optional(RefreshToken) }, { additionalProperties: false }),
]);

const tags = ["accounts"];
const security = [{ bearer: [] }];

/** Where a request comes from; behind a proxy as `TRUST_PROXY` says. */
function originOf(request: FastifyRequest): Origin {
  return { address: request.ip, agent: request.headers["user-agent"] ?? "" };
}

/** Routes under `/api/auth`, and the key set. */
export function authRoutes(deps: AuthDeps): FastifyPluginAsync {
  return async (plain) => {
    // What these routes answer is a secret, or about one person.
    plain.addHook("onSend", async (_request, reply) => {
      if (!reply.hasHeader("cache-control")) reply.header("cache-control", "no-store");
    });
    await plain.register(entryRoutes(deps));
    await plain.register(sessionRoutes(deps));
    await plain.register(profileRoutes(deps));
    await plain.register(keyRoutes(deps));
  };
}

/** For everybody: no token is asked for. */
function entryRoutes({ accounts }: AuthDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    const bodyLimit = BODY_BYTES;

    const signup = {
      tags,
      summary: "Make an account",
      body: Type.Object({ email: Email, password: NewPassword, name: Name }),
      response: answers({ 201: UserJson }, 409),
    };
    app.post("/api/auth/signup", { bodyLimit, schema: signup }, async (request, reply) => {
      reply.code(201);
      return accounts.signup(request.body, originOf(request));
    });

    const login = {
      tags,
      summary: "Log in: an access token, and a refresh token for the next one",
      body: Type.Object({ email: Email, password: Password }),
      response: answers({ 200: SessionJson }),
    };
    app.post("/api/auth/login", { bodyLimit, schema: login }, async (request) => {
      return accounts.login(request.body, originOf(request));
    });

    const refresh = {
      tags,
      summary: "Exchange a refresh token; one that was used before ends its session",
      body: Type.Object({ refreshToken: RefreshToken }),
      response: answers({ 200: SessionJson }),
    };
    app.post("/api/auth/refresh", { bodyLimit, schema: refresh }, async (request) => {
      return accounts.refresh(request.body.refreshToken);
    });
  };
}

/** Ends of sessions. */
function sessionRoutes({ accounts, verifier }: AuthDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    const guard = requireUser(verifier);
    // A refresh token in the body is proof enough: the access token may have expired meanwhile.
    const unlessRefreshToken: Guard = (request, reply, done) => {
      const body = request.body as { refreshToken?: string } | null | undefined;
      if (body?.refreshToken === undefined) guard(request, reply, done);
      else done();
    };

    const logout = {
      tags,
      security: [{ bearer: [] }, {}],
      summary: "End this session: that of the refresh token if there is one, else that of the access token",
      body: LogoutBody,
      response: answers({ 204: NoContent }),
    };
    const logoutOptions = { bodyLimit: BODY_BYTES, schema: logout, preHandler: unlessRefreshToken };
    app.post("/api/auth/logout", logoutOptions, async (request, reply) => {
      const refreshToken = request.body?.refreshToken;
      if (refreshToken === undefined) await accounts.logout(claimsOf(request));
      else await accounts.logoutByRefreshToken(refreshToken);
      return reply.code(204).send();
    });

    const logoutAll = {
      tags,
      security,
      summary: "End all of my sessions, and refuse every token issued until now",
      response: answers({ 204: NoContent }),
    };
    app.post("/api/auth/logout-all", { schema: logoutAll, onRequest: guard }, async (request, reply) => {
      await accounts.logoutAll(claimsOf(request));
      return reply.code(204).send();
    });

    const password = {
      tags,
      security,
      summary: "Change my password; my other sessions end",
      body: Type.Object({ currentPassword: Password, newPassword: NewPassword }),
      response: answers({ 204: NoContent }, 404, 409),
    };
    const passwordOptions = { bodyLimit: BODY_BYTES, schema: password, onRequest: guard };
    app.post("/api/auth/password", passwordOptions, async (request, reply) => {
      const { currentPassword: current, newPassword: next } = request.body;
      await accounts.changePassword(claimsOf(request), { current, next }, originOf(request));
      return reply.code(204).send();
    });
  };
}

/** One's own account. */
function profileRoutes({ accounts, verifier, chat }: AuthDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    app.addHook("onRequest", requireUser(verifier));

    const show = { tags, security, summary: "My account", response: answers({ 200: ProfileJson }, 404) };
    app.get("/api/auth/me", { schema: show }, async (request) => accounts.profile(claimsOf(request)));

    const change = {
      tags,
      security,
      summary: "Change my name; tokens bear it from the next refresh on",
      body: Type.Object({ name: Name }),
      response: answers({ 200: ProfileJson }, 404),
    };
    app.patch("/api/auth/me", { bodyLimit: BODY_BYTES, schema: change }, async (request) => {
      return accounts.rename(claimsOf(request), request.body.name);
    });

    const remove = {
      tags,
      security,
      summary: "Delete my account: email, password, sessions and memberships go, the name in histories stays",
      description: "Refused with `last-admin` while others are in a private room that has no other admin",
      response: answers({ 204: NoContent }, 404, 409),
    };
    app.delete("/api/auth/me", { schema: remove }, async (request, reply) => {
      // Who has no account here keeps the rooms, too.
      if ((await accounts.profile(claimsOf(request))).email === undefined) throw new Refusal("user-not-found");
      await leaveRooms(chat, callerOf(request));
      await accounts.remove(claimsOf(request));
      return reply.code(204).send();
    });
  };
}

/** What others verify our tokens with. */
function keyRoutes({ keys }: AuthDeps): FastifyPluginAsync {
  return async (plain) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    const schema = {
      tags,
      summary: "Public keys of access tokens; only where they are signed with a key pair",
      response: answers({ 200: KeysJson }, 404),
    };
    app.get("/.well-known/jwks.json", { schema }, async (_request, reply) => {
      const set = keys.jwks();
      if (set.keys.length === 0) throw new Refusal("not-found", "Tokens are signed with a secret here.");
      reply.header("cache-control", "public, max-age=300");
      return { keys: set.keys.map((key) => ({ ...key })) };
    });
  };
}
