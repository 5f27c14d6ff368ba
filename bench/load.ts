/** The bench's end of a load client: sends commands, awaits answers. */
import type { Answers, Command, Envelope, Reply } from "./client/messages.ts";
import { CLIENT_CORE, type Running, start } from "./process.ts";

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
}

/** A load client in a process of its own, on a core of its own. */
export class LoadClient {
  readonly #process: Running;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  constructor() {
    this.#process = start({ script: "bench/client/main.js", core: CLIENT_CORE, channel: true });
    this.#process.child.on("message", (reply: Reply) => this.#settle(reply));
    this.#process.child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`the load client ended; its last words: ${this.#process.output.trim() || "none"}`));
      }
      this.#waiting.clear();
    });
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Runs one command; rejects with what the load client says went wrong. */
  run<C extends Command>(command: C): Promise<Answers[C["kind"]]> {
    const envelope: Envelope = { id: this.#next++, command };
    return new Promise((resolve, reject) => {
      this.#waiting.set(envelope.id, { resolve, reject });
      this.#process.child.send(envelope);
    });
  }

  /** Ends the process and with it every connection. */
  end(): Promise<void> {
    return this.#process.end();
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (waiting === undefined) return;
    if ("failure" in reply) waiting.reject(new Error(reply.failure));
    else waiting.resolve(reply.answer as never);
  }
}
