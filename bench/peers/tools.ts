/** Getting a peer: what is built or installed once and kept in the user's cache folder, never in the tree. */
import { type ChildProcess, execFile, spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { cp, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PeerMissing } from "./peer.ts";

const run = promisify(execFile);

/** One step of a build at most, ms: the first one downloads. */
const STEP_MS = 900_000;
const OUTPUT_BYTES_MAX = 16_777_216;

/** What is being built, in case the bench is told to stop meanwhile. */
const unfinished = { commands: new Set<ChildProcess>(), folders: new Set<string>() };

process.once("exit", () => {
  for (const command of unfinished.commands) command.kill("SIGTERM");
  for (const folder of unfinished.folders) rmSync(folder, { recursive: true, force: true });
});

/** Where peers are kept. */
function cacheFolder(): string {
  const { XDG_CACHE_HOME } = process.env;
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "confab", "peers");
}

/** A file of the source tree, found from the build, wherever that is. */
export function sourceFile(path: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, path)) && dirname(folder) !== folder) folder = dirname(folder);
  return join(folder, path);
}

/** Whether a command can be run. */
export function has(command: string, versionFlag: string): boolean {
  return spawnSync(command, [versionFlag], { stdio: "ignore" }).status === 0;
}

/** What a build may do in its folder. */
export interface Workshop {
  readonly folder: string;
  /** Runs a command in the folder. */
  readonly run: (command: string, args: readonly string[], env?: Readonly<Record<string, string>>) => Promise<void>;
  /** Writes a file into the folder; makes folders on the way. */
  readonly write: (path: string, text: string) => Promise<void>;
  /** Copies a file of the source tree into the folder. */
  readonly copy: (from: string, to: string) => Promise<void>;
}

/** What to keep. */
export interface Recipe {
  /** Name of its folder in the cache, version included. */
  readonly name: string;
  readonly build: (workshop: Workshop) => Promise<void>;
}

/**
 * The folder of what was built, built first where the cache has none. It is put into place whole, so that a build that
 * was broken off leaves nothing that looks built.
 * @throws PeerMissing with the last line that the build said.
 */
export async function cached({ name, build }: Recipe): Promise<string> {
  const cache = cacheFolder();
  const place = join(cache, name);
  if (existsSync(place)) return place;
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, `${name}.building-`));
  unfinished.folders.add(folder);
  try {
    await build(workshopIn(folder));
    await rename(folder, place);
    return place;
  } catch (error) {
    throw new PeerMissing(`${name} cannot be had here: ${lastLine(error)}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
    unfinished.folders.delete(folder);
  }
}

/** The binary of a Go module's main package. */
export async function goBinary(wish: {
  readonly name: string;
  readonly module: string;
  readonly version: string;
}): Promise<string> {
  const { name, module, version } = wish;
  const folder = await cached({
    name: `${name}-${version}`,
    build: async (workshop) => {
      if (!has("go", "version")) throw new Error("go is not on this machine");
      await workshop.write("go.mod", `module confab.local/${name}\n\ngo 1.23\n\nrequire ${module} v${version}\n`);
      await workshop.run("go", ["build", "-mod=mod", "-o", name, module], {
        CGO_ENABLED: "0",
        GOTOOLCHAIN: "local",
        GOWORK: "off",
      });
    },
  });
  return join(folder, name);
}

function workshopIn(folder: string): Workshop {
  const path = async (inside: string): Promise<string> => {
    const whole = join(folder, inside);
    await mkdir(dirname(whole), { recursive: true });
    return whole;
  };
  return {
    folder,
    run: async (command, args, env = {}) => {
      const work = run(command, args, {
        cwd: folder,
        timeout: STEP_MS,
        maxBuffer: OUTPUT_BYTES_MAX,
        env: { ...process.env, ...env },
      });
      unfinished.commands.add(work.child);
      await work.finally(() => unfinished.commands.delete(work.child));
    },
    write: async (inside, text) => writeFile(await path(inside), text),
    copy: async (from, to) => cp(sourceFile(from), await path(to)),
  };
}

/** The last line that a failed command wrote, or what went wrong without one. */
function lastLine(error: unknown): string {
  const { stderr, stdout, message } = error as { stderr?: string; stdout?: string; message?: string };
  const lines = (stderr || stdout || message || String(error)).trim().split("\n");
  return lines.at(-1) as string;
}
