/** Words and times that people read; pure. */
import type { Catching } from "./store.ts";
import type { WireState } from "./wire.ts";

/** A state of the connection in words. */
export interface Status {
  readonly tone: "live" | "busy" | "off";
  /** What is shown, with the seconds. */
  readonly shown: string;
  /** What a screen reader says: it changes only when the state does. */
  readonly spoken: string;
}

/** "1 message", "2 messages". */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? "" : "s"}`;
}

/** The connection in words. `now` in ms since 1970. */
export function statusOf(wire: WireState, catching: Catching | undefined, now: number): Status {
  if (wire.kind === "waiting") {
    const seconds = Math.max(1, Math.ceil((wire.retryAt - now) / 1000));
    const spoken = "Offline — reconnecting";
    return { tone: "off", shown: `${spoken} in ${seconds} s`, spoken };
  }
  if (wire.kind !== "up") return { tone: "busy", shown: "Connecting…", spoken: "Connecting" };
  if (catching === undefined) return { tone: "live", shown: "Live", spoken: "Live" };
  if (catching.left > 0) {
    const shown = `Catching up: ${counted(catching.left, "message")}`;
    return { tone: "busy", shown, spoken: `Catching up: ${counted(catching.total, "message")}` };
  }
  const done = `Live — caught up on ${counted(catching.total, "message")}`;
  return { tone: "live", shown: done, spoken: done };
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** The time of day. */
export function timeText(at: number): string {
  return clock.format(at);
}

/** Whether two times are on one day, where the reader is. */
export function sameDay(a: number, b: number): boolean {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

/** The day of a time: today, yesterday, a weekday this year, else the date. */
export function dayText(at: number, now: number): string {
  if (sameDay(at, now)) return "Today";
  if (sameDay(at, now - 86_400_000)) return "Yesterday";
  return (new Date(at).getFullYear() === new Date(now).getFullYear() ? weekday : date).format(at);
}

/** A time in a list: of the day if today, else the day. */
export function whenText(at: number, now: number): string {
  return sameDay(at, now) ? timeText(at) : short.format(at);
}

/** Who types: up to two by name. Empty when nobody does. */
export function typingText(names: readonly string[]): string {
  const [first, second] = names;
  if (first === undefined) return "";
  if (second === undefined) return `${first} is typing…`;
  return names.length === 2 ? `${first} and ${second} are typing…` : "Several people are typing…";
}

/** What a change of members means, in words. `change` as the engine says it. */
export function memberText(change: string, by: string, user: string): string {
  switch (change) {
    case "joined":
      return `${user} joined`;
    case "left":
      return `${user} left`;
    case "added":
      return `${by} added ${user}`;
    case "removed":
      return `${by} removed ${user}`;
    default:
      return `${by} changed the role of ${user}`;
  }
}

/** The two letters or the one that stand for a name. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u);
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => [...(word ?? "")][0] ?? "");
  return letters.join("").toUpperCase() || "?";
}

/** A number from 0 to 5 that is always the same for a user: their colour. */
export function hueOf(user: string): number {
  let sum = 0;
  for (const unit of user) sum = (sum * 31 + (unit.codePointAt(0) ?? 0)) % 65_521;
  return sum % 6;
}
