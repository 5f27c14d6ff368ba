/** What the hot log accepted is shown: to the audiences, and to the rooms, which answer it and give it to the writer. */
import type { Sent } from "./appends.ts";
import type { Bus, Pack } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Counters } from "./counters.ts";
import type { Log } from "./log.ts";

/** What showing needs of the node. */
export interface ShowingHost {
  readonly bus: Pick<Bus, "publish">;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
}

/**
 * Shows an accepted append. A fault of ours in one room costs the others nothing; answers the parts of which the
 * writer has nothing for it.
 */
export function show(host: ShowingHost, packs: readonly Pack[], sent: readonly Sent[]): readonly Sent[] {
  publish(host, packs);
  const now = host.clock.monotonic();
  const faulty: Sent[] = [];
  for (const part of sent) {
    try {
      for (const item of part.postings) host.counters.delivery.observe((now - item.decidedAt) / 1_000);
      part.room.onAccepted(part.postings);
    } catch (error) {
      host.log.error({ room: part.room.id, err: error }, "a pack met a fault of ours");
      faulty.push(part);
    }
  }
  return faulty;
}

/** After a fault of ours each room by itself: who had its pack already takes it for old news. */
function publish(host: ShowingHost, packs: readonly Pack[]): void {
  try {
    host.bus.publish(packs);
  } catch (error) {
    host.log.error({ rooms: packs.map(({ room }) => room), err: error }, "a publish met a fault of ours");
    if (packs.length > 1) for (const pack of packs) publish(host, [pack]);
  }
}
