/** The refusal of a room that closes under what was asked of it: nothing was decided, and its next opening may. */
import { Refusal } from "./codes.ts";

/** The room closes or moves: the same request may be given to its next opening, under the same key. */
export class ReopeningRefusal extends Refusal {
  constructor() {
    super("store-unavailable", "The room is being reopened.", 1_000);
  }
}
