/**
 * How the MongoDB archive lays its documents out.
 *
 * ```
 *   entries   _id: room "." offset (16 digits)   the entry; later `rev` and `fate`, what became of it
 *   members   _id: room "/" user                 the record
 *   markers   _id: room "/" user                 delivered · read: offset "." readCount (16 digits each)
 *   rooms     _id: room                          the record
 *   pairs     _id: first NUL second              the whole record of the direct room that won the pair
 *   terms     _id: shard "." term (16 digits)    node · nonce
 *   settings  _id: "shards"                      count
 * ```
 * A room id holds only `a-z`, `0-9` and `-`, so no `_id` begins with another room's, and `_id`s are compared by
 * the bytes of their UTF-8: a range of `_id`s is a page of a log or of a list, in order, without a further index.
 * No text of a user is ever the name of a field.
 */
import type { MarkerRecord, MemberRecord, RoomRecord } from "../actors/archive.ts";
import type { ArchivedEntry, Entry, EntryEvent, Fate } from "../actors/entry.ts";
import { checkDocument, damaged } from "./archive.mongo.check.ts";

const DIGITS = 16;
const PLACE = /\.\d{16}$/;

/** What became of an entry, as stored; reactions as a list, as any text may be one. */
export interface FateDocument extends Omit<Fate, "reactions"> {
  readonly reactions?: readonly { readonly reaction: string; readonly users: readonly string[] }[];
}

/** An entry as stored. What is empty (`ref` 0, no content type, no headers) is left out. */
export interface EntryDocument {
  readonly _id: string;
  readonly room: string;
  readonly term: number;
  readonly prevTerm: number;
  readonly event: EntryEvent;
  readonly sender: string;
  readonly senderName: string;
  readonly key: string;
  /** ms since 1970. */
  readonly at: number;
  readonly count: number;
  readonly ref?: number;
  readonly contentType?: string;
  readonly headers?: readonly string[];
  readonly body: Uint8Array;
  readonly text: boolean;
  /** `rev` of the fate; absent while there is none. */
  readonly rev?: number;
  readonly fate?: FateDocument;
}

/** A room as stored. */
export interface RoomDocument extends Omit<RoomRecord, "id"> {
  readonly _id: string;
}

/** The winner of a pair. */
export interface PairDocument {
  readonly _id: string;
  readonly room: RoomDocument;
}

/** A member as stored. */
export interface MemberDocument extends MemberRecord {
  readonly _id: string;
}

/** A marker as stored: `read` grows with its offset and carries its count, so that one `$max` raises both. */
export interface MarkerDocument {
  readonly _id: string;
  readonly room: string;
  readonly user: string;
  readonly read: string;
  readonly delivered: number;
}

/** A claimed term. */
export interface TermDocument {
  readonly _id: string;
  readonly node: string;
  readonly nonce: string;
}

/** The number of shards. */
export interface SettingDocument {
  readonly _id: string;
  readonly count: number;
}

/** A range of `_id`s, both ends exclusive. */
export interface IdRange {
  readonly $gt: string;
  readonly $lt: string;
}

function padded(value: number): string {
  const digits = Math.min(Math.max(value, 0), Number.MAX_SAFE_INTEGER);
  return String(digits).padStart(DIGITS, "0");
}

/** `_id` of an entry. */
export function entryId(room: string, offset: number): string {
  return `${room}.${padded(offset)}`;
}

/** The entries of a room between two exclusive offsets; all of them when none is given. */
export function entryRange(room: string, after = 0, before?: number): IdRange {
  // "/" is the character after ".".
  return { $gt: entryId(room, after), $lt: before === undefined ? `${room}/` : entryId(room, before) };
}

/** `_id` of a term of a shard. */
export function termId(shard: number, term: number): string {
  return `${shard}.${padded(term)}`;
}

/** The terms of a shard. */
export function termRange(shard: number): IdRange {
  return { $gt: `${shard}.`, $lt: `${shard}/` };
}

/** The number at the end of the `_id` of an entry or a term. */
export function numberOf(id: string): number {
  return Number(id.slice(-DIGITS));
}

/** The offset in the `_id` of an entry. Throws `DamagedRow` where it is none. */
export function offsetOf(id: string): number {
  const offset = PLACE.test(id) ? numberOf(id) : 0;
  if (offset === 0) throw damaged("entries", id, "its _id is no place in a log");
  return offset;
}

/** `_id` of a member or a marker. */
export function personId(room: string, user: string): string {
  return `${room}/${user}`;
}

/** The members or markers of a room after a user. */
export function personRange(room: string, after = ""): IdRange {
  // "0" is the character after "/".
  return { $gt: personId(room, after), $lt: `${room}0` };
}

/** `_id` of a pair; no user id holds a control character. */
export function pairId(pair: readonly [string, string]): string {
  return pair.join("\0");
}

/** An entry as a document. */
export function entryDocument(entry: Entry): EntryDocument {
  const { room, term, prevTerm, event, sender, senderName, key, at, count, body, text } = entry;
  const _id = entryId(room, entry.offset);
  const base = { _id, room, term, prevTerm, event, sender, senderName, key, at, count, body, text };
  const document: { -readonly [K in keyof EntryDocument]: EntryDocument[K] } = base;
  if (entry.ref !== 0) document.ref = entry.ref;
  if (entry.contentType !== "") document.contentType = entry.contentType;
  if (entry.headers.length > 0) document.headers = entry.headers;
  return document;
}

/** The entry of a document; its body is a copy of its own. */
export function readEntry(document: EntryDocument): Entry {
  checkDocument("entries", document);
  const { _id, room, term, prevTerm, event, sender, senderName, key, at, count, text } = document;
  return {
    room,
    offset: offsetOf(_id),
    term,
    prevTerm,
    event,
    sender,
    senderName,
    key,
    at,
    count,
    ref: document.ref ?? 0,
    contentType: document.contentType ?? "",
    headers: document.headers ?? [],
    body: new Uint8Array(document.body),
    text,
  };
}

/** An entry with what became of it. */
export function readArchived(document: EntryDocument): ArchivedEntry {
  return { entry: readEntry(document), fate: document.fate && readFate(document.fate) };
}

/** What became of an entry, as a document. */
export function fateDocument(fate: Fate): FateDocument {
  const { reactions, ...rest } = fate;
  if (!reactions) return rest;
  return { ...rest, reactions: Object.entries(reactions).map(([reaction, users]) => ({ reaction, users })) };
}

function readFate(document: FateDocument): Fate {
  const { reactions, body, ...rest } = document;
  return {
    ...rest,
    ...(body && { body: new Uint8Array(body) }),
    ...(reactions && { reactions: Object.fromEntries(reactions.map(({ reaction, users }) => [reaction, users])) }),
  };
}

/** A room's record as a document. */
export function roomDocument(room: RoomRecord): RoomDocument {
  const { id, ...rest } = room;
  return { _id: id, ...rest };
}

/** The room's record of a document. */
export function readRoom(document: RoomDocument): RoomRecord {
  checkDocument("rooms", document);
  const { _id, ...rest } = document;
  return { id: _id, ...rest };
}

/** A member's record as a document. */
export function memberDocument(member: MemberRecord): MemberDocument {
  return { _id: personId(member.room, member.user), ...member };
}

/** The member's record of a document. */
export function readMember(document: MemberDocument): MemberRecord {
  checkDocument("members", document);
  const { _id, ...member } = document;
  return member;
}

/** `read` of a marker as stored. */
export function readMark(marker: MarkerRecord): string {
  return `${padded(marker.read)}.${padded(marker.readCount)}`;
}

/** The marker of a document. */
export function readMarker(document: MarkerDocument): MarkerRecord {
  checkDocument("markers", document);
  const { room, user, read, delivered } = document;
  return { room, user, read: Number(read.slice(0, DIGITS)), readCount: numberOf(read), delivered };
}
