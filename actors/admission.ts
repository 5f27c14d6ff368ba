/** Who may come in: not when the node drains, not beyond its bound, and not all at once after another node died. */
import type { Clock } from "./clock.ts";
import type { Limits } from "./limits.ts";

/** What admission needs of its node. */
export interface AdmissionHost {
  readonly clock: Clock;
  readonly limits: Pick<Limits, "connections" | "connectsPerSecond" | "connectsBurst">;
  /** Connections open here. */
  readonly connections: number;
  readonly draining: boolean;
}

/** The door of one node. */
export class Admission {
  readonly #host: AdmissionHost;
  #tokens: number;
  #refilledAt: number;

  constructor(host: AdmissionHost) {
    this.#host = host;
    this.#tokens = host.limits.connectsBurst;
    this.#refilledAt = host.clock.monotonic();
  }

  /** Lets one more in; else why not now. */
  enter(): "draining" | "try-later" | undefined {
    if (this.#host.draining) return "draining";
    if (this.#host.connections >= this.#host.limits.connections) return "try-later";
    return this.#takeToken() ? undefined : "try-later";
  }

  #takeToken(): boolean {
    const { connectsPerSecond, connectsBurst } = this.#host.limits;
    if (connectsPerSecond === 0) return true;
    const now = this.#host.clock.monotonic();
    this.#tokens = Math.min(connectsBurst, this.#tokens + ((now - this.#refilledAt) * connectsPerSecond) / 1_000);
    this.#refilledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
