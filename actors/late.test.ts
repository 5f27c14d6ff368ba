import assert from "node:assert/strict";
import { test } from "node:test";
import type { Notice } from "./bus.ts";
import { SimulatedClock } from "./clock.ts";
import type { Entry } from "./entry.ts";
import { LateWrites } from "./late.ts";
import { caller, message, Stage } from "./node.fixture.ts";
import type { Room } from "./room.ts";
import { handOver, roomAt, sayUnstored, storedLate, twoNodes } from "./two.fixture.ts";

const ALICE = caller("alice");

/** A room whose last message its first owner shows and cannot store, at its second owner, who does not know of it. */
async function lateMessage() {
  const { a, b } = await twoNodes({});
  const id = await roomAt(a, "private", "alice", ["bob"]);
  await sayUnstored(id, a);
  await handOver(id, a, b);
  const [bob, carl] = [b.connect("bob"), a.connect("alice")];
  bob.subscribe("log", id, { id: "log" });
  carl.subscribe("log", id, { id: "log" });
  await a.clock.advance(100);
  assert.equal(b.node.rooms.get(id)?.status, "open");
  return { a, b, id, bob, carl };
}

test("What an earlier owner stores late is shown to all who listen, though nobody says anything more.", async () => {
  const { a, b, id, bob, carl } = await lateMessage();
  assert.deepEqual([bob.heard("log"), carl.heard("log")], [[], []]);
  await storedLate(id, a);
  // Before anything else could have shown it: a poll, or another move of the shard.
  await a.clock.advance(50);
  assert.deepEqual([bob.heard("log"), carl.heard("log")], [["late"], ["late"]]);
  assert.equal(b.node.rooms.get(id)?.state.accepted.offset, 3, "the owner goes on from there");
});

test("What is said after a late message comes after it, in one order for all.", async () => {
  const { a, b, id, bob, carl } = await lateMessage();
  await storedLate(id, a);
  await a.run(b.chat.post(ALICE, id, message("next")));
  await a.clock.advance(500);
  assert.deepEqual(
    [bob.heard("log"), carl.heard("log")],
    [
      ["late", "next"],
      ["late", "next"],
    ],
  );
  const offsets = (await a.log(id)).map(({ offset }) => offset);
  assert.deepEqual(offsets, [1, 2, 3, 4]);
});

/** A room whose last message its first owner, who leaves, cannot store; who owns it then, for good, and one more node. */
async function leftUnstored(seed: number) {
  const { a, b } = await twoNodes({ seed });
  const c = await Stage.open({ beside: a, seed });
  const id = await roomAt(a, "private", "alice", ["bob"]);
  await sayUnstored(id, a);
  void a.node.drain();
  const others = [b, c];
  const owner = (): Stage | undefined => others.find(({ node }) => node.owns(id) && node.shardOf(id).holds);
  while (!owner()) await a.clock.advance(10);
  return { a, id, owner: owner() as Stage, others };
}

test("At whatever moment of its opening, granting or filling a room hears of a late message, all are shown it.", async () => {
  let tried = 0;
  for (let early = true; early; tried++) {
    const { a, id, owner, others } = await leftUnstored(tried + 1);
    const { offset, term } = (await a.log(id)).at(-1) as Entry;
    a.faults.archiveAway = false;
    // It is stored some time from now: each round asks for the room a little later, until that is too late.
    await a.clock.advance(2 * tried);
    early = (await a.log(id)).length < 3;
    // What the others ask of their stores takes its time, on the way there and back.
    for (const each of others) each.faults.delayMs = 20;
    const listeners = others.map((each) => each.connect("bob"));
    for (const each of listeners)
      each.subscribe("log", id, { id: "log", from: { kind: "after", position: { offset, term } } });
    await storedLate(id, a);
    await a.clock.advance(400);
    const at = `asked ${2 * tried} ms after the archive was back`;
    assert.equal(owner.node.rooms.get(id)?.state.accepted.offset, 3, at);
    assert.deepEqual(
      listeners.map((each) => each.heard("log")),
      [["late"], ["late"]],
      at,
    );
  }
  assert.ok(tried > 20, `${tried} moments`);
});

/** The late writes of a node that owns the rooms whose names begin with `mine`. */
function writing() {
  const clock = new SimulatedClock();
  const told: Extract<Notice, { kind: "changed" }>[] = [];
  const forgotten: string[] = [];
  const late = new LateWrites({
    bus: { notify: (notice) => void (notice.kind === "changed" && told.push(notice)) },
    clock,
    lookups: { forget: (room) => void forgotten.push(room) },
    audiences: { get: () => undefined },
    rooms: new Map<string, Room>(),
    owns: (room) => room.startsWith("mine"),
  });
  return { clock, late, told, forgotten };
}

test("All batches of a turn make one notice, in which no room stands twice, nor one that lives here.", async () => {
  const { clock, late, told, forgotten } = writing();
  for (const room of ["x", "x", "mine", "y"]) late.stored(room);
  assert.deepEqual(told, []);
  await clock.turn();
  assert.deepEqual(told, [{ kind: "changed", what: "entries", rooms: ["x", "y"] }]);
  assert.deepEqual(forgotten, ["x", "x", "mine", "y"]);
  late.stored("mine");
  await clock.turn();
  assert.equal(told.length, 1);
});

test("The markers of very many rooms are told in several notices.", () => {
  const { late, told } = writing();
  const rooms = new Set(Array.from({ length: 2_500 }, (_, i) => `room-${i}`));
  late.marked(rooms);
  assert.deepEqual([told.length, new Set(told.flatMap((notice) => notice.rooms)).size], [3, 2_500]);
  assert.ok(told.every(({ what }) => what === "markers"));
});
