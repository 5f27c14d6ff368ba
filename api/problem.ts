/** Everything that goes wrong in REST leaves as `application/problem+json` [RFC 9457], made from the table of codes. */
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { type CodeWord, codeOf, Refusal, StoreFailure } from "../actors/codes.ts";

/** What a refused or failed request is answered with. */
export interface Problem {
  /** Where the code is explained, relative to the server. */
  readonly type: string;
  /** The sentence of the table. */
  readonly title: string;
  readonly status: number;
  readonly code: CodeWord;
  /** What was wrong in this case. */
  readonly detail?: string;
  /** When a retry makes sense, ms from now. */
  readonly retryAfterMs?: number;
}

/** Media type of a problem. */
export const PROBLEM_TYPE = "application/problem+json";

/** Pause asked for when a code says "later" and the refusal names none, ms. */
const RETRY_DEFAULT_MS = 1_000;

/** Fastify's code of a request that is larger than its route allows. */
const TOO_LARGE = "FST_ERR_CTP_BODY_TOO_LARGE";

/** Codes of fastify and its plugins that stand for one of ours; what is not named here goes by its status. */
const FASTIFY_CODES: Readonly<Record<string, CodeWord>> = Object.freeze({
  [TOO_LARGE]: "body-too-large",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "unsupported-media-type",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "bad-content-length",
  FST_ERR_NOT_FOUND: "not-found",
});

/** Fastify says this of keys, too, that would reach into the prototype of what is read. */
const NOT_JSON = "The body is not JSON, or has a key `__proto__` or `constructor.prototype`, which are not taken.";

const WORD_OF_STATUS: Readonly<Record<number, CodeWord>> = Object.freeze({
  404: "not-found",
  405: "method-not-allowed",
  413: "body-too-large",
  415: "unsupported-media-type",
});

/** A problem of a code. */
export function problem(code: CodeWord, detail?: string, retryAfterMs?: number): Problem {
  const { sentence, http, retry } = codeOf(code);
  const pause = retry === "later" ? (retryAfterMs ?? RETRY_DEFAULT_MS) : retryAfterMs;
  return {
    type: `/docs/codes#${code}`,
    title: sentence,
    status: http,
    code,
    ...(detail === undefined ? {} : { detail }),
    ...(pause === undefined ? {} : { retryAfterMs: Math.ceil(pause) }),
  };
}

/**
 * The problem of whatever was thrown. Refusals keep their code; a store that does not answer is
 * `store-unavailable`; what the framework refuses gets the code that fits; all else is `internal`, and
 * nothing of it is shown.
 */
export function problemOf(error: unknown): Problem {
  if (error instanceof Refusal) return problem(error.code, error.detail, error.retryAfterMs);
  if (error instanceof StoreFailure) return problem("store-unavailable");
  const { code, statusCode, message } = (error ?? {}) as Partial<FastifyError>;
  if (code === "FST_ERR_CTP_INVALID_JSON_BODY") return problem("bad-request", NOT_JSON);
  const known = code === undefined ? undefined : FASTIFY_CODES[code];
  if (known !== undefined) return problem(known);
  if (statusCode === undefined || statusCode < 400 || statusCode >= 500) return problem("internal");
  const word = WORD_OF_STATUS[statusCode];
  if (word !== undefined) return problem(word);
  return problem("bad-request", typeof code === "string" && code.startsWith("FST_") ? message : undefined);
}

/** Answers a request with a problem. */
export function sendProblem(reply: FastifyReply, answer: Problem): FastifyReply {
  reply.code(answer.status).header("content-type", PROBLEM_TYPE);
  if (answer.retryAfterMs !== undefined) {
    reply.header("retry-after", String(Math.max(1, Math.ceil(answer.retryAfterMs / 1_000))));
  }
  // A 401 names its scheme [RFC 9110 15.5.2]; wrong credentials are no matter of tokens.
  if (answer.status === 401 && answer.code !== "credentials-wrong") reply.header("www-authenticate", "Bearer");
  // A 426 names the protocol, and that this is a matter of the connection [RFC 9110 15.5.22, 7.8].
  if (answer.status === 426) reply.header("upgrade", "websocket").header("connection", "upgrade");
  return reply.send(JSON.stringify(answer));
}

/** Whether the framework found a request larger than its route allows. */
export function isTooLarge(error: unknown): boolean {
  return (error as Partial<FastifyError> | undefined)?.code === TOO_LARGE;
}

/** What is refused as too large says how much may come. */
export function tooLarge(bytes: number): Refusal {
  return new Refusal("body-too-large", `At most ${bytes} bytes.`);
}

/** The error handler of the app: answers with the problem, and logs once what is our own fault. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const answer = problemOf(isTooLarge(error) ? tooLarge(request.routeOptions.bodyLimit) : error);
  if (answer.code === "internal") request.log.error({ err: error }, "request failed");
  else if (error instanceof StoreFailure) request.log.warn({ err: error }, "store unavailable");
  sendProblem(reply, answer);
}
