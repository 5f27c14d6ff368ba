/** Own messages on their way: written, refused, stored. Pure, on a `RoomLog` (see `log.ts`). */
import { LOG_BOUNDS, type Outgoing, type RoomLog, settled } from "./log.ts";
import type { LogEntry } from "./shapes.ts";

/** Whether another own message fits. */
export function hasRoom(log: RoomLog): boolean {
  return log.outbox.length < LOG_BOUNDS.outbox;
}

/** Adds an own message at the end of the line; the same log when it is full. */
export function written(log: RoomLog, own: { id: string; body: string; at: number }): RoomLog {
  if (!hasRoom(log)) return log;
  const added: Outgoing = { ...own, state: "pending", reason: undefined, tries: 0, offset: 0 };
  return { ...log, outbox: [...log.outbox, added] };
}

/** The own message is durable at `offset` (its RECEIPT came). */
export function stored(log: RoomLog, id: string, offset: number): RoomLog {
  return settled(updated(log, id, { state: "stored", reason: undefined, offset }));
}

/** The own message was refused, or nobody answered; it stays until it is sent again or discarded. */
export function failed(log: RoomLog, id: string, reason: string): RoomLog {
  const own = log.outbox.find((one) => one.id === id);
  return own === undefined || own.state === "stored" ? log : updated(log, id, { state: "failed", reason });
}

/** The own message goes out again, under the same id; `again` counts one more refusal with "later". */
export function retried(log: RoomLog, id: string, again: "by-person" | "by-itself"): RoomLog {
  const own = log.outbox.find((one) => one.id === id);
  if (own === undefined || own.state === "stored") return log;
  const tries = again === "by-person" ? 0 : own.tries + 1;
  return updated(log, id, { state: "pending", reason: undefined, tries });
}

/** Forgets an own message that was not stored. */
export function discarded(log: RoomLog, id: string): RoomLog {
  return { ...log, outbox: log.outbox.filter((own) => own.id !== id) };
}

function updated(log: RoomLog, id: string, part: Partial<Outgoing>): RoomLog {
  let found = false;
  const outbox = log.outbox.map((own) => {
    if (own.id !== id) return own;
    found = true;
    return { ...own, ...part };
  });
  return found ? { ...log, outbox } : log;
}

/** What a reader sees of the outbox: the mark of each entry shown, and the messages that no entry shows yet. */
export interface OutboxView {
  /** State of own messages whose entry is in the window, by `client-message-id`. */
  readonly marks: ReadonlyMap<string, Outgoing>;
  /** Own messages to show below the window, in the order they were written. */
  readonly below: readonly Outgoing[];
}

/** Splits the outbox by whether an entry of the window already shows the message. */
export function outboxView(log: RoomLog, user: string): OutboxView {
  const marks = new Map<string, Outgoing>();
  if (log.outbox.length === 0) return { marks, below: [] };
  const shown = new Set<string>();
  for (const entry of log.entries) if (isOwn(entry, user)) shown.add(entry.clientMessageId as string);
  const below: Outgoing[] = [];
  for (const own of log.outbox) {
    if (shown.has(own.id)) marks.set(own.id, own);
    else below.push(own);
  }
  return { marks, below };
}

function isOwn(entry: LogEntry, user: string): boolean {
  return entry.sender === user && entry.clientMessageId !== undefined;
}
