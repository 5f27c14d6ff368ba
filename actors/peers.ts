/** Who else lives: this node says it every half second and hears of the others (design 6). */
import type { Beat, Bus } from "./bus.ts";
import type { Clock, Timer } from "./clock.ts";
import type { Log } from "./log.ts";

/** Pause between two beats, ms. */
const BEAT_MS = 500;
/** How long a beat is believed, ms: as long as a lease. */
export const LIFE_MS = 3_000;
/** A beat that comes later than this after it was due says that this node stood still, ms. */
const LATE_MS = 1_500;

/** What the peers need of their node. */
export interface PeersHost {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  /** What this node says of itself. */
  beat(): Beat;
  /** A node is not heard of any more. */
  nodeGone(node: string): void;
  /** After every beat that was answered. */
  lap(): void;
}

/** The living nodes, as this one has heard. */
export class Peers {
  readonly #host: PeersHost;
  #living: readonly Beat[] = [];
  /** For how long the bus has remembered anything, ms. */
  rememberedMs = 0;
  #stopped = false;
  #timer: Timer | undefined;
  #beating: Promise<void> | undefined;
  #heardAt = Number.NEGATIVE_INFINITY;

  constructor(host: PeersHost) {
    this.#host = host;
  }

  /** Living nodes by name, this one included. */
  get living(): readonly Beat[] {
    return this.#living;
  }

  /** Whether a node is known to live. */
  has(node: string): boolean {
    return this.#living.some((beat) => beat.node === node);
  }

  /** Whether nobody else is known to live. */
  get alone(): boolean {
    return this.#living.length <= 1;
  }

  /** Says the first beat; rejects when the bus does not answer. */
  async start(): Promise<void> {
    await this.now();
    this.#next();
  }

  #next(): void {
    if (this.#stopped) return;
    const due = this.#host.clock.monotonic() + BEAT_MS;
    this.#timer = this.#host.clock.after(BEAT_MS, () => {
      // Who stood still cannot tell who else did not: it looks again before it judges anyone gone.
      const late = this.#host.clock.monotonic() - due > LATE_MS;
      this.now(late)
        .catch((error: unknown) => this.#host.log.warn({ err: error }, "a beat was not answered"))
        .finally(() => this.#next());
    });
  }

  /** Beats at once. */
  now(late = false): Promise<void> {
    this.#beating ??= this.#beat(late).finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  async #beat(late: boolean): Promise<void> {
    const { bus, clock } = this.#host;
    const sent = clock.monotonic();
    const { nodes, rememberedMs } = await bus.beat(this.#host.beat(), LIFE_MS);
    if (this.#stopped) return;
    this.rememberedMs = rememberedMs;
    const blind = late || rememberedMs < LIFE_MS || sent - this.#heardAt > LIFE_MS;
    this.#heardAt = clock.monotonic();
    const names = new Set(nodes.map(({ node }) => node));
    const missing = this.#living.filter(({ node }) => !names.has(node));
    // A bus that came back empty has not heard of everybody yet; neither has who heard nothing for a life.
    this.#living = blind ? [...nodes, ...missing] : nodes;
    if (!blind) for (const { node } of missing) this.#host.nodeGone(node);
    this.#host.lap();
  }

  /** Beats no more, and says so. */
  async stop(name: string): Promise<void> {
    this.#stopped = true;
    if (this.#timer) this.#host.clock.cancel(this.#timer);
    await this.#beating?.catch(() => undefined);
    await this.#host.bus
      .fade(name)
      .catch((error: unknown) => this.#host.log.warn({ err: error }, "the others could not be told of the end"));
  }
}
