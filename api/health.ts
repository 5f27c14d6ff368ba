/** What operators' probes ask: alive, ready, metrics. */
import type { FastifyPluginAsync } from "fastify";
import Type from "typebox";

/**
 * `ok`, or `degraded` when a store is away but SENDs are still taken; the others answer 503, as nothing
 * should be sent here (design 4).
 */
export interface Readiness {
  readonly status: "ok" | "degraded" | "starting" | "draining" | "unable";
  /** What is away or wrong, by part, in words. */
  readonly parts?: Readonly<Record<string, string>>;
}

/** The health of the process, as it knows it; asked at every probe, so it must cost nothing. */
export interface Health {
  /** False when only a restart would help. */
  live(): boolean;
  ready(): Readiness;
}

/** The text of a scrape, and its media type. */
export interface MetricsText {
  readonly contentType: string;
  readonly body: string;
}

const Live = Type.Object({ status: Type.Union([Type.Literal("ok"), Type.Literal("unable")]) });

const Ready = Type.Object({
  status: Type.Union(
    (["ok", "degraded", "starting", "draining", "unable"] as const).map((status) => Type.Literal(status)),
  ),
  parts: Type.Optional(Type.Record(Type.String(), Type.String())),
});

/** Routes `/health/live`, `/health/ready` and `/metrics`. */
export function healthRoutes(health: Health, metrics: () => Promise<MetricsText>): FastifyPluginAsync {
  return async (app) => {
    const tags = ["operations"];
    const live = { tags, summary: "Whether the process is alive", response: { 200: Live, 503: Live } };
    app.get("/health/live", { schema: live }, (_request, reply) => {
      const alive = health.live();
      reply.code(alive ? 200 : 503).send({ status: alive ? "ok" : "unable" });
    });
    const ready = { tags, summary: "Whether requests and SENDs are taken", response: { 200: Ready, 503: Ready } };
    app.get("/health/ready", { schema: ready }, (_request, reply) => {
      const state = health.ready();
      reply.code(state.status === "ok" || state.status === "degraded" ? 200 : 503).send(state);
    });
    const text = { content: { "text/plain": { schema: Type.String() } } };
    const scrape = { tags, summary: "Metrics in Prometheus text format", response: { 200: text } };
    app.get("/metrics", { schema: scrape }, async (_request, reply) => {
      const { contentType, body } = await metrics();
      return reply.header("content-type", contentType).send(body);
    });
  };
}
