/** What waits for its turn in a room: one thing at a time, in the order it came. */
import Denque from "denque";
import { Refusal } from "./codes.ts";
import type { Log } from "./log.ts";
import { answerRefused, type Posting } from "./posting.ts";

type Task =
  | { readonly posting: Posting }
  | { readonly run: () => void | Promise<void>; readonly fail: (refusal: Refusal) => void };

/** What a mailbox needs of its room. */
export interface MailboxOptions {
  readonly room: string;
  /** Most tasks that wait. */
  readonly most: number;
  readonly log: Log;
  /** Decides a posting; false when a store must be asked first: the mailbox was told to `hold`. */
  readonly decide: (item: Posting) => boolean;
}

/** The mailbox of one room. */
export class Mailbox {
  readonly #options: MailboxOptions;
  readonly #tasks = new Denque<Task>();
  /** Something is under way, and what comes waits; at first the opening of the room. */
  busy = true;

  constructor(options: MailboxOptions) {
    this.#options = options;
  }

  /** Whether nothing waits. */
  get empty(): boolean {
    return this.#tasks.isEmpty();
  }

  /** Whether nothing more may wait. */
  get full(): boolean {
    return this.#tasks.length >= this.#options.most;
  }

  /** Decides the posting now if nothing is before it, else when its turn comes; refused beyond the bound. */
  post(item: Posting): void {
    if (!this.busy && this.empty && this.#options.decide(item)) return;
    if (this.full) return answerRefused(item, new Refusal("queue-full", undefined, 1_000));
    this.#tasks.push({ posting: item });
    this.drain();
  }

  /** Lets a posting wait that was taken before; it is one of those that the writer's bound counts. */
  repost(item: Posting): void {
    this.#tasks.push({ posting: item });
    this.drain();
  }

  /** Runs `run` in its turn; `fail` hears why it never will. */
  ask(run: () => void | Promise<void>, fail: (refusal: Refusal) => void): void {
    if (this.full) return fail(new Refusal("queue-full", undefined, 1_000));
    this.#tasks.push({ run, fail });
    this.drain();
  }

  /** Goes on with what waits. */
  drain(): void {
    while (!this.busy) {
      const task = this.#tasks.shift();
      if (!task) return;
      if ("posting" in task) {
        if (this.#options.decide(task.posting)) continue;
        this.#tasks.unshift(task);
        return;
      }
      this.hold(Promise.resolve(task.run()));
    }
  }

  /** Lets nothing else run until `work` is over; if it fails, the posting it was done for is refused. */
  hold(work: Promise<unknown>, item?: Posting): void {
    this.busy = true;
    const go = (): void => {
      this.busy = false;
      this.drain();
    };
    work.then(go, (error: unknown) => {
      this.#options.log.warn({ room: this.#options.room, err: error }, "a room's store did not answer");
      const next = this.#tasks.peekFront();
      if (item && next && "posting" in next && next.posting === item) {
        this.#tasks.shift();
        answerRefused(item, new Refusal("store-unavailable", undefined, 1_000));
      }
      go();
    });
  }

  /** Takes the postings that wait out of it. */
  takePostings(): Posting[] {
    const waiting = this.#tasks.toArray();
    this.#tasks.clear();
    for (const task of waiting) if (!("posting" in task)) this.#tasks.push(task);
    return waiting.flatMap((task) => ("posting" in task ? [task.posting] : []));
  }

  /** Refuses all that waits. */
  refuse(refusal: Refusal): void {
    for (let task = this.#tasks.shift(); task; task = this.#tasks.shift()) {
      if ("posting" in task) answerRefused(task.posting, refusal);
      else task.fail(refusal);
    }
  }
}
