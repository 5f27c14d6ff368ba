/** Socket.IO on its default engine, under the Node that runs the bench. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { startPeer } from "./launch.ts";
import { type Peer, WINDOWS } from "./peer.ts";
import { cached, has } from "./tools.ts";

const VERSION = "4.8.4";
const NAME = "socket.io";

/** Where the package is: in the tree if it is installed there in this version, else in the cache. */
async function packagePath(): Promise<string> {
  const installed = installedPath();
  if (installed !== undefined) return installed;
  const folder = await cached({
    name: `${NAME}-${VERSION}`,
    build: async ({ write, run }) => {
      if (!has("npm", "--version")) throw new Error("npm is not on this machine");
      await write("package.json", JSON.stringify({ private: true, dependencies: { [NAME]: VERSION } }));
      await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    },
  });
  return join(folder, "node_modules", NAME);
}

function installedPath(): string | undefined {
  const require = createRequire(import.meta.url);
  try {
    const { version } = require(`${NAME}/package.json`) as { version?: string };
    return version === VERSION ? require.resolve(NAME) : undefined;
  } catch {
    return undefined;
  }
}

export const socketIo: Peer = {
  name: "Socket.IO",
  version: VERSION,
  dialect: "socketio",
  windows: WINDOWS,
  warmSeconds: 1,
  seconds: 2,
  start: async () => {
    const module = await packagePath();
    return startPeer(socketIo, ({ port }) => ({
      script: "bench/peers/socketio.server.js",
      args: [String(port), module],
    }));
  },
};
