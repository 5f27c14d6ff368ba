/** What a process knows of its own health; probes only look, so asking costs nothing. */

/** The life of a process as probes see it. */
export type Phase = "starting" | "ready" | "draining";

/** A part: `degraded` when chat can do without it for a while, `failed` when no SEND can be taken for it. */
export type ComponentState = "ok" | "degraded" | "failed";

/** One part of the process, such as the archive. */
export interface Component {
  readonly name: string;
  readonly state: ComponentState;
  /** ms since 1970, when it came into this state. */
  readonly since: number;
  /** What is wrong, in words; empty when all is well. */
  readonly detail: string;
}

/** `ok` and `degraded` take SENDs (200); the others do not (503) [design 4]. */
export interface Readiness {
  readonly status: "ok" | "degraded" | "starting" | "draining" | "unable";
  /** What is away or wrong, by part, in words. */
  readonly parts?: Readonly<Record<string, string>>;
}

/** The health of one process. */
export class Health {
  readonly #now: () => number;
  readonly #components = new Map<string, Component>();
  #phase: Phase = "starting";
  #alive = true;

  /** Every part has a name from here on, so nothing grows with time; all begin as `ok`. */
  constructor(names: readonly string[], now: () => number) {
    this.#now = now;
    for (const name of names) this.#components.set(name, { name, state: "ok", since: now(), detail: "" });
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Goes on to a later phase; going back is ignored, as a process that drains never serves again. */
  enter(phase: Phase): void {
    const order: readonly Phase[] = ["starting", "ready", "draining"];
    if (order.indexOf(phase) > order.indexOf(this.#phase)) this.#phase = phase;
  }

  /**
   * Says how a part is. Answers whether its state changed, so that the caller writes one line per change.
   * @throws Error for a part that was not named at the start.
   */
  report(name: string, state: ComponentState, detail = ""): boolean {
    const before = this.#components.get(name);
    if (before === undefined) throw new Error(`"${name}" is no part of this process.`);
    const changed = before.state !== state;
    this.#components.set(name, { name, state, since: changed ? this.#now() : before.since, detail });
    return changed;
  }

  /** Says that only a restart would help. */
  die(): void {
    this.#alive = false;
  }

  /** False when only a restart would help. */
  live(): boolean {
    return this.#alive;
  }

  /** Whether SENDs are taken, and what is wrong. */
  ready(): Readiness {
    const wrong = this.components().filter((component) => component.state !== "ok");
    const status = this.#status(wrong);
    if (wrong.length === 0) return { status };
    return { status, parts: Object.fromEntries(wrong.map((part) => [part.name, part.detail || part.state])) };
  }

  #status(wrong: readonly Component[]): Readiness["status"] {
    if (this.#phase !== "ready") return this.#phase;
    if (wrong.some((component) => component.state === "failed")) return "unable";
    return wrong.length > 0 ? "degraded" : "ok";
  }

  /** All parts, in the order they were named. */
  components(): readonly Component[] {
    return [...this.#components.values()];
  }
}
