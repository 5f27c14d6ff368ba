/** For tests: the app over a whole node with in-memory backends, and callers with tokens. */
import { randomUUID } from "node:crypto";
import type { FastifyInstance, InjectOptions } from "fastify";
import pino from "pino";
import { MemoryArchive } from "../actors/archive.memory.ts";
import { MemoryHub } from "../actors/bus.memory.ts";
import type { Administration, Chat, NodePageOf } from "../actors/chat.ts";
import type { Clock, Timer } from "../actors/clock.ts";
import { Refusal } from "../actors/codes.ts";
import type { Claims, TokenVerifier } from "../actors/identity.ts";
import { MemoryLeases, MemoryLeaseTable } from "../actors/leases.memory.ts";
import { LIMITS } from "../actors/limits.ts";
import type { Fanout } from "../actors/link.ts";
import { SILENT } from "../actors/log.ts";
import { ChatService } from "../actors/messages.ts";
import { Node } from "../actors/node.ts";
import { GENERAL } from "../actors/service.ts";
import { type AppDeps, buildApp } from "./app.ts";

/** Shards of a test's node: few, so that it starts at once. */
const SHARDS = 4;

/** Real time, whose timers end with the test. */
class TestTime implements Clock {
  readonly #timers = new Set<NodeJS.Timeout>();

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  after(delayMs: number, task: () => void): Timer {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      task();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }

  cancel(timer: Timer): void {
    this.#timers.delete(timer as NodeJS.Timeout);
    clearTimeout(timer as NodeJS.Timeout);
  }

  endOfTurn(task: () => void): void {
    setImmediate(task);
  }

  /** Forgets all timers. */
  end(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

/** An edge without sockets: nobody listens. */
const NOBODY: Fanout = Object.freeze({ entries: () => 0, signals() {}, notice() {}, hasQueue: () => false });

/** Tokens are the user's id, with groups after commas; `expired` and `bad` are refused. */
export const verifier: TokenVerifier = Object.freeze({
  verify(token: string): Claims {
    if (token === "expired") throw new Refusal("token-expired");
    if (token === "bad") throw new Refusal("token-bad");
    const [sub = "", ...groups] = token.split(",");
    return { sub, name: sub.toUpperCase(), groups, jti: undefined, sid: undefined, issuedAtMs: 0, expiresAtMs: 9e15 };
  },
});

/** A node's view for administrators, of fixed content; keeps what it was told. */
export class AdministrationSample implements Administration {
  readonly revoked: (readonly [string, string | undefined])[] = [];

  async revoke(user: string, token: string | undefined): Promise<void> {
    this.revoked.push([user, token]);
  }

  async closeConnection(id: string): Promise<boolean> {
    return id === "c1";
  }

  async connections(page: NodePageOf) {
    if (page.node !== undefined && page.node !== "n1") throw new Refusal("not-found", "No such node lives.");
    const ids = ["c1", "c2"].filter((id) => id > (page.cursor ?? ""));
    const view = { node: "n1", user: "alice", address: "127.0.0.1", connectedAt: 0, subscriptions: 1 };
    const items = ids.slice(0, page.limit).map((id) => ({ id, ...view }));
    return { items, next: ids.length > page.limit ? items.at(-1)?.id : undefined };
  }

  shards() {
    const nobody = { shard: 1, owner: undefined, term: 0, state: "free", rooms: 0 };
    return { items: [{ shard: 0, owner: "n1", term: 1, state: "owning", rooms: 1 }, nobody], moves: 1 };
  }

  nodes() {
    return [{ node: "n1", here: true, draining: false, since: 0, connections: 2, shards: 1 }];
  }

  async rooms() {
    const items = [{ id: "general", node: "n1", headOffset: 1, storedOffset: 1, present: 0, subscriptions: 0 }];
    return { items, next: undefined };
  }
}

/** A chat engine in memory, started, with the room `general`. */
export async function startChat(): Promise<{ chat: Chat; stop(): Promise<void> }> {
  const time = new TestTime();
  const archive = new MemoryArchive();
  await archive.createRoom(GENERAL);
  const node = new Node({
    name: "test",
    archive,
    bus: new MemoryHub(SHARDS, LIMITS).connect(),
    leases: new MemoryLeases(new MemoryLeaseTable(), time, "test"),
    fanout: NOBODY,
    clock: time,
    limits: LIMITS,
    log: SILENT,
    random: Math.random,
    verify: verifier.verify,
    nameOf: async () => undefined,
    shards: SHARDS,
    refuseWhileFailing: true,
  });
  await node.start();
  const stop = async () => {
    await node.stop();
    time.end();
  };
  return { chat: new ChatService(node, randomUUID), stop };
}

/** One line of the log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** An app under test. */
export interface TestApp {
  readonly app: FastifyInstance;
  /** What was logged, oldest first. */
  readonly lines: LogLine[];
  /** A request of a user, by token; answers status, headers and JSON. */
  ask(token: string | undefined, method: string, url: string, body?: unknown): Promise<Answer>;
}

/** What came back. `json` is whatever it is: tests look at what they expect. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads answers freely; a wrong guess fails it.
  readonly json: any;
}

/** The app over a chat, with what a test changes. */
export async function startApp(chat: Chat, changes: Partial<AppDeps> = {}): Promise<TestApp> {
  const lines: LogLine[] = [];
  const app = await buildApp({
    chat,
    administration: new AdministrationSample(),
    verifier,
    isDeleted: async (user) => user === "deleted",
    adminGroup: "operators",
    plugins: [],
    pageFolder: undefined,
    allowedOrigins: [],
    trustProxy: false,
    bodyLimit: LIMITS.bodyBytes,
    logger: pino({ level: "debug" }, { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) }),
    health: { live: () => true, ready: () => ({ status: "ok" }) },
    metrics: async () => ({ contentType: "text/plain; version=0.0.4", body: "up 1\n" }),
    ...changes,
  });
  const ask = async (token: string | undefined, method: string, url: string, body?: unknown): Promise<Answer> => {
    const options = { method, url } as InjectOptions;
    if (token !== undefined) options.headers = { authorization: `Bearer ${token}` };
    if (body !== undefined) options.payload = body as object;
    const { statusCode, headers, body: text } = await app.inject(options);
    const json = String(headers["content-type"]).includes("json") ? JSON.parse(text) : undefined;
    return { status: statusCode, headers, text, json };
  };
  return { app, lines, ask };
}
