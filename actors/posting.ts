/** What is to become an entry, on its way: asked, decided, accepted, stored. */
import type { DerivedWrite } from "./archive.ts";
import type { Refusal } from "./codes.ts";
import type { Entry, EntryEvent, Fate } from "./entry.ts";
import type { Link } from "./link.ts";

/** Who waits for the outcome of a posting. Each method is called at most once, `refused` instead of the others. */
export interface Reply {
  /** Whether somebody waits for `stored`: the batch then leaves soon. */
  readonly urgent: boolean;
  /** The wire that will carry a RECEIPT once it is stored, if one does. */
  readonly origin?: Link | undefined;
  /**
   * It stands in the line of another node: a refusal may be lost on its way, and what follows is not held back.
   * So a store's silence does not refuse it: the store is asked again.
   */
  readonly patient?: boolean;
  /** The entry has its place in the order (`ack-level: accepted`). */
  accepted(entry: Entry): void;
  /** The entry is durable. For a retry, the first one's entry. */
  stored(entry: Entry): void;
  refused(refusal: Refusal): void;
}

/** What a sender asks for. */
export interface Draft {
  readonly event: EntryEvent;
  readonly sender: string;
  readonly senderName: string;
  readonly key: string;
  readonly ref: number;
  readonly contentType: string;
  readonly headers: readonly string[];
  /** Bytes that belong to the draft alone. */
  readonly body: Uint8Array;
  readonly text: boolean;
}

/** A draft with what the room has made of it. */
export interface Posting {
  readonly draft: Draft;
  readonly reply: Reply | undefined;
  /** Whether it may be on the log already under its key: a client's own id, or it was decided before. */
  keyed: boolean;
  /** What the archive says of the message that this is about. */
  before: Fate | undefined;
  /** Decided anew after an owner change: what it is about must be asked again. */
  again: boolean;
  /**
   * What stood behind it in its line was given a place, and of this one nobody heard it: it is on the log, or was
   * refused for good, which only an owner before this one knew. It is never decided again.
   */
  passed: boolean;
  /** What its line brought with it, itself included, that may be on the log too, in order: shows whether it was passed. */
  resent: readonly Draft[] | undefined;
  /** Retries that came while this one was under way; answered with it. */
  joined: Reply[] | undefined;
  /** Set when decided. */
  entry: Entry | undefined;
  /** Its number by its first decision here, rising per shard, and kept when it is decided again; 0 before it. */
  rank: number;
  /** Derived writes that follow the entry (rule 12). */
  derived: readonly DerivedWrite[] | undefined;
  /** Bytes reserved in the writer's bound. */
  bytes: number;
  /** Monotonic ms of the decision, for the store latency. */
  decidedAt: number;
}

/** A fresh posting. */
export function posting(draft: Draft, reply: Reply | undefined): Posting {
  const keyed = draft.key.startsWith("c/");
  return {
    draft,
    reply,
    keyed,
    before: undefined,
    again: false,
    passed: false,
    resent: undefined,
    joined: undefined,
    entry: undefined,
    rank: 0,
    derived: undefined,
    bytes: 0,
    decidedAt: 0,
  };
}

/** Bytes that a posting reserves in the writer's bound. */
export function bytesOf({ draft }: Posting): number {
  return draft.body.byteLength + draft.key.length + 512;
}

/**
 * Postings of one room in the order of their first decision, and behind them, as they are, what was never decided.
 * What meets a conflict, what the hot log answers after it and what waits come back apart, and not in their order.
 */
export function asDecided(postings: readonly Posting[]): readonly Posting[] {
  const decided = postings.filter(({ rank }) => rank > 0).sort((a, b) => a.rank - b.rank);
  return decided.length === 0 ? postings : [...decided, ...postings.filter(({ rank }) => rank === 0)];
}

/** Everybody who waits for its outcome. */
export function repliesOf({ reply, joined }: Posting): readonly Reply[] {
  return reply ? [reply, ...(joined ?? [])] : (joined ?? []);
}

/** Tells everybody who waits that the entry has its place. */
export function answerAccepted(done: Posting): void {
  const entry = done.entry as Entry;
  done.reply?.accepted(entry);
  if (done.joined) for (const reply of done.joined) reply.accepted(entry);
}

/** Tells everybody who waits that the entry is durable. */
export function answerStored(done: Posting): void {
  const entry = done.entry as Entry;
  done.reply?.stored(entry);
  if (done.joined) for (const reply of done.joined) reply.stored(entry);
}

/** Tells everybody who waits that nothing will come of it. */
export function answerRefused(done: Posting, refusal: Refusal): void {
  done.reply?.refused(refusal);
  if (done.joined) for (const reply of done.joined) reply.refused(refusal);
}
