/**
 * FerretDB on SQLite: a server that speaks MongoDB's wire protocol, for tests and drills. It is built once from
 * Go modules and kept in the user's cache folder. What it lacks against MongoDB: updates are not atomic, no
 * transactions, no partial, TTL or text indexes (libraries.md, section 15). It also scans the collection on every
 * look; that is mended before the build (`ferretdb.index.ts`), as some thousand entries would drown a drill.
 */
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { containersWanted } from "./containers.ts";
import { askIndexes } from "./ferretdb.index.ts";
import { startMongo } from "./mongo.ts";
import { ProcessServer, StoreMissing, type StorePlace, type StoreServer } from "./process.ts";

const run = promisify(execFile);

const VERSION = "v1.24.2";
const MODULE = "github.com/FerretDB/FerretDB";
/** One step of the build at most, ms: the first one downloads some 200 modules. */
const STEP_MS = 600_000;
const OUTPUT_BYTES_MAX = 16_777_216;
/** Documents of one insert up to which an ordered one stops where it must; the archive's batches are smaller. */
const INSERT_MAX = 10_000;

/**
 * Starts a FerretDB; builds it first where none is cached. Where containers are asked for it is MongoDB itself.
 * Rejects with `StoreMissing` where it cannot be had.
 */
export async function startFerretdb(): Promise<StoreServer> {
  if (containersWanted()) return startMongo();
  const file = await ferretdbBinary();
  return ProcessServer.open({
    name: "ferretdb",
    command: ({ folder, port }: StorePlace) => ({
      file,
      args: [],
      env: {
        FERRETDB_HANDLER: "sqlite",
        FERRETDB_SQLITE_URL: `file:${folder}/`,
        FERRETDB_STATE_DIR: folder,
        FERRETDB_LISTEN_ADDR: `127.0.0.1:${port}`,
        FERRETDB_DEBUG_ADDR: "-",
        FERRETDB_TELEMETRY: "disable",
        FERRETDB_LOG_LEVEL: "error",
        // An ordered insert that meets a taken `_id` goes on with the next part of this size (100 by default).
        FERRETDB_TEST_BATCH_SIZE: String(INSERT_MAX),
      },
    }),
    url: ({ port }) => `mongodb://127.0.0.1:${port}/`,
  });
}

let building: Promise<string> | undefined;

/**
 * The path of the binary, built when it is not in the cache (`$XDG_CACHE_HOME` or `~/.cache`, folder `confab`).
 * Several processes may build at once: each builds in a folder of its own and puts the binary in place whole.
 * Throws `StoreMissing` with the reason.
 */
export function ferretdbBinary(): Promise<string> {
  building ??= cachedOrBuilt();
  return building;
}

async function cachedOrBuilt(): Promise<string> {
  const { XDG_CACHE_HOME } = process.env;
  const cache = join(XDG_CACHE_HOME || join(homedir(), ".cache"), "confab");
  const binary = join(cache, `ferretdb-${VERSION}-indexed`);
  const there = await access(binary).then(
    () => true,
    () => false,
  );
  if (there) return binary;
  try {
    await mkdir(cache, { recursive: true });
    await build(binary);
    return binary;
  } catch (error) {
    throw new StoreMissing(`FerretDB ${VERSION} can not be built here: ${lastLine(error)}`);
  }
}

/** Builds beside the place of the binary, then renames. The module lacks its version file, so it is vendored. */
async function build(binary: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "confab-ferretdb-build-"));
  const made = `${binary}.${process.pid}`;
  const go = (...args: readonly string[]): Promise<unknown> =>
    run("go", args, {
      cwd: folder,
      timeout: STEP_MS,
      maxBuffer: OUTPUT_BYTES_MAX,
      env: { ...process.env, CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOWORK: "off" },
    });
  try {
    await writeFile(
      join(folder, "go.mod"),
      `module confab.local/ferretdb\n\ngo 1.23\n\nrequire ${MODULE} ${VERSION}\n`,
    );
    await writeFile(
      join(folder, "tools.go"),
      `//go:build tools\n\npackage tools\n\nimport _ "${MODULE}/cmd/ferretdb"\n`,
    );
    await go("mod", "tidy", "-e");
    await go("mod", "vendor");
    const vendor = join(folder, "vendor", MODULE);
    const version = join(vendor, "build", "version");
    await mkdir(version, { recursive: true });
    await writeFile(join(version, "version.txt"), `${VERSION}\n`);
    await askIndexes(join(vendor, "internal", "backends", "sqlite"));
    await go("build", "-mod=vendor", "-o", made, `${MODULE}/cmd/ferretdb`);
    await rename(made, binary);
  } finally {
    await rm(folder, { recursive: true, force: true });
    await rm(made, { force: true });
  }
}

function lastLine(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string };
  const lines = (stderr || message || String(error)).trim().split("\n");
  return lines.at(-1) as string;
}
