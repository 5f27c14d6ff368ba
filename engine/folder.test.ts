import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Host, thisHost } from "./folder.host.ts";
import { lockFolder } from "./folder.ts";

const base = await mkdtemp(join(tmpdir(), "confab-folder-"));
const children = new Set<ChildProcess>();
after(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(base, { recursive: true, force: true });
});
let made = 0;
const freshFolder = (): string => join(base, `${made++}`, "data");

/** A process that tries to lock the folder, says how that went, and holds the lock until its input ends. */
interface Starter {
  readonly child: ChildProcess;
  /** `held`, or the message of the refusal. */
  readonly answer: string;
}

async function start(folder: string): Promise<Starter> {
  const script = `
    import { lockFolder } from ${JSON.stringify(new URL("./folder.js", import.meta.url).href)};
    try {
      const lock = await lockFolder(${JSON.stringify(folder)});
      console.log("held");
      process.stdin.on("end", () => void lock.release()).resume();
    } catch (error) {
      console.log(error.message);
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  const [chunk] = await once(child.stdout, "data");
  return { child, answer: String(chunk).trim() };
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

/** This process as one of another container sees it. */
function elsewhere(pid: number): Host {
  const host = thisHost();
  return { ...host, self: { ...host.self, pid, world: "another", host: "elsewhere" } };
}

test("A missing folder is made for its owner alone, and can be locked again after a release.", async () => {
  const folder = freshFolder();
  for (let i = 0; i < 3; i++) {
    const lock = await lockFolder(folder);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    await lock.release();
    await lock.release();
  }
});

test("The same process is refused a second lock, by a sentence.", async () => {
  const folder = freshFolder();
  const lock = await lockFolder(folder);
  const message = `The data folder ${folder} is in use by this process (${process.pid}) already.`;
  await assert.rejects(lockFolder(folder), { message });
  await lock.release();
});

test("A second process is refused by a sentence that names the folder and the holder's pid.", async () => {
  const folder = freshFolder();
  const lock = await lockFolder(folder);
  const { answer } = await start(folder);
  assert.equal(answer, `The data folder ${folder} is in use by process ${process.pid}.`);
  await lock.release();
  const { child, answer: next } = await start(folder);
  assert.equal(next, "held");
  const exit = once(child, "exit");
  child.stdin?.end();
  assert.deepEqual(await exit, [0, null]);
});

test("Of many that start at once one gets the folder, and it is free at once when that one is killed.", async () => {
  const folder = freshFolder();
  for (let round = 0; round < 3; round++) {
    const starters = await Promise.all(Array.from({ length: 5 }, () => start(folder)));
    const holders = starters.filter(({ answer }) => answer === "held");
    assert.equal(holders.length, 1);
    const { child } = holders[0] as Starter;
    const sentence = `The data folder ${folder} is in use by process ${child.pid}.`;
    assert.equal(starters.filter(({ answer }) => answer === sentence).length, 4);
    await kill(child);
  }
  const lock = await lockFolder(folder);
  await lock.release();
});

const noStarts = process.platform === "linux" ? false : "the start of a process is known by /proc alone";
test("A holder whose pid another process has by now holds nothing.", { skip: noStarts }, async () => {
  const folder = freshFolder();
  const host = thisHost();
  // A holder with the pid of this process, from before this process started.
  const before: Host = { ...host, self: { ...host.self, started: "1" } };
  const gone = await lockFolder(folder, { host: before });
  const { answer, child } = await start(folder);
  assert.equal(answer, "held");
  await kill(child);
  await gone.release();
});

test("A holder of another world is refused while it renews, and its lock taken over when it has stopped.", async () => {
  const folder = freshFolder();
  const { child } = await start(folder);
  // It renews every 2 s, so it is seen to live long before 10 s have gone.
  const message = new RegExp(`in use by process ${child.pid} of another container or machine`);
  await assert.rejects(lockFolder(folder, { host: elsewhere(7) }), { message });
  await kill(child);
  const lock = await lockFolder(folder, { host: elsewhere(7), staleMs: 300 });
  await lock.release();
});

test("A holder whose lock was taken over is told so.", async () => {
  const folder = freshFolder();
  const script = `
    import { lockFolder } from ${JSON.stringify(new URL("./folder.js", import.meta.url).href)};
    await lockFolder(${JSON.stringify(folder)}, { beatMs: 400, onLost: () => { console.log("lost"); process.exit(3); } });
    console.log("held");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.add(child);
  await once(child.stdout, "data");
  const exit = once(child, "exit");
  child.kill("SIGSTOP");
  const lock = await lockFolder(folder, { host: elsewhere(7), staleMs: 600 });
  child.kill("SIGCONT");
  assert.deepEqual(await exit, [3, null]);
  children.delete(child);
  await lock.release();
});

test("A folder that cannot be used is refused by a sentence that says why.", async () => {
  const file = join(base, "file");
  await writeFile(file, "");
  await assert.rejects(lockFolder(file), { message: /^The data folder .*file cannot be used: it is a file\.$/ });
  await assert.rejects(lockFolder(join(file, "data")), { message: /cannot be used: .*ENOTDIR.*\.$/ });
  if (process.platform === "linux") {
    await assert.rejects(lockFolder("/proc/nowhere"), { message: /nowhere cannot be used: .*ENOENT.*\.$/ });
  }
});
