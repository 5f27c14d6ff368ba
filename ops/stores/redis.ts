/** Redis, as Debian packages it or from its image, for tests, drills and benches. */
import { execFile } from "node:child_process";
import { connect } from "node:net";
import { promisify } from "node:util";
import { type ContainerRecipe, containersWanted, IMAGES, startContainer } from "./containers.ts";
import { ProcessServer, StoreMissing, type StorePlace, type StoreRecipe, type StoreServer } from "./process.ts";

const BINARY = "redis-server";

/** What a Redis keeps. */
export interface RedisServerOptions {
  /** Every write is on disk before it is answered, so that a kill and a start lose nothing; else nothing is kept. */
  readonly appendonly?: boolean;
  /** Further settings, name and value in turn, as on the command line. */
  readonly settings?: readonly string[];
}

/**
 * Starts an empty Redis, which answers when the promise resolves. Rejects with `StoreMissing` where it can
 * not be had.
 */
export async function startRedis({ appendonly = false, settings = [] }: RedisServerOptions = {}): Promise<StoreServer> {
  if (containersWanted()) return startContainer(contained(appendonly, settings));
  try {
    await promisify(execFile)(BINARY, ["--version"]);
  } catch {
    throw new StoreMissing(`There is no ${BINARY}; Debian has it in the package redis-server.`);
  }
  return ProcessServer.open(recipe(appendonly, settings));
}

const COMMON = {
  name: "redis",
  answers: pong,
  url: ({ port }) => `redis://127.0.0.1:${port}`,
} satisfies Partial<StoreRecipe>;

function recipe(appendonly: boolean, settings: readonly string[]): StoreRecipe {
  return {
    ...COMMON,
    command: ({ folder, port }) => ({
      file: BINARY,
      args: ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, ...kept(appendonly), ...settings],
    }),
  };
}

function contained(appendonly: boolean, settings: readonly string[]): ContainerRecipe {
  return {
    ...COMMON,
    image: IMAGES.redis,
    folder: "/data",
    // Who may reach it is said by the published port, which is of 127.0.0.1 alone.
    command: ({ port }) => [
      ...[BINARY, "--port", String(port), "--bind", "*", "--protected-mode", "no", "--dir", "/data"],
      ...kept(appendonly),
      ...settings,
    ],
  };
}

function kept(appendonly: boolean): readonly string[] {
  return [
    ...["--daemonize", "no", "--save", "", "--appendonly", appendonly ? "yes" : "no", "--appendfsync", "always"],
    ...["--maxmemory-policy", "noeviction"],
  ];
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
