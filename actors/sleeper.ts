/** Rooms that nobody uses: looked for now and then, closed, and taken off the hot log (rule 13). */
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { Lap } from "./lap.ts";
import type { Log } from "./log.ts";
import type { Room } from "./room.ts";

/** Pause between two looks at the rooms, ms. */
const SWEEP_MS = 1_000;

/** What the sleeper needs of its node. */
export interface SleeperHost {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly rooms: ReadonlyMap<string, Room>;
  /** Whether anybody here listens to a room. */
  readonly audiences: { has(room: string): boolean };
}

/** Puts rooms to sleep. */
export class Sleeper {
  readonly #host: SleeperHost;
  readonly #lap: Lap;
  #stopped = false;

  constructor(host: SleeperHost) {
    this.#host = host;
    this.#lap = new Lap({
      ...{ clock: host.clock, log: host.log, pauseMs: SWEEP_MS },
      run: () => this.#sweep(),
      failed: "the rooms could not be looked at",
    });
  }

  start(): void {
    this.#lap.start();
  }

  stop(): void {
    this.#stopped = true;
    this.#lap.stop();
  }

  #sweep(): void {
    const now = this.#host.clock.monotonic();
    for (const room of this.#host.rooms.values()) {
      if (!room.maySleep(now) || this.#host.audiences.has(room.id) || isAppending(room)) continue;
      room.close();
      this.putAway(room);
    }
  }

  /** Takes a closed and stored room off the hot log; asked again until answered or the room wakes up. */
  putAway(room: Room): void {
    const { bus, log, clock, rooms } = this.#host;
    const { id, shard, state } = room;
    const { term } = shard;
    const put = async (): Promise<void> => {
      if (this.#stopped || rooms.has(id)) return;
      try {
        await bus.stored(shard.id, term, id, state.stored);
        // Opened again meanwhile, it may rely on its head being there.
        if (this.#stopped || rooms.has(id)) return;
        await bus.sleep(shard.id, term, id, state.stored);
      } catch (error) {
        log.warn({ room: id, err: error }, "a room's hot log was not put away; asking again");
        clock.after(SWEEP_MS, () => void put());
      }
    };
    void put();
  }
}

/**
 * Whether entries of the room are on their way to the hot log. Their places are taken; opened again meanwhile from
 * what is stored, the room would give the same ones to others, under the same term.
 */
function isAppending({ state }: Room): boolean {
  return state.accepted.offset < state.offset;
}
