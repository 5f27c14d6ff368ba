/** Entries, records and small helpers for the archive's conformance suite. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import type { Archive, MarkerRecord, MemberRecord, RoomRecord } from "./archive.ts";
import type { Entry } from "./entry.ts";
import { isUserId } from "./entry.ts";
import { codePoint } from "./text.fixture.ts";

/** Registers a test with an empty archive of its own, closed at its end. */
export function archiveTest(
  open: () => Promise<Archive>,
  title: string,
  body: (archive: Archive) => Promise<void>,
): void {
  test(title, async () => {
    const archive = await open();
    try {
      await body(archive);
    } finally {
      await archive.close();
    }
  });
}

/** A plain message at a place; `over` changes any of it. */
export function sampleEntry(room: string, offset: number, over: Partial<Entry> = {}): Entry {
  return {
    room,
    offset,
    term: 1,
    prevTerm: offset === 1 ? 0 : 1,
    event: "message",
    sender: "alice",
    senderName: "Alice",
    key: `c/${room}-${offset}`,
    at: 1_700_000_000_000 + offset * 1000,
    count: offset,
    ref: 0,
    contentType: "text/plain",
    headers: [],
    body: new TextEncoder().encode(`message ${offset} of ${room}`),
    text: true,
    ...over,
  };
}

/** Messages at the places `first` to `last` of a room. */
export function sampleLog(room: string, first: number, last: number): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, i) => sampleEntry(room, first + i));
}

/** A public room's record. */
export function sampleRoom(id: string, over: Partial<RoomRecord> = {}): RoomRecord {
  const base = { id, name: `Room ${id}`, type: "public" as const, createdAt: 1_700_000_000_000, createdBy: "alice" };
  return { ...base, rev: 0, ...over };
}

/** A member's record. */
export function sampleMember(room: string, user: string, over: Partial<MemberRecord> = {}): MemberRecord {
  return { room, user, name: `Name of ${user}`, role: "member", joinedAt: 1_700_000_000_000, rev: 1, ...over };
}

/** A marker's record. */
export function sampleMarker(room: string, user: string, over: Partial<MarkerRecord> = {}): MarkerRecord {
  return { room, user, read: 1, readCount: 1, delivered: 1, ...over };
}

/** Asserts that two entries are the same in every field and every byte, whatever array class holds the bytes. */
export function assertSameEntry(actual: Entry | undefined, expected: Entry): void {
  assert.ok(actual, "the entry is there");
  assert.deepEqual({ ...actual, body: undefined }, { ...expected, body: undefined });
  assert.ok(actual.body instanceof Uint8Array, "the body is bytes");
  assert.equal(Buffer.compare(actual.body, expected.body), 0, "the bytes of the body are the same");
}

/** Asserts that two lists of entries are the same, one by one. */
export function assertSameEntries(actual: readonly Entry[], expected: readonly Entry[]): void {
  assert.deepEqual(
    actual.map(({ room, offset }) => `${room} ${offset}`),
    expected.map(({ room, offset }) => `${room} ${offset}`),
  );
  for (const [i, entry] of expected.entries()) assertSameEntry(actual[i], entry);
}

/** The offsets a page of the log holds. */
export async function offsets(
  archive: Archive,
  room: string,
  query: Parameters<Archive["page"]>[1],
): Promise<number[]> {
  return (await archive.page(room, query)).map(({ entry }) => entry.offset);
}

/** Rooms that share prefixes, in the order of their keys. */
export const PREFIX_ROOMS = ["a", "a-", "a-b", "a0", "ab", "b"];

/** User ids that a careless key would mix up, in the order of their UTF-8 bytes. */
export const HARD_USERS = [
  " ",
  " a",
  "!",
  "%2F",
  ".",
  "..",
  "/",
  "a",
  "a ",
  "a.b",
  "a/b",
  "a:1",
  "ab",
  "é",
  "\u{ffee}".repeat(42),
  "\u{ffff}",
  "😀",
  "😀".repeat(32),
];

/** Any user id. */
export const anyUserId = fc.string({ unit: codePoint, minLength: 1, maxLength: 64 }).filter(isUserId);

/** Any text, control characters and astral planes included, lone surrogates left out (they are no UTF-8). */
export const anyText = fc.string({ unit: codePoint, maxLength: 40 });

/** Any entry at a given place. */
export function anyEntry(room: string, offset: number): fc.Arbitrary<Entry> {
  return fc.record({
    room: fc.constant(room),
    offset: fc.constant(offset),
    term: fc.nat(),
    prevTerm: fc.nat(),
    event: fc.constantFrom("message", "edited", "deleted", "reaction", "member"),
    sender: anyUserId,
    senderName: anyText,
    key: fc.tuple(fc.constantFrom("c/", "e/"), anyText).map(([kind, id]) => kind + id),
    at: fc.nat({ max: 4_102_444_800_000 }),
    count: fc.nat(),
    ref: fc.nat(),
    contentType: anyText,
    headers: fc.array(fc.tuple(anyText, anyText), { maxLength: 8 }).map((pairs) => pairs.flat()),
    body: fc.uint8Array({ maxLength: 300 }),
    text: fc.boolean(),
  });
}
