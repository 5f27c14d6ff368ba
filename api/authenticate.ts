/** Who is asking: the bearer token of a REST request, and what it allows. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Caller } from "../actors/chat.ts";
import { Refusal } from "../actors/codes.ts";
import type { Claims, TokenVerifier } from "../actors/identity.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Claims of the bearer token, once `requireUser` has let the request pass. */
    claims: Claims | undefined;
  }
}

/** A hook that lets a request pass or refuses it; fits `onRequest` and `preHandler`. */
export type Guard = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void;

/** The token of `Authorization: Bearer …` [RFC 6750 2.1]; empty when there is none. */
function bearerOf(request: FastifyRequest): string {
  const header = request.headers.authorization;
  if (header === undefined) return "";
  if (header.length < 7 || header.slice(0, 7).toLowerCase() !== "bearer ") {
    throw new Refusal("token-bad", "The Authorization header is not of the form `Bearer <token>`.");
  }
  return header.slice(7).trim();
}

/**
 * A guard that lets only requests with a valid access token pass and keeps its claims. As an `onRequest`
 * hook it refuses before the body is read. Refuses with what the verifier throws: `token-missing`,
 * `token-bad`, `token-expired`, `token-revoked`.
 */
export function requireUser(verifier: TokenVerifier): Guard {
  return (request, _reply, done) => {
    try {
      const token = bearerOf(request);
      if (token === "") throw new Refusal("token-missing");
      request.claims = verifier.verify(token);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  };
}

/**
 * A guard for administrators, to stand after `requireUser`: the token must have the group.
 * Without a group configured nobody is an administrator. Refuses with `forbidden`.
 */
export function requireAdmin(group: string | undefined): Guard {
  return (request, _reply, done) => {
    if (group === undefined || group === "" || !claimsOf(request).groups.includes(group)) {
      done(new Refusal("forbidden", "Only administrators may ask this."));
      return;
    }
    done();
  };
}

/** The claims of a request that passed `requireUser`; `token-missing` when it did not pass there. */
export function claimsOf(request: FastifyRequest): Claims {
  if (request.claims === undefined) throw new Refusal("token-missing");
  return request.claims;
}

/** The signed-in user of a request that passed `requireUser`. */
export function callerOf(request: FastifyRequest): Caller {
  const { sub, name } = claimsOf(request);
  return { id: sub, name };
}
