import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { draftOf, Owner, PlainRoom, Wire } from "./lines.fixture.ts";
import { seeded } from "./node.fixture.faults.ts";
import type { Posting } from "./posting.ts";
import { PassedRefusal } from "./reopening.ts";
import type { Answers, Parcel } from "./words.ts";

function landed() {
  const clock = new SimulatedClock();
  const wire = new Wire(clock, seeded(1));
  const room = new PlainRoom();
  const owner = new Owner({ name: "o", wire, post: room.post });
  return { clock, wire, room, owner };
}

/** A parcel of the line 1 in the room `a`: numbers from `first` on. */
function parcelOf(first: number, count: number, more: Partial<Parcel> = {}): Parcel {
  const drafts = Array.from({ length: count }, (_, at) => draftOf(`e/e/${more.line ?? 1}.${first + at}`));
  return { room: "a", line: 1, first, oldest: 1, again: 0, term: 0, drafts, urgent: [], passed: [], ...more };
}

/** Answers as text. */
function said({ answers, expected, astray }: Answers): string {
  const told = answers.map(({ what, at }) => `${what} ${at}`);
  return [...told, ...(expected === undefined ? [] : [`expected ${expected}`]), ...(astray ? ["astray"] : [])].join();
}

test("A line begins with a fresh parcel only, and numbers are given to the room without a gap.", async () => {
  const { clock, wire, room, owner } = landed();
  owner.landings.onSends("e", [parcelOf(2, 1)]);
  owner.landings.onSends("e", [parcelOf(1, 2), parcelOf(4, 1), parcelOf(2, 2)]);
  await clock.turn();
  assert.deepEqual(room.keys, ["e/e/1.1", "e/e/1.2", "e/e/1.3"]);
  assert.deepEqual(wire.answers().map(said), [
    "expected 1",
    "accepted 1,stored 1,accepted 2,stored 2,stored 1,stored 2,accepted 3,stored 3,expected 3",
  ]);
  owner.landings.onSends("e", [parcelOf(7, 1, { oldest: 7 })]);
  assert.deepEqual(room.keys.slice(3), ["e/e/1.7"], "nothing before it is unanswered");
});

test("Every posting is known by its key, urgent where its sender waits, and new unless the edge says otherwise.", () => {
  const { room, owner } = landed();
  owner.landings.onSends("e", [parcelOf(1, 3, { urgent: [0, 2], again: 1 })]);
  assert.deepEqual(
    room.items.map(({ keyed, again, reply }) => [keyed, again, reply?.urgent]),
    [
      [true, true, true],
      [true, false, false],
      [true, false, true],
    ],
  );
  owner.landings.onSends("e", [parcelOf(4, 1, { drafts: [{ ...draftOf("e/e/x"), ref: 3 }] })]);
  assert.equal(room.items[3]?.again, true, "what it is about is asked here");
});

test("A line that ended is not heard any more, and a later one takes its place when it begins.", async () => {
  const { clock, wire, room, owner } = landed();
  owner.landings.onSends("e", [parcelOf(1, 1, { line: 5 })]);
  owner.landings.onSends("e", [parcelOf(1, 1, { line: 4 }), parcelOf(2, 1, { line: 6 })]);
  owner.landings.onSends("e", [parcelOf(1, 1, { line: 6 })]);
  owner.landings.onSends("f", [parcelOf(1, 1, { line: 2 })]);
  await clock.turn();
  assert.deepEqual(room.keys, ["e/e/5.1", "e/e/6.1", "e/e/2.1"]);
  assert.deepEqual(
    wire.told.map(([, to]) => to),
    ["e", "f"],
  );
  assert.equal(owner.landings.size, 2);
});

test("Rooms of other owners are astray, and nothing of them is decided here.", async () => {
  const { clock, wire, room, owner } = landed();
  owner.landings.onSends("e", [parcelOf(1, 1)]);
  owner.owns = false;
  owner.landings.onSends("e", [parcelOf(2, 1)]);
  await clock.turn();
  assert.deepEqual(wire.answers().map(said), ["accepted 1,stored 1", "astray"]);
  assert.deepEqual([room.keys.length, owner.landings.size], [1, 0]);
});

test("What was given to the room is answered though the line is forgotten, once for each thing.", async () => {
  const { clock, wire, room, owner } = landed();
  room.held = true;
  owner.landings.onSends("e", [parcelOf(1, 1)]);
  owner.landings.forget("a");
  assert.equal(owner.landings.size, 0);
  const item = room.items[0] as Posting;
  room.answer(item);
  room.answer(item);
  await clock.turn();
  assert.deepEqual(wire.answers().map(said), ["accepted 1,stored 1"]);
});

test("Lines are forgotten with their edge, and when nothing came of them for a minute.", async () => {
  const { clock, owner } = landed();
  owner.landings.onSends("e", [parcelOf(1, 1)]);
  owner.landings.onSends("f", [parcelOf(1, 1), parcelOf(1, 1, { room: "b" })]);
  owner.landings.gone("f");
  assert.equal(owner.landings.size, 1);
  await clock.advance(50_000);
  owner.landings.onSends("e", [parcelOf(2, 1)]);
  await clock.advance(50_000);
  assert.equal(owner.landings.size, 1);
  await clock.advance(50_000);
  assert.equal(owner.landings.size, 0);
});

test("A line of many is answered again once a turn, however many of its parcels come again.", async () => {
  const { clock, wire, owner } = landed();
  const parcels = [parcelOf(1, 2), parcelOf(3, 2)];
  owner.landings.onSends("e", parcels);
  await clock.turn();
  owner.landings.onSends("e", parcels);
  await clock.turn();
  assert.equal(wire.answers()[1]?.answers.length, 4);
  owner.landings.onSends("e", [parcelOf(4, 1, { oldest: 4 })]);
  await clock.turn();
  assert.deepEqual(wire.answers().slice(2).map(said), ["stored 4"]);
});

test("A draft that the wire damaged gets no place in any log, and costs the others nothing.", async () => {
  const { clock, wire, room, owner } = landed();
  const whole = parcelOf(1, 1);
  for (const harm of [
    { key: 7 },
    { headers: ["a"] },
    { headers: [1, 2] },
    { body: "text" },
    { event: "member" },
    { ref: "x" },
  ]) {
    const drafts = whole.drafts.map((draft) => ({ ...draft, ...harm })) as unknown as Parcel["drafts"];
    owner.landings.onSends("e", [{ ...whole, drafts }, parcelOf(1, 1, { room: "b" })]);
  }
  await clock.turn();
  assert.deepEqual(
    room.items.map(({ draft }) => typeof draft.key),
    ["string"],
  );
  assert.equal(
    wire.answers().every((answers) => answers.room === "b"),
    true,
  );
});

test("A word under another term than the owner's decides nothing: others may have decided or refused it since.", async () => {
  const { clock, wire, room, owner } = landed();
  owner.landings.onSends("e", [parcelOf(1, 2, { term: -1 }), parcelOf(1, 2, { room: "b", term: 1 })]);
  await clock.turn();
  assert.deepEqual([room.keys, wire.answers().map(said)], [[], ["expected 0", "astray"]]);
});

test("A late word of a line that was known here and forgotten decides nothing, and the line begins anew.", async () => {
  const { clock, wire, room, owner } = landed();
  room.refuses = ({ draft }) => (draft.key === "e/e/4.1" ? new Refusal("room-not-found") : undefined);
  owner.landings.onSends("e", [parcelOf(1, 1, { line: 4 })]);
  owner.landings.gone("e");
  room.refuses = () => undefined;
  owner.landings.onSends("e", [parcelOf(1, 1, { line: 4 }), parcelOf(1, 1, { line: 5 })]);
  await clock.turn();
  assert.deepEqual(room.keys, ["e/e/5.1"]);
  assert.deepEqual(wire.answers().map(said), ["refused 1", "expected 0", "accepted 1,stored 1"]);
});

test("What was sent again is given to the room with all that came again with it, and with what its edge knows.", () => {
  const { room, owner } = landed();
  const parcel = parcelOf(1, 4, { again: 3, passed: [1, 3] });
  owner.landings.onSends("e", [parcel]);
  assert.deepEqual(
    room.items.map(({ passed, resent }) => [passed, resent]),
    [false, true, false, true].map((passed, at) => [passed, at < 3 ? parcel.drafts.slice(0, 3) : undefined]),
  );
});

test("That something was passed is a refusal for good, though it may have been on the log.", async () => {
  const { clock, wire, room, owner } = landed();
  room.refuses = ({ passed }) => (passed ? new PassedRefusal() : undefined);
  owner.landings.onSends("e", [parcelOf(1, 2, { again: 2, passed: [0] })]);
  await clock.turn();
  assert.deepEqual(wire.answers().map(said), ["refused 1,accepted 2,stored 2"]);
});
