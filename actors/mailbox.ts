/** What waits for its turn in a room: one thing at a time, in the order it came. */
import Denque from "denque";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Log } from "./log.ts";
import { answerRefused, type Posting } from "./posting.ts";

/** Work in the order of a room; `fail` hears why it never will be done. */
export interface Asked {
  readonly run: () => void | Promise<void>;
  readonly fail: (refusal: Refusal) => void;
}

type Task = { readonly posting: Posting } | Asked;

/** Pause before a posting that may be on the log is looked for again, ms. */
const LOOK_AGAIN_MS = 200;

/** How long a question waits for a room that may not decide, ms. */
const BARRED_READ_MS = 2_000;

/** What a mailbox needs of its room. */
export interface MailboxOptions {
  readonly room: string;
  /** Most tasks that wait. */
  readonly most: number;
  readonly log: Log;
  readonly clock: Clock;
  /** Resolves when the room may decide again; undefined when it may now. */
  readonly barred: () => Promise<void> | undefined;
  /** Decides a posting; false when a store must be asked first: the mailbox was told to `hold`. */
  readonly decide: (item: Posting) => boolean;
}

/** The mailbox of one room. */
export class Mailbox {
  readonly #options: MailboxOptions;
  readonly #tasks = new Denque<Task>();
  /** Questions that wait until the room may answer: until it is open, or decides again; none while it may. */
  #readers: Asked[] | undefined = [];
  /** It will be told when the room may decide again. */
  #awaitsTurn = false;
  /** What was asked of a store last failed: told once, as it is asked again and again. */
  #failing = false;
  /** Something is under way, and what comes waits; at first the opening of the room. */
  #busy = true;

  constructor(options: MailboxOptions) {
    this.#options = options;
  }

  /** Whether nothing waits or is under way. */
  get idle(): boolean {
    return !this.#busy && this.#tasks.isEmpty();
  }

  /** Whether nothing more may wait. */
  get full(): boolean {
    return this.#tasks.length + (this.#readers?.length ?? 0) >= this.#options.most;
  }

  /** Whether a posting waits that was given its place before, or stands in another node's line. */
  get mayBeLogged(): boolean {
    return this.#tasks
      .toArray()
      .some((task) => "posting" in task && (task.posting.again || task.posting.reply?.patient === true));
  }

  /** The room is open: what waits is answered and decided. */
  open(): void {
    this.#answer();
    this.#busy = false;
    this.drain();
  }

  /** Answers the questions that waited, if the room still may. */
  #answer(): void {
    const readers = this.#readers ?? [];
    this.#readers = undefined;
    for (const reader of readers) this.read(reader);
  }

  /** Decides the posting now if nothing is before it, else when its turn comes; refused beyond the bound. */
  post(item: Posting): void {
    if (this.idle && this.#options.barred() === undefined && this.#options.decide(item)) return;
    if (this.full) return answerRefused(item, new Refusal("queue-full", undefined, 1_000));
    this.#tasks.push({ posting: item });
    this.drain();
  }

  /** Lets a posting wait that was taken before; it is one of those that the writer's bound counts. */
  repost(item: Posting): void {
    this.#tasks.push({ posting: item });
    this.drain();
  }

  /** Runs it in its turn. */
  ask(asked: Asked): void {
    if (this.full) return asked.fail(new Refusal("queue-full", undefined, 1_000));
    this.#tasks.push(asked);
    this.drain();
  }

  /**
   * Runs it as soon as the room is open, in no order with what is decided. A room that may not decide waits: another
   * node may own it by now, and have removed who asks (promise 7).
   */
  read(asked: Asked): void {
    if (!this.#readers) {
      const barred = this.#options.barred();
      if (barred === undefined) return void asked.run();
      this.#waitFor(barred);
    }
    if (this.full) return asked.fail(new Refusal("queue-full", undefined, 1_000));
    this.#readers?.push(asked);
  }

  /** Lets questions wait until the room may decide again, but not for long: nobody knows when that is. */
  #waitFor(barred: Promise<void>): void {
    const waiting: Asked[] = [];
    this.#readers = waiting;
    this.#options.clock.after(BARRED_READ_MS, () => {
      if (this.#readers !== waiting) return;
      this.#readers = undefined;
      for (const { fail } of waiting) fail(new Refusal("store-unavailable", undefined, 1_000));
    });
    // Once, however many came and were refused meanwhile.
    if (this.#awaitsTurn) return;
    this.#awaitsTurn = true;
    const end = (): void => {
      this.#awaitsTurn = false;
      this.#answer();
    };
    barred.then(end, end);
  }

  /** Goes on with what waits. */
  drain(): void {
    while (!this.#busy && !this.#tasks.isEmpty()) {
      const barred = this.#options.barred();
      if (barred !== undefined) return this.hold(barred);
      const task = this.#tasks.shift() as Task;
      if ("posting" in task) {
        if (this.#options.decide(task.posting)) continue;
        this.#tasks.unshift(task);
        return;
      }
      this.hold(Promise.resolve(task.run()));
    }
  }

  /**
   * Lets nothing else run until `work` is over. If it fails, the posting it was done for is refused, unless it was
   * given its place before: then it may be on the log, its sender waits for that, and what its sender said after
   * it stands behind it. It is looked for again.
   */
  hold(work: Promise<unknown>, item?: Posting): void {
    this.#busy = true;
    const go = (): void => {
      this.#busy = false;
      this.drain();
    };
    const done = (): void => {
      this.#failing = false;
      go();
    };
    work.then(done, (error: unknown) => {
      const about = { room: this.#options.room, err: error };
      if (!this.#failing) this.#options.log.warn(about, "a room's store did not answer");
      this.#failing = true;
      if (item?.again || item?.reply?.patient) return void this.#options.clock.after(LOOK_AGAIN_MS, go);
      const next = this.#tasks.peekFront();
      if (item && next && "posting" in next && next.posting === item) {
        this.#tasks.shift();
        answerRefused(item, new Refusal("store-unavailable", undefined, 1_000));
      }
      go();
    });
  }

  /** The postings that are next, in order, `most` at most. */
  ahead(most: number): readonly Posting[] {
    const postings: Posting[] = [];
    for (let at = 0; at < this.#tasks.length && postings.length < most; at++) {
      const task = this.#tasks.peekAt(at) as Task;
      if ("posting" in task) postings.push(task.posting);
    }
    return postings;
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
    const readers = this.#readers ?? [];
    this.#readers = undefined;
    for (const { fail } of readers) fail(refusal);
    for (let task = this.#tasks.shift(); task; task = this.#tasks.shift()) {
      if ("posting" in task) answerRefused(task.posting, refusal);
      else task.fail(refusal);
    }
  }
}
