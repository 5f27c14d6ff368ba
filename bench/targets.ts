/** The servers under load: Confab as anyone starts it, and the bare server. */
import { randomBytes } from "node:crypto";
import { signToken } from "./client/frames.ts";
import type { Dialect } from "./client/messages.ts";
import { freePort, listening, type Running, SERVER_CORE, start, temporaryFolder } from "./process.ts";

const READY_LIMIT_MS = 20_000;
const READY_POLL_MS = 50;
const ROOMS_AT_ONCE = 16;
const BENCH_USER = "bench";

/** A running server. */
export interface Target {
  readonly name: "confab" | "bare";
  readonly dialect: Dialect;
  readonly port: number;
  readonly pid: number;
  /** Signs tokens; empty where there are none. */
  readonly secret: string;
  /** Makes public rooms and answers their ids. */
  readonly rooms: (count: number) => Promise<string[]>;
  readonly end: () => Promise<void>;
}

/** Starts Confab on its embedded stores in an empty folder; only the rate limit that any load would meet is off. */
export async function startConfab(): Promise<Target> {
  const port = await freePort();
  const secret = randomBytes(32).toString("hex");
  const server = start({
    script: "engine/main.js",
    core: SERVER_CORE,
    env: {
      PORT: String(port),
      HOST: "127.0.0.1",
      DATA_DIR: temporaryFolder(),
      JWT_SECRET: secret,
      LOG_LEVEL: "warn",
      LIMIT_SENDS_PER_SECOND: "0",
    },
  });
  await listening(server, port);
  await ready(server, port);
  const rooms = (count: number): Promise<string[]> => makeRooms(port, signToken(secret, BENCH_USER), count);
  return { name: "confab", dialect: "stomp", port, pid: server.pid, secret, rooms, end: () => server.end() };
}

/** Starts the bare server, which sends frames of these sizes; 0 answer bytes is no answer. */
export async function startBare(messageBytes: number, answerBytes: number): Promise<Target> {
  const port = await freePort();
  const args = [port, messageBytes, answerBytes].map(String);
  const server = start({ script: "bench/peers/bare.js", core: SERVER_CORE, args });
  await listening(server, port);
  const rooms = (count: number): Promise<string[]> =>
    Promise.resolve(Array.from({ length: count }, (_, i) => `room${i}`));
  return { name: "bare", dialect: "bare", port, pid: server.pid, secret: "", rooms, end: () => server.end() };
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
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const response = await fetch(`http://127.0.0.1:${port}/api/rooms`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ name: `bench ${i}`, type: "public" }),
      });
      const answer = (await response.json()) as { id?: unknown };
      if (response.status !== 201 || typeof answer.id !== "string") {
        throw new Error(`a room was refused with ${response.status}: ${JSON.stringify(answer)}`);
      }
      ids[i] = answer.id;
    }
  };
  await Promise.all(Array.from({ length: Math.min(ROOMS_AT_ONCE, count) }, worker));
  return ids;
}
