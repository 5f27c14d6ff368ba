/**
 * Asking another node for something, over a wire that may lose every word: a call is said again under the same
 * id until it is answered, and what it did is remembered by the other side, so that it does it once.
 *
 *   ask → call ──→ serve          call again after 300 ms, the same id
 *       ← result, refusal, astray ←
 */
import type { Bus } from "./bus.ts";
import type { Clock, Timer } from "./clock.ts";
import { Refusal, StoreFailure } from "./codes.ts";
import type { Log } from "./log.ts";
import type { Word } from "./words.ts";

/** The node that was asked does not own the room: another does, or nobody yet. */
export class Astray extends Error {
  constructor() {
    super("The room is owned by another node.");
    this.name = "Astray";
  }
}

/** No answer came: the node is gone, or silent for too long. What was asked may or may not have happened. */
export class Unanswered extends Error {
  constructor(node: string, method: string) {
    super(`The node ${node} did not answer ${method}.`);
    this.name = "Unanswered";
  }
}

/** What a node does when it is asked. Arguments and values are plain data: no classes, no maps. */
export interface Serving {
  /** Throws `Refusal` for the caller, `Astray` when it is not for this node; anything else is a fault of ours. */
  serve(from: string, method: string, args: readonly unknown[]): Promise<unknown>;
  /** Whether doing it again has the same effect and the same answer: then what it answered is not kept. */
  safe(method: string): boolean;
}

/** What the calls of a node need of it. */
export interface CallsHost extends Serving {
  readonly name: string;
  readonly bus: Pick<Bus, "tell">;
  readonly clock: Clock;
  readonly log: Log;
}

/** The words of calls. */
export type CallWord = Extract<Word, { kind: "call" | "result" | "refusal" | "astray" }>;

/** Pause before a call that is not answered is said again, ms. */
const AGAIN_MS = 300;
/** How long an answer is waited for unless the caller says otherwise, ms. */
export const ANSWER_MS = 5_000;
/** Most calls that wait for an answer; a further one is refused with `busy`. */
export const OPEN_MOST = 20_000;
/** How long it is remembered what a call did, ms: longer than any caller repeats it. */
const REMEMBER_MS = 15_000;
/** Most calls remembered, and under way; a further one is refused with `busy`, with nothing done. */
export const SERVED_MOST = 20_000;

interface Open {
  readonly node: string;
  readonly call: Extract<Word, { kind: "call" }>;
  /** Monotonic ms. */
  readonly untilMs: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  timer: Timer;
}

interface Served {
  readonly answer: Promise<CallWord>;
  readonly atMs: number;
}

/** Counts of calls, only ever raised. */
export interface CallCounts {
  /** Asked of other nodes. */
  asked: number;
  /** Said again for want of an answer. */
  repeated: number;
  /** Given up: the node gone, or silent. */
  unanswered: number;
  /** Done for other nodes. */
  served: number;
  /** Heard again, and answered with what the first one did. */
  remembered: number;
  /** Refused at a bound, here or for another node. */
  busy: number;
}

/** The calls of one node, both ways. */
export class Calls {
  readonly #host: CallsHost;
  readonly #open = new Map<number, Open>();
  /** By caller and id, oldest first. */
  readonly #served = new Map<string, Served>();
  /** Above what an earlier process of this name used: its calls may be remembered. */
  #lastId: number;
  readonly counts: CallCounts = { asked: 0, repeated: 0, unanswered: 0, served: 0, remembered: 0, busy: 0 };

  constructor(host: CallsHost) {
    this.#host = host;
    this.#lastId = host.clock.now() * 1_000;
  }

  /** Calls that wait for an answer. */
  get open(): number {
    return this.#open.size;
  }

  /** Calls under way for others, or remembered. */
  get served(): number {
    return this.#served.size;
  }

  /**
   * Asks a node, this one too, which then asks itself without the bus. Rejects with the other side's `Refusal`,
   * with `Astray`, with `Unanswered`, or with a `Refusal` `busy` beyond the bound.
   */
  ask(node: string, method: string, args: readonly unknown[], withinMs = ANSWER_MS): Promise<unknown> {
    if (node === this.#host.name) return this.#askHere(method, args);
    if (this.#open.size >= OPEN_MOST) return Promise.reject(this.#busy());
    this.counts.asked++;
    const call = { kind: "call", id: ++this.#lastId, method, args } as const;
    const { clock, bus } = this.#host;
    return new Promise((resolve, reject) => {
      const untilMs = clock.monotonic() + withinMs;
      const timer = clock.after(Math.min(AGAIN_MS, withinMs), () => this.#again(call.id));
      this.#open.set(call.id, { node, call, untilMs, resolve, reject, timer });
      bus.tell(node, call);
    });
  }

  async #askHere(method: string, args: readonly unknown[]): Promise<unknown> {
    try {
      return await this.#host.serve(this.#host.name, method, args);
    } catch (error) {
      if (error instanceof Astray) throw error;
      throw this.#refusalOf(error, method);
    }
  }

  #busy(): Refusal {
    this.counts.busy++;
    return new Refusal("busy", "Too many questions to other nodes wait for an answer.", 1_000);
  }

  #again(id: number): void {
    const open = this.#open.get(id);
    if (!open) return;
    const { clock, bus } = this.#host;
    const left = open.untilMs - clock.monotonic();
    if (left <= 0) return this.#giveUp(open);
    this.counts.repeated++;
    open.timer = clock.after(Math.min(AGAIN_MS, left), () => this.#again(id));
    bus.tell(open.node, open.call);
  }

  #giveUp(open: Open): void {
    this.#close(open);
    this.counts.unanswered++;
    open.reject(new Unanswered(open.node, open.call.method));
  }

  #close(open: Open): void {
    this.#open.delete(open.call.id);
    this.#host.clock.cancel(open.timer);
  }

  /** A node lives no more: what it was asked is not answered. */
  gone(node: string): void {
    for (const open of [...this.#open.values()]) if (open.node === node) this.#giveUp(open);
  }

  /** Nothing more is answered; who waits is told. */
  stop(): void {
    for (const open of [...this.#open.values()]) this.#giveUp(open);
  }

  /** Takes a word of a call from the bus. */
  take(from: string, word: CallWord): void {
    if (word.kind === "call") return this.#serve(from, word);
    const open = this.#open.get(word.id);
    // An answer to a repeated call, or from a node that was not asked, or to another question.
    if (open?.node !== from || (word.kind === "result" && word.method !== open.call.method)) return;
    this.#close(open);
    if (word.kind === "result") open.resolve(word.value);
    else if (word.kind === "astray") open.reject(new Astray());
    else open.reject(new Refusal(word.code, word.detail, word.retryAfterMs));
  }

  #serve(from: string, { id, method, args }: Extract<Word, { kind: "call" }>): void {
    const now = this.#host.clock.monotonic();
    this.#forget(now);
    const key = `${from}/${id}`;
    let served = this.#served.get(key);
    if (served) {
      this.counts.remembered++;
    } else if (this.#served.size >= SERVED_MOST) {
      return this.#host.bus.tell(from, refusalWord(id, this.#busy()));
    } else {
      this.counts.served++;
      served = { answer: this.#answer(from, id, { method, args }), atMs: now };
      this.#served.set(key, served);
    }
    const mine = served;
    void mine.answer.then((word) => {
      if (this.#host.safe(method) && this.#served.get(key) === mine) this.#served.delete(key);
      this.#host.bus.tell(from, word);
    });
  }

  #forget(now: number): void {
    for (const [key, { atMs }] of this.#served) {
      if (now - atMs < REMEMBER_MS) return;
      this.#served.delete(key);
    }
  }

  async #answer(from: string, id: number, asked: { method: string; args: readonly unknown[] }): Promise<CallWord> {
    try {
      const { method, args } = asked;
      return { kind: "result", id, method, value: await this.#host.serve(from, method, args) };
    } catch (error) {
      if (error instanceof Astray) return { kind: "astray", id };
      return refusalWord(id, this.#refusalOf(error, asked.method));
    }
  }

  #refusalOf(error: unknown, method: string): Refusal {
    if (error instanceof Refusal) return error;
    if (error instanceof StoreFailure) {
      this.#host.log.warn({ err: error, method }, "a store did not answer while a call was served");
      return new Refusal("store-unavailable", undefined, 1_000);
    }
    this.#host.log.error({ err: error, method }, "a call met a fault of ours");
    return new Refusal("internal");
  }
}

function refusalWord(id: number, { code, detail, retryAfterMs }: Refusal): CallWord {
  return { kind: "refusal", id, code, detail, retryAfterMs };
}
