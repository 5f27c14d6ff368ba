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

/** What is so while a store is away, and what still works: the words of `/health/ready` and of the runbook. */
export const AWAY: Readonly<Record<string, string>> = Object.freeze({
  archive: "Open rooms go on until the bound of what is not stored; RECEIPTs, histories and closed rooms wait.",
  directory: "Nobody can log in, sign up or refresh a token; chat goes on for those who hold a token.",
  bus: "SENDs wait in a bound and are refused beyond it, histories after 3 s, as access may have changed elsewhere; connections and log-in go on.",
  leases: "Shards go on until their leases end, and then wait; no shard finds a new owner.",
});

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
  #refusing: (() => boolean) | undefined;

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

  /**
   * Sets who knows whether every SEND is refused now, because a bound is full. Asked only while a part is
   * degraded: a full bound with all stores there is load, and no reason to send clients elsewhere.
   */
  judge(refusing: () => boolean): void {
    this.#refusing = refusing;
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
    return { status, parts: Object.fromEntries(wrong.map((part) => [part.name, words(part)])) };
  }

  #status(wrong: readonly Component[]): Readiness["status"] {
    if (this.#phase !== "ready") return this.#phase;
    if (wrong.some((component) => component.state === "failed")) return "unable";
    if (wrong.length === 0) return "ok";
    return this.#refusing?.() === true ? "unable" : "degraded";
  }

  /** All parts, in the order they were named. */
  components(): readonly Component[] {
    return [...this.#components.values()];
  }
}

/** What a part's state means and why it is so. */
function words({ name, state, detail }: Component): string {
  const meaning = state === "failed" ? "No SEND is taken." : (AWAY[name] ?? "");
  return `${meaning} ${detail}`.trim() || state;
}
