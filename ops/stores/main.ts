/**
 * `npm run stores`: starts Redis, PostgreSQL and FerretDB (which speaks MongoDB's wire protocol) on spare
 * ports of 127.0.0.1, in temporary folders, and prints the settings that lead a node to them. Runs until
 * SIGINT or SIGTERM, or with `--until-stdin-ends` until stdin closes; then ends the servers and removes their
 * folders. `--json` prints one line of JSON instead, with the process ids under `pids`, so that another
 * process may stop or kill one of them. Exit 1 when a server can not be had; stderr says which and why.
 */
import { optionsOf } from "../options.ts";
import { startFerretdb } from "./ferretdb.ts";
import { startPostgres } from "./postgres.ts";
import type { StoreServer } from "./process.ts";
import { startRedis } from "./redis.ts";

const USAGE = `
npm run stores -- [options]
  --json               one line of JSON instead of settings, with the process ids under pids
  --until-stdin-ends   ends when stdin closes, as well as at SIGINT and SIGTERM`;

const { values } = optionsOf(USAGE, {
  options: {
    json: { type: "boolean", default: false },
    "until-stdin-ends": { type: "boolean", default: false },
  },
});

/** Resolves when the command is told to end. */
function ending(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
    if (!values["until-stdin-ends"]) return;
    process.stdin
      .resume()
      .once("end", resolve)
      .once("close", resolve)
      .once("error", () => resolve());
  });
}

function print(servers: Readonly<Record<string, StoreServer>>): void {
  const entries = Object.entries(servers);
  const urls = entries.map(([setting, { url }]) => [setting, url] as const);
  const pids = entries.map(([setting, { pid }]) => [setting, pid] as const);
  const text = values.json
    ? JSON.stringify({ ...Object.fromEntries(urls), pids: Object.fromEntries(pids) })
    : urls.map(([setting, url]) => `${setting}=${url}`).join("\n");
  process.stdout.write(`${text}\n`);
}

const STARTS = { DATABASE_URL: startPostgres, MONGODB_URL: startFerretdb, REDIS_URL: startRedis } as const;

// Asked first: a signal during the start must end what has been started too.
const told = ending();
const starts = Object.entries(STARTS).map(async ([setting, start]) => [setting, await start()] as const);
const started = await Promise.allSettled(starts);
const servers = Object.fromEntries(started.flatMap((start) => (start.status === "fulfilled" ? [start.value] : [])));
const failures = started.flatMap((start) => (start.status === "rejected" ? [start.reason as Error] : []));
try {
  if (failures.length > 0) {
    for (const { message } of failures) process.stderr.write(`${message}\n`);
    process.exitCode = 1;
  } else {
    print(servers);
    await told;
  }
} finally {
  await Promise.all(Object.values(servers).map((server) => server.close()));
  process.stdin.destroy();
}
