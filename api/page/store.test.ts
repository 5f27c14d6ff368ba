import assert from "node:assert/strict";
import { test } from "node:test";
import { written } from "./outbox.ts";
import { entryOfFrame, entryOfItem } from "./shapes.ts";
import {
  arrived,
  EMPTY,
  listed,
  logOf,
  NOBODY,
  opened,
  type Room,
  read,
  STORE_BOUNDS,
  type State,
  signalled,
  typingUntil,
  unreadTotal,
  withLog,
} from "./store.ts";
import { pauseMs } from "./wire.ts";
import { hueOf, initials, statusOf, typingText } from "./words.ts";

function room(id: string, part: Partial<Room> = {}): Room {
  return {
    id,
    name: id,
    type: "public",
    role: "member",
    unread: 0,
    readOffset: 0,
    peer: undefined,
    last: undefined,
    ...part,
  };
}

function frame(headers: Record<string, string>, body: string | Uint8Array) {
  return { headers, binaryBody: typeof body === "string" ? new TextEncoder().encode(body) : body };
}

const ann: State = { ...EMPTY, phase: "in", user: { id: "ann", name: "Ann" } };

test("A MESSAGE becomes an entry; one that is no UTF-8 keeps only its length.", () => {
  const headers = { offset: "7", term: "2", event: "message", sender: "ben", "sender-name": "Ben", timestamp: "5" };
  const text = entryOfFrame(frame(headers, "hi"));
  assert.deepEqual([text?.offset, text?.term, text?.senderName, text?.text, text?.at], [7, 2, "Ben", "hi", 5]);
  const binary = entryOfFrame(frame(headers, Uint8Array.of(255, 254, 1)));
  assert.deepEqual([binary?.text, binary?.bytes], [undefined, 3]);
  assert.equal(entryOfFrame(frame({ event: "resumed", "head-offset": "7" }, "")), undefined);
});

test("A REST item becomes the same entry, with what became of it.", () => {
  const item = { event: "message", offset: 1, term: 1, sender: "ben", at: "1970-01-01T00:00:01.000Z" };
  assert.equal(entryOfItem({ ...item, body: "hi" }).at, 1000);
  assert.equal(entryOfItem({ ...item, bodyBase64: "//4B" }).bytes, 3);
  assert.ok(entryOfItem({ ...item, deletedAt: "1970-01-01T00:00:02.000Z" }).deleted);
  const reactions = [{ reaction: "👍", users: ["ann"] }];
  assert.deepEqual(entryOfItem({ ...item, body: "x", reactions }).reactions, { "👍": ["ann"] });
});

test("A message in another room counts as unread, one's own does not, and reading clears it.", () => {
  let state = listed(ann, [room("a"), room("b")]);
  const message = { offset: "1", event: "message", sender: "ben", timestamp: "10" };
  const theirs = entryOfFrame(frame(message, "hi"));
  const own = entryOfFrame(frame({ ...message, offset: "2", sender: "ann", timestamp: "11" }, "ho"));
  assert.ok(theirs !== undefined && own !== undefined);
  state = arrived(arrived(state, "b", theirs), "b", own);
  assert.equal(unreadTotal(state), 1);
  assert.deepEqual(
    state.rooms.map((one) => one.id),
    ["b", "a"],
    "the room with the last message comes first",
  );
  state = read(state, "b", 2);
  assert.equal(unreadTotal(state), 0);
  const stale = listed(state, [room("b", { unread: 1, readOffset: 0 })]);
  assert.equal(unreadTotal(stale), 0, "a list asked for before the marker arrived does not bring it back");
});

test("Opening a room with unread messages sets the divider at the read marker.", () => {
  const state = listed(ann, [room("a", { unread: 2, readOffset: 5 }), room("b")]);
  assert.equal(opened(state, "a").divider, 5);
  assert.equal(opened(state, "b").divider, undefined);
  const fresh = listed(ann, [room("a", { unread: 1, readOffset: 0 })]);
  assert.equal(opened(fresh, "a").divider, 0, "also when nothing was ever read");
});

test("Only so many logs are kept, and never is one dropped that has unsent messages.", () => {
  let state = opened(ann, "first");
  state = withLog(state, "first", (log) => written(log, { id: "m", body: "x", at: 0 }));
  for (let i = 0; i < STORE_BOUNDS.logs * 2; i++) state = opened(state, `room-${i}`);
  assert.equal(state.logs.size, STORE_BOUNDS.logs);
  assert.equal(logOf(state, "first").outbox.length, 1);
});

test("Presence and typing follow the signals, and typing ends by itself.", () => {
  const base = { user: "ben", name: "Ben", offset: 0, at: 0 };
  let people = signalled(NOBODY, { ...base, event: "presence", state: "join" });
  people = signalled(people, { ...base, event: "typing", state: "start" });
  assert.deepEqual([people.count, people.typing.size], [1, 1]);
  assert.equal(typingUntil(people, 60_000).typing.size, 0);
  people = signalled(people, { ...base, event: "presence", state: "leave" });
  assert.deepEqual([people.count, people.here.size, people.typing.size], [0, 0, 0]);
  assert.equal(signalled(people, { ...base, event: "presence", state: "online" }), people);
});

test("Pauses double up to a bound and have jitter over their upper half.", () => {
  assert.deepEqual([pauseMs(0, 0), pauseMs(0, 1), pauseMs(1, 0), pauseMs(3, 1)], [250, 500, 500, 4_000]);
  assert.equal(pauseMs(1_000, 1), 20_000);
});

test("The state of the connection reads as a person expects.", () => {
  assert.equal(statusOf({ kind: "waiting", retryAt: 3_000 }, undefined, 100).shown, "Offline — reconnecting in 3 s");
  assert.equal(statusOf({ kind: "up", node: "n1" }, { total: 12, left: 12 }, 0).shown, "Catching up: 12 messages");
  assert.equal(statusOf({ kind: "up", node: "n1" }, { total: 1, left: 0 }, 0).shown, "Live — caught up on 1 message");
  assert.equal(statusOf({ kind: "up", node: "n1" }, undefined, 0).shown, "Live");
  assert.equal(typingText(["Ann", "Ben", "Cho"]), "Several people are typing…");
  assert.deepEqual([initials("Ann Okafor"), initials("  "), initials("𝒳")], ["AO", "?", "𝒳"]);
  assert.ok(hueOf("anything") < 6);
});
