import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { LIMITS, type Limits } from "./limits.ts";
import { draftOf, Ear, Edge, Owner, PlainRoom, Wire } from "./lines.fixture.ts";
import { seeded } from "./node.fixture.faults.ts";
import { type Posting, posting } from "./posting.ts";
import { ReopeningRefusal } from "./reopening.ts";
import type { Parcel } from "./words.ts";

/** An edge `e` whose rooms are all owned by `o`. */
function pair(limits: Partial<Limits> = {}) {
  const clock = new SimulatedClock();
  const wire = new Wire(clock, seeded(1));
  const room = new PlainRoom();
  const edge = new Edge({ name: "e", wire, limits: { ...LIMITS, ...limits } });
  const owner = new Owner({ name: "o", wire, post: room.post });
  edge.owner = "o";
  return { clock, wire, room, edge, owner };
}

const DONE = ["accepted", "stored"];

test("The SENDs of a turn leave in one parcel per room and one word per owner, and are answered twice.", async () => {
  const { clock, wire, room, edge } = pair();
  const ears = [edge.send("a"), edge.send("b"), edge.send("a")];
  await clock.turn();
  assert.equal(wire.told.length, 1);
  assert.deepEqual(
    wire.parcels().map((parcel) => [parcel.room, parcel.first, parcel.oldest, parcel.again, parcel.drafts.length]),
    [
      ["a", 1, 1, 0, 2],
      ["b", 1, 1, 0, 1],
    ],
  );
  assert.deepEqual([edge.lines.waiting, edge.lines.has("a"), edge.lines.has("c")], [3, true, false]);
  await clock.advance(10);
  for (const ear of ears) assert.deepEqual(ear.heard, DONE);
  assert.deepEqual(ears[2]?.places, ["2.1", "2.1"]);
  assert.equal(wire.told.length, 2, "all answers of a turn leave in one word");
  for (const item of room.items) assert.equal(item.keyed, true);
  assert.deepEqual([edge.lines.waiting, edge.lines.bytes, edge.lines.has("a")], [0, 0, false]);
});

test("A line that ended begins anew under a higher number, and answers for the one before are not for it.", async () => {
  const { clock, wire, edge } = pair();
  edge.send("a");
  await clock.advance(10);
  wire.loses = () => true;
  const ear = edge.send("a");
  await clock.turn();
  const [before, now] = wire.parcels();
  assert.ok(now && before && now.line > before.line);
  const answers = [{ what: "stored", at: 1, offset: 9, term: 9 } as const];
  edge.lines.onAnswers("o", [{ room: "a", line: before.line, answers, expected: undefined, astray: false }]);
  edge.lines.onAnswers("x", [{ room: "a", line: now.line, answers, expected: undefined, astray: false }]);
  assert.deepEqual(ear.heard, []);
  edge.lines.onAnswers("o", [{ room: "a", line: now.line, answers, expected: undefined, astray: false }]);
  assert.deepEqual([ear.heard, ear.places], [DONE, ["9.9", "9.9"]]);
});

test("Words end at a bound of bytes, and no more of a line is on its way than its owner accepts.", async () => {
  const { clock, wire, room, edge } = pair();
  room.held = true;
  const body = new Uint8Array(100_000);
  const ears = Array.from({ length: 30 }, () => edge.send("a", { body }));
  await clock.turn();
  assert.ok(wire.told.length > 1);
  for (const parcel of wire.parcels()) assert.ok(parcel.drafts.length <= 2);
  await clock.advance(100);
  assert.ok(room.items.length < 13, `${room.items.length} of 30 are on their way`);
  for (let at = 0; at < 30; at++) {
    room.answer(room.items[at] as Posting);
    await clock.advance(5);
  }
  for (const ear of ears) assert.deepEqual(ear.heard, DONE);
  assert.equal(edge.lines.resent, 0);
});

test("What is missing is asked for by number: nothing after a lost parcel is given to the room before it.", async () => {
  const { clock, wire, room, edge } = pair();
  edge.send("a");
  await clock.advance(10);
  room.held = true;
  edge.send("a");
  await clock.advance(10);
  wire.loses = () => true;
  edge.send("a");
  await clock.turn();
  wire.loses = () => false;
  edge.send("a");
  edge.send("a");
  await clock.advance(20);
  assert.deepEqual(room.keys, ["e/e/1", "e/e/2", "e/e/3", "e/e/4", "e/e/5"]);
  assert.deepEqual(
    wire.answers().flatMap(({ expected }) => expected ?? []),
    [2],
  );
  assert.equal(edge.lines.resent, 3);
});

test("Lost answers are told again, and nothing is given to the room twice.", async () => {
  const { clock, wire, room, edge } = pair();
  wire.loses = (word) => word.kind === "answers";
  room.refuses = ({ draft }) => (draft.key === "e/e/2" ? new Refusal("forbidden", "No.", 7) : undefined);
  const ears = [edge.send("a"), edge.send("a"), edge.send("a")];
  await clock.advance(400);
  assert.equal(edge.lines.resent, 0);
  await clock.advance(8_000);
  const tries = wire.parcels().length;
  assert.ok(tries >= 4 && tries <= 5, `sent ${tries} times in 8.4 s`);
  wire.loses = () => false;
  await clock.advance(4_100);
  assert.deepEqual(
    ears.map(({ heard }) => heard),
    [DONE, ["forbidden"], DONE],
  );
  assert.deepEqual(room.keys, ["e/e/1", "e/e/3"]);
});

test("A missing `stored` is asked for after two seconds, then ever less often, and not sooner for `accepted`.", async () => {
  const { clock, wire, room, edge } = pair();
  room.held = true;
  const ear = edge.send("a");
  await clock.advance(10);
  room.accept(room.items[0] as Posting);
  await clock.advance(1_900);
  assert.deepEqual([ear.heard, edge.lines.resent], [["accepted"], 0]);
  wire.loses = (word) => word.kind === "answers";
  room.answer(room.items[0] as Posting);
  await clock.advance(30_000);
  assert.ok(edge.lines.resent >= 4 && edge.lines.resent <= 5, `asked ${edge.lines.resent} times in 32 s`);
  wire.loses = () => false;
  await clock.advance(10_200);
  assert.deepEqual([ear.heard, room.keys.length], [DONE, 1]);
});

test("After an owner change all that is unanswered goes to the next one, in order and keyed, before anything new.", async () => {
  const { clock, wire, room, edge } = pair();
  room.held = true;
  const ears = [edge.send("a"), edge.send("a")];
  await clock.advance(10);
  edge.turnTo(undefined);
  ears.push(edge.send("a"));
  await clock.advance(2_000);
  assert.equal(wire.parcels().length, 1, "nobody is known");
  const next = new PlainRoom();
  new Owner({ name: "p", wire, post: next.post });
  edge.turnTo("p");
  ears.push(edge.send("a"));
  await clock.advance(10);
  assert.deepEqual(next.keys, ["e/e/1", "e/e/2", "e/e/3", "e/e/4"]);
  assert.deepEqual(
    next.items.map(({ again }) => again),
    [true, true, false, false],
  );
  for (const item of next.items) assert.equal(item.keyed, true);
  for (const ear of ears) assert.deepEqual(ear.heard, DONE);
  for (const item of room.items) room.answer(item);
  await clock.advance(10);
  for (const ear of ears) assert.deepEqual(ear.heard, DONE);
});

test("An owner that is none says so, and gets the line again only after a pause, or when it is one.", async () => {
  const { clock, wire, room, edge, owner } = pair();
  owner.owns = false;
  const ear = edge.send("a");
  await clock.advance(450);
  edge.send("a");
  await clock.advance(40);
  assert.equal(wire.parcels().length, 1);
  owner.owns = true;
  await clock.advance(150);
  assert.deepEqual([ear.heard, room.keys], [DONE, ["e/e/1", "e/e/2"]]);
});

test("A node that becomes the owner gives its lines to its own rooms, and what was sent is known by its key.", async () => {
  const { clock, edge, room } = pair();
  room.held = true;
  edge.send("a");
  await clock.advance(10);
  edge.send("a");
  edge.turnTo("e");
  assert.deepEqual(
    edge.here.map(({ draft, keyed, again }) => [draft.key, keyed, again]),
    [
      ["e/e/1", true, true],
      ["e/e/2", false, false],
    ],
  );
  assert.deepEqual([edge.lines.waiting, edge.lines.bytes, edge.lines.size], [0, 0, 0]);
  edge.lines.post("c", posting(draftOf("e/e/3"), new Ear()));
  assert.equal(edge.here.length, 3);
});

test("An owner that another forgot to name is found when the lines are looked after.", async () => {
  const { clock, wire, room, edge } = pair();
  edge.owner = undefined;
  const ear = edge.send("a");
  await clock.advance(1_000);
  assert.equal(wire.told.length, 0);
  edge.owner = "o";
  await clock.advance(150);
  assert.deepEqual([ear.heard, room.keys.length], [DONE, 1]);
});

test("Beyond the bound a SEND is refused, what a room gives back is not, and it goes before all that is new.", async () => {
  const { clock, wire, room, edge } = pair({ lineEntries: 3, lineBytes: 4_000 });
  wire.loses = () => true;
  const ears = [edge.send("a"), edge.send("a", { body: new Uint8Array(3_000) }), edge.send("a"), edge.send("a")];
  ears.push(edge.send("b", { key: "e/e/9" }), edge.send("No Room"));
  assert.deepEqual(
    ears.map(({ heard }) => heard),
    [[], ["queue-full"], [], [], ["queue-full"], ["room-not-found"]],
  );
  const back = ["e/old/1", "e/old/2"].map((key) => posting(draftOf(key), new Ear()));
  edge.lines.repost("a", back);
  assert.equal(edge.lines.waiting, 5);
  wire.loses = () => false;
  await clock.advance(10);
  assert.deepEqual(room.keys, ["e/old/1", "e/old/2", "e/e/1", "e/e/3", "e/e/4"]);
  assert.deepEqual(
    room.items.map(({ again }) => again),
    [true, true, false, false, false],
  );
  assert.deepEqual([edge.lines.waiting, edge.lines.bytes], [0, 0]);
});

test("What a node has of another node's line it leaves to that node: a line has one source.", async () => {
  const { clock, wire, room, edge, owner } = pair();
  room.held = true;
  const ear = edge.send("a");
  await clock.advance(10);
  // The owner is none any more, and forwards what waited in its room.
  const former = new Edge({ name: "o2", wire, limits: LIMITS });
  former.owner = "p";
  const next = new PlainRoom();
  new Owner({ name: "p", wire, post: next.post });
  owner.owns = false;
  const local = new Ear();
  const joined = room.items[0] as Posting;
  joined.joined = [local];
  former.lines.repost("a", [joined]);
  assert.equal(former.lines.waiting, 1, "a retry of this node's own");
  former.lines.repost("a", [posting(draftOf("e/o2/1"), joined.reply)]);
  assert.equal(former.lines.waiting, 1);
  edge.turnTo("p");
  await clock.advance(100);
  assert.deepEqual([ear.heard, local.heard], [DONE, DONE]);
  assert.deepEqual(new Set(next.keys), new Set(["e/e/1"]));
  // Of a node that is gone nobody else has it.
  owner.landings.gone("e");
  former.owner = undefined;
  former.lines.repost("b", [posting(draftOf("e/e/9"), joined.reply)]);
  assert.equal(former.lines.waiting, 1);
});

test("A room that reopens refuses nothing to the sender, and nothing later is decided before what it gave back.", async () => {
  const { clock, room, edge } = pair();
  let reopens = true;
  room.refuses = ({ draft }) => (reopens && draft.key === "e/e/2" ? new ReopeningRefusal() : undefined);
  const ears = [edge.send("a"), edge.send("a"), edge.send("a")];
  await clock.advance(50);
  ears.push(edge.send("a"));
  await clock.advance(1_000);
  assert.deepEqual(room.keys, ["e/e/1"]);
  reopens = false;
  await clock.advance(4_100);
  assert.deepEqual(room.keys, ["e/e/1", "e/e/2", "e/e/3", "e/e/4"]);
  for (const ear of ears) assert.deepEqual(ear.heard, DONE);
});

test("A refusal of what is new is the sender's; of what may be on the log it is not, and it is asked again.", async () => {
  const { clock, wire, room, edge } = pair();
  room.refuses = () => new Refusal("store-unavailable", undefined, 1_000);
  const first = edge.send("a");
  await clock.advance(10);
  assert.deepEqual(first.heard, ["store-unavailable"]);
  room.refuses = () => undefined;
  room.held = true;
  const second = edge.send("a");
  await clock.advance(10);
  const next = new PlainRoom();
  next.refuses = ({ again }) => (again ? new Refusal("store-unavailable") : undefined);
  new Owner({ name: "p", wire, post: next.post });
  edge.turnTo("p");
  const third = edge.send("a");
  await clock.advance(2_000);
  assert.deepEqual([second.heard, third.heard, next.keys], [[], [], []]);
  next.refuses = () => undefined;
  await clock.advance(4_100);
  assert.deepEqual([second.heard, third.heard, next.keys], [DONE, DONE, ["e/e/2", "e/e/3"]]);
});

test("What has no place where what stands behind it has one is said to be passed, to the next owner and at home.", async () => {
  for (const owner of ["p", "e"]) {
    const { clock, wire, room, edge } = pair();
    room.held = true;
    for (let at = 0; at < 4; at++) edge.send("a");
    await clock.advance(10);
    // The first one's place was heard, too.
    room.accept(room.items[0] as Posting);
    room.answer(room.items[2] as Posting);
    await clock.advance(10);
    const next = new PlainRoom();
    new Owner({ name: "p", wire, post: next.post });
    edge.turnTo(owner);
    await clock.advance(10);
    const items = owner === "p" ? next.items : edge.here;
    assert.deepEqual(
      items.map(({ draft, passed, resent }) => [draft.key, passed, resent?.map(({ key }) => key)]),
      ["e/e/1", "e/e/2", "e/e/4"].map((key) => [key, key === "e/e/2", ["e/e/1", "e/e/2", "e/e/4"]]),
    );
  }
});

test("A line that its owner wants anew begins under another number, and answers for the one before are not heard.", async () => {
  const { clock, wire, room, edge, owner } = pair();
  room.held = true;
  const ear = edge.send("a");
  await clock.advance(10);
  const late = wire.parcels()[0] as Parcel;
  // The owner thought the edge gone, and what was answered at that time is on its way still.
  owner.landings.gone("e");
  owner.landings.onSends("e", [late]);
  await clock.advance(10);
  const answers = [
    { what: "refused", at: 1, code: "room-not-found", detail: undefined, retryAfterMs: undefined },
  ] as const;
  edge.lines.onAnswers("o", [{ room: "a", line: late.line, answers, expected: undefined, astray: false }]);
  assert.deepEqual([ear.heard, room.items.length], [[], 2]);
  assert.ok((wire.parcels()[1]?.line ?? 0) > late.line);
  room.answer(room.items[1] as Posting);
  await clock.advance(10);
  assert.deepEqual(ear.heard, DONE);
});
