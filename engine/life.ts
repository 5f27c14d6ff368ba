/** The life of the process (design 7): the node's machine as a real actor, with what its effects do here. */
import { type Actor, createActor } from "xstate";
import type { Clock, Timer } from "../actors/clock.ts";
import type { Log } from "../actors/log.ts";
import { nodeMachine } from "../actors/node.machine.ts";

/** What the effects of the machine do in this process. */
export interface LifeOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Most time from `drain` to `gone`, ms. */
  readonly drainMs: number;
  readonly openDoors: () => void;
  readonly closeDoors: () => void;
  /** Sends connections away and flushes; rejects when that fails. */
  readonly handOver: () => Promise<void>;
  /** Entries accepted and not stored, for the log when the time is over. */
  readonly unstored: () => number;
}

/** A running life. */
export class Life {
  readonly #actor: Actor<typeof nodeMachine>;
  #gone: () => void = () => undefined;
  /** Resolves when the machine is `gone`. */
  readonly gone = new Promise<void>((resolve) => {
    this.#gone = resolve;
  });
  #deadline: Timer | undefined;
  /** Whether something failed on the way. */
  failed = false;

  constructor(options: LifeOptions) {
    const { clock, log } = options;
    const machine = nodeMachine.provide({
      actions: {
        join: () => undefined,
        openDoors: () => options.openDoors(),
        closeDoors: () => options.closeDoors(),
        startDeadline: () => {
          this.#deadline = clock.after(options.drainMs, () => this.#actor.send({ type: "deadline" }));
        },
        stopDeadline: () => {
          if (this.#deadline) clock.cancel(this.#deadline);
        },
        handOver: () => this.#handOver(options),
        noteFailure: () => {
          this.failed = true;
        },
        noteUnflushed: () =>
          log.warn({ entries: options.unstored() }, "the time to flush is over; what is left is not stored"),
        leave: () => this.#gone(),
      },
    });
    this.#actor = createActor(machine).start();
  }

  /** The state by name. */
  get state(): string {
    return String(this.#actor.getSnapshot().value);
  }

  /** The process serves. */
  joined(): void {
    this.#actor.send({ type: "joined" });
  }

  /** Ends in order; a second call hears of the same end. */
  drain(): Promise<void> {
    this.#actor.send({ type: "drain" });
    return this.gone;
  }

  #handOver({ handOver, log }: LifeOptions): void {
    handOver().then(
      () => this.#actor.send({ type: "flushed" }),
      (err: unknown) => {
        log.error({ err }, "the end was not in order");
        this.#actor.send({ type: "failed" });
      },
    );
  }
}
