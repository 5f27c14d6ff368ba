/**
 * Open-loop HTTP load. autocannon's own rate is a burst at the start of each second; here requests are due evenly, go
 * out on whichever kept connection is free, and latency counts from the moment a request was due.
 */
import { connect, type Socket } from "node:net";
import { cpuSeconds } from "../usage.ts";
import { pause } from "./fleet.ts";
import type { Ask, Requested } from "./messages.ts";
import { ResponseReader } from "./response.ts";
import { Latencies } from "./timing.ts";

/** Requests that wait for a free connection; more and the server cannot keep up at all. */
const WAITING_MAX = 10_000;
const SETTLE_LIMIT_MS = 30_000;
const SETTLE_POLL_MS = 10;
/** As in `paced.ts`: the last of the time before a request is due is spent polling. */
const POLL_MS = 2;

/** One kept connection and the request it waits for. */
interface Line {
  readonly socket: Socket;
  dueAt: number;
}

class Asker {
  readonly latencies = new Latencies();
  answered = 0;
  failures = 0;
  failure: Error | undefined;
  readonly #request: Buffer;
  readonly #gapMs: number;
  readonly #free: Line[] = [];
  readonly #lines: Line[] = [];
  /** When the requests that wait for a connection were due, oldest first; `#head` is the next to go. */
  readonly #waiting: number[] = [];
  #head = 0;
  #next = 0;
  #on = true;

  constructor(wish: Ask) {
    this.#gapMs = 1_000 / wish.rate;
    this.#request = Buffer.from(
      `GET ${wish.path} HTTP/1.1\r\nHost: 127.0.0.1:${wish.port}\r\nAuthorization: Bearer ${wish.token}\r\n\r\n`,
      "latin1",
    );
  }

  /** Opens the connections. */
  async open(wish: Ask): Promise<void> {
    const opened = Array.from({ length: wish.connections }, async () => {
      const socket = connect({ host: "127.0.0.1", port: wish.port, noDelay: true });
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve).once("error", reject);
      });
      const line: Line = { socket, dueAt: 0 };
      const reader = new ResponseReader((status) => this.#take(line, status));
      socket.on("data", (bytes: Buffer) => {
        try {
          reader.take(bytes);
        } catch (error) {
          this.#fail(error instanceof Error ? error : new Error(String(error)));
        }
      });
      socket.on("error", (error) => this.#fail(error));
      socket.on("close", () => this.#fail(new Error("the server closed a kept connection")));
      this.#lines.push(line);
      this.#free.push(line);
    });
    await Promise.all(opened);
  }

  /** Begins to ask. */
  start(): void {
    this.#next = performance.now();
    this.#turn();
  }

  /** Asks nothing more, waits for what is out, and closes; answers how many were never answered. */
  async settle(): Promise<number> {
    this.#on = false;
    const missing = (): number => this.#waiting.length - this.#head + this.#lines.length - this.#free.length;
    const deadline = performance.now() + SETTLE_LIMIT_MS;
    while (missing() > 0 && this.failure === undefined && performance.now() < deadline) await pause(SETTLE_POLL_MS);
    const left = missing();
    for (const { socket } of this.#lines) socket.removeAllListeners("close").destroy();
    return left;
  }

  #fail(error: Error): void {
    this.failure ??= error;
    this.#on = false;
  }

  #take(line: Line, status: number): void {
    if (status >= 200 && status < 300) this.answered += 1;
    else this.failures += 1;
    this.latencies.add(performance.now() - line.dueAt);
    this.#free.push(line);
    this.#send();
  }

  #turn = (): void => {
    if (!this.#on) return;
    const now = performance.now();
    for (; this.#next <= now; this.#next += this.#gapMs) this.#waiting.push(this.#next);
    if (this.#waiting.length - this.#head > WAITING_MAX) return this.#fail(new Error("the server fell behind"));
    this.#send();
    const left = this.#next - performance.now();
    if (left > POLL_MS) setTimeout(this.#turn, left - POLL_MS);
    else setImmediate(this.#turn);
  };

  #send(): void {
    for (;;) {
      const dueAt = this.#waiting[this.#head];
      if (dueAt === undefined) {
        this.#waiting.length = 0;
        this.#head = 0;
        return;
      }
      const line = this.#free.pop();
      if (line === undefined) return;
      this.#head += 1;
      line.dueAt = dueAt;
      line.socket.write(this.#request);
    }
  }
}

/** Runs the load; rejects if a connection ends meanwhile, or if the server cannot keep up at all. */
export async function ask(wish: Ask): Promise<Requested> {
  const asker = new Asker(wish);
  await asker.open(wish);
  asker.start();
  await pause(wish.warmSeconds * 1_000);
  asker.latencies.clear();
  const [answered, failures, at] = [asker.answered, asker.failures, performance.now()];
  const [server, client] = [cpuSeconds(wish.serverPid), cpuSeconds(process.pid)];
  await pause(wish.seconds * 1_000);
  const [requests, failed] = [asker.answered - answered, asker.failures - failures];
  const seconds = (performance.now() - at) / 1_000;
  const [serverCpuSeconds, clientCpuSeconds] = [cpuSeconds(wish.serverPid) - server, cpuSeconds(process.pid) - client];
  const [p50Ms, p99Ms] = [asker.latencies.quantile(0.5), asker.latencies.quantile(0.99)];
  const left = await asker.settle();
  if (asker.failure !== undefined) throw asker.failure;
  return { seconds, requests, failures: failed + left, serverCpuSeconds, clientCpuSeconds, p50Ms, p99Ms };
}
