/** Who may do what when: what a private room's log itself says, and what REST answered. */
import type { Entry } from "../entry.ts";
import { place } from "../promises.checks.ts";
import { memberOf } from "../room.state.ts";

/** An entry of one who is no member at that offset of a private room's log. */
export function accessBreach(log: readonly Entry[]): string | undefined {
  const members = new Set<string>();
  for (const entry of log) {
    const member = memberOf(entry);
    if (member?.role === "none") members.delete(member.user);
    else if (member) members.add(member.user);
    else if (!members.has(entry.sender)) return `${entry.sender} is no member at ${place(entry)}`;
  }
  return undefined;
}

/** Whether a user is a member, as far as REST answered: `unknown` while a change is under way or was not answered. */
export type Standing = "in" | "out" | "unknown";

/** Memberships as a client of REST knows them. */
export class Memberships {
  readonly #spans = new Map<string, { readonly sinceMs: number; readonly standing: Standing }[]>();

  /** From now on. */
  set(room: string, user: string, span: { readonly sinceMs: number; readonly standing: Standing }): void {
    const key = `${room} ${user}`;
    const spans = this.#spans.get(key);
    if (spans) spans.push(span);
    else this.#spans.set(key, [span]);
  }

  /** Where a user stood all the time between two moments; `unknown` when that changed. */
  during(room: string, user: string, fromMs: number): Standing {
    const spans = this.#spans.get(`${room} ${user}`) ?? [];
    const last = spans[spans.length - 1];
    return last && last.sinceMs <= fromMs ? last.standing : "unknown";
  }
}
