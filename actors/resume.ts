/**
 * Resume without a live buffer: page the log at the pace of the socket until the rest is in the node's ring,
 * then in one turn send the rest and subscribe natively (protocol, "Resume").
 */
import type { Audience } from "./audience.ts";
import { type Entry, entryBytes, ORIGIN, type Position } from "./entry.ts";
import { withoutDeleted } from "./fate.ts";
import type { Link, Subscription } from "./link.ts";

/** Where a subscription begins; `now` needs no resume. */
export type From = { readonly kind: "now" } | Past;

/** Where a subscription begins that is shown what was missed. */
export type Past =
  | { readonly kind: "after"; readonly position: Position }
  | { readonly kind: "last"; readonly entries: number };

/** What a resume needs of its node. */
export interface ResumeHost {
  readonly replayEntries: number;
  readonly counters: { recovered: number; unrecovered: number; replayed: number };
  /** Entries after an offset, rising; equal reads of many clients are one. */
  fetchAfter(room: string, offset: number): Promise<readonly Entry[]>;
}

/** One resume. */
export interface Resume {
  readonly host: ResumeHost;
  readonly audience: Audience;
  readonly link: Link;
  readonly subscription: Subscription;
  readonly from: Past;
  /** Called in the turn in which the subscription is live natively. */
  readonly live: () => void;
  /** The connection cannot be served and must resume by itself. */
  readonly giveUp: () => void;
}

/** Bytes of one write of a replay: a socket takes as much before it counts as congested. */
const STEP_BYTES = 65_536;
/** Most pages of one resume; a client that falls behind faster than it reads is closed instead. */
const LAPS = 512;

/** Replays what was missed and goes live. Does its work without a wait where memory has it. */
export function resume(task: Resume): void {
  const head = task.audience.position ?? ORIGIN;
  const start = task.from.kind === "last" ? Math.max(0, head.offset - task.from.entries) : task.from.position.offset;
  const known = task.from.kind === "last" ? true : knownInMemory(task.audience, task.from.position);
  if (known === undefined) {
    // From here on a removal ends it.
    task.subscription.state = "replaying";
    void checkAndReplay(task, start);
    return;
  }
  begin(task, known, start);
}

/** Whether the position is on the log, as far as memory can tell. */
function knownInMemory(audience: Audience, position: Position): boolean | undefined {
  const head = audience.position ?? ORIGIN;
  if (position.offset === 0) return true;
  if (position.offset > head.offset) return false;
  if (position.offset === head.offset) return position.term === head.term;
  const entry = audience.at(position.offset);
  return entry ? entry.term === position.term : undefined;
}

async function checkAndReplay(task: Resume, start: number): Promise<void> {
  const position = (task.from as { position: Position }).position;
  try {
    const [there] = await task.host.fetchAfter(task.audience.room, position.offset - 1);
    if (isOver(task.subscription)) return;
    if (!there || there.offset !== position.offset) return task.giveUp();
    begin(task, there.term === position.term, start);
  } catch {
    task.giveUp();
  }
}

function begin(task: Resume, known: boolean, start: number): void {
  const head = task.audience.position ?? ORIGIN;
  const recovered = known && head.offset - start <= task.host.replayEntries;
  if (recovered) task.host.counters.recovered++;
  else task.host.counters.unrecovered++;
  task.link.resumed(task.subscription, recovered, head);
  if (!recovered) return goLive(task, head.offset);
  task.subscription.state = "replaying";
  if (task.audience.rest(start)) return goLive(task, start);
  replay(task, start).catch(() => task.giveUp());
}

async function replay(task: Resume, start: number): Promise<void> {
  let cursor = start;
  for (let lap = 0; lap < LAPS; lap++) {
    const page = await task.host.fetchAfter(task.audience.room, cursor);
    if (isOver(task.subscription)) return;
    const first = page[0];
    if (first) {
      if (first.offset !== cursor + 1) break;
      // Nothing is sent that was not published here: the ring's end is where live begins.
      const limit = (task.audience.position ?? ORIGIN).offset;
      cursor = await sendInSteps(
        task,
        page.filter((entry) => entry.offset <= limit),
        cursor,
      );
    }
    if (task.link.congested()) await task.link.drained();
    if (isOver(task.subscription)) return;
    if (task.audience.rest(cursor)) return goLive(task, cursor);
  }
  task.giveUp();
}

/** Sends at the pace of the socket, a bounded number of bytes at a time; answers the last offset sent. */
async function sendInSteps(task: Resume, entries: readonly Entry[], cursor: number): Promise<number> {
  let sent = cursor;
  for (let at = 0; at < entries.length; ) {
    let end = at;
    let bytes = 0;
    while (end < entries.length && bytes < STEP_BYTES) bytes += entryBytes(entries[end++] as Entry);
    send(task, entries.slice(at, end));
    sent = (entries[end - 1] as Entry).offset;
    at = end;
    if (task.link.congested()) await task.link.drained();
    if (isOver(task.subscription)) return sent;
  }
  return sent;
}

function send(task: Resume, entries: readonly Entry[]): void {
  if (entries.length === 0) return;
  task.host.counters.replayed += entries.length;
  task.link.replay(task.subscription, withoutDeleted(entries));
}

/** In one turn: the rest up to what was last published, then the native subscription. */
function goLive(task: Resume, cursor: number): void {
  send(task, task.audience.rest(cursor) ?? []);
  task.subscription.state = "live";
  task.link.attach(task.subscription);
  task.live();
}

/** Whether the subscription ended while something was waited for. */
function isOver(subscription: Subscription): boolean {
  return subscription.state === "ended";
}
