/**
 * The load on one server: a few connections in one load client that are read at once and publish, and a large audience
 * in another one that is read in gulps. The audience only has to be complete, not prompt; reading it in gulps keeps the
 * clients' core free for the publishers, so that the server is what limits.
 */
import type { Load, Run, Tallied } from "./client/messages.ts";
import { LoadClient } from "./load.ts";
import type { Target } from "./targets.ts";

const IN_FLIGHT = 64;
const AUDIENCE_GROUP = 0;
const FRONT_GROUP = 10;

/** How a crowd is made up. */
export interface CrowdShape {
  readonly rooms: number;
  /** Connections of each room, publishers included. */
  readonly perRoom: number;
  /** Of those, read at once; the first of each room publishes. */
  readonly frontPerRoom: number;
  readonly frontSampleEvery: number;
  readonly audienceSampleEvery: number;
  readonly napMs: number;
}

/** A run, and what everybody received of it. */
export interface Outcome {
  readonly load: Load;
  readonly tally: Tallied;
}

/** Everybody connected to one server. */
export class Crowd {
  readonly target: Target;
  readonly #shape: CrowdShape;
  readonly #front = new LoadClient();
  readonly #audience = new LoadClient();

  constructor(target: Target, shape: CrowdShape) {
    this.target = target;
    this.#shape = shape;
  }

  /** Opens all connections: half of the audience, the front, the other half, so that the front has no special place. */
  async open(): Promise<void> {
    const { port, dialect, pid, secret } = this.target;
    const shape = this.#shape;
    const rooms = await this.target.rooms(shape.rooms);
    const common = { kind: "open", port, dialect, serverPid: pid, secret, rooms, inFlight: IN_FLIGHT } as const;
    const listeners = shape.perRoom - shape.frontPerRoom;
    const half = Math.floor(listeners / 2);
    const audience = { ...common, group: AUDIENCE_GROUP, sampleEvery: shape.audienceSampleEvery };
    await this.#audience.run({ ...audience, perRoom: half });
    await this.#front.run({
      ...common,
      group: FRONT_GROUP,
      perRoom: shape.frontPerRoom,
      sampleEvery: shape.frontSampleEvery,
    });
    await this.#audience.run({ ...audience, perRoom: listeners - half });
    await this.#audience.run({ kind: "nap", ms: shape.napMs });
  }

  /** Runs load and counts what came of it. */
  async run(wish: Omit<Run, "kind" | "publishers" | "helperPids">): Promise<Outcome> {
    await Promise.all([this.#front.run({ kind: "mark" }), this.#audience.run({ kind: "mark" })]);
    const publishers = this.#shape.rooms;
    const load = await this.#front.run({ kind: "run", ...wish, publishers, helperPids: [this.#audience.pid] });
    const [front, audience] = await Promise.all([
      this.#front.run({ kind: "tally", sent: load.sent }),
      this.#audience.run({ kind: "tally", sent: load.sent }),
    ]);
    const tally = {
      deliveries: front.deliveries + audience.deliveries,
      lost: front.lost + audience.lost,
      doubled: front.doubled + audience.doubled,
      disordered: front.disordered + audience.disordered,
      sampled: front.sampled + audience.sampled,
      messageBytes: front.messageBytes,
      receiptBytes: front.receiptBytes,
    };
    return { load, tally };
  }

  /** Ends both load clients. */
  async end(): Promise<void> {
    await Promise.all([this.#front.end(), this.#audience.end()]);
  }
}
