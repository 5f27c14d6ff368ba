/** The line that says what is being done: rewritten in place on a terminal, one after another elsewhere. */

const TICK_MS = 1_000;

/** Where it goes; `process.stderr` is one. */
export interface Sink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** `61_000` is `1:01`. */
function minutes(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** One progress line. */
export class Progress {
  readonly #sink: Sink;
  readonly #now: () => number;
  readonly #began: number;
  #line = "";
  #timer: NodeJS.Timeout | undefined;

  /** @param now - milliseconds on any clock that never goes back. */
  constructor(sink: Sink, now: () => number = () => performance.now()) {
    this.#sink = sink;
    this.#now = now;
    this.#began = now();
  }

  /** Shows this until the next. */
  show(line: string): void {
    this.#line = line;
    this.#draw();
    if (this.#sink.isTTY === true) this.#timer ??= setInterval(() => this.#draw(), TICK_MS).unref();
  }

  /** Says something that stays; the progress line goes on below it. */
  say(line: string): void {
    this.#clear();
    this.#sink.write(`${line}\n`);
  }

  /** Leaves nothing of the line behind. */
  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#clear();
  }

  #draw(): void {
    const text = `${minutes(this.#now() - this.#began)} ${this.#line}`;
    this.#sink.write(this.#sink.isTTY === true ? `\r\x1b[K${text}` : `${text}\n`);
  }

  #clear(): void {
    if (this.#sink.isTTY === true) this.#sink.write("\r\x1b[K");
  }
}
