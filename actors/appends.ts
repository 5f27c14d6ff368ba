/** The appends of one shard, one in flight at a time (rule 2); the same one again until it is answered (step 4). */
import type { AppendAnswer, Bus, Pack } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Fanout } from "./link.ts";
import type { Log } from "./log.ts";
import type { Posting } from "./posting.ts";
import type { Room } from "./room.ts";

/** One room's part of an append. */
export interface Sent {
  readonly room: Room;
  readonly postings: readonly Posting[];
}

/** An append that was answered. */
export interface Appended {
  readonly answer: AppendAnswer;
  /** The term it was written under. */
  readonly term: number;
  readonly packs: readonly Pack[];
  readonly sent: readonly Sent[];
}

/** What the appends need of their node. */
export interface AppendsHost {
  readonly bus: Pick<Bus, "append" | "appendNow" | "publish">;
  readonly fanout: Pick<Fanout, "prepare">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Pause before an append whose outcome is unknown is repeated, ms. */
const AGAIN_MS = 50;

/** The appends of one shard. */
export class Appends {
  readonly #shard: number;
  readonly #host: AppendsHost;
  readonly #onAnswer: (appended: Appended) => void;
  #flight: readonly Sent[] | undefined;
  #landing: (() => void)[] = [];
  /** The term of the last one. */
  term = 0;

  constructor(shard: number, host: AppendsHost, onAnswer: (appended: Appended) => void) {
    this.#shard = shard;
    this.#host = host;
    this.#onAnswer = onAnswer;
  }

  /** Whether one is in flight. */
  get busy(): boolean {
    return this.#flight !== undefined;
  }

  /** Sends what rooms decided to the hot log; none may be in flight. */
  send(term: number, rooms: readonly Room[]): void {
    const packs: Pack[] = [];
    const sent: Sent[] = [];
    for (const room of rooms) {
      const { pack, postings } = room.takePack();
      packs.push(pack);
      sent.push({ room, postings });
    }
    this.term = term;
    this.#flight = sent;
    this.#append(packs, sent);
  }

  /** Sends packs, after so many tries that were not answered. */
  #append(packs: readonly Pack[], sent: readonly Sent[], failures = 0): void {
    if (this.#flight !== sent) return;
    const { term } = this;
    const { bus } = this.#host;
    if (bus.appendNow) return this.#answered({ answer: bus.appendNow(this.#shard, term, packs), term, packs, sent });
    bus.append(this.#shard, term, packs).then(
      (answer) => this.#answered({ answer, term, packs, sent }),
      (error: unknown) => {
        // The outcome is unknown: the same packs under the same term, until it is known.
        const { clock, log } = this.#host;
        if (failures === 0) log.warn({ shard: this.#shard, err: error }, "an append was not answered; asking again");
        clock.after(AGAIN_MS, () => this.#append(packs, sent, failures + 1));
      },
    );
    if (failures === 0) this.#prepare(packs, sent);
  }

  /** Uses the time of the way to the hot log and back: what was sent left by the end of this turn. */
  #prepare(packs: readonly Pack[], sent: readonly Sent[]): void {
    const { clock, fanout, log } = this.#host;
    if (!fanout.prepare) return;
    clock.endOfTurn(() => {
      if (this.#flight !== sent) return;
      for (const { room, entries } of packs) {
        try {
          fanout.prepare?.(room, entries);
        } catch (error) {
          // Nobody above would catch it. What is shown is made then, where it costs its room alone.
          log.error({ room, err: error }, "a pack met a fault of ours as it was made ready");
        }
      }
    });
  }

  #answered(appended: Appended): void {
    if (this.#flight !== appended.sent) {
      // Given up meanwhile: the next owner has it in its log. Who listens need not wait until it is looked for.
      const accepted = appended.answer === "ok" || appended.answer === "already";
      return accepted ? this.#host.bus.publish(appended.packs) : undefined;
    }
    this.#flight = undefined;
    this.#onAnswer(appended);
    this.#landed();
  }

  /**
   * Gives up what is in flight, as another owns the shard: it goes to that one under its keys, in front of what
   * came after it, whether it was accepted or not.
   */
  abandon(): readonly Sent[] {
    const sent = this.#flight ?? [];
    this.#flight = undefined;
    this.#landed();
    return sent;
  }

  /** Resolves when what is in flight is answered or given up. */
  landed(): Promise<void> {
    return this.busy ? new Promise((resolve) => this.#landing.push(resolve)) : Promise.resolve();
  }

  #landed(): void {
    const landing = this.#landing;
    this.#landing = [];
    for (const resolve of landing) resolve();
  }
}
