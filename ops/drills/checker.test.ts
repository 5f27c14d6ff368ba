import assert from "node:assert/strict";
import { test } from "node:test";
import { check, type Item, type Sending, type Story, type Stream, type StreamEvent } from "./checker.ts";

const ROOM = "r1";

const item = (offset: number, term: number, change: Partial<Item> = {}): Item => ({
  id: `${ROOM}.${term}.${offset}`,
  offset,
  term,
  event: "message",
  sender: "ann",
  key: `k${offset}`,
  body: `b${offset}`,
  count: offset,
  atMs: 1_000 + offset,
  ...change,
});

const entry = (offset: number, term: number, change: Partial<Item> = {}): StreamEvent => ({
  kind: "entry",
  item: item(offset, term, change),
});

const sending = (offset: number, term: number, change: Partial<Sending> = {}): Sending => ({
  room: ROOM,
  sender: "ann",
  key: `k${offset}`,
  bodies: [`b${offset}`],
  order: offset,
  stored: [{ offset, term }],
  accepted: [],
  ...change,
});

const FROM_START: StreamEvent = { kind: "subscribe", after: { offset: 0, term: 0 } };

/** Offsets 1 to 3 in term 1, a crash in which one more was shown and lost, then 4 and 5 in term 2. */
function soundStory(): { log: Item[]; events: StreamEvent[]; sendings: Sending[] } {
  return {
    log: [item(1, 1), item(2, 1), item(3, 1), item(4, 2), item(5, 2)],
    events: [
      { kind: "subscribe", after: undefined },
      { kind: "head", head: { offset: 0, term: 0 } },
      entry(1, 1),
      entry(2, 1),
      { kind: "subscribe", after: { offset: 2, term: 1 } },
      { kind: "resumed", recovered: true, head: { offset: 3, term: 1 } },
      entry(3, 1),
      entry(4, 1, { key: "lost" }),
      { kind: "subscribe", after: { offset: 4, term: 1 } },
      { kind: "resumed", recovered: false, head: { offset: 3, term: 1 } },
      entry(4, 2),
      entry(5, 2),
    ],
    sendings: [1, 2, 3].map((offset) => sending(offset, 1)).concat([4, 5].map((offset) => sending(offset, 2))),
  };
}

function rulesBroken(change: (story: ReturnType<typeof soundStory>) => void): string[] {
  const told = soundStory();
  change(told);
  const stream: Stream = { client: "bob", room: ROOM, events: told.events };
  const story: Story = { archive: new Map([[ROOM, told.log]]), streams: [stream], sendings: told.sendings };
  return [...new Set(check(story).map((violation) => violation.rule))].sort();
}

test("A sound story, with a crash whose loss was announced, breaks no rule.", () => {
  assert.deepEqual(
    rulesBroken(() => undefined),
    [],
  );
});

test("A receipted message that is not in the archive is found.", () => {
  assert.ok(rulesBroken((story) => story.log.pop()).includes("lost"));
});

test("A receipted message whose place holds another one is found.", () => {
  assert.ok(rulesBroken((story) => story.log.splice(4, 1, item(5, 2, { key: "k9" }))).includes("lost"));
});

test("A receipted message whose term changed is found.", () => {
  assert.ok(rulesBroken((story) => story.log.splice(4, 1, item(5, 3))).includes("lost"));
});

test("Two effects of one client-message-id within the window are found, and none beyond it.", () => {
  const doubled = (atMs: number) => (story: ReturnType<typeof soundStory>) => {
    story.log.push(item(6, 2, { key: "k5", body: "b5", atMs }));
    story.events.push(entry(6, 2, { key: "k5", body: "b5", atMs }));
  };
  assert.deepEqual(rulesBroken(doubled(2_000)), ["doubled"]);
  assert.deepEqual(rulesBroken(doubled(2_000 + 600_000)), []);
});

test("Two receipts of one client-message-id that name two places are found.", () => {
  const places = [
    { offset: 5, term: 2 },
    { offset: 4, term: 2 },
  ];
  assert.deepEqual(
    rulesBroken((story) => story.sendings.splice(4, 1, sending(5, 2, { stored: places }))),
    ["lost"],
  );
});

test("A loss may be announced to a live subscription, unasked; a recovery may not.", () => {
  const head = { offset: 3, term: 1 };
  const asked = (event: StreamEvent): boolean => event.kind === "subscribe" && event.after?.offset === 4;
  assert.deepEqual(
    rulesBroken(({ events }) => events.splice(events.findIndex(asked), 1)),
    [],
  );
  assert.deepEqual(
    rulesBroken(({ events }) => events.push({ kind: "resumed", recovered: true, head: { offset: 5, term: 2 } })),
    ["unannounced"],
  );
  assert.deepEqual(
    rulesBroken(({ events }) => events.splice(7, 0, { kind: "resumed", recovered: false, head })),
    ["false-alarm"],
  );
});

test("A gap in the archive is found.", () => {
  assert.ok(rulesBroken((story) => story.log.splice(1, 1)).includes("gap"));
});

test("A term that falls along the archive is found.", () => {
  assert.ok(rulesBroken((story) => story.log.splice(4, 1, item(5, 1))).includes("term"));
});

test("A time that falls along the archive is found.", () => {
  assert.ok(rulesBroken((story) => story.log.splice(4, 1, item(5, 2, { atMs: 3 }))).includes("time"));
});

test("A wrong count and a wrong message-id are found.", () => {
  assert.deepEqual(
    rulesBroken((story) => story.log.splice(4, 1, item(5, 2, { count: 9, id: "x" }))),
    ["count", "differs", "id"],
  );
});

test("A message that nobody sent is found.", () => {
  assert.deepEqual(
    rulesBroken((story) => story.sendings.pop()),
    ["invented"],
  );
});

test("A body that was never sent is found.", () => {
  assert.deepEqual(
    rulesBroken((story) => story.sendings.splice(4, 1, sending(5, 2, { bodies: ["other"] }))),
    ["body"],
  );
});

test("A message that a client saw otherwise than the archive has it is found.", () => {
  assert.deepEqual(
    rulesBroken((story) => story.events.splice(-1, 1, entry(5, 2, { sender: "eve" }))),
    ["differs"],
  );
});

test("Messages of one sender that stand in another order than they were sent are found.", () => {
  assert.deepEqual(
    rulesBroken((story) => story.sendings.splice(4, 1, sending(5, 2, { order: 0 }))),
    ["sender-order"],
  );
});

test("A gap, a repeat and a reorder in a stream are found.", () => {
  assert.ok(rulesBroken((story) => story.events.splice(3, 1)).includes("gap"));
  assert.deepEqual(
    rulesBroken((story) => story.events.push(entry(5, 2))),
    ["repeat"],
  );
  const reordered = rulesBroken((story) => story.events.splice(2, 2, entry(2, 1), entry(1, 1)));
  assert.ok(reordered.includes("gap") && reordered.includes("repeat"));
});

test("A first entry that is not the one after the head of the RECEIPT is found.", () => {
  assert.ok(rulesBroken((story) => story.events.splice(2, 1)).includes("gap"));
});

test("A lost entry that was shown and never announced is found.", () => {
  const told = rulesBroken((story) => {
    story.events.splice(8, 3);
  });
  assert.deepEqual(told, ["silent-loss"]);
});

test("A recovery from a place that is not in the log is found.", () => {
  const claimed: StreamEvent = { kind: "resumed", recovered: true, head: { offset: 4, term: 2 } };
  assert.ok(rulesBroken((story) => story.events.splice(9, 2, claimed)).includes("silent-loss"));
});

test("A recovery refused although the place is in the log is found.", () => {
  const alarm: StreamEvent = { kind: "resumed", recovered: false, head: { offset: 2, term: 1 } };
  assert.deepEqual(
    rulesBroken((story) => story.events.splice(5, 1, alarm)),
    ["false-alarm"],
  );
});

test("A replay without its announcement is found.", () => {
  assert.deepEqual(
    rulesBroken((story) => story.events.splice(5, 1)),
    ["unannounced"],
  );
});

test("A client that never got the last entries is found.", () => {
  assert.deepEqual(
    rulesBroken((story) => story.events.pop()),
    ["behind"],
  );
});

test("A whole replay from the first entry is sound.", () => {
  const replay: StreamEvent = { kind: "resumed", recovered: true, head: { offset: 5, term: 2 } };
  const items = soundStory().log.map((stored): StreamEvent => ({ kind: "entry", item: stored }));
  assert.deepEqual(
    rulesBroken((story) => story.events.splice(0, 12, FROM_START, replay, ...items)),
    [],
  );
});
