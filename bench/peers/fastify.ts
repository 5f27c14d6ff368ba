/**
 * Plain fastify on node:http, the rival of the REST side: one route that answers the same small JSON as Confab's
 * `/health/live`, written by a serialiser made from its schema; no plugins, no hooks, no log.
 *
 * Usage: `node fastify.js PORT`.
 */
import fastify from "fastify";

const port = Number(process.argv[2]);
const schema = {
  response: { 200: { type: "object", properties: { status: { type: "string" } }, required: ["status"] } },
};

const app = fastify();
app.get("/health/live", { schema }, (_request, reply) => {
  reply.send({ status: "ok" });
});
await app.listen({ host: "127.0.0.1", port });
