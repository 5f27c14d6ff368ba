/**
 * The REST side of Confab as one fastify instance: routes, page, documentation, health. It listens to
 * nothing by itself; the engine serves it on its one port, and tests ask it with `inject`.
 */
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import cors from "@fastify/cors";
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyRequest,
  LogController,
} from "fastify";
import type { Administration, Chat } from "../actors/chat.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import { administrationRoutes } from "./administration.ts";
import { pageRoutes } from "./assets.ts";
import { registerDocs } from "./docs.ts";
import { type Health, healthRoutes, type MetricsText } from "./health.ts";
import { memberRoutes } from "./members.ts";
import { messageRoutes } from "./messages.ts";
import { presenceRoutes } from "./presence.ts";
import { answerError, problem, sendProblem } from "./problem.ts";
import { roomRoutes } from "./rooms.ts";
import { RouteTable } from "./route-table.ts";
import { closeObjects, compileValidator } from "./validate.ts";

/** What the REST side needs. */
export interface AppDeps {
  readonly chat: Chat;
  readonly administration: Administration;
  readonly verifier: TokenVerifier;
  /** Whether a user is an account that was deleted. */
  readonly isDeleted: (user: string) => Promise<boolean>;
  /** Group of a token that makes an administrator; nobody is one without it. */
  readonly adminGroup: string | undefined;
  /** Built plugins of others, such as accounts; registered without a prefix. */
  readonly plugins: readonly FastifyPluginAsync[];
  /** Folder of the built page, served at `/`; without one there is no page. */
  readonly pageFolder: string | undefined;
  /** Origins that browsers may ask from beside the page's own; `*` stands for all. */
  readonly allowedOrigins: readonly string[];
  /** Proxies whose `x-forwarded-for` is believed, as fastify's `trustProxy`. */
  readonly trustProxy: boolean | string | string[];
  /** Largest request body, and largest body of a message (whose JSON may be six times as long), bytes. */
  readonly bodyLimit: number;
  readonly logger: FastifyBaseLogger;
  readonly health: Health;
  /** Told of every answer: its status, and how long it took in the server, ms. */
  readonly onAnswer?: (status: number, ms: number) => void;
  readonly metrics: () => Promise<MetricsText>;
}

/** A request id from outside that may be kept: short, and harmless in logs and headers. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Longest path parameter: a user id of 128 bytes, all of them percent-encoded. */
const PARAMETER_LENGTH = 384;

/** Status in the log of a request whose client went away before the answer; never sent. */
const CLIENT_GONE = 499;

/** A handshake never comes here: this is for browsers and for proxies that keep `upgrade` to themselves. */
const NOT_WEBSOCKET = "The request does not ask for WebSocket by `upgrade: websocket` and a `sec-websocket-key`.";

/** Makes request ids: unique per process start, and cheap. */
function requestIds(): (raw: IncomingMessage) => string {
  const start = randomBytes(6).toString("hex");
  let number = 0;
  return (raw) => {
    const given = raw.headers["x-request-id"];
    if (typeof given === "string" && REQUEST_ID.test(given)) return given;
    number++;
    return `${start}-${number.toString(36)}`;
  };
}

/**
 * Builds the app, ready to serve: `app.routing(request, response)` is the door for the engine's bridge.
 * Throws when a plugin fails to load.
 */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const app: FastifyInstance = fastify({
    loggerInstance: deps.logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestIds(),
    trustProxy: deps.trustProxy,
    bodyLimit: deps.bodyLimit,
    routerOptions: { maxParamLength: PARAMETER_LENGTH },
    // An address that cannot be decoded never reaches the hooks.
    frameworkErrors: (error, request, reply) => {
      reply.header("x-request-id", request.id);
      answerError(error, request, reply);
    },
  });
  app.decorateRequest("claims", undefined);
  // JSON is the only body there is; text would reach the schemas and be told a wrong reason.
  app.removeContentTypeParser("text/plain");
  app.setValidatorCompiler(compileValidator);
  app.setErrorHandler(answerError);
  app.addHook("onRequest", (request, reply, done) => {
    reply.header("x-request-id", request.id);
    reply.header("x-content-type-options", "nosniff");
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    logRequest(request, reply.statusCode, reply.elapsedTime);
    deps.onAnswer?.(reply.statusCode, reply.elapsedTime);
    done();
  });
  app.addHook("onRequestAbort", (request, done) => {
    logRequest(request, CLIENT_GONE, 0);
    done();
  });
  const table = new RouteTable();
  app.addHook("onRoute", (route) => {
    table.add(route.method, route.url);
    closeObjects(route.schema?.body);
    closeObjects(route.schema?.querystring);
  });
  app.setNotFoundHandler((request, reply) => {
    const allowed = table.methodsAt(request.url);
    // A folder's route takes any name: what is not in it is not there.
    if (allowed.length === 0 || allowed.includes(request.method)) {
      return sendProblem(reply, problem("not-found"));
    }
    reply.header("allow", allowed.join(", "));
    return sendProblem(reply, problem("method-not-allowed", `Allowed: ${allowed.join(", ")}.`));
  });
  await registerRoutes(app, deps);
  await app.ready();
  return app;
}

/** Registers everything that answers, the documentation first, as it watches what is registered after it. */
async function registerRoutes(app: FastifyInstance, deps: AppDeps): Promise<void> {
  // The page's own origin needs no CORS; without other origins there is nothing to answer.
  if (deps.allowedOrigins.length > 0) {
    await app.register(cors, {
      origin: deps.allowedOrigins.includes("*") ? "*" : [...deps.allowedOrigins],
      methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
      exposedHeaders: ["x-request-id", "retry-after"],
      maxAge: 600,
      // An OPTIONS that is no preflight is no fault.
      strictPreflight: false,
    });
  }
  await registerDocs(app, deps.pageFolder === undefined ? undefined : "/icon.svg");
  app.get("/ws/chat", { schema: { hide: true } }, (_request, reply) =>
    sendProblem(reply, problem("upgrade-required", NOT_WEBSOCKET)),
  );
  await app.register(healthRoutes(deps.health, deps.metrics));
  await app.register(roomRoutes(deps));
  await app.register(memberRoutes(deps));
  await app.register(messageRoutes(deps));
  await app.register(presenceRoutes(deps));
  await app.register(administrationRoutes(deps));
  for (const plugin of deps.plugins) await app.register(plugin);
  if (deps.pageFolder !== undefined) await app.register(pageRoutes(deps.pageFolder));
}

/** One line per request, when it is over. The route's pattern stands for the address: no ids, no query, no tokens. */
function logRequest(request: FastifyRequest, status: number, elapsedMs: number): void {
  const route = request.routeOptions.url ?? "none";
  const line = {
    method: request.method,
    route,
    status,
    ms: Math.round(elapsedMs * 100) / 100,
  };
  // Probes come every few seconds and say nothing new.
  if (route.startsWith("/health/") || route === "/metrics") request.log.debug(line, "request");
  else request.log.info(line, "request");
}
