/**
 * Runs the real server as a child process, for drills and for tests of the whole process. Knows of the
 * server only what a user knows: the command line, the environment, the printed line and the wire.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { sparePort } from "../ports.ts";

/** The built server, beside this built file. */
const MAIN = fileURLToPath(new URL("../../engine/main.js", import.meta.url));

/** Lines of output kept per server; older ones are dropped. */
const LINES_KEPT = 5_000;

/** Of those, shown when a start fails. */
const LINES_SHOWN = 20;

/** The secret that tests and drills sign their own tokens with. */
export const SECRET = "a-secret-for-tests-and-drills-of-32-bytes-and-more";

/** How to start a server. */
export interface ServerOptions {
  /** Settings beyond the defaults of tests; they win. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** An existing data folder; without it a new one is made and removed by `remove()`. */
  readonly dataDir?: string | undefined;
  /** A fixed port; without it any free one. */
  readonly port?: number | undefined;
  /** How long the start may take, ms. */
  readonly startTimeoutMs?: number | undefined;
}

/** The same with its place, which a restart keeps. */
type ServerPlace = ServerOptions & { readonly dataDir: string; readonly port: number };

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Rejects with a full sentence when `promise` has not settled within `timeoutMs`. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${timeoutMs} ms.`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Asks again until the answer is not undefined: for conditions that announce themselves by no event. An answer may
 * take as long as it likes; how long they took is told with the failure, as a question that hangs is no answer.
 */
export async function eventually<T>(ask: () => Promise<T | undefined>, timeoutMs: number, what: string): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let longestMs = 0;
  for (let asked = 1; ; asked++) {
    const askedAtMs = performance.now();
    const answer = await ask();
    if (answer !== undefined) return answer;
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - askedAtMs);
    if (nowMs > deadline) {
      const how = `asked ${asked} times, the longest answer took ${Math.round(longestMs)} ms`;
      throw new Error(`${what} did not happen within ${timeoutMs} ms (${how}).`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A server process, from its spawning to its end. */
export class Server {
  readonly dataDir: string;
  /** Ends when the process has ended. */
  readonly exited: Promise<Exit>;
  /** Lines of stdout and stderr, the newest `LINES_KEPT`. */
  readonly lines: string[] = [];
  /** ms from spawning to the line that says where to open it; NaN before. */
  startMs = Number.NaN;
  readonly port: number;
  readonly #options: ServerPlace;
  readonly #child: ChildProcess;
  readonly #ready: Promise<void>;
  #successor: Server | undefined;

  constructor(options: ServerPlace) {
    this.dataDir = options.dataDir;
    this.port = options.port;
    this.#options = options;
    const env = {
      HOST: "127.0.0.1",
      PORT: String(options.port),
      DATA_DIR: options.dataDir,
      BCRYPT_COST: "4",
      LOG_LEVEL: "info",
      JWT_SECRET: SECRET,
      UWS_HTTP_MAX_HEADERS_SIZE: "16384",
      ...options.env,
    };
    const startedAt = performance.now();
    const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.exited = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ code, signal }));
    });
    this.#ready = new Promise((resolve) => {
      for (const stream of [child.stdout, child.stderr]) {
        if (!stream) continue;
        createInterface({ input: stream }).on("line", (line) => {
          this.lines.push(line);
          if (this.lines.length > LINES_KEPT) this.lines.shift();
          if (!line.includes(`${this.url}/`)) return;
          this.startMs = performance.now() - startedAt;
          resolve();
        });
      }
    });
  }

  /** How its process ended; undefined while it lives. */
  get ended(): Exit | undefined {
    const { exitCode: code, signalCode: signal } = this.#child;
    return code === null && signal === null ? undefined : { code, signal };
  }

  /** Of the page and REST, without a slash at the end. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${this.port}/ws/chat`;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The newest process at its place: this one, or the last that was restarted from it. */
  get newest(): Server {
    return this.#successor?.newest ?? this;
  }

  /** What this process wrote, and those restarted from it, in turn: the newest lines of each. */
  get lives(): readonly (readonly string[])[] {
    return [this.lines, ...(this.#successor?.lives ?? [])];
  }

  /** Resolves when the server listens; rejects with its output when it ends instead. */
  async ready(): Promise<this> {
    const early = this.exited.then((exit) => {
      throw new Error(`The server ended at its start (${exit.code ?? exit.signal}).`);
    });
    const timeoutMs = this.#options.startTimeoutMs ?? 20_000;
    await within(Promise.race([this.#ready, early]), timeoutMs, "The start of the server").catch((error: Error) => {
      throw new Error(`${error.message}\n${this.lines.slice(-LINES_SHOWN).join("\n")}`);
    });
    early.catch(() => undefined);
    return this;
  }

  /** Sends the signal (SIGTERM unless told) and waits for the end; after `withinMs` it is killed and this rejects. */
  async stop(signal: NodeJS.Signals = "SIGTERM", withinMs = 15_000): Promise<Exit> {
    this.#child.kill(signal);
    try {
      return await within(this.exited, withinMs, `The end of the server after ${signal}`);
    } catch (error) {
      this.#child.kill("SIGKILL");
      throw error;
    }
  }

  /** SIGKILL, at once. */
  async kill(): Promise<Exit> {
    return this.stop("SIGKILL");
  }

  /** SIGSTOP: its connections stay open and nothing moves until `resume()`. */
  pause(): void {
    this.#child.kill("SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    this.#child.kill("SIGCONT");
  }

  /** A new process on the same data folder and port, not yet ready; this one must have ended. */
  restart(env?: Readonly<Record<string, string>>): Server {
    this.#successor = new Server({ ...this.#options, env: { ...this.#options.env, ...env } });
    return this.#successor;
  }

  /** Ends the process and those restarted from it, if they live, and removes the data folder. */
  async remove(): Promise<void> {
    await this.#successor?.remove();
    if (!this.ended) await this.kill();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** Resident memory of its own, bytes: without the mapped files of the stores, which the system takes back. */
  async ownBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, "utf8");
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1_024;
  }
}

/** Spawns a server and does not wait for it: for starts that must fail. */
export async function spawnServer(options: ServerOptions = {}): Promise<Server> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "confab-")));
  return new Server({ ...options, dataDir, port: options.port ?? (await sparePort()) });
}

/** Spawns a server and waits until it listens. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const server = await spawnServer(options);
  try {
    return await server.ready();
  } catch (error) {
    if (options.dataDir === undefined) await server.remove();
    throw error;
  }
}

/** Claims of a token to sign; `exp` (seconds since 1970) is in an hour unless told. */
export interface TokenClaims {
  readonly sub?: string;
  readonly name?: string;
  readonly groups?: readonly string[];
  readonly jti?: string;
  readonly iat?: number;
  readonly exp?: number;
  readonly [claim: string]: unknown;
}

const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A JSON Web Token signed by HMAC (HS256 unless told; `none` has no signature) [RFC 7515]. */
export function signToken(claims: TokenClaims, how: { secret?: string; alg?: string } = {}): string {
  const alg = how.alg ?? "HS256";
  const nowS = Math.floor(Date.now() / 1_000);
  const content = `${base64url({ alg, typ: "JWT" })}.${base64url({ iat: nowS, exp: nowS + 3_600, ...claims })}`;
  if (alg === "none") return `${content}.`;
  const hash = `sha${alg.slice(2)}`;
  return `${content}.${createHmac(hash, how.secret ?? SECRET)
    .update(content)
    .digest("base64url")}`;
}

/** A token for a user of this id. */
export function tokenFor(id: string): string {
  return signToken({ sub: id, name: `Name of ${id}` });
}

/** An answer of the REST API. */
export interface Answer<T> {
  readonly status: number;
  readonly body: T;
  readonly headers: Headers;
}

/** One REST call. `T` is the shape the caller expects of the JSON; an empty answer is undefined. */
export async function call<T = unknown>(
  server: { readonly url: string },
  request: string,
  options: { token?: string; body?: unknown } = {},
): Promise<Answer<T>> {
  const [method, path] = request.split(" ") as [string, string];
  const headers: Record<string, string> = {};
  if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers,
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  const json = text !== "" && /json/.test(response.headers.get("content-type") ?? "");
  return {
    status: response.status,
    body: (json ? JSON.parse(text) : text || undefined) as T,
    headers: response.headers,
  };
}

/** The same, and an error with the whole answer unless the status is 2xx. */
export async function must<T = unknown>(
  server: { readonly url: string },
  request: string,
  options: { token?: string; body?: unknown } = {},
): Promise<T> {
  const answer = await call<T>(server, request, options);
  if (answer.status >= 300) throw new Error(`${request}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** What login answers. */
export interface Session {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresIn: number;
  readonly user: { readonly id: string; readonly name: string; readonly email: string };
}

/** Signs up an account `name@example.org` and logs it in. */
export async function signUp(server: Server, name: string): Promise<Session> {
  const body = { email: `${name.toLowerCase()}@example.org`, password: `a long password of ${name}` };
  await must(server, "POST /api/auth/signup", { body: { ...body, name } });
  return must<Session>(server, "POST /api/auth/login", { body });
}

/** An item of a room's history. */
export interface HistoryItem {
  readonly id: string;
  readonly event: string;
  readonly room: string;
  readonly offset: number;
  readonly term: number;
  readonly count: number;
  readonly sender: string;
  readonly senderName: string;
  readonly at: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly bodyBase64?: string;
  readonly clientMessageId?: string;
}

/** A page of a room's history. */
export interface HistoryPage {
  readonly items: readonly HistoryItem[];
  readonly next?: string;
  readonly storedOffset: number;
}

/** All of a room's history, page by page in rising order. */
export async function wholeHistory(server: Server, token: string, room: string): Promise<HistoryItem[]> {
  const items: HistoryItem[] = [];
  for (;;) {
    const after = items.at(-1)?.offset ?? 0;
    const path = `/api/rooms/${room}/messages?after=${after}&limit=200`;
    const page = await must<HistoryPage>(server, `GET ${path}`, { token });
    items.push(...page.items);
    if (page.items.length < 200) return items;
  }
}

/** A room made over REST, with a name unless it is direct; answers its id. */
export async function makeRoom(
  server: Server,
  token: string,
  room: { name?: string; type: "public" | "private" | "direct"; members?: readonly string[] },
): Promise<string> {
  return (await must<{ id: string }>(server, "POST /api/rooms", { token, body: room })).id;
}
