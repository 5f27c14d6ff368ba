/**
 * What nodes say to each other over the bus, node to node (`Bus.tell`): plain data, at most once, in order
 * while the wire holds. Every word may be lost; what must not be is asked again by who needs it.
 */
import type { CodeWord } from "./codes.ts";
import type { Draft } from "./posting.ts";

/** SENDs of one room on their way from an edge to the room's owner (protocol, one SEND, step 1). */
export interface Parcel {
  readonly room: string;
  /** The edge's line that they stand in; a line that ended and began again has another number. */
  readonly line: number;
  /** Number of the first draft in its line: 1, 2, 3, no gaps. */
  readonly first: number;
  /**
   * The oldest number without its last answer: what is before it the owner may forget. Where it is the first,
   * the parcel is fresh: the owner may begin here, whatever it expected.
   */
  readonly oldest: number;
  /** So many of the drafts, the first ones, may be on the log already: they were sent or decided before. */
  readonly again: number;
  /**
   * The term under which the edge knows the owner. Under another one the word is late: others may have owned the
   * room since, and any draft of it may be on the log, or have been refused.
   */
  readonly term: number;
  readonly drafts: readonly Draft[];
  /** Numbers, relative to `first`, of drafts whose sender waits for `stored`: their batch leaves soon. */
  readonly urgent: readonly number[];
  /** The same of drafts that were passed: they are on the log, or were refused for good (`Posting.passed`). */
  readonly passed: readonly number[];
}

/** What became of one draft of a line. */
export type Answer =
  | { readonly what: "accepted" | "stored"; readonly at: number; readonly offset: number; readonly term: number }
  | {
      readonly what: "refused";
      readonly at: number;
      readonly code: CodeWord;
      readonly detail: string | undefined;
      readonly retryAfterMs: number | undefined;
    };

/**
 * Answers for one line; `expected` asks for everything from that number on, as something before it is missing. With
 * 0 the line is to begin anew under another number.
 */
export interface Answers {
  readonly room: string;
  readonly line: number;
  readonly answers: readonly Answer[];
  readonly expected: number | undefined;
  /** The room is owned by another node: whom, the edge must learn. */
  readonly astray: boolean;
}

/** A user who is present in a room at an edge. */
export interface Guest {
  readonly user: string;
  readonly name: string;
}

/** Who is present in a room at the edge that says it. */
export interface Crowd {
  readonly room: string;
  /** With `whole` everybody, else who came since the last word. */
  readonly came: readonly Guest[];
  /** Users who went since the last word. */
  readonly went: readonly string[];
  readonly whole: boolean;
  /** How many are here after this word, and the digest of who: the owner asks for all when its own differs. */
  readonly count: number;
  readonly digest: number;
  /** Users whom clients here believe to be in the room, from signals: of those who are not, `leave` is said. */
  readonly believed: readonly string[];
}

/** One word. */
export type Word =
  | { readonly kind: "sends"; readonly parcels: readonly Parcel[] }
  | { readonly kind: "answers"; readonly lines: readonly Answers[] }
  /** Asks another node for something; the same `id` again is the same call. */
  | { readonly kind: "call"; readonly id: number; readonly method: string; readonly args: readonly unknown[] }
  /** Bears the method that was called, by which its value can be looked at where it is decoded. */
  | { readonly kind: "result"; readonly id: number; readonly method: string; readonly value: unknown }
  | {
      readonly kind: "refusal";
      readonly id: number;
      readonly code: CodeWord;
      readonly detail: string | undefined;
      readonly retryAfterMs: number | undefined;
    }
  /** The room is not owned by who was asked. */
  | { readonly kind: "astray"; readonly id: number }
  | { readonly kind: "crowds"; readonly crowds: readonly Crowd[] }
  /** The owner's picture differs: say everybody in these rooms. */
  | { readonly kind: "whoIsThere"; readonly rooms: readonly string[] }
  /** Handing over, step 1: these rooms are about to come; and the answer, that they are read. */
  | { readonly kind: "prepare"; readonly shard: number; readonly rooms: readonly string[] }
  | { readonly kind: "prepared"; readonly shard: number }
  /** Handing over, step 3: the lock's value; from now on the giver renews no more. */
  | { readonly kind: "pass"; readonly shard: number; readonly lock: string; readonly term: number };

/** Whether what came over the wire is a message's draft: one that is damaged must not get a place in a log. */
export function isDraft(draft: Draft): boolean {
  const texts: readonly unknown[] = [draft.sender, draft.senderName, draft.key, draft.contentType, ...draft.headers];
  return (
    draft.event === "message" &&
    Number.isSafeInteger(draft.ref) &&
    typeof draft.text === "boolean" &&
    draft.body instanceof Uint8Array &&
    draft.headers.length % 2 === 0 &&
    texts.every((text) => typeof text === "string")
  );
}
