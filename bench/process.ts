/** Processes of a run: started on a core of their own, waited for, ended by their id, never left behind. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const START_LIMIT_MS = 20_000;
const START_POLL_MS = 50;
const END_LIMIT_MS = 12_000;
const OUTPUT_BYTES_KEPT = 4_096;

/** Core of every server, with all its threads. */
export const SERVER_CORE = 0;
/** Core of every load client. */
export const CLIENT_CORE = 1;

/** Whether processes can be pinned: two cores, and `taskset` there. Without it, figures are not comparable. */
export const canPin = availableParallelism() > 1 && spawnSync("taskset", ["-V"]).status === 0;

/** What to start: a script of the build (relative to the folder `dist`) under the Node that runs this, or a command. */
export type Start = ({ readonly script: string } | { readonly command: string }) & {
  readonly args?: readonly string[];
  readonly core: number;
  /** Options of Node itself, before the script. */
  readonly node?: readonly string[];
  /** Beyond PATH and HOME, which every process gets. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether it gets a message channel to its parent. */
  readonly channel?: boolean;
};

/** A process of ours. */
export class Running {
  readonly child: ChildProcess;
  /** Process id. `taskset` becomes the program it starts, so this is the program's. */
  readonly pid: number;
  #output = "";

  constructor(child: ChildProcess) {
    const keep = (words: Buffer | string): void => {
      this.#output = (this.#output + words.toString()).slice(-OUTPUT_BYTES_KEPT);
    };
    child.on("error", ({ message }) => keep(message));
    if (child.pid === undefined) throw new Error("a process could not be started");
    this.child = child;
    this.pid = child.pid;
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
  }

  /** The last it wrote, for the text of an error. */
  get output(): string {
    return this.#output;
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Ends it: SIGTERM, then SIGKILL if it does not go. */
  async end(): Promise<void> {
    if (this.ended) return;
    const gone = once(this.child, "exit");
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), END_LIMIT_MS);
    await gone;
    clearTimeout(timer);
  }
}

const running = new Set<Running>();
const folders = new Set<string>();
let forbidden: string | undefined;

/** From now on nothing is started, for this reason; undefined allows it again. */
export function forbid(reason: string | undefined): void {
  forbidden = reason;
}

/** Throws where nothing may be started any more. */
export function checkAllowed(): void {
  if (forbidden !== undefined) throw new Error(forbidden);
}

/** Starts a process on its core. */
export function start(wish: Start): Running {
  checkAllowed();
  const program =
    "command" in wish
      ? [wish.command]
      : [process.execPath, ...(wish.node ?? []), fileURLToPath(new URL(`../${wish.script}`, import.meta.url))];
  const command = [...program, ...(wish.args ?? [])];
  const pinned = canPin ? ["taskset", "-c", String(wish.core), ...command] : command;
  const child = spawn(pinned[0] ?? "", pinned.slice(1), {
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], NODE_ENV: "production", ...wish.env },
    stdio: ["ignore", "pipe", "pipe", ...(wish.channel === true ? (["ipc"] as const) : [])],
  });
  const started = new Running(child);
  running.add(started);
  child.once("exit", () => running.delete(started));
  return started;
}

/** Waits until something listens on the port; throws with the process's last words if it ends first or takes too long. */
export async function listening(server: Running, port: number, limitMs = START_LIMIT_MS): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!server.ended && performance.now() < deadline) {
    const socket = connect({ host: "127.0.0.1", port });
    const open = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, START_POLL_MS));
  }
  throw new Error(`a server did not listen; its last words: ${server.output.trim() || "none"}`);
}

/** A port of 127.0.0.1 that is free at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port could be had");
  return address.port;
}

/** A new empty folder, removed by `endAll`. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "confab-bench-"));
  folders.add(folder);
  return folder;
}

/**
 * Ends every process that was started and removes every folder that was made.
 * @param between - what is done once all have ended, while their folders are still there.
 */
export async function endAll(between?: () => unknown): Promise<void> {
  await Promise.all([...running].map((started) => started.end()));
  between?.();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

/** Ends all at once, when there is no time to wait: the bench itself ends. */
export function killAll(): void {
  for (const started of running) started.child.kill("SIGKILL");
  // What is being killed may still write for a moment.
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
}
