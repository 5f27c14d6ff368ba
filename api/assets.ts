/** The page's files, under a policy that lets nothing run or load but them. */
import helmet from "@fastify/helmet";
import files from "@fastify/static";
import type { FastifyPluginAsync } from "fastify";

/** What the page may do: its own files, its own server (WebSocket included, as `'self'` covers `ws` and `wss`). */
const PAGE_POLICY = Object.freeze({
  "default-src": ["'none'"],
  "script-src": ["'self'"],
  // The page's STOMP client keeps its heart-beat in a worker made from a blob, so that hidden tabs go on beating.
  "worker-src": ["'self'", "blob:"],
  "style-src": ["'self'"],
  "img-src": ["'self'", "data:"],
  "font-src": ["'self'"],
  "manifest-src": ["'self'"],
  "connect-src": ["'self'"],
  "base-uri": ["'none'"],
  "form-action": ["'self'"],
  "frame-ancestors": ["'none'"],
});

/** What the API's documentation may do: the same, and styles that its script sets on elements. */
const DOCS_POLICY = Object.freeze({ ...PAGE_POLICY, "style-src": ["'self'", "'unsafe-inline'"] });

/** Options of helmet for a policy. TLS ends before us, so transport security is the proxy's word to give. */
function helmetOf(directives: Readonly<Record<string, string[]>>) {
  return {
    contentSecurityPolicy: { useDefaults: false, directives: { ...directives } },
    strictTransportSecurity: false,
    crossOriginEmbedderPolicy: false,
    referrerPolicy: { policy: "no-referrer" as const },
    xFrameOptions: { action: "deny" as const },
  };
}

/** Helmet for the page. */
export const PAGE_HELMET = helmetOf(PAGE_POLICY);

/** Helmet for the documentation. */
export const DOCS_HELMET = helmetOf(DOCS_POLICY);

/** Serves the built page's files at `/`; one route per file, found at start, so that nothing else is reachable. */
export function pageRoutes(folder: string): FastifyPluginAsync {
  return async (app) => {
    await app.register(helmet, PAGE_HELMET);
    await app.register(files, {
      root: folder,
      prefix: "/",
      wildcard: false,
      serveDotFiles: false,
      preCompressed: true,
      // The files keep their names from build to build: a browser asks each time and is told 304 by the ETag.
      cacheControl: true,
      maxAge: 0,
    });
  };
}
