/** A gate that is open or shut, and those who wait for it to open. */

/** A gate. */
export class Gate {
  #shut: { readonly opened: Promise<void>; readonly open: () => void } | undefined;

  get isShut(): boolean {
    return this.#shut !== undefined;
  }

  shut(): void {
    if (this.#shut) return;
    let open: () => void = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#shut = { opened, open };
  }

  open(): void {
    const shut = this.#shut;
    this.#shut = undefined;
    shut?.open();
  }

  /** Resolves when the gate is open. */
  opened(): Promise<void> {
    return this.#shut?.opened ?? Promise.resolve();
  }
}

/** Lets a few run at a time; the others wait in the order they came. */
export class Turnstile {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  /** Runs `work` when its turn comes. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
