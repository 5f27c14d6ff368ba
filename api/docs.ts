/** The documentation that the server gives of itself: OpenAPI from the routes' schemas, and the table of codes. */
import helmet from "@fastify/helmet";
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import type { FastifyInstance, FastifyPluginAsync } from "fastify";
import Type from "typebox";
import { CODES } from "../actors/codes.ts";
import { DOCS_HELMET } from "./assets.ts";

const TAGS = Object.freeze({
  accounts: "Sign up, log in, one's own account",
  users: "Other users",
  rooms: "Rooms: make, find, describe, join, leave",
  members: "Who belongs to a room",
  messages: "A room's log",
  presence: "Who is here, what was read",
  administration: "For users whose token has the administrators' group",
  operations: "Health and metrics",
});

/**
 * Serves `/openapi.json`, `/docs` and `/docs/codes`, the last with the icon at an address, if there is one.
 * Registered on the root, before the routes it describes.
 */
export async function registerDocs(app: FastifyInstance, icon: string | undefined): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Confab", version: "1", description: "REST API of Confab, a real-time chat engine." },
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
      components: { securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } } },
    },
  });
  app.get("/openapi.json", { schema: { hide: true } }, (_request, reply) => {
    reply.send(app.swagger());
  });
  await app.register(browsable(icon));
}

/** What people look at, under a policy of its own. */
function browsable(icon: string | undefined): FastifyPluginAsync {
  return async (app) => {
    await app.register(helmet, DOCS_HELMET);
    await app.register(swaggerUi, {
      routePrefix: "/docs",
      theme: { title: "Confab: REST" },
      // Without the bar on top, which asks for the address of another API.
      uiConfig: { layout: "BaseLayout", validatorUrl: null },
    });
    const codes = codesPage(icon);
    app.get("/docs/codes", { schema: { hide: true, response: { 200: Type.String() } } }, (_request, reply) => {
      reply.header("content-type", "text/html; charset=utf-8").send(codes);
    });
  };
}

/** The page that a problem's `type` leads to. Its text is all our own, so nothing needs escaping. */
function codesPage(icon: string | undefined): string {
  const rows = Object.entries(CODES).map(
    ([word, { sentence, http, close, retry }]) =>
      `<tr id="${word}"><th scope="row">${word}</th><td>${sentence}</td><td>${http}</td><td>${close}</td><td>${retry}</td></tr>`,
  );
  const head = ["code", "meaning", "HTTP status", "WebSocket close code", "retry"];
  const link = icon === undefined ? "" : `<link rel="icon" href="${icon}">`;
  return [
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Confab: codes</title>${link}</head><body>`,
    `<h1>Codes</h1><table><thead><tr>${head.map((text) => `<th scope="col">${text}</th>`).join("")}</tr></thead><tbody>`,
    ...rows,
    "</tbody></table></body></html>\n",
  ].join("\n");
}
