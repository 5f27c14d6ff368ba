/** People of some rooms on several nodes: the crowd of a cluster. */
import type { Load, Pace, Paced } from "./client/messages.ts";
import type { Outcome, Wish } from "./crowd.ts";
import { LoadClient } from "./load.ts";
import type { Target } from "./targets.ts";

const IN_FLIGHT = 64;
const NAP_MS = 20;
const SETTLE_MS = 1_500;
/** Every how many connections one is read in full. */
const SAMPLE_EVERY = 50;

/** Users and source addresses of no two load clients are the same. */
let groups = 0;

/** The next group that nobody else of this run has. */
export function newGroup(): number {
  return groups++;
}

/** People of some rooms, on several nodes: some read at once and send, the others are read in gulps. */
export class Gathering {
  readonly #front = new LoadClient();
  readonly #audience = new LoadClient();
  readonly #frontGroup = newGroup();
  readonly #audienceGroup = newGroup();
  #senders = 0;

  /** So many of each room join at a node; of those at the front the very first ones send. */
  async join(node: Target, rooms: readonly string[], people: { front: number; audience: number }): Promise<void> {
    const { port, dialect, pid: serverPid, secret } = node;
    const place = {
      kind: "open",
      port,
      dialect,
      serverPid,
      secret,
      rooms,
      inFlight: IN_FLIGHT,
      sampleEvery: SAMPLE_EVERY,
    } as const;
    if (people.front > 0) await this.#front.run({ ...place, perRoom: people.front, group: this.#frontGroup });
    if (people.audience > 0)
      await this.#audience.run({ ...place, perRoom: people.audience, group: this.#audienceGroup });
  }

  /** The first so many at the front say their first word, which makes them members. */
  async greet(senders: number): Promise<void> {
    this.#senders = senders;
    await this.#front.run({ kind: "greet", publishers: senders });
    await this.#audience.run({ kind: "nap", ms: NAP_MS });
    await this.#tally({});
  }

  /** Runs open-loop load and counts what came of it. */
  async pace(wish: Wish<Pace>): Promise<Outcome<Paced>> {
    await Promise.all([this.#front.run({ kind: "mark" }), this.#audience.run({ kind: "mark" })]);
    const cast = { publishers: this.#senders, helperPids: [this.#audience.pid] };
    const load = await this.#front.run({ kind: "pace", ...wish, ...cast });
    return { load, tally: await this.#tally(load.sent) };
  }

  async #tally(sent: Load["sent"]): Promise<Outcome["tally"]> {
    // A node that lags behind the others may be silent for a while, which alone is not the end.
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const [front, audience] = await Promise.all([
      this.#front.run({ kind: "tally", sent }),
      this.#audience.run({ kind: "tally", sent }),
    ]);
    return {
      ...front,
      deliveries: front.deliveries + audience.deliveries,
      lost: front.lost + audience.lost,
      doubled: front.doubled + audience.doubled,
      disordered: front.disordered + audience.disordered,
      sampled: front.sampled + audience.sampled,
    };
  }

  /** Ends both load clients. */
  async end(): Promise<void> {
    await Promise.all([this.#front.end(), this.#audience.end()]);
  }
}
