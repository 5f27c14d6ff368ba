/** Calls that meet in one turn of the event loop, sent as one. */

interface Asked<Call, Answer> {
  readonly call: Call;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** How calls are gathered and sent. */
export interface TurnOptions<Call, Answer> {
  /** Runs a task once all calls of the turn are made. */
  readonly schedule: (task: () => void) => void;
  /** Sends calls as one; answers in their order. */
  readonly send: (calls: readonly Call[]) => Promise<readonly Answer[]>;
  /** Bytes beyond which calls leave without waiting for more. */
  readonly bytesMax: number;
}

/** Gathers the calls of a turn; each gets its own answer, or the failure of all. */
export class Turn<Call, Answer> {
  readonly #options: TurnOptions<Call, Answer>;
  #asked: Asked<Call, Answer>[] = [];
  #bytes = 0;

  constructor(options: TurnOptions<Call, Answer>) {
    this.#options = options;
  }

  /** Adds a call of about `bytes`. */
  ask(call: Call, bytes: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ call, resolve, reject });
      this.#bytes += bytes;
      if (this.#bytes > this.#options.bytesMax) this.#flush();
      else if (this.#asked.length === 1) this.#options.schedule(() => this.#flush());
    });
  }

  #flush(): void {
    const asked = this.#asked;
    if (asked.length === 0) return;
    this.#asked = [];
    this.#bytes = 0;
    this.#options.send(asked.map(({ call }) => call)).then(
      (answers) => {
        for (const [at, one] of asked.entries()) one.resolve(answers[at] as Answer);
      },
      (error: unknown) => {
        for (const one of asked) one.reject(error);
      },
    );
  }
}
