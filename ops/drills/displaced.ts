/**
 * Entries of another node that came into the archive where one of ours was to stand, and what may follow from
 * them: what was shown from that place on under the term of ours is lost, and who saw it is told so. Nothing
 * else may be lost, and nobody else may be told.
 */
import type { Item, Place, Sending, Stream, Violation } from "./checker.ts";

/** An entry that a drill stored as another node would, and that must stay. */
export interface Foreign {
  /** For the checker: the entry was promised its place to somebody. */
  readonly sending: Sending;
  readonly place: Place;
  /** Term of the entry that was to stand there; undefined where that was to be stored before it was shown. */
  readonly displaced: number | undefined;
}

const show = (place: Place | undefined): string => (place ? `(${place.offset}, term ${place.term})` : "nothing");

/**
 * What was lost or said to be lost without a foreign entry that explains it; undecided by `check`, which only
 * compares what was said with what is there.
 */
export function unexplained(
  streams: readonly Stream[],
  archive: ReadonlyMap<string, readonly Item[]>,
  foreign: readonly Foreign[],
): Violation[] {
  const violations: Violation[] = [];
  const report = (rule: string, what: string): unknown => violations.push({ rule, what });
  for (const { client, room, events } of streams) {
    const log = archive.get(room) ?? [];
    const fits = (at: Place): boolean =>
      foreign.some(
        ({ sending, place, displaced }) => sending.room === room && at.offset >= place.offset && at.term === displaced,
      );
    let at: Place | undefined;
    for (const event of events) {
      if (event.kind === "subscribe") at ??= event.after;
      else if (event.kind === "head") at ??= event.head;
      else if (event.kind === "entry") {
        at = event.item;
        if (log[at.offset - 1]?.term !== at.term && !fits(at))
          report("not-displaced", `${client} in ${room} saw ${show(at)}: not in the log, and nothing displaced it.`);
      } else if (!event.recovered) {
        if (!at || !fits(at))
          report(
            "not-recovered",
            `${client} in ${room} was told recovered: false at ${show(at)}, and nothing was lost.`,
          );
        at = event.head;
      }
    }
  }
  return violations;
}
