/** The servers under load: Confab as anyone starts it, and the bare server. */
import { randomBytes } from "node:crypto";
import { signToken } from "./client/frames.ts";
import type { Dialect } from "./client/messages.ts";
import { freePort, listening, type Running, SERVER_CORE, start, temporaryFolder } from "./process.ts";

const READY_LIMIT_MS = 20_000;
const READY_POLL_MS = 50;
const REQUESTS_AT_ONCE = 16;
const BENCH_USER = "bench";
const SEED_BODY_BYTES = 128;

/** Where CPU profiles of Confab go, and how many of them there are. */
const profiling: { folder: string | undefined; count: number } = { folder: undefined, count: 0 };

/** From now on every Confab that is started writes a CPU profile into this folder when it ends; undefined stops that. */
export function profileInto(folder: string | undefined): void {
  profiling.folder = folder;
  profiling.count = 0;
}

/** Options of Node for the next Confab. */
function profileOptions(): string[] {
  const { folder } = profiling;
  if (folder === undefined) return [];
  profiling.count += 1;
  const hook = new URL("./profile.hook.js", import.meta.url).href;
  const name = `--cpu-prof-name=${profiling.count}.cpuprofile`;
  return ["--cpu-prof", `--cpu-prof-dir=${folder}`, name, "--import", hook];
}

/** A running server. */
export interface Target {
  /** `confab`, `bare`, or what a peer is called. */
  readonly name: string;
  readonly dialect: Dialect;
  readonly port: number;
  readonly pid: number;
  /** Signs tokens; empty where there are none. */
  readonly secret: string;
  /** Makes public rooms and answers their ids. */
  readonly rooms: (count: number) => Promise<string[]>;
  readonly end: () => Promise<void>;
}

/**
 * Starts Confab on its embedded stores in an empty folder; only the rate limit that any load would meet is off.
 * @param limits - further settings, where a load would meet another limit or the stores are others; tokens are signed
 *   with `JWT_SECRET` where it is among them.
 */
export async function startConfab(limits: Readonly<Record<string, string>> = {}): Promise<Target> {
  const port = await freePort();
  const secret = limits["JWT_SECRET"] ?? randomBytes(32).toString("hex");
  const server = start({
    script: "engine/main.js",
    core: SERVER_CORE,
    node: profileOptions(),
    env: {
      PORT: String(port),
      HOST: "127.0.0.1",
      DATA_DIR: temporaryFolder(),
      JWT_SECRET: secret,
      LOG_LEVEL: "warn",
      UWS_HTTP_MAX_HEADERS_SIZE: "16384",
      LIMIT_SENDS_PER_SECOND: "0",
      LIMIT_CONNECTS_PER_SECOND: "0",
      ...limits,
    },
  });
  await listening(server, port);
  await ready(server, port);
  const rooms = (count: number): Promise<string[]> => makeRooms(port, signToken(secret, BENCH_USER), count);
  return { name: "confab", dialect: "stomp", port, pid: server.pid, secret, rooms, end: () => server.end() };
}

/** A server without accounts. */
interface Plain {
  readonly name: string;
  readonly script: string;
  readonly dialect?: Dialect;
  /** After the port. */
  readonly args?: readonly number[];
}

/** Starts one; its rooms are what one calls them. */
async function startPlain({ name, script, dialect = "bare", args = [] }: Plain): Promise<Target> {
  const port = await freePort();
  const server = start({ script, core: SERVER_CORE, args: [port, ...args].map(String) });
  await listening(server, port);
  const rooms = (count: number): Promise<string[]> =>
    Promise.resolve(Array.from({ length: count }, (_, i) => `room${i}`));
  return { name, dialect, port, pid: server.pid, secret: "", rooms, end: () => server.end() };
}

/** Starts the bare server, which sends frames of these sizes; 0 answer bytes is no answer. */
export function startBare(messageBytes: number, answerBytes: number): Promise<Target> {
  return startPlain({ name: "bare", script: "bench/peers/bare.js", args: [messageBytes, answerBytes] });
}

/** Starts the server that answers CONNECT and SUBSCRIBE with constants. */
export function startFloor(): Promise<Target> {
  return startPlain({ name: "floor", script: "bench/peers/floor.js", dialect: "stomp" });
}

/** Starts plain fastify on node:http. */
export function startFastify(): Promise<Target> {
  return startPlain({ name: "fastify", script: "bench/peers/fastify.js" });
}

async function ready(server: Running, port: number): Promise<void> {
  const deadline = performance.now() + READY_LIMIT_MS;
  while (!server.ended && performance.now() < deadline) {
    const response = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok === true) return;
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
  throw new Error(`Confab did not become ready; its last words: ${server.output.trim() || "none"}`);
}

async function makeRooms(port: number, token: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  await atOnce(count, async (i) => {
    const answer = await post({ port, token, path: "/api/rooms", body: { name: `bench ${i}`, type: "public" } });
    if (typeof answer.id !== "string") throw new Error(`a room has no id: ${JSON.stringify(answer)}`);
    ids[i] = answer.id;
  });
  return ids;
}

/** A POST to Confab that must be answered with 201. */
export interface Post {
  readonly port: number;
  /** Empty for none. */
  readonly token: string;
  readonly path: string;
  readonly body: object;
}

/** Posts and answers what came back; throws with the answer if it was refused. */
export async function post({ port, token, path, body }: Post): Promise<Readonly<Record<string, unknown>>> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token === "" ? {} : { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Readonly<Record<string, unknown>>;
  if (response.status !== 201)
    throw new Error(`${path} was answered with ${response.status}: ${JSON.stringify(answer)}`);
  return answer;
}

/** Runs `count` jobs, some at once. */
export async function atOnce(count: number, job: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) await job(i);
  };
  await Promise.all(Array.from({ length: Math.min(REQUESTS_AT_ONCE, count) }, worker));
}

/** Posts so many messages to a room over REST, all stored when it is over; answers the position of the last. */
export async function seed(target: Target, room: string, count: number): Promise<{ offset: number; term: number }> {
  let [offset, term] = [0, 0];
  const token = signToken(target.secret, BENCH_USER);
  const body = { body: "x".repeat(SEED_BODY_BYTES), contentType: "text/plain" };
  await atOnce(count, async () => {
    const entry = await post({ port: target.port, token, path: `/api/rooms/${room}/messages`, body });
    if (Number(entry.offset) > offset) [offset, term] = [Number(entry.offset), Number(entry.term)];
  });
  return { offset, term };
}
