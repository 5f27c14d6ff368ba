/** Redis, as Debian packages it, for tests, drills and benches. */
import { execFile } from "node:child_process";
import { connect } from "node:net";
import { promisify } from "node:util";
import { StoreMissing, type StorePlace, type StoreRecipe, StoreServer } from "./process.ts";

const BINARY = "redis-server";

/** What a Redis keeps. */
export interface RedisServerOptions {
  /** Every write is on disk before it is answered, so that a kill and a start lose nothing; else nothing is kept. */
  readonly appendonly?: boolean;
  /** Further settings, name and value in turn, as on the command line. */
  readonly settings?: readonly string[];
}

/**
 * Starts an empty Redis, which answers when the promise resolves. Rejects with `StoreMissing` where it is not
 * installed.
 */
export async function startRedis({ appendonly = false, settings = [] }: RedisServerOptions = {}): Promise<StoreServer> {
  try {
    await promisify(execFile)(BINARY, ["--version"]);
  } catch {
    throw new StoreMissing(`There is no ${BINARY}; Debian has it in the package redis-server.`);
  }
  return StoreServer.open(recipe(appendonly, settings));
}

function recipe(appendonly: boolean, settings: readonly string[]): StoreRecipe {
  return {
    name: "redis",
    command: ({ folder, port }) => ({
      file: BINARY,
      args: [
        ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--daemonize", "no", "--save", ""],
        ...["--appendonly", appendonly ? "yes" : "no", "--appendfsync", "always"],
        ...["--maxmemory-policy", "noeviction"],
        ...settings,
      ],
    }),
    answers: pong,
    url: ({ port }) => `redis://127.0.0.1:${port}`,
  };
}

/** Asks it; while it loads its data it answers with an error. */
function pong({ port }: StorePlace): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.setTimeout(1_000, () => socket.destroy(new Error("Redis does not answer.")));
    socket.once("data", (bytes) => {
      socket.destroy();
      if (bytes.toString("latin1").startsWith("+PONG")) resolve();
      else reject(new Error(bytes.toString("latin1")));
    });
    socket.once("error", reject).once("close", () => reject(new Error("Redis closed the connection.")));
  });
}
