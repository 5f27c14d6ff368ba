/**
 * How much a slow store is asked for at once. A store that does not answer in time would not answer the same again
 * either: each failure halves what is asked, and answers of as much as was allowed double it again.
 */
import { StoreFailure } from "../actors/codes.ts";
import { LeftAlone } from "./guard.gate.ts";

/** Between what bounds. */
export interface PaceOptions {
  readonly most: number;
  readonly least: number;
}

/** Answers after a failure before more is asked for. */
const PATIENCE = 16;

/** The pace of one kind of calls, in entries or bytes. */
export class Pace {
  readonly #options: PaceOptions;
  #allowed: number;
  /** What was answered last, as much as was allowed; 0 when that did not go well again. */
  #good = 0;
  #patience = 0;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.#allowed = options.most;
  }

  /** What a call may ask for now. */
  get allowed(): number {
    return this.#allowed;
  }

  /** Makes a call that asks for `size`, at most what is allowed. */
  async run<T>(size: number, work: () => Promise<T>): Promise<T> {
    try {
      const answer = await work();
      if (size >= this.#allowed) this.#answered(size);
      return answer;
    } catch (error) {
      if (error instanceof StoreFailure && !(error instanceof LeftAlone)) this.#failed(size);
      throw error;
    }
  }

  /**
   * Makes a call that may be repeated and asks for `wanted` or for as much as is allowed. Where more than what went
   * well before did not, that is asked for at once: who needs many answers would never get through else.
   */
  async insist<T>(wanted: number, work: (size: number) => Promise<T>): Promise<T> {
    const size = Math.min(wanted, this.#allowed);
    const good = this.#good;
    try {
      return await this.run(size, () => work(size));
    } catch (error) {
      if (good === 0 || good >= size || error instanceof LeftAlone || !(error instanceof StoreFailure)) throw error;
      return this.run(good, () => work(good));
    }
  }

  #answered(size: number): void {
    this.#good = size;
    if (this.#patience > 0) this.#patience--;
    else this.#allowed = Math.min(this.#options.most, this.#allowed * 2);
  }

  #failed(size: number): void {
    // One that asked for more than is allowed by now says nothing new.
    this.#allowed = Math.max(this.#options.least, Math.min(this.#allowed, Math.floor(size / 2)));
    this.#patience = PATIENCE;
    if (size <= this.#good) this.#good = 0;
  }
}
