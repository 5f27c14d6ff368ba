/**
 * A store's server as a child process of a test, a drill or a bench: on 127.0.0.1 and a spare port, with its
 * data in a temporary folder, ended by its own process id.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sparePort } from "../ports.ts";

/** A store's server can not be had on this machine; the message says why, for a skipped test. */
export class StoreMissing extends Error {
  constructor(sentence: string) {
    super(sentence);
    this.name = "StoreMissing";
  }
}

/** How one kind of server is run. */
export interface StoreRecipe {
  /** For messages and the name of the folder. */
  readonly name: string;
  /** Prepares the folder before the first start. */
  readonly prepare?: (place: StorePlace) => Promise<void>;
  /** The command line of a start, with what its environment has beyond ours. */
  readonly command: (place: StorePlace) => {
    readonly file: string;
    readonly args: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    /** Numeric user and group to run as; ours when left out. */
    readonly user?: { readonly uid: number; readonly gid: number };
  };
  /** Resolves once a server that accepts connections also answers; rejects when it does not yet. */
  readonly answers?: (place: StorePlace) => Promise<void>;
  readonly url: (place: StorePlace) => string;
  /** The signal that ends it in order; SIGTERM when left out. */
  readonly stopSignal?: NodeJS.Signals;
  /** The signal that ends it for good, when its data is not needed any more; SIGKILL when left out. */
  readonly closeSignal?: NodeJS.Signals;
}

/** Where a server runs. A restart keeps it. */
export interface StorePlace {
  readonly folder: string;
  readonly port: number;
}

/** How long a start or an end may take, ms. */
const START_MS = 30_000;
const STOP_MS = 15_000;
/** Lines of output kept for the message of a failed start. */
const LINES_KEPT = 50;

/** A store's server, which drills may kill, pause and start again at the same place. */
export interface StoreServer {
  readonly place: StorePlace;
  readonly url: string;
  readonly running: boolean;
  /** Process id while it runs. */
  readonly pid: number | undefined;
  /** Starts it at its place; resolves when it answers. */
  start(): Promise<void>;
  /** Ends it in order. */
  stop(): Promise<void>;
  /** SIGKILL: what was not on disk is lost. */
  kill(): Promise<void>;
  /** Connections stay open and nothing is answered. */
  pause(): void;
  resume(): void;
  /** Ends it at once and removes its folder. */
  close(): Promise<void>;
}

/** A server that is a process of this machine. */
export class ProcessServer implements StoreServer {
  readonly place: StorePlace;
  readonly url: string;
  readonly #recipe: StoreRecipe;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #lines: string[] = [];

  private constructor(recipe: StoreRecipe, place: StorePlace) {
    this.#recipe = recipe;
    this.place = place;
    this.url = recipe.url(place);
  }

  /** Makes a folder, starts a server in it and resolves when it answers. */
  static async open(recipe: StoreRecipe): Promise<StoreServer> {
    const server = new ProcessServer(recipe, await newPlace(recipe.name));
    try {
      await recipe.prepare?.(server.place);
      await server.start();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    const { file, args, env, user } = this.#recipe.command(this.place);
    this.#lines = [];
    const child = spawn(file, args, {
      cwd: this.place.folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
      ...user,
    });
    this.#child = child;
    let over: string | undefined;
    this.#exited = new Promise((resolve) => {
      const end = (why: string): void => {
        over = why;
        if (this.#child === child) this.#child = undefined;
        resolve();
      };
      child.once("exit", (code, signal) => end(`ended with ${signal ?? code}`));
      child.once("error", (error) => end(error.message));
    });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => this.#keep(bytes));
    const deadline = performance.now() + START_MS;
    while (!(await isUp(this.#recipe, this.place))) {
      if (over !== undefined || performance.now() > deadline) {
        await this.kill();
        const why = over ?? `did not answer within ${START_MS} ms`;
        throw new Error(`${this.#recipe.name} ${why}: ${this.#lines.join("").trim()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  #keep(bytes: Buffer): void {
    this.#lines.push(bytes.toString());
    if (this.#lines.length > LINES_KEPT) this.#lines.shift();
  }

  async stop(): Promise<void> {
    await this.#end(this.#recipe.stopSignal ?? "SIGTERM");
  }

  /** Processes that it started itself end with it. */
  async kill(): Promise<void> {
    const started = this.#started();
    await this.#end("SIGKILL");
    for (const pid of started) send(pid, "SIGKILL");
  }

  /** SIGSTOP, to processes that it started too. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
    for (const pid of this.#started()) send(pid, "SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    for (const pid of this.#started()) send(pid, "SIGCONT");
    this.#child?.kill("SIGCONT");
  }

  /** Ids of the processes that the server has started: PostgreSQL has one for each connection. */
  #started(): number[] {
    const pid = this.#child?.pid;
    if (pid === undefined) return [];
    try {
      const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
      return text
        .split(" ")
        .map(Number)
        .filter((child) => child > 0);
    } catch {
      return [];
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child) return this.#exited;
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  async close(): Promise<void> {
    this.resume();
    if (this.#recipe.closeSignal === undefined) await this.kill();
    else await this.#end(this.#recipe.closeSignal);
    await rm(this.place.folder, { recursive: true, force: true });
  }
}

/** Signals a process that may have ended meanwhile. */
function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A folder and a port for a new server. */
export async function newPlace(name: string): Promise<StorePlace> {
  const port = await sparePort();
  return { folder: await mkdtemp(join(tmpdir(), `confab-${name}-`)), port };
}

/** Whether the server at a place takes connections and answers. */
export async function isUp({ answers }: Pick<StoreRecipe, "answers">, place: StorePlace): Promise<boolean> {
  if (!(await accepts(place.port))) return false;
  try {
    await answers?.(place);
    return true;
  } catch {
    return false;
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const answer = (up: boolean) => (): void => {
      socket.destroy();
      resolve(up);
    };
    socket.once("connect", answer(true)).once("error", answer(false));
  });
}
