/** Refusals that come of a room's moves: one that says nothing for good, and one that repeats what was lost. */
import { Refusal } from "./codes.ts";

/** The room closes or moves: the same request may be given to its next opening, under the same key. */
export class ReopeningRefusal extends Refusal {
  constructor() {
    super("store-unavailable", "The room is being reopened.", 1_000);
  }
}

/** What follows the SEND is on the log, and it is not: it was refused, by an owner that nobody can ask any more. */
export class PassedRefusal extends Refusal {
  constructor() {
    super("store-unavailable", "It was refused, and why is not known any more. Send it anew.", 1_000);
  }
}

/**
 * Whether a refusal of a SEND says nothing for good: the room is being reopened; or there was no place, or no store, to
 * find out whether what may be on the log already is there. The latter of what is surely new is for its sender.
 */
export function mayPass(refusal: Refusal, again: boolean): boolean {
  if (refusal instanceof ReopeningRefusal) return true;
  if (!again || refusal instanceof PassedRefusal) return false;
  return refusal.code === "queue-full" || refusal.code === "store-unavailable";
}
