/**
 * Migrations of PostgreSQL: the files `migrations/NNN-name.sql`, applied in order, each once, under an
 * advisory lock and in one transaction, so that of many nodes that start at once one migrates and a failure
 * leaves nothing half done. The table `confab_migrations` keeps the SHA-256 of each file as it was applied;
 * history that does not fit the files is refused.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import type { Client } from "pg";
import { z } from "zod";

/** What the files of a build are. */
interface Migration {
  readonly number: number;
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
}

/** The database and the files do not fit: nothing was changed, and trying again does not help. */
export class MigrationsRefused extends Error {
  constructor(sentence: string) {
    super(sentence);
    this.name = "MigrationsRefused";
  }
}

/** The files of this build. */
const FOLDER = new URL("./migrations/", import.meta.url);
const FILE = /^(\d{3})-[a-z0-9-]+\.sql$/;
/** The number of our advisory lock: the letters "conf". */
const LOCK = 0x63_6f_6e_66;

const HISTORY = `CREATE TABLE IF NOT EXISTS confab_migrations (
  number integer PRIMARY KEY,
  name text NOT NULL,
  sha256 text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)`;

const applied = z.array(z.object({ number: z.number().int(), name: z.string(), sha256: z.string() }).strict());

/**
 * Applies the migrations that a database does not have yet; answers how many. The client is connected, used by
 * nobody else, and its time-outs bound the call. Rejects with `MigrationsRefused` in a full sentence, or with the
 * error of `pg`, after which nothing was changed unless the answer to the COMMIT was lost.
 */
export async function migrate(client: Client, folder: URL = FOLDER): Promise<number> {
  const migrations = await readMigrations(folder);
  await client.query("BEGIN");
  try {
    // Ends with the transaction, however that ends.
    await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
    await refuseOtherEncodings(client);
    await client.query(HISTORY);
    const { rows } = await client.query("SELECT number, name, sha256 FROM confab_migrations ORDER BY number");
    const history = applied.parse(rows);
    refuseOtherHistory(history, migrations);
    const missing = migrations.slice(history.length);
    for (const { number, name, text, sha256 } of missing) {
      await client.query(text);
      await client.query("INSERT INTO confab_migrations (number, name, sha256) VALUES ($1, $2, $3)", [
        number,
        name,
        sha256,
      ]);
    }
    await client.query("COMMIT");
    return missing.length;
  } catch (error) {
    // When the connection is gone, so is the transaction, and what went wrong is told by the first error.
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

async function readMigrations(folder: URL): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (name, at) => {
      const number = Number(FILE.exec(name)?.[1]);
      if (number !== at + 1) {
        const expected = String(at + 1).padStart(3, "0");
        throw new MigrationsRefused(
          `Migrations are numbered from 001 without a gap, but where ${expected}-….sql should be there is ${name}.`,
        );
      }
      const bytes = await readFile(new URL(name, folder));
      return { number, name, text: bytes.toString("utf8"), sha256: createHash("sha256").update(bytes).digest("hex") };
    }),
  );
}

/** Names are of any language, and ranges over them end with the last character of Unicode. */
async function refuseOtherEncodings(client: Client): Promise<void> {
  const { rows } = await client.query("SELECT current_setting('server_encoding') AS encoding");
  const encoding = String(rows[0]?.encoding);
  if (encoding !== "UTF8") {
    throw new MigrationsRefused(`The database has the encoding ${encoding}; make one with the encoding UTF8.`);
  }
}

function refuseOtherHistory(history: z.infer<typeof applied>, migrations: readonly Migration[]): void {
  for (const [at, { number, name, sha256 }] of history.entries()) {
    if (number !== at + 1) {
      throw new MigrationsRefused(
        `The database has the migration ${name} but none with the number ${at + 1}: its history was edited.`,
      );
    }
    const known = migrations[at];
    if (known === undefined) {
      throw new MigrationsRefused(
        `The database has the migration ${name}, which this build does not have; start a build that has it.`,
      );
    }
    if (known.name !== name || known.sha256 !== sha256) {
      throw new MigrationsRefused(
        `The migration ${name} was applied with the SHA-256 ${sha256}, but this build's ${known.name} has ` +
          `${known.sha256}; restore the file, and put the change into a new migration.`,
      );
    }
  }
}
