import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import type { Entry } from "../../actors/entry.ts";
import { type Dialect, entryFrame, entryLead, entryLines } from "./message.ts";
import { Replays } from "./replays.ts";

function entryAt(offset: number, body = `body ${offset}`, room = "room-1"): Entry {
  return {
    ...{ room, offset, term: 1, prevTerm: 1, count: offset, event: "message" as const, sender: "ann" },
    ...{ senderName: "Ann", at: 1_700_000_000_000, key: `e/${offset}`, ref: 0, contentType: "", headers: [] },
    ...{ body: Buffer.from(body), text: true },
  };
}

const DIALECT: Dialect = { subscription: "sub-0", version: "1.2", acked: false, destination: "/topic/room.room-1" };

function framesOf(replays: Replays, entries: readonly Entry[], dialect = DIALECT): Buffer[] {
  const frames: Buffer[] = [];
  replays.each(entries, dialect, (frame, entry) => {
    assert.equal(entry, entries[frames.length]);
    frames.push(frame);
  });
  return frames;
}

function expected(entries: readonly Entry[], dialect = DIALECT): Buffer[] {
  return entries.map((entry) => entryFrame(entry, dialect, entryLead(dialect), entryLines(entry, dialect.version)));
}

test("Every replay has the frames of its entries, and from the second on they are the same bytes.", () => {
  const replays = new Replays();
  const entries = Array.from({ length: 50 }, (_, i) => entryAt(i + 1));
  const [first, second, third] = [1, 2, 3].map(() => framesOf(replays, entries)) as [Buffer[], Buffer[], Buffer[]];
  for (const frames of [first, second, third]) assert.deepEqual(frames, expected(entries));
  third.forEach((frame, i) => {
    assert.equal(frame, second[i]);
    assert.equal(frame.buffer.byteLength, frame.length, "it keeps no pool alive");
  });
});

test("Kinds of receivers do not get each other's frames.", () => {
  const replays = new Replays();
  const entries = [entryAt(1), entryAt(2)];
  const dialects: Dialect[] = [
    DIALECT,
    { ...DIALECT, subscription: "sub-1" },
    { ...DIALECT, version: "1.1" },
    { ...DIALECT, acked: true },
    { ...DIALECT, destination: "/queue/user.ann" },
  ];
  for (let lap = 0; lap < 3; lap++) {
    for (const dialect of dialects) assert.deepEqual(framesOf(replays, entries, dialect), expected(entries, dialect));
  }
});

test("An entry that takes another's place at its offset, or its slot, is never answered with the other's frame.", () => {
  const replays = new Replays();
  for (const entry of [entryAt(7), entryAt(7, "another term's"), entryAt(7 + 256), entryAt(7)]) {
    for (let lap = 0; lap < 3; lap++) assert.deepEqual(framesOf(replays, [entry]), expected([entry]));
  }
});

test("What is kept has a bound, beyond which it is gathered anew.", () => {
  const replays = new Replays(100_000);
  let most = 0;
  for (let lap = 0; lap < 200; lap++) {
    const entries = Array.from({ length: 10 }, (_, i) => entryAt(i + 1, "x".repeat(1_000), `room-${lap % 20}`));
    for (let again = 0; again < 2; again++) {
      assert.deepEqual(framesOf(replays, entries), expected(entries));
      most = Math.max(most, replays.bytes);
    }
  }
  assert.ok(most > 50_000 && most < 150_000, String(most));
});
