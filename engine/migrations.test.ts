import assert from "node:assert/strict";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Client } from "pg";
import { newDatabase, startPostgres } from "../ops/stores/postgres.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { MigrationsRefused, migrate } from "./migrations.ts";

let missing: string | false = false;
const server = await startPostgres().catch((error: unknown) => {
  if (!(error instanceof StoreMissing)) throw error;
  missing = error.message;
  return undefined;
});
const base = await mkdtemp(join(tmpdir(), "confab-migrations-"));
after(async () => {
  await server?.close();
  await rm(base, { recursive: true, force: true });
});

let folders = 0;

/** A folder with these files. */
async function folderOf(files: Readonly<Record<string, string>>): Promise<URL> {
  const folder = await mkdtemp(join(base, `${folders++}-`));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return pathToFileURL(`${folder}/`);
}

/** Runs work on a client of its own. */
async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const database = (): Promise<string> => newDatabase(server as StoreServer);
const run = (url: string, folder?: URL): Promise<number> => withClient(url, (client) => migrate(client, folder));
const names = (url: string): Promise<string[]> =>
  withClient(url, async (client) =>
    (await client.query("SELECT name FROM confab_migrations ORDER BY number")).rows.map(({ name }) => String(name)),
  );

const ONE = { "001-one.sql": "CREATE TABLE one (id int); INSERT INTO one VALUES (1);" };
const TWO = { ...ONE, "002-two.sql": "ALTER TABLE one ADD COLUMN name text DEFAULT 'x';" };

describe("Migrations", { skip: missing }, () => {
  test("run once each and in order, also those that come later.", async () => {
    const url = await database();
    assert.equal(await run(url, await folderOf(ONE)), 1);
    assert.equal(await run(url, await folderOf(ONE)), 0);
    assert.equal(await run(url, await folderOf(TWO)), 1);
    assert.deepEqual(await names(url), ["001-one.sql", "002-two.sql"]);
    assert.deepEqual((await withClient(url, (client) => client.query("SELECT * FROM one"))).rows, [
      { id: 1, name: "x" },
    ]);
  });

  test("of this build make the tables of an empty database.", async () => {
    const url = await database();
    const count = await run(url);
    assert.ok(count > 0);
    assert.equal(await run(url), 0);
    assert.equal((await names(url))[0], "001-directory.sql");
  });

  test("run once when many nodes start at once.", async () => {
    const url = await database();
    const folder = await folderOf(TWO);
    const counts = await Promise.all(Array.from({ length: 6 }, () => run(url, folder)));
    assert.deepEqual(counts.sort(), [0, 0, 0, 0, 0, 2]);
    assert.equal((await withClient(url, (client) => client.query("SELECT * FROM one"))).rowCount, 1);
  });

  test("leave nothing behind when one of them fails.", async () => {
    const url = await database();
    const broken = await folderOf({ ...ONE, "002-two.sql": "CREATE TABLE two (id int); SELECT nonsense;" });
    await assert.rejects(run(url, broken), /nonsense/);
    const { rowCount } = await withClient(url, (client) =>
      client.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'"),
    );
    assert.equal(rowCount, 0);
    assert.equal(await run(url, await folderOf(TWO)), 2);
  });

  test("are refused with a sentence when one that was applied has been edited, or renamed.", async () => {
    const url = await database();
    await run(url, await folderOf(TWO));
    const edited = await folderOf({ ...TWO, "001-one.sql": `${ONE["001-one.sql"]} ` });
    await assert.rejects(run(url, edited), (error) => {
      assert.ok(error instanceof MigrationsRefused);
      assert.match(error.message, /^The migration 001-one\.sql was applied with the SHA-256 [0-9a-f]{64}, but .*\.$/);
      return true;
    });
    const renamed = await folderOf(TWO);
    await rename(new URL("002-two.sql", renamed), new URL("002-other.sql", renamed));
    await assert.rejects(run(url, renamed), /002-two\.sql .* but this build's 002-other\.sql/);
  });

  test("are refused when one that was applied is not among the files.", async () => {
    const url = await database();
    await run(url, await folderOf(TWO));
    await assert.rejects(run(url, await folderOf(ONE)), {
      name: "MigrationsRefused",
      message: "The database has the migration 002-two.sql, which this build does not have; start a build that has it.",
    });
    await withClient(url, (client) => client.query("DELETE FROM confab_migrations WHERE number = 1"));
    await assert.rejects(run(url, await folderOf(TWO)), /none with the number 1: its history was edited/);
  });

  test("are refused when their numbers have a gap, or a name is not of the form.", async () => {
    const url = await database();
    const gap = await folderOf({ ...ONE, "003-three.sql": "SELECT 1" });
    await assert.rejects(run(url, gap), /where 002-….sql should be there is 003-three\.sql/);
    await assert.rejects(run(url, await folderOf({ "1-one.sql": "SELECT 1" })), MigrationsRefused);
    await assert.rejects(run(url, await folderOf({ ...ONE, "001-two.sql": "SELECT 1" })), MigrationsRefused);
  });

  test("are refused in a database that is not in UTF-8.", async () => {
    const url = await database();
    const other = new URL(url);
    other.pathname = "/latin";
    await withClient(url, (client) => client.query("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0"));
    await assert.rejects(run(other.href), /has the encoding LATIN1/);
  });
});
