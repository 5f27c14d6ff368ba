import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock } from "./clock.ts";
import { LIMITS } from "./limits.ts";
import { caller, Stage } from "./node.fixture.ts";
import { RoomPresence } from "./presence.ts";
import { REOPENED_MS, Returning } from "./returning.ts";

interface Shown {
  readonly clock: SimulatedClock;
  readonly room: RoomPresence;
  /** What it says, in order. */
  readonly said: string[];
  /** When it asks for who was not introduced, ms. */
  readonly doubts: number[];
  /** Closes it, and answers that of its next opening. */
  readonly reopen: () => RoomPresence;
}

/** One room's presence. */
function presence(): Shown {
  const clock = new SimulatedClock(0);
  const said: string[] = [];
  const doubts: number[] = [];
  const say = (user: string, state: string): void => void said.push(`${user} ${state}`);
  const speaker = { presence: say, typing: say };
  const returning = new Returning(clock);
  const open = (): RoomPresence => {
    const opened = new RoomPresence({
      ...{ clock, limits: LIMITS, speaker },
      doubted: () => void doubts.push(clock.now()),
      closed: (users, leave) => returning.closed({ room: "r", term: 1, users, leave }),
    });
    opened.adopt(returning.take("r", 1));
    return opened;
  };
  let room = open();
  const first = room;
  const reopen = (): RoomPresence => {
    room.clear();
    room = open();
    return room;
  };
  return { clock, said, room: first, doubts, reopen };
}

test("A user joins at the first node and leaves a grace after the last.", async () => {
  const { clock, room, said } = presence();
  room.arrive("alice", "Alice", "n1");
  room.arrive("alice", "Alice", "n2");
  room.arrive("alice", "Alice", "n2");
  room.depart("alice", "n1");
  room.depart("alice", "n1");
  await clock.advance(LIMITS.presenceGraceMs + 1);
  assert.deepEqual(said, ["alice join"]);
  room.depart("alice", "n2");
  await clock.advance(LIMITS.presenceGraceMs - 1);
  assert.equal(room.size, 1);
  await clock.advance(2);
  assert.deepEqual(said, ["alice join", "alice leave"]);
  assert.equal(room.size, 0);
});

test("A reconnect within the grace is never seen, however often.", async () => {
  const { clock, room, said } = presence();
  room.arrive("alice", "Alice", "n1");
  for (let i = 0; i < 5; i++) {
    room.depart("alice", "n1");
    await clock.advance(LIMITS.presenceGraceMs - 1);
    room.arrive("alice", "Alice", "n1");
    await clock.advance(LIMITS.presenceGraceMs * 2);
  }
  assert.deepEqual(said, ["alice join"]);
});

test("Typing ends by itself, later with every word, and before a leave.", async () => {
  const { clock, room, said } = presence();
  room.arrive("alice", "Alice", "n1");
  room.typing("alice", true);
  await clock.advance(LIMITS.typingMs - 1);
  room.typing("alice", true);
  await clock.advance(LIMITS.typingMs - 1);
  assert.deepEqual(said, ["alice join", "alice start"]);
  assert.deepEqual(room.list(9), [{ id: "alice", name: "Alice", typing: true }]);
  await clock.advance(1);
  assert.deepEqual(said.splice(0), ["alice join", "alice start", "alice stop"]);
  room.typing("alice", true);
  room.typing("alice", false);
  room.typing("alice", true);
  room.depart("alice", "n1");
  await clock.advance(LIMITS.presenceGraceMs);
  assert.deepEqual(said, ["alice start", "alice stop", "alice start", "alice stop", "alice leave"]);
});

test("A removed user leaves at once, whatever they did, and no timer is left.", async () => {
  const { clock, room, said } = presence();
  for (const user of ["here", "typist", "lingerer"]) room.arrive(user, user, "n1");
  room.typing("typist", true);
  room.depart("lingerer", "n1");
  said.length = 0;
  for (const user of ["here", "typist", "lingerer", "nobody"]) room.remove(user);
  const all = ["here leave", "typist stop", "typist leave", "lingerer leave"];
  assert.deepEqual(said, all);
  await clock.advance(60_000);
  room.depart("here", "n1");
  assert.deepEqual(said, all);
});

test("Who is not here does not type, and departs without harm.", () => {
  const { room, said } = presence();
  room.typing("alice", true);
  room.depart("alice", "n1");
  assert.deepEqual(said, []);
  assert.equal(room.size, 0);
});

test("A list of those present is as long as it may be.", () => {
  const { room } = presence();
  for (let i = 0; i < 10; i++) room.arrive(`u${i}`, "", "n1");
  assert.deepEqual(
    room.list(3).map(({ id }) => id),
    ["u0", "u1", "u2"],
  );
});

test("A room that closes says the leaves and stops that its next opening would not know of, which says no join again.", async () => {
  const { clock, room, said, reopen } = presence();
  for (const user of ["here", "typist", "lingerer"]) room.arrive(user, user, "n1");
  room.typing("typist", true);
  room.depart("lingerer", "n1");
  said.length = 0;
  const next = reopen();
  for (const user of ["here", "typist"]) next.arrive(user, user, "n1");
  await clock.advance(60_000);
  assert.deepEqual(said, ["typist stop", "lingerer leave"]);
});

test("Who is believed to be here and does not come is said to leave; who comes is not.", async () => {
  const { clock, room, said } = presence();
  room.arrive("alice", "Alice", "n1");
  room.suspect(["alice", "bob", "carol"]);
  room.suspect(["carol"]);
  await clock.advance(100);
  room.arrive("bob", "Bob", "n2");
  await clock.advance(10_000);
  assert.deepEqual(said, ["alice join", "bob join", "carol leave"]);
  assert.equal(room.size, 2);
});

test("The nodes are asked once for users who were not introduced in time, before these are said to leave.", async () => {
  const { clock, room, said, doubts } = presence();
  room.suspect(["alice", "bob"]);
  await clock.advance(249);
  room.arrive("alice", "Alice", "n1");
  room.suspect(["bob"]);
  await clock.advance(350);
  assert.deepEqual([said, doubts], [["alice join"], [250]]);
  await clock.advance(2_000);
  room.suspect(["carol"]);
  room.arrive("carol", "Carol", "n1");
  await clock.advance(2_000);
  assert.deepEqual([said, doubts], [["alice join", "bob leave", "carol join"], [250]]);
});

test("A process that stood still looks again before it says that anybody left.", async () => {
  const { clock, room, said } = presence();
  room.arrive("alice", "Alice", "n1");
  room.depart("alice", "n1");
  room.suspect(["bob"]);
  const monotonic = clock.monotonic.bind(clock);
  clock.monotonic = () => monotonic() + 10_000;
  await clock.advance(1_000);
  assert.deepEqual(said, ["alice join"]);
  await clock.advance(LIMITS.presenceGraceMs - 900);
  assert.deepEqual(said, ["alice join", "bob leave"]);
  room.arrive("alice", "Alice", "n2");
  await clock.advance(2_000);
  assert.deepEqual(said, ["alice join", "bob leave"]);
});

test("Who goes while a room is closed is said to leave soon after, and is on its list until then.", async () => {
  const { clock, room, said, reopen } = presence();
  for (const user of ["alice", "bob"]) room.arrive(user, user, "n1");
  const next = reopen();
  next.arrive("alice", "alice", "n1");
  said.length = 0;
  await clock.advance(REOPENED_MS - 1);
  assert.deepEqual(
    next
      .list(9)
      .map(({ id }) => id)
      .sort(),
    ["alice", "bob"],
  );
  // Known to be here, so nothing is to be found out.
  next.suspect(["bob"]);
  assert.deepEqual(said, []);
  await clock.advance(2_000);
  assert.deepEqual(said, ["bob leave"]);
  next.arrive("bob", "bob", "n1");
  assert.deepEqual(said, ["bob leave", "bob join"]);
});

test("A room that closes again and again waits no longer for who is expected back.", async () => {
  const { clock, room, said, reopen } = presence();
  for (const user of ["alice", "bob"]) room.arrive(user, user, "n1");
  for (let i = 0; i < 3; i++) {
    const next = reopen();
    await clock.advance(REOPENED_MS / 3);
    next.arrive("alice", "alice", "n1");
    // Nor does it say them to leave before.
    assert.equal(said.includes("bob leave"), i === 2);
  }
  assert.deepEqual(said, ["alice join", "bob join", "bob leave"]);
  // Of who was there as it closed for good, too.
  reopen().clear();
  await clock.advance(REOPENED_MS);
  assert.deepEqual(said, ["alice join", "bob join", "bob leave", "alice leave"]);
});

test("Nobody is expected back where another owner, who may have said a leave, was in between.", async () => {
  const clock = new SimulatedClock();
  const returning = new Returning(clock);
  const left: string[] = [];
  const users = [{ user: "alice", name: "Alice", untilMs: 0 }];
  for (const [opened, expected] of [
    [4, users],
    [5, users],
    [6, []],
  ] as const) {
    returning.closed({ room: "r", term: 4, users, leave: (user) => void left.push(user) });
    assert.deepEqual(returning.take("other", opened), []);
    assert.deepEqual(returning.take("r", opened), expected);
    assert.deepEqual(returning.take("r", opened), []);
  }
  await clock.advance(REOPENED_MS);
  assert.deepEqual(left, []);
});

test("Signals reach those who listen, once per user, with the changes of a moment made one.", async () => {
  const stage = await Stage.open();
  const bob = stage.connect("bob");
  bob.subscribe("signals", "general");
  const [tab, phone] = [stage.connect("alice"), stage.connect("alice")];
  for (const client of [tab, phone]) client.subscribe("log", "general");
  await stage.clock.advance(100);
  assert.deepEqual(bob.signalsHeard(), ["presence alice join"]);
  for (const on of [true, false, true, false]) await stage.node.typing("general", "alice", on);
  await stage.clock.advance(100);
  assert.deepEqual(bob.signalsHeard(), ["presence alice join", "typing alice stop"]);
  tab.lose();
  await stage.clock.advance(30_000);
  assert.equal(bob.signalsHeard().length, 2);
  assert.deepEqual(await stage.chat.counts(caller("bob"), ["general", "nowhere"]), { general: 1 });
  phone.lose();
  await stage.clock.advance(30_000);
  assert.deepEqual(bob.signalsHeard().slice(2), ["presence alice leave"]);
});

test("After an owner change the room still knows who is here, and says who was about to leave.", async () => {
  const stage = await Stage.open();
  const [alice, bob, carol] = [stage.connect("alice"), stage.connect("bob"), stage.connect("carol")];
  for (const client of [alice, bob, carol]) client.subscribe("log", "general");
  bob.subscribe("signals", "general");
  await stage.clock.advance(100);
  carol.lose();
  stage.hub.wipe();
  alice.send("general", "meets an empty hot log");
  await stage.clock.advance(1_000);
  assert.deepEqual(await stage.chat.counts(caller("bob"), ["general"]), { general: 2 });
  assert.ok(bob.signalsHeard().includes("presence carol leave"));
  alice.lose();
  await stage.clock.advance(30_000);
  assert.ok(bob.signalsHeard().includes("presence alice leave"));
});

test("Online and offline are said to the rooms of a user, also to those joined while awake.", async () => {
  const stage = await Stage.open();
  const club = await stage.makeRoom("private", "bob");
  const bob = stage.connect("bob");
  bob.subscribe("signals", club);
  bob.subscribe("log", club);
  await stage.run(stage.chat.addMember(caller("bob"), club, { id: "alice", name: "", role: "member" }));
  const [tab, phone] = [stage.connect("alice"), stage.connect("alice")];
  stage.connect("stranger");
  await stage.clock.advance(1_000);
  tab.lose();
  await stage.clock.advance(20_000);
  phone.lose();
  await stage.clock.advance(20_000);
  const lines = bob.signalsHeard().filter((said) => /alice o(n|ff)line/.test(said));
  assert.deepEqual(lines, ["presence alice online", "presence alice offline"]);
});
