/** What becomes of a message: pure functions from an entry to the fate of the message it names. */
import { Refusal } from "./codes.ts";
import type { Entry, Fate } from "./entry.ts";
import type { Limits } from "./limits.ts";
import type { Draft } from "./posting.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

/** What a `reaction` entry says in its body. */
export interface ReactionChange {
  readonly reaction: string;
  readonly on: boolean;
}

/** The part of a draft that a reaction says. */
export function reactionDraft(
  ref: number,
  change: ReactionChange,
): Pick<Draft, "event" | "contentType" | "headers" | "body" | "text" | "ref"> {
  const body = encoder.encode(JSON.stringify({ reaction: change.reaction, on: change.on }));
  return { event: "reaction", ref, contentType: "application/json", headers: [], body, text: true };
}

/** The part of a draft that a deletion says. */
export function deletionDraft(ref: number): Pick<Draft, "event" | "contentType" | "headers" | "body" | "text" | "ref"> {
  return { event: "deleted", ref, contentType: "", headers: [], body: NO_BYTES, text: true };
}

/**
 * The fate of a message after a later entry about it; the same fate when that entry is already in it
 * (rule 12: only over a lower `rev`) or is about nothing.
 */
export function fateAfter(fate: Fate | undefined, entry: Entry): Fate | undefined {
  if (entry.ref === 0 || (fate && fate.rev >= entry.offset)) return fate;
  const rev = entry.offset;
  if (fate?.deletedAt !== undefined) return { ...fate, rev };
  switch (entry.event) {
    case "edited":
      return { ...fate, rev, editedAt: entry.at, body: entry.body, contentType: entry.contentType, text: entry.text };
    case "deleted":
      return { rev, deletedAt: entry.at };
    case "reaction":
      return { ...fate, rev, reactions: reactionsAfter(fate?.reactions ?? {}, entry) };
    default:
      return fate;
  }
}

function reactionsAfter(
  before: Readonly<Record<string, readonly string[]>>,
  entry: Entry,
): Record<string, readonly string[]> {
  const { reaction, on } = JSON.parse(decoder.decode(entry.body)) as ReactionChange;
  // By entries: a reaction may be any word, those of `Object.prototype` too.
  const reactions = new Map(Object.entries(before));
  const others = (reactions.get(reaction) ?? []).filter((user) => user !== entry.sender);
  if (on) reactions.set(reaction, [...others, entry.sender]);
  else if (others.length > 0) reactions.set(reaction, others);
  else reactions.delete(reaction);
  return Object.fromEntries(reactions);
}

/** The users of a reaction. */
export function usersOf(fate: Fate | undefined, reaction: string): readonly string[] {
  const reactions = fate?.reactions;
  return reactions && Object.hasOwn(reactions, reaction) ? (reactions[reaction] ?? []) : [];
}

/** Refuses a reaction that would go beyond what one message may carry. */
export function requireReactionRoom(fate: Fate | undefined, change: ReactionChange, limits: Limits): void {
  if (!change.on) return;
  const users = usersOf(fate, change.reaction);
  if (users.length >= limits.reactionUsers) throw new Refusal("conflict", "The reaction has too many users.");
  if (users.length === 0 && Object.keys(fate?.reactions ?? {}).length >= limits.reactionsPerMessage) {
    throw new Refusal("conflict", "The message has too many different reactions.");
  }
}

/** The entry without what its sender said. */
export function emptied(entry: Entry): Entry {
  return { ...entry, body: NO_BYTES, text: true, contentType: "", headers: [] };
}

/**
 * The entries, with those that a later one of them deletes emptied, edits included: what was deleted is not
 * replayed from memory either. Answers the same array when nothing is to be done.
 */
export function withoutDeleted(entries: readonly Entry[]): readonly Entry[] {
  if (!entries.some((entry) => entry.event === "deleted")) return entries;
  const refs = new Set<number>();
  for (const entry of entries) if (entry.event === "deleted") refs.add(entry.ref);
  return entries.map((entry) => {
    const said = entry.event === "edited" ? entry.ref : entry.event === "message" ? entry.offset : 0;
    return refs.has(said) ? emptied(entry) : entry;
  });
}
