/** Who else lives: this node says it every half second and hears of the others (design 6). */
import type { Beat, Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Lap } from "./lap.ts";
import type { Log } from "./log.ts";

/** Pause between two beats, ms. */
const BEAT_MS = 500;
/** How long a beat is believed, ms: as long as a lease. */
export const LIFE_MS = 3_000;
/** A beat that comes later than this after it was due says that this node stood still, ms. */
const LATE_MS = 1_500;

/** What the peers need of their node. */
export interface PeersHost {
  readonly bus: Pick<Bus, "beat" | "fade" | "notify">;
  readonly clock: Clock;
  readonly log: Log;
  /** What this node says of itself. */
  beat(): Beat;
  /** A node is not heard of any more, or said farewell. */
  nodeGone(node: string): void;
  /** After every beat that was answered. */
  lap(): void;
}

/** The living nodes, as this one has heard. */
export class Peers {
  readonly #host: PeersHost;
  readonly #lap: Lap;
  #living: readonly Beat[] = [];
  /** Nodes that said farewell, until the bus lists them no more. */
  #left = new Set<string>();
  /** For how long the bus has remembered anything, ms. */
  rememberedMs = 0;
  #stopped = false;
  #heardAt = Number.NEGATIVE_INFINITY;

  constructor(host: PeersHost) {
    this.#host = host;
    this.#lap = new Lap({
      ...{ clock: host.clock, log: host.log, pauseMs: BEAT_MS },
      run: (lateMs) => this.#beat(lateMs),
      failed: "a beat was not answered",
    });
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
    if (!this.#stopped) this.#lap.start();
  }

  /** Beats at once; a beat under way is joined. */
  now(): Promise<void> {
    return this.#lap.now();
  }

  async #beat(lateMs: number): Promise<void> {
    const { bus, clock, log } = this.#host;
    const sent = clock.monotonic();
    const { nodes, rememberedMs } = await bus.beat(this.#host.beat(), LIFE_MS);
    if (this.#stopped) return;
    this.rememberedMs = rememberedMs;
    // Who stood still cannot tell who else did not: it looks again before it judges anyone gone.
    const blind = lateMs > LATE_MS || rememberedMs < LIFE_MS || sent - this.#heardAt > LIFE_MS;
    this.#heardAt = clock.monotonic();
    const names = new Set(nodes.map(({ node }) => node));
    this.#left = new Set([...this.#left].filter((node) => names.has(node)));
    const missing = this.#living.filter(({ node }) => !names.has(node));
    const listed = nodes.filter(({ node }) => !this.#left.has(node));
    // A bus that came back empty has not heard of everybody yet; neither has who heard nothing for a life.
    this.#living = blind ? [...listed, ...missing] : listed;
    if (!blind) {
      for (const { node } of missing) {
        log.warn({ gone: node }, "a node is not heard of any more");
        this.#host.nodeGone(node);
      }
    }
    this.#host.lap();
  }

  /** A node says that it ends: it lives no more, whatever the bus still knows of it. */
  farewell(node: string): void {
    this.#left.add(node);
    if (!this.has(node)) return;
    this.#host.log.info({ gone: node }, "a node has ended");
    this.#living = this.#living.filter((beat) => beat.node !== node);
    this.#host.nodeGone(node);
    this.#host.lap();
  }

  /** Beats no more, and says so. */
  async stop(name: string): Promise<void> {
    const { bus, log } = this.#host;
    this.#stopped = true;
    this.#lap.stop();
    await this.#lap.over();
    // Before the bus forgets it: who beats between the two would miss it.
    bus.notify({ kind: "farewell", node: name });
    await bus.fade(name).catch((error: unknown) => log.warn({ err: error }, "the others could not be told of the end"));
  }
}
