/** Starts a server from its settings, in the order of what needs what, and stops it in the reverse order. */

import uWS from "uWebSockets.js";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import proxyAddr from "@fastify/proxy-addr";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { NodeAdministration } from "../actors/administration.ts";
import type { Alike } from "../actors/alike.ts";
import type { Clock } from "../actors/clock.ts";
import { countAnswer } from "../actors/counters.ts";
import { ChatService } from "../actors/messages.ts";
import { Node } from "../actors/node.ts";
import { RoutedChat } from "../actors/routed.ts";
import { GENERAL } from "../actors/service.ts";
import { Health } from "../ops/health.ts";
import { createMetrics, type Metrics } from "../ops/metrics.ts";
import { systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { Edge } from "./edge.ts";
import { metricFamilies } from "./families.ts";
import { NativeFanout } from "./fanout.ts";
import { reportStores } from "./guard.health.ts";
import { StoreStats } from "./guard.stats.ts";
import { serveHttp } from "./http.ts";
import { type Identity, openIdentity } from "./identity.ts";
import { Life } from "./life.ts";
import { listen } from "./listen.ts";
import { drainSockets, serveSockets } from "./server.ts";
import { openStores, type Stores } from "./stores.ts";

/** A server that serves. */
export interface Running {
  /** Where to open it. */
  readonly url: string;
  /** Ends it in order: not ready, connections asked to reconnect, all flushed. */
  stop(): Promise<void>;
}

/** What the REST side is built from; only `main.ts` knows how. */
export interface RestParts {
  readonly config: Config;
  readonly log: Logger;
  readonly chat: RoutedChat;
  readonly administration: NodeAdministration;
  readonly identity: Identity;
  readonly health: Health;
  readonly metrics: Metrics;
  /** Told of every REST answer. */
  readonly onAnswer: (status: number, ms: number) => void;
}

/** Builds the REST side. */
export type BuildRest = (parts: RestParts) => Promise<FastifyInstance>;

/** Starts a server. Rejects with an `Error` in a full sentence when it cannot. */
export async function startServer(config: Config, log: Logger, buildRest: BuildRest): Promise<Running> {
  const name = randomUUID().slice(0, 8);
  const onLost = (why: string): void => {
    log.error({ node: name }, `${why}; ending at once`);
    process.exit(1);
  };
  // Until a socket listens a start may wait for a store by timers alone, which do not keep the process alive.
  const awake = setInterval(() => undefined, AWAKE_MS);
  try {
    const stores = await openStores(config, { log, clock: systemClock, name, onLost });
    try {
      return await serve(config, { log, buildRest, stores, name });
    } catch (error) {
      // The process may end only when no write is under way (see `grace.ts`).
      await stores.close();
      throw error;
    }
  } finally {
    clearInterval(awake);
  }
}

const AWAKE_MS = 60_000;

interface Opened {
  readonly log: Logger;
  readonly buildRest: BuildRest;
  readonly stores: Stores;
  readonly name: string;
}

async function serve(config: Config, { log, buildRest, stores, name }: Opened): Promise<Running> {
  const clock = systemClock;
  const version = await ownVersion();
  const { health, watched } = healthOf(stores, clock);
  const app = uWS.App();
  const fanout = new NativeFanout((topic, message, binary) => app.publish(topic, message, binary));
  const identity = await openIdentity(config, { log, clock, directory: stores.directory });
  const node = nodeOf(config, { name, log, stores, fanout, identity, alike: await alikeOf(stores, identity) });
  reportStores({ health, stores: watched, known: identity.known, writer: node.writer });
  const edge = new Edge(node, fanout, { limits: config.limits, version });
  const metrics = metricsOf({
    node,
    fanout,
    version,
    health,
    hashesWaiting: identity.hashesWaiting,
    stores: stores.stats,
    wire: stores.wire,
    embedded: stores.embedded,
  });
  const chat = new RoutedChat(node, new ChatService(node, randomUUID));
  const administration = new NodeAdministration(node, (user, token) => identity.accounts.revoke(user, token));
  const onAnswer = (status: number, ms: number): void => countAnswer(node.counters, status, ms);
  const fastify = await buildRest({ config, log, chat, administration, identity, health, metrics, onAnswer });
  serveSockets(app, {
    edge,
    mayConnect: (origin, host) => mayConnect(config, origin, host),
    addressOf: addressReader(config),
  });
  const http = serveHttp(app, fastify, {
    // The largest of all routes: a body in JSON, escaped throughout, with its headers; routes refuse earlier.
    bodyLimit: config.limits.bodyBytes * 6 + 262_144,
    bodiesLimit: config.limits.pendingBytes,
    encrypted: false,
    onError: (err) => log.error({ err }, "a request met a fault of ours"),
  });
  // Last, as from its first beat on others hand shards over to it: building the rest holds the process up.
  await node.start();
  await identity.follow((revocation) => node.registry.revoke(revocation.user, revocation.token, revocation.beforeMs));
  const socket = await listen(app, config.host, config.port);
  const port = uWS.us_socket_local_port(socket);
  const closeDoors = once(() => {
    health.enter("draining");
    void node.drain();
    uWS.us_listen_socket_close(socket);
  });
  const life = new Life({
    clock,
    log,
    drainMs: config.limits.drainMs,
    openDoors: () => health.enter("ready"),
    closeDoors,
    handOver: async () => {
      closeDoors();
      // Shards first (design 6): who is sent away finds the rooms where they go on.
      await Promise.race([node.drain(), after(config.limits.drainMs / 4)]);
      await drainSockets(edge, config.limits.drainMs / 2);
      await Promise.race([http.idle(), after(config.limits.drainMs / 4)]);
      await fastify.close();
      await node.stop();
    },
    unstored: () => node.writer.entries,
  });
  void identity.known.then(() => life.joined());
  log.info({ node: name, host: config.host, port, version, dataDir: config.dataDir }, "serving");
  const stop = async (): Promise<void> => {
    await life.drain();
    identity.stop();
    app.close();
    await stores.close();
    if (life.failed) throw new Error("The end was not in order.");
  };
  return { url: `http://${shownHost(config.host)}:${port}/`, stop };
}

/** What must be the same at all nodes that share Redis. */
async function alikeOf({ archive, shards }: Stores, { tokens }: Identity): Promise<Alike> {
  const general = await archive.room(GENERAL.id);
  return { shards, dataSet: `born ${general?.createdAt}`, ...tokens.marks };
}

interface NodeParts {
  readonly alike: Alike;
  readonly name: string;
  readonly log: Logger;
  readonly stores: Stores;
  readonly fanout: NativeFanout;
  readonly identity: Identity;
}

function nodeOf({ limits }: Config, { name, log, stores, fanout, identity, alike }: NodeParts): Node {
  const { archive, bus, leases, shards } = stores;
  return new Node({
    ...{ name, archive, bus, leases, fanout, limits, log, shards, alike },
    clock: systemClock,
    random: Math.random,
    verify: (token) => identity.verifier.verify(token),
    archiveAway: () => stores.stats.some(({ store, away }) => store === "archive" && away !== undefined),
    nameOf: identity.nameOf,
    // Without a hot log that outlives the process, nothing may wait long for the archive.
    refuseWhileFailing: !bus.shared,
  });
}

/** One part for each store; the embedded archive is not guarded, but the writer knows how it is. */
function healthOf({ stats }: Stores, clock: Clock): { health: Health; watched: readonly StoreStats[] } {
  const watched = stats.some(({ store }) => store === "archive") ? stats : [new StoreStats("archive"), ...stats];
  const names = watched.map(({ store }) => store);
  return { health: new Health(names, clock.now), watched };
}

interface Measured {
  readonly node: Node;
  readonly fanout: NativeFanout;
  readonly version: string;
  readonly health: Health;
  readonly hashesWaiting: () => number;
  readonly stores: readonly StoreStats[];
  readonly wire: Stores["wire"];
  readonly embedded: Stores["embedded"];
}

function metricsOf({ health, ...sources }: Measured): Metrics {
  return createMetrics(
    metricFamilies({
      ...sources,
      ready: () => (["ok", "degraded"].includes(health.ready().status) ? 1 : 0),
      parts: () => health.components().map(({ name, state }) => ({ labels: [name], value: PART_VALUES[state] })),
    }),
  );
}

const PART_VALUES = Object.freeze({ ok: 0, degraded: 1, failed: 2 });

async function ownVersion(): Promise<string> {
  const text = await readFile(join(import.meta.dirname, "..", "..", "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}

/** The doors close when the process is not ready any more, or when it ends before it was. */
function once(run: () => void): () => void {
  let due = true;
  return () => {
    if (due) run();
    due = false;
  };
}

function shownHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}

/** The page's own origin always; others by setting. A client that is no browser names none. */
function mayConnect(config: Config, origin: string, host: string): boolean {
  if (config.allowedOrigins.includes("*") || config.allowedOrigins.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}

/** The client's address: what the socket says, or behind trusted proxies what they say. */
function addressReader({ trustProxy }: Config): (socket: string, forwarded: string) => string {
  if (trustProxy === false) return (socket) => socket;
  const trusts =
    typeof trustProxy === "number"
      ? (_address: string, hop: number): boolean => hop < trustProxy
      : proxyAddr.compile([...trustProxy]);
  return (socket, forwarded) => {
    const chain =
      forwarded === ""
        ? []
        : forwarded
            .split(",")
            .map((part) => part.trim())
            .reverse();
    let address = socket;
    for (const [hop, next] of chain.entries()) {
      if (!trusts(address, hop)) break;
      address = next;
    }
    return address;
  };
}
