/** What a room's owner knows of it: the data file of `room.ts`. Decides entries; does nothing by itself. */
import type { DerivedWrite, Head, MemberRecord, Role, RoomRecord } from "./archive.ts";
import { Refusal } from "./codes.ts";
import type { Entry, Position } from "./entry.ts";
import type { Draft } from "./posting.ts";

/** What a `member` entry says in its body (design 3). */
export interface MemberChange {
  readonly user: string;
  readonly change: "added" | "joined" | "left" | "removed" | "role";
  readonly by: string;
}

/** The state of an open room. */
export class RoomState {
  record: RoomRecord;
  readonly members = new Map<string, MemberRecord>();
  /** The last decided entry. */
  offset: number;
  headTerm: number;
  count: number;
  at: number;
  /** The last durable entry. */
  stored: Position;
  /** The last entry that was accepted by the hot log; nothing after it may be shown. */
  accepted: Position;

  constructor(record: RoomRecord, head: Head | undefined) {
    this.record = record;
    this.offset = head?.offset ?? 0;
    this.headTerm = head?.term ?? 0;
    this.count = head?.count ?? 0;
    this.at = head?.at ?? 0;
    this.stored = { offset: this.offset, term: this.headTerm };
    this.accepted = this.stored;
  }

  /** A draft at the next place, not taken yet. `now` in ms since 1970; `at` never falls, so time and offset agree. */
  next(draft: Draft, term: number, now: number): Entry {
    return {
      room: this.record.id,
      offset: this.offset + 1,
      term,
      prevTerm: this.headTerm,
      event: draft.event,
      sender: draft.sender,
      senderName: draft.senderName,
      key: draft.key,
      at: Math.max(now, this.at),
      count: draft.event === "message" ? this.count + 1 : this.count,
      ref: draft.ref,
      contentType: draft.contentType,
      headers: draft.headers,
      body: draft.body,
      text: draft.text,
    };
  }

  /** The entry at the next place is decided. */
  decided(entry: Entry): void {
    this.offset = entry.offset;
    this.headTerm = entry.term;
    this.count = entry.count;
    this.at = entry.at;
  }

  /** The role of a user; `none` for who is no member. */
  roleOf(user: string): Role {
    return this.members.get(user)?.role ?? "none";
  }

  /** Whether the user may see the room: anybody a public one, members the others (design 3, Access). */
  maySee(user: string): boolean {
    if (this.record.deletedAt !== undefined) return false;
    return this.record.type === "public" || this.members.has(user);
  }

  /** Refuses who may not see the room, alike for one that is not there. */
  requireSight(user: string): void {
    if (!this.maySee(user)) throw new Refusal("room-not-found");
  }

  /** Refuses who is no admin of the room. */
  requireAdmin(user: string): void {
    this.requireSight(user);
    if (this.roleOf(user) !== "admin") throw new Refusal("forbidden", "Only an admin of the room may do that.");
  }

  /** Refuses to take the last admin from a private room that goes on without them. */
  requireAnotherAdmin(user: string): void {
    if (this.record.type !== "private" || this.roleOf(user) !== "admin") return;
    for (const member of this.members.values()) if (member.user !== user && member.role === "admin") return;
    throw new Refusal("last-admin");
  }

  /** Applies a member entry to the members; what is derived from it goes to the archive after the entry. */
  applyMember(entry: Entry): DerivedWrite[] {
    const member = memberOf(entry);
    if (!member) return [];
    const before = this.members.get(member.user);
    const merged = before ? { ...member, joinedAt: before.joinedAt } : member;
    if (member.role === "none") this.members.delete(member.user);
    else this.members.set(member.user, merged);
    return [{ kind: "member", member: merged }];
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The part of a draft that a member entry says; `role` and `name` travel as headers. */
export function memberDraft(
  change: MemberChange,
  role: Role,
  name: string,
): Pick<Draft, "event" | "contentType" | "headers" | "body" | "text" | "ref"> {
  return {
    event: "member",
    ref: 0,
    contentType: "application/json",
    headers: ["member-role", role, "member-name", name],
    body: encoder.encode(JSON.stringify({ user: change.user, change: change.change, by: change.by })),
    text: true,
  };
}

/** The change a member entry says; undefined for any other entry. */
export function memberChangeOf(entry: Entry): MemberChange | undefined {
  return entry.event === "member" ? (JSON.parse(decoder.decode(entry.body)) as MemberChange) : undefined;
}

/** The member record that a member entry leads to. */
export function memberOf(entry: Entry): MemberRecord | undefined {
  const change = memberChangeOf(entry);
  if (!change) return undefined;
  const header = (name: string): string => {
    const at = entry.headers.indexOf(name);
    return at < 0 ? "" : (entry.headers[at + 1] ?? "");
  };
  const gone = change.change === "left" || change.change === "removed";
  return {
    room: entry.room,
    user: change.user,
    name: header("member-name") || change.user,
    role: gone ? "none" : header("member-role") === "admin" ? "admin" : "member",
    joinedAt: entry.at,
    rev: entry.offset,
  };
}
