/**
 * Who was in the rooms of this node as they closed. One that opens again at once, as a room does that reads its log
 * anew, goes on with them: they are expected back, and no join of them is said again. Of a room that does not open
 * soon they are said to leave.
 */
import type { Clock } from "./clock.ts";

/** How long whoever was here as the room closed may take to be introduced to its next opening, ms. */
export const REOPENED_MS = 1_200;

/** A user of whom a join was said, and no leave. */
export interface Left {
  readonly user: string;
  readonly name: string;
  /** Monotonic ms until which the user is expected back. */
  readonly untilMs: number;
}

/** A room that closed. */
export interface Closing {
  readonly room: string;
  /** Under which its last words were said. */
  readonly term: number;
  readonly users: readonly Left[];
  /** Told of each user when the room did not open in time. */
  readonly leave: (user: string) => void;
}

/** The closed rooms of one node that may open again at once. Bounded by who was in them, for `REOPENED_MS`. */
export class Returning {
  readonly #clock: Pick<Clock, "after">;
  readonly #rooms = new Map<string, Closing>();

  constructor(clock: Pick<Clock, "after">) {
    this.#clock = clock;
  }

  /** A room closed. */
  closed(closing: Closing): void {
    const { room, users, leave } = closing;
    if (users.length === 0) return;
    this.#rooms.set(room, closing);
    this.#clock.after(REOPENED_MS, () => {
      if (this.#rooms.get(room) !== closing) return;
      this.#rooms.delete(room);
      for (const { user } of users) leave(user);
    });
  }

  /**
   * The room opens under a term: those who are expected in it. Nobody where another owner was between the two terms:
   * it was told who is there, and may have said that they left.
   */
  take(room: string, term: number): readonly Left[] {
    const closing = this.#rooms.get(room);
    if (!closing) return [];
    this.#rooms.delete(room);
    return term <= closing.term + 1 ? closing.users : [];
  }
}
