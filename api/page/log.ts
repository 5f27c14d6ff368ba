/**
 * One room's log as a reader holds it: pure data, no timers, no network. History pages, replay and live
 * messages come in any interleaving, with repeats; what is held has each offset once, in order.
 *
 *     1 … first ─────────── last … head │ gap │ ahead
 *         └ entries, no gap ┘       └ the position to resume from
 *
 * `entries` is a window on the log. While its last entry is the head the window is attached and grows with
 * the stream; scrolled far back it is detached, and pages bring it forward again. Promise 5 of the design is
 * the server's half of this: it replays from `head`.
 */
import { type LogEntry, objectOf, type Position, type Reactions } from "./shapes.ts";

/** Bounds of what one room holds in the page. */
export const LOG_BOUNDS = Object.freeze({
  held: 500, // entries in the window, and so rows in the document
  ahead: 500, // entries beyond a gap; the newest fall off and are replayed
  outbox: 100, // own messages without a receipt
});

/** An own message that has no RECEIPT yet, or whose RECEIPT came before its entry. */
export interface Outgoing {
  /** `client-message-id`: the same at every try, so that a retry is not a second message (promise 4). */
  readonly id: string;
  readonly body: string;
  /** When it was written, ms since 1970. */
  readonly at: number;
  readonly state: "pending" | "failed" | "stored";
  /** Why it failed, as a sentence. */
  readonly reason: string | undefined;
  /** Tries that were refused with "later". */
  readonly tries: number;
  /** Offset of the stored entry, once the RECEIPT came. */
  readonly offset: number;
}

/** A room's log in the page. Immutable: every function answers a new one, or the same when nothing changed. */
export interface RoomLog {
  /** Whether a first page came; before that everything waits in `ahead`. */
  readonly loaded: boolean;
  readonly entries: readonly LogEntry[];
  readonly head: Position;
  readonly ahead: readonly LogEntry[];
  readonly outbox: readonly Outgoing[];
}

/** Which end stays when the window is full. */
export type Keep = "newest" | "oldest";

/** A log of which nothing is known; keeps the own messages of a former one. */
export function unloaded(outbox: readonly Outgoing[] = []): RoomLog {
  return { loaded: false, entries: [], head: { offset: 0, term: 0 }, ahead: [], outbox };
}

/** Whether the window ends at the head. */
export function attached(log: RoomLog): boolean {
  return lastOffset(log) === log.head.offset;
}

/** Whether something came beyond what is held: the stream has to be resumed from `head`. */
export function hasGap(log: RoomLog): boolean {
  return log.loaded && log.ahead.length > 0;
}

/** Whether the window begins at the beginning of the log. */
export function atStart(log: RoomLog): boolean {
  return log.loaded && (log.entries[0]?.offset ?? 1) === 1;
}

function lastOffset(log: RoomLog): number {
  return log.entries.at(-1)?.offset ?? 0;
}

/** Takes one entry of the stream, replayed or live. Repeats change nothing; one beyond a gap is put aside. */
export function addLive(log: RoomLog, entry: LogEntry, keep: Keep = "newest"): RoomLog {
  if (log.loaded && entry.offset <= log.head.offset) return log;
  if (!log.loaded || entry.offset > log.head.offset + 1) return { ...log, ahead: putAside(log.ahead, entry) };
  return settled(drained(advanced(log, entry, keep), keep));
}

/** Takes the newest page of the history as the whole window: at first, and when the stream was not recovered. */
export function replaceWith(log: RoomLog, page: readonly LogEntry[]): RoomLog {
  const entries = joined(page).slice(-LOG_BOUNDS.held);
  const last = entries.at(-1);
  const head = last === undefined ? { offset: 0, term: 0 } : { offset: last.offset, term: last.term };
  return settled(drained({ ...log, loaded: true, entries, head }, "newest"));
}

/** Takes a page of history that touches or overlaps the window; one that does neither changes nothing. */
export function addPage(log: RoomLog, page: readonly LogEntry[], keep: Keep): RoomLog {
  const first = log.entries[0]?.offset;
  if (!log.loaded || first === undefined) return log.loaded && page[0]?.offset === 1 ? replaceWith(log, page) : log;
  const items = joined(page);
  let next = log;
  const older = items.filter((entry) => entry.offset < first);
  if (older.at(-1)?.offset === first - 1) next = { ...next, entries: prepended(older, log.entries) };
  for (const entry of items) if (entry.offset === lastOffset(next) + 1) next = appended(next, entry);
  return next === log ? log : settled(drained({ ...next, entries: trimmed(next.entries, keep) }, keep));
}

/** The longest run of rising offsets without a gap at the end of a page. */
function joined(page: readonly LogEntry[]): readonly LogEntry[] {
  let from = page.length - 1;
  while (from > 0 && page[from - 1]?.offset === (page[from]?.offset ?? 0) - 1) from--;
  return from <= 0 ? page : page.slice(from);
}

function prepended(older: readonly LogEntry[], held: readonly LogEntry[]): readonly LogEntry[] {
  let entries: readonly LogEntry[] = [...older, ...held];
  // The page may have been read before a change that is already held.
  for (const entry of held) if (entry.ref > 0) entries = changed(entries, entry);
  return entries;
}

function appended(log: RoomLog, entry: LogEntry): RoomLog {
  const head = entry.offset > log.head.offset ? { offset: entry.offset, term: entry.term } : log.head;
  return { ...log, head, entries: [...changed(log.entries, entry), entry] };
}

function trimmed(entries: readonly LogEntry[], keep: Keep): readonly LogEntry[] {
  if (entries.length <= LOG_BOUNDS.held) return entries;
  return keep === "newest" ? entries.slice(-LOG_BOUNDS.held) : entries.slice(0, LOG_BOUNDS.held);
}

function advanced(log: RoomLog, entry: LogEntry, keep: Keep): RoomLog {
  const grows = attached(log) && (keep === "newest" || log.entries.length < LOG_BOUNDS.held);
  if (grows) {
    const next = appended(log, entry);
    return { ...next, entries: trimmed(next.entries, "newest") };
  }
  return { ...log, head: { offset: entry.offset, term: entry.term }, entries: changed(log.entries, entry) };
}

function drained(log: RoomLog, keep: Keep): RoomLog {
  let next = log;
  let taken = 0;
  for (const entry of log.ahead) {
    if (entry.offset > next.head.offset + 1) break;
    if (entry.offset === next.head.offset + 1) next = advanced(next, entry, keep);
    taken++;
  }
  return taken === 0 ? next : { ...next, ahead: next.ahead.slice(taken) };
}

function putAside(ahead: readonly LogEntry[], entry: LogEntry): readonly LogEntry[] {
  let at = ahead.length;
  while (at > 0 && (ahead[at - 1]?.offset ?? 0) >= entry.offset) at--;
  if (ahead[at]?.offset === entry.offset || at >= LOG_BOUNDS.ahead) return ahead;
  return [...ahead.slice(0, at), entry, ...ahead.slice(at, LOG_BOUNDS.ahead - 1)];
}

/** Applies an edit, a deletion or a reaction to the entry it names, once. */
function changed(entries: readonly LogEntry[], change: LogEntry): readonly LogEntry[] {
  const at = change.ref - (entries[0]?.offset ?? 0);
  const entry = entries[at];
  if (change.ref === 0 || entry === undefined || entry.rev >= change.offset) return entries;
  const next = { ...entry, rev: change.offset, ...changeOf(entry, change) };
  return [...entries.slice(0, at), next, ...entries.slice(at + 1)];
}

function changeOf(entry: LogEntry, change: LogEntry): Partial<LogEntry> {
  if (change.event === "deleted") return { deleted: true, text: undefined, bytes: 0, reactions: {} };
  if (entry.deleted) return {};
  if (change.event === "edited") return { edited: true, text: change.text, bytes: change.bytes };
  if (change.event !== "reaction") return {};
  return { reactions: reacted(entry.reactions, change) };
}

function reacted(reactions: Reactions, change: LogEntry): Reactions {
  const { reaction, on } = objectOf(change.text);
  if (typeof reaction !== "string") return reactions;
  const others = (reactions[reaction] ?? []).filter((user) => user !== change.sender);
  const users = on === false ? others : [...others, change.sender];
  const rest = Object.entries(reactions).filter(([name]) => name !== reaction);
  return Object.fromEntries(users.length === 0 ? rest : [...rest, [reaction, users]]);
}

/** Drops own messages that are stored and whose entry the stream has passed: from there on the entry speaks. */
export function settled(log: RoomLog): RoomLog {
  if (!log.loaded) return log;
  const left = log.outbox.filter((own) => own.state !== "stored" || own.offset > log.head.offset);
  return left.length === log.outbox.length ? log : { ...log, outbox: left };
}
