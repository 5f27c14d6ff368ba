import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import type { Pack } from "../bus.ts";
import type { Connection } from "../connection.ts";
import type { Entry } from "../entry.ts";
import { memberDraft } from "../room.state.ts";
import { accessBreach, Memberships } from "./judge.access.ts";
import { derivedBreach } from "./judge.derived.ts";
import { Stream } from "./judge.stream.ts";
import { Judge, type Sent } from "./judge.ts";
import { Sends } from "./session.sends.ts";
import { Story } from "./story.ts";
import { SimulatedTime } from "./time.ts";

const ROOM = "r";

function judge(): Judge {
  return new Judge(new Story(new SimulatedTime(), { kept: false }));
}

/** An entry of the room; `prevTerm` is 0 for the first, else the term. */
function entry(offset: number, more: Partial<Entry> = {}): Entry {
  const term = more.term ?? 1;
  return {
    ...{ room: ROOM, offset, term, prevTerm: offset === 1 ? 0 : term, event: "message", sender: "bob" },
    ...{ senderName: "BOB", key: `e/${offset}`, at: offset, count: offset, ref: 0, contentType: "", headers: [] },
    ...{ body: Buffer.from(`1 ${offset}`), text: true },
    ...more,
  };
}

function packOf(...entries: readonly Entry[]): Pack {
  return { room: ROOM, prevTerm: entries[0]?.prevTerm ?? 0, entries, opening: true };
}

function sent(more: Partial<Sent> = {}): Sent {
  return {
    ...{ user: "bob", room: ROOM, id: undefined, body: "1 1", level: "stored", life: 0, answers: 1 },
    ...{ stored: undefined, sentMs: 0, receipted: true, refused: undefined, other: undefined },
    ...more,
  };
}

/** Redis takes entries, each in a pack of its own. */
function accepts(one: Judge, ...entries: readonly Entry[]): void {
  for (const taken of entries) one.accepted("n1", 0, [packOf(taken)]);
}

/** A judge that saw entries stored by the one owner of the room's shard. */
function judgeOf(...log: readonly Entry[]): Judge {
  const one = judge();
  one.claimed("n1", 0, 1);
  one.durable("n1", log);
  return one;
}

function ended(one: Judge, log: readonly Entry[]): string | undefined {
  one.end(new Map([[ROOM, log]]));
  return one.breach;
}

test("A run without a fault is judged to be without one.", () => {
  const log = [entry(1), entry(2)];
  const one = judgeOf(...log);
  one.accepted("n1", 0, [packOf(...log)]);
  one.showing("n1", log[1] as Entry);
  const asked = sent({ stored: log[0] });
  one.sent(asked);
  one.receipting("n1", asked, log[0]);
  assert.equal(ended(one, log), undefined);
});

test("What stores take out of order, or from the wrong node, is a breach.", () => {
  const wrong: readonly [RegExp, (one: Judge) => void][] = [
    [/given twice/, (one) => one.claimed("n2", 0, 1)],
    [/claimed by n1/, (one) => one.fenced("n2", 0, 1)],
    [/decided by n2/, (one) => one.accepted("n2", 0, [packOf(entry(1))])],
    [/r\/1\/1 was given to e\/1 and to e\/9/, (one) => accepts(one, entry(1), entry(1, { key: "e/9" }))],
    [/was given to e\/1 and to c\/a/, (one) => one.durable("n1", [entry(1), entry(1, { key: "c/a" })])],
    [/begins the hot log with r\/2\/1/, (one) => one.begun("n1", packOf(entry(2)))],
    [/stored after 1/, (one) => one.durable("n1", [entry(1), entry(3)])],
    [/stored after 1/, (one) => one.durable("n1", [entry(1), entry(1)])],
    [/term falls/, (one) => one.durable("n1", [entry(1, { term: 2 }), entry(2, { term: 1, prevTerm: 2 })])],
    [/chain is broken/, (one) => one.durable("n1", [entry(1), entry(2, { prevTerm: 7 })])],
  ];
  for (const [what, does] of wrong) {
    const one = judge();
    one.claimed("n1", 0, 1);
    does(one);
    assert.match(one.breach ?? "nothing", what);
  }
});

test("What is shown before it was accepted, or receipted before it is stored, is a breach.", () => {
  const early = judgeOf(entry(1));
  early.showing("n1", entry(2));
  assert.match(early.breach ?? "", /shows r\/2\/1 before it was accepted/);

  const unstored = judgeOf(entry(1));
  unstored.accepted("n1", 0, [packOf(entry(2))]);
  unstored.receipting("n1", sent(), entry(2));
  assert.match(unstored.breach ?? "", /which is not stored/);

  const another = judgeOf(entry(1));
  another.receipting("n1", sent({ id: "mine" }), entry(1));
  assert.match(another.breach ?? "", /which is not stored/, "another's key");

  const unplaced = judgeOf(entry(1));
  unplaced.receipting("n1", sent({ level: "accepted" }), entry(2));
  assert.match(unplaced.breach ?? "", /before it was accepted/);
});

test("A log that lost, doubled or reordered SENDs is a breach.", () => {
  const lost = judgeOf(entry(1));
  lost.sent(sent({ stored: entry(2) }));
  assert.match(ended(lost, [entry(1)]) ?? "", /receipted message is gone/);

  const doubled = [entry(1, { key: "c/a" }), entry(2, { key: "c/a" })];
  assert.match(ended(judgeOf(...doubled), doubled) ?? "", /stands twice/);

  const reordered = [entry(1, { body: Buffer.from("1 2") }), entry(2, { body: Buffer.from("1 1") })];
  assert.match(ended(judgeOf(...reordered), reordered) ?? "", /the order of the SENDs of 1/);

  const said = (number: number): Partial<Entry> => ({ body: Buffer.from(`1 ${number}`), key: `e/${number}` });
  const readmitted = [addition(1, "bob"), entry(2, said(2)), removal(3), addition(4, "bob"), entry(5, said(1))];
  const log = readmitted.map((one, at) => ({ ...one, count: [0, 1, 1, 1, 2][at] as number }));
  for (const sentMs of [-1, 1]) {
    const one = judgeOf(...log);
    one.closedRooms.add(ROOM);
    one.sent(sent({ body: "1 1", sentMs }));
    const heard = sentMs > 0 ? /the order of the SENDs of 1/ : /^nothing$/;
    assert.match(ended(one, log) ?? "nothing", heard, "refused unheard as no member, then decided again as one");
  }

  const refused = judgeOf(entry(1));
  refused.sent(sent({ refused: "queue-full" }));
  assert.match(ended(refused, [entry(1)]) ?? "", /was refused \(queue-full\) and stands/);

  assert.match(ended(judgeOf(entry(1), entry(2)), [entry(1)]) ?? "", /holds 1 entries of r, it took 2/);
});

function stream(from: Stream["from"] = { kind: "now" }): Stream {
  const one = new Stream("s", { user: "bob", room: ROOM, from, askedMs: 0 });
  one.grant({ offset: 1, term: 1 });
  return one;
}

test("Two direct rooms of two users, or a COMMIT that is answered before its SENDs, is a breach.", () => {
  const twice = judgeOf(entry(1));
  for (const room of [ROOM, "other"]) {
    const private_ = sent({ room: "", other: "eve", level: "accepted" });
    twice.receipting("n1", private_, entry(1, { room }));
  }
  assert.match(twice.breach ?? "", /bob eve have the direct rooms r and other/);

  const asked: ((connection: Connection) => void)[] = [];
  const early = judge();
  const host = { number: 1, user: "bob", nowMs: 0, judge: early, say() {}, ask() {} };
  const sends = new Sends({ ...host, toNode: (frame) => asked.push(frame) });
  sends.transact({ room: ROOM }, [{ id: undefined, level: "stored", receipt: true }], { commit: true });
  assert.equal(asked.length, 3);
  assert.equal(sends.waiting, true);
  assert.equal(sends.committed("m2"), true);
  assert.match(early.breach ?? "", /a COMMIT is answered before 1 0/);
});

test("A subscription that skips, repeats, changes its past, or goes on after its end is a breach.", () => {
  const calm = { lossy: false };
  assert.equal(stream().entry(entry(2)), undefined);
  assert.match(stream().entry(entry(3)) ?? "", /is shown r\/3\/1 after 1/);
  assert.match(stream().entry(entry(1)) ?? "", /is shown r\/1\/1 after 1/);
  assert.match(stream().entry(entry(2, { prevTerm: 9 })) ?? "", /chain/);
  assert.match(stream().entry(entry(2, { room: "other" })) ?? "", /another room's/);
  assert.match(stream().grant({ offset: 2, term: 1 }) ?? "", /twice/);
  assert.match(stream({ kind: "last", entries: 1 }).entry(entry(1)) ?? "", /before its beginning/);
  assert.match(stream().resumed(false, { offset: 1, term: 1 }, calm) ?? "", /nothing was lost/);
  assert.equal(stream().resumed(false, { offset: 1, term: 1 }, { lossy: true }), undefined);
  assert.match(stream().resumed(true, { offset: 1, term: 1 }, calm) ?? "", /resumed again/);
  const over = stream();
  over.over = true;
  assert.match(over.entry(entry(2)) ?? "", /after its end/);
});

test("A subscription that was shown what is not on the log and was not told is a breach.", () => {
  const log = [entry(1), entry(2, { key: "other" })];
  const shown = stream();
  shown.entry(entry(2));
  assert.match(shown.judge(log, { lossy: true }) ?? "", /not on the log, and was not told/);
  shown.resumed(false, { offset: 2, term: 1 }, { lossy: true });
  assert.equal(shown.judge(log, { lossy: true }), undefined);

  const began = stream({ kind: "after", position: { offset: 1, term: 4 } });
  began.resumed(true, { offset: 1, term: 1 }, { lossy: true });
  assert.match(began.judge(log, { lossy: true }) ?? "", /began at 1.4/);
});

const removal = (offset: number): Entry =>
  entry(offset, { ...memberDraft({ user: "bob", change: "removed", by: "alice" }, "none", "BOB"), sender: "alice" });
const addition = (offset: number, user: string): Entry =>
  entry(offset, { ...memberDraft({ user, change: "added", by: "alice" }, "member", user), sender: "alice" });

test("What the removed are shown, granted or allowed is a breach.", () => {
  const log = [addition(1, "alice"), removal(2), entry(3)];
  const shown = stream();
  shown.entry(log[1] as Entry);
  shown.entry(log[2] as Entry);
  assert.match(shown.judge(log, { lossy: false }) ?? "", /after the removal of bob at 2/);
  assert.match(accessBreach(log) ?? "", /bob is no member at r\/3\/1/);

  const memberships = new Memberships();
  memberships.set(ROOM, "bob", { sinceMs: 5, standing: "out" });
  assert.equal(memberships.during(ROOM, "bob", 6), "out");
  assert.equal(memberships.during(ROOM, "bob", 4), "unknown");
});

test("Derived state that the log does not lead to is a breach.", () => {
  const items = [addition(1, "bob"), entry(2)].map((one) => ({ entry: one, fate: undefined }));
  const member = { room: ROOM, user: "bob", name: "bob", role: "member", joinedAt: 1, rev: 1 } as const;
  assert.equal(derivedBreach(ROOM, items, [member]), undefined);
  assert.match(derivedBreach(ROOM, items, []) ?? "", /members of r/);
  const deleted = { entry: entry(3, { event: "deleted", ref: 2 }), fate: undefined };
  assert.match(derivedBreach(ROOM, [...items, deleted], [member]) ?? "", /what became of r\/2/);
});
