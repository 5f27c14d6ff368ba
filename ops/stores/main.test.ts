import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
/** A first start may have to build FerretDB, which takes minutes. */
const START_MS = 220_000;

interface Started {
  readonly child: ChildProcess;
  /** The first lines of stdout. */
  readonly lines: readonly string[];
  /** Its own temporary folder. */
  readonly folder: string;
}

/** Runs the command until it has printed so many lines; skips the test when a store can not be had. */
async function start(t: TestContext, args: readonly string[], count: number): Promise<Started | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "confab-stores-"));
  // PostgreSQL runs as a user of its own where the tests run as root.
  await chmod(folder, 0o755);
  const env = { ...process.env, TMPDIR: folder };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["pipe", "pipe", "pipe"] });
  t.after(async () => {
    child.kill("SIGTERM");
    await rm(folder, { recursive: true, force: true });
  });
  let errors = "";
  child.stderr.on("data", (bytes: Buffer) => {
    errors += bytes.toString();
  });
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (lines.push(line) === count) return { child, lines, folder };
  }
  if (child.exitCode === null) await once(child, "exit");
  assert.match(errors, / not installed| can not be built/);
  t.skip(errors.trim());
  return undefined;
}

async function answers(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.destroy();
}

test("With --json and --until-stdin-ends three servers run until stdin ends, and leave nothing behind.", {
  timeout: START_MS,
}, async (t) => {
  const started = await start(t, ["--json", "--until-stdin-ends"], 1);
  if (!started) return;
  const { child, lines, folder } = started;
  const { pids, ...urls } = JSON.parse(lines[0] as string) as Record<string, string> & {
    pids: Record<string, number>;
  };
  assert.deepEqual(Object.keys(urls), ["DATABASE_URL", "MONGODB_URL", "REDIS_URL"]);
  await Promise.all(Object.values(urls).map(answers));
  for (const pid of Object.values(pids)) assert.ok(process.kill(pid, 0));
  child.stdin?.end();
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
  for (const pid of Object.values(pids)) assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
  assert.deepEqual(await readdir(folder), []);
});

test("Without arguments it prints settings for a shell, and SIGTERM ends all.", { timeout: START_MS }, async (t) => {
  const started = await start(t, [], 3);
  if (!started) return;
  const { child, lines, folder } = started;
  const names = lines.map((line) => line.split("=")[0]);
  assert.deepEqual(names, ["DATABASE_URL", "MONGODB_URL", "REDIS_URL"]);
  child.kill("SIGTERM");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
  assert.deepEqual(await readdir(folder), []);
});
