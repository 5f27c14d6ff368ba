/** PostgreSQL, as Debian packages it or from its image, for tests, drills and benches. */
import { execFile } from "node:child_process";
import { chown, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { type ContainerRecipe, containersWanted, IMAGES, startContainer } from "./containers.ts";
import { ProcessServer, StoreMissing, type StorePlace, type StoreRecipe, type StoreServer } from "./process.ts";

const run = promisify(execFile);

/** Where Debian's packages put the servers, a folder for each major version. */
const VERSIONS = "/usr/lib/postgresql";
/** Its administrator in the database, who needs no password from this machine. */
const ADMINISTRATOR = "confab";

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Starts an empty PostgreSQL, which answers when the promise resolves. Its `url` is that of the database
 * `postgres`; `newDatabase` makes others. Rejects with `StoreMissing` where it can not be had.
 */
export async function startPostgres(): Promise<StoreServer> {
  if (containersWanted()) return startContainer(CONTAINED);
  return ProcessServer.open(recipeOf(await findBinaries(), await findAccount()));
}

let databases = 0;

/** Makes an empty database on a server; resolves with its URL. */
export async function newDatabase(server: StoreServer): Promise<string> {
  const name = `db${process.pid}n${databases++}`;
  await withClient(server.url, (client) => client.query(`CREATE DATABASE ${name}`));
  return urlOf(server.place, name);
}

const COMMON = {
  name: "postgres",
  answers: async (place) => void (await withClient(urlOf(place, "postgres"), (client) => client.query("SELECT 1"))),
  url: (place) => urlOf(place, "postgres"),
} satisfies Partial<StoreRecipe>;

const CONTAINED: ContainerRecipe = {
  ...COMMON,
  image: IMAGES.postgres,
  command: ({ port }) => ["postgres", "-p", String(port)],
  env: {
    POSTGRES_USER: ADMINISTRATOR,
    POSTGRES_DB: "postgres",
    POSTGRES_HOST_AUTH_METHOD: "trust",
    POSTGRES_INITDB_ARGS: "-E UTF8 --no-locale --no-sync",
  },
};

function recipeOf(binaries: string, user: Account | undefined): StoreRecipe {
  return {
    ...COMMON,
    async prepare({ folder }) {
      if (user !== undefined) await chown(folder, user.uid, user.gid);
      const args = ["-D", folder, "-U", ADMINISTRATOR, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
      await run(join(binaries, "initdb"), args, { cwd: folder, ...user });
    },
    command: ({ folder, port }) => ({
      file: join(binaries, "postgres"),
      args: [
        ...["-D", folder, "-p", String(port), "-h", "127.0.0.1", "-k", ""],
        // Shared memory as files of its folder, which go with it, also after a SIGKILL.
        ...["-c", "dynamic_shared_memory_type=mmap", "-c", "shared_buffers=32MB"],
      ],
      ...(user === undefined ? {} : { user }),
    }),
    // Ends sessions and writes everything down; SIGTERM would wait for the sessions.
    stopSignal: "SIGINT",
    // Ends all its processes and frees what they share, without writing.
    closeSignal: "SIGQUIT",
  };
}

function urlOf({ port }: StorePlace, database: string): string {
  return `postgres://${ADMINISTRATOR}@127.0.0.1:${port}/${database}`;
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // Without a listener the end of the server would end this process.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The folder with the server of the newest version that is installed. */
async function findBinaries(): Promise<string> {
  const versions = await readdir(VERSIONS).catch((): string[] => []);
  for (const version of versions.sort((a, b) => Number(b) - Number(a))) {
    const binaries = join(VERSIONS, version, "bin");
    const files = await readdir(binaries).catch((): string[] => []);
    if (files.includes("postgres") && files.includes("initdb")) return binaries;
  }
  throw new StoreMissing("PostgreSQL is not installed; Debian has it as the package postgresql.");
}

/** PostgreSQL refuses to run as root: then the account that its package made is used. */
async function findAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const line = /^postgres:[^:]*:(\d+):(\d+):/m.exec(await readFile("/etc/passwd", "utf8"));
  if (line === null) throw new StoreMissing("PostgreSQL does not run as root, and there is no user postgres.");
  return { uid: Number(line[1]), gid: Number(line[2]) };
}
