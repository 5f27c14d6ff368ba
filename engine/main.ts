/**
 * The process: settings, stores, node, REST, one port; and its orderly end. Anything that keeps it from
 * starting is one full sentence on standard error, and exit 1.
 */
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import type { FastifyInstance } from "fastify";
import { buildApp } from "../api/app.ts";
import { authRoutes } from "../api/auth.ts";
import { deletedIn, userRoutes } from "../api/users.ts";
import { createLog } from "../ops/log.ts";
import { asksForHelp, type Config, ConfigError, helpText, readConfig } from "./config.ts";
import { endWithGrace } from "./grace.ts";
import { loadNative } from "./native.ts";
import type { RestParts, Running } from "./start.ts";

/**
 * V8 makes objects in its old space at once where those from the same place in the code once lived long. LMDB's
 * iterators are such, and take each page of history that they read with them: they are garbage that only a full
 * collection finds, which stands still for tens of milliseconds every few seconds.
 */
setFlagsFromString("--no-allocation-site-pretenuring");

/** Ends the start with one sentence. */
function refuseStart(error: unknown): never {
  const sentence = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}

async function main(): Promise<void> {
  if (asksForHelp()) {
    process.stdout.write(helpText());
    return;
  }
  const config = readConfig();
  const log = createLog({ level: config.logLevel });
  await loadNative();
  // Only now: what it imports would load the binary, and fail without a sentence.
  const { startServer } = await import("./start.ts");
  let running: Running;
  try {
    running = await startServer(config, log, buildRest);
  } catch (error) {
    if (!(error instanceof ConfigError)) log.debug({ err: error }, "the start failed");
    throw error;
  }
  process.stdout.write(`Confab is ready: open ${running.url} in a browser.\n`);
  endWithGrace({ delayMs: GRACE_MS, stop: running.stop, log });
}

/** The built page, beside this file's own folder. */
const PAGE_FOLDER = join(import.meta.dirname, "..", "page");

function buildRest(parts: RestParts): Promise<FastifyInstance> {
  const { config, identity } = parts;
  const { accounts, verifier, tokens } = identity;
  return buildApp({
    chat: parts.chat,
    administration: parts.administration,
    verifier,
    isDeleted: deletedIn(accounts),
    adminGroup: config.adminGroup || undefined,
    plugins: [authRoutes({ accounts, verifier, keys: tokens, chat: parts.chat }), userRoutes({ accounts, verifier })],
    pageFolder: PAGE_FOLDER,
    allowedOrigins: config.allowedOrigins,
    trustProxy: trustedByHttp(config),
    bodyLimit: config.limits.bodyBytes,
    logger: parts.log,
    health: parts.health,
    onAnswer: parts.onAnswer,
    metrics: () => parts.metrics.render(),
  });
}

function trustedByHttp({ trustProxy }: Config): boolean | string | string[] {
  if (trustProxy === false) return false;
  return typeof trustProxy === "number" ? String(trustProxy) : [...trustProxy];
}

/** SIGTERM is answered by exit 0 within 10 s (design 6); beyond this the process kills itself, ms. */
const GRACE_MS = 9_500;

main().catch(refuseStart);
