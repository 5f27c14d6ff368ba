/**
 * The load on one server: a few connections in one load client that are read at once and publish, and a large audience
 * in another one that is read in gulps. The audience only has to be complete, not prompt; reading it in gulps keeps the
 * clients' core free for the publishers, so that the server is what limits.
 */
import type { Load, Pace, Paced, Run, Tallied } from "./client/messages.ts";
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
  /** Of those, read at once, and spread evenly over the order of subscription; the first of each room publish. */
  readonly frontPerRoom: number;
  /** Of those, how many are members and publish open-loop load in turn; 1 where left out. */
  readonly publishersPerRoom?: number;
  readonly frontSampleEvery: number;
  readonly audienceSampleEvery: number;
  readonly napMs: number;
}

/** Of `ROOM_OF_1000`. */
export const SUBSCRIBERS = 1_000;

/** One room of 1,000. Eight publish open-loop load, so that no connection has more waiting than one may. */
export const ROOM_OF_1000: CrowdShape = {
  rooms: 1,
  perRoom: SUBSCRIBERS,
  frontPerRoom: 8,
  publishersPerRoom: 8,
  frontSampleEvery: 4,
  audienceSampleEvery: 250,
  napMs: 20,
};

/** Of a command on a crowd, what the crowd does not know itself. */
export type Wish<C extends Run | Pace> = Omit<C, "kind" | "publishers" | "helperPids">;

/** A run of a crowd; each room has one publisher if nothing else is said. */
export type RunWish = Wish<Run> & { readonly publishersPerRoom?: number };

const BODY_BYTES = 128;

/** Open-loop load of messages with small bodies, after a second that does not count. */
export function atRate(rate: number, seconds: number, until: Pace["until"] = "returned"): Wish<Pace> {
  return { until, rate, bodyBytes: BODY_BYTES, warmSeconds: 1, seconds };
}

/** A run, and what everybody received of it. */
export interface Outcome<L extends Load = Load> {
  readonly load: L;
  readonly tally: Tallied;
}

/** Everybody connected to one server. */
export class Crowd {
  readonly target: Target;
  readonly #shape: CrowdShape;
  readonly #front = new LoadClient();
  readonly #audience = new LoadClient();
  #rooms: readonly string[] = [];

  constructor(target: Target, shape: CrowdShape) {
    this.target = target;
    this.#shape = shape;
  }

  /** The rooms it is in, once it is open. */
  get rooms(): readonly string[] {
    return this.#rooms;
  }

  /**
   * Opens all connections, the front's in between those of the audience; then every publisher sends a first message,
   * which makes him a member. That is an entry of the room, and not part of any run.
   */
  async open(): Promise<void> {
    const shape = this.#shape;
    const rooms = await this.target.rooms(shape.rooms);
    this.#rooms = rooms;
    const slices = shape.frontPerRoom + 1;
    const listeners = shape.perRoom - shape.frontPerRoom;
    for (let slice = 0; slice < slices; slice += 1) {
      const perRoom = Math.floor((listeners * (slice + 1)) / slices) - Math.floor((listeners * slice) / slices);
      if (perRoom > 0) await this.#join(this.#audience, rooms, perRoom);
      if (slice < shape.frontPerRoom) await this.#join(this.#front, rooms, 1);
    }
    await this.#audience.run({ kind: "nap", ms: shape.napMs });
    await this.#front.run({ kind: "greet", publishers: this.#publishers });
    await this.#tally({});
  }

  /** Runs closed-loop load and counts what came of it. */
  async run({ publishersPerRoom = 1, ...wish }: RunWish): Promise<Outcome> {
    await this.#mark();
    const publishers = this.#shape.rooms * publishersPerRoom;
    const load = await this.#front.run({ kind: "run", ...wish, publishers, helperPids: this.#helpers });
    return { load, tally: await this.#tally(load.sent) };
  }

  /** Runs open-loop load and counts what came of it. */
  async pace(wish: Wish<Pace>): Promise<Outcome<Paced>> {
    await this.#mark();
    const load = await this.#front.run({
      kind: "pace",
      ...wish,
      publishers: this.#publishers,
      helperPids: this.#helpers,
    });
    return { load, tally: await this.#tally(load.sent) };
  }

  /** Ends both load clients. */
  async end(): Promise<void> {
    await Promise.all([this.#front.end(), this.#audience.end()]);
  }

  /** Of the front, which begins with the first of each room, then has the second of each, and so on. */
  get #publishers(): number {
    return this.#shape.rooms * (this.#shape.publishersPerRoom ?? 1);
  }

  get #helpers(): number[] {
    return [this.#audience.pid];
  }

  async #join(client: LoadClient, rooms: readonly string[], perRoom: number): Promise<void> {
    const { port, dialect, pid, secret } = this.target;
    const { frontSampleEvery, audienceSampleEvery } = this.#shape;
    const [group, sampleEvery] =
      client === this.#front ? [FRONT_GROUP, frontSampleEvery] : [AUDIENCE_GROUP, audienceSampleEvery];
    const place = { port, dialect, serverPid: pid, secret, rooms, perRoom, group, sampleEvery };
    await client.run({ kind: "open", ...place, inFlight: IN_FLIGHT });
  }

  async #mark(): Promise<void> {
    await Promise.all([this.#front.run({ kind: "mark" }), this.#audience.run({ kind: "mark" })]);
  }

  async #tally(sent: Readonly<Record<string, number>>): Promise<Tallied> {
    const [front, audience] = await Promise.all([
      this.#front.run({ kind: "tally", sent }),
      this.#audience.run({ kind: "tally", sent }),
    ]);
    return {
      deliveries: front.deliveries + audience.deliveries,
      lost: front.lost + audience.lost,
      doubled: front.doubled + audience.doubled,
      disordered: front.disordered + audience.disordered,
      sampled: front.sampled + audience.sampled,
      messageBytes: front.messageBytes,
      receiptBytes: front.receiptBytes,
    };
  }
}

/** Rounds of a warm-up, and seconds of each. */
const WARM_ROUNDS = { full: 10, quick: 1, seconds: 2 } as const;

/**
 * Loads servers in turns until what they do once a turn is compiled, too, as in a server that runs for days. Waits
 * for `ready` before each round.
 */
export async function warmUp(crowds: readonly Crowd[], quick: boolean, ready?: () => Promise<void>): Promise<void> {
  const { seconds } = WARM_ROUNDS;
  for (let round = quick ? WARM_ROUNDS.quick : WARM_ROUNDS.full; round > 0; round -= 1) {
    for (const crowd of crowds) {
      await ready?.();
      await crowd.run({ until: "returned", bodyBytes: BODY_BYTES, window: 16, warmSeconds: 0, seconds });
    }
  }
}
