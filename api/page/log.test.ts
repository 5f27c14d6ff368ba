import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  addLive,
  addPage,
  atStart,
  attached,
  hasGap,
  type Keep,
  LOG_BOUNDS,
  type RoomLog,
  replaceWith,
  unloaded,
} from "./log.ts";
import { failed, outboxView, retried, stored, written } from "./outbox.ts";
import type { LogEntry } from "./shapes.ts";

function entry(offset: number, part: Partial<LogEntry> = {}): LogEntry {
  return {
    offset,
    term: 1,
    event: "message",
    sender: "ann",
    senderName: "Ann",
    at: offset,
    ref: 0,
    clientMessageId: undefined,
    memberName: undefined,
    text: `text ${offset}`,
    bytes: 6,
    edited: false,
    deleted: false,
    reactions: {},
    rev: 0,
    ...part,
  };
}

function run(from: number, to: number): LogEntry[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => entry(from + i));
}

function offsets(log: RoomLog): number[] {
  return log.entries.map((one) => one.offset);
}

function assertSound(log: RoomLog): void {
  const held = offsets(log);
  for (let i = 1; i < held.length; i++) assert.equal(held[i], (held[i - 1] as number) + 1);
  assert.ok(held.length <= LOG_BOUNDS.held);
  assert.ok((held.at(-1) ?? 0) <= log.head.offset);
  const ahead = log.ahead.map((one) => one.offset);
  for (let i = 1; i < ahead.length; i++) assert.ok((ahead[i] as number) > (ahead[i - 1] as number));
  assert.ok(ahead.length <= LOG_BOUNDS.ahead);
  if (log.loaded && ahead.length > 0) assert.ok((ahead[0] as number) > log.head.offset + 1);
}

test("Live entries follow a page, and repeats change nothing.", () => {
  let log = replaceWith(unloaded(), run(1, 3));
  log = addLive(log, entry(4));
  assert.equal(addLive(log, entry(4)), log);
  assert.equal(addLive(log, entry(2)), log);
  assert.deepEqual(offsets(log), [1, 2, 3, 4]);
  assert.deepEqual(log.head, { offset: 4, term: 1 });
});

test("An entry beyond a gap waits until the gap is filled, by the stream or by a page.", () => {
  let log = addLive(replaceWith(unloaded(), run(1, 2)), entry(5));
  assert.ok(hasGap(log));
  assert.deepEqual(offsets(log), [1, 2]);
  const byPage = addPage(log, run(1, 4), "newest");
  assert.deepEqual(offsets(byPage), [1, 2, 3, 4, 5]);
  log = addLive(addLive(log, entry(3)), entry(4));
  assert.deepEqual(offsets(log), [1, 2, 3, 4, 5]);
  assert.ok(!hasGap(log));
});

test("What comes live before the first page is kept and joined to it.", () => {
  const log = addLive(addLive(unloaded(), entry(8)), entry(7));
  assert.deepEqual(offsets(log), []);
  assert.deepEqual(offsets(replaceWith(log, run(4, 7))), [4, 5, 6, 7, 8]);
});

test("The first entry of an empty room is shown.", () => {
  const log = addLive(replaceWith(unloaded(), []), entry(1));
  assert.deepEqual(offsets(log), [1]);
  assert.ok(atStart(log));
});

test("At the newest messages the oldest are dropped, and scrolling back fetches them again.", () => {
  let log = replaceWith(unloaded(), run(1, LOG_BOUNDS.held));
  log = addLive(log, entry(LOG_BOUNDS.held + 1));
  assert.equal(log.entries[0]?.offset, 2);
  assert.ok(!atStart(log));
  log = addPage(log, [entry(1)], "oldest");
  assert.ok(atStart(log));
  assert.ok(!attached(log), "the newest fell off the window");
  assert.equal(log.head.offset, LOG_BOUNDS.held + 1, "the position to resume from did not move back");
});

test("A window detached from the head takes part in edits and comes back by pages.", () => {
  let log = replaceWith(unloaded(), run(1, LOG_BOUNDS.held));
  log = addLive(log, entry(LOG_BOUNDS.held + 1), "oldest");
  assert.ok(!attached(log));
  log = addLive(log, entry(LOG_BOUNDS.held + 2, { event: "edited", ref: 3, text: "new" }), "oldest");
  assert.equal(log.entries[2]?.text, "new");
  log = addPage(log, run(LOG_BOUNDS.held + 1, LOG_BOUNDS.held + 2), "newest");
  assert.ok(attached(log));
});

test("Edits, deletions and reactions change the entry they name, each once.", () => {
  let log = replaceWith(unloaded(), run(1, 2));
  const like = { event: "reaction", ref: 1, sender: "ben", text: '{"reaction":"👍","on":true}' };
  log = addLive(log, entry(3, like));
  assert.deepEqual(log.entries[0]?.reactions, { "👍": ["ben"] });
  log = addLive(log, entry(4, { ...like, text: '{"reaction":"👍","on":false}' }));
  assert.deepEqual(log.entries[0]?.reactions, {});
  log = addLive(log, entry(5, { event: "edited", ref: 1, text: "better" }));
  assert.deepEqual([log.entries[0]?.text, log.entries[0]?.edited], ["better", true]);
  log = addLive(log, entry(6, { event: "deleted", ref: 1 }));
  log = addLive(log, entry(7, { event: "edited", ref: 1, text: "back?" }));
  assert.deepEqual([log.entries[0]?.text, log.entries[0]?.deleted], [undefined, true]);
});

test("A page read before a change that is already held shows the change.", () => {
  let log = replaceWith(unloaded(), run(5, 6));
  log = addLive(log, entry(7, { event: "deleted", ref: 2 }));
  log = addPage(log, run(1, 4), "oldest");
  assert.ok(log.entries[1]?.deleted);
});

test("An own message is shown once, whichever of its RECEIPT and its entry comes first.", () => {
  const base = written(replaceWith(unloaded(), run(1, 1)), { id: "m1", body: "hi", at: 0 });
  assert.equal(outboxView(base, "ann").below.length, 1);
  const own = entry(2, { clientMessageId: "m1" });
  const entryFirst = addLive(base, own);
  assert.equal(outboxView(entryFirst, "ann").below.length, 0);
  assert.equal(outboxView(entryFirst, "ann").marks.get("m1")?.state, "pending");
  assert.deepEqual(stored(entryFirst, "m1", 2).outbox, []);
  const receiptFirst = stored(base, "m1", 2);
  assert.equal(outboxView(receiptFirst, "ann").below[0]?.state, "stored");
  assert.deepEqual(addLive(receiptFirst, own).outbox, []);
});

test("Another user's message under the same id does not hide one's own.", () => {
  const base = written(replaceWith(unloaded(), run(1, 1)), { id: "m1", body: "hi", at: 0 });
  const log = addLive(base, entry(2, { clientMessageId: "m1", sender: "ben" }));
  assert.equal(outboxView(log, "ann").below.length, 1);
});

test("A failed message can be sent again, and a receipt that comes late still counts.", () => {
  let log = written(replaceWith(unloaded(), []), { id: "m1", body: "hi", at: 0 });
  log = failed(log, "m1", "No.");
  assert.equal(log.outbox[0]?.reason, "No.");
  assert.equal(retried(log, "m1", "by-person").outbox[0]?.state, "pending");
  const late = stored(log, "m1", 1);
  assert.equal(late.outbox[0]?.state, "stored");
  assert.equal(failed(late, "m1", "No.").outbox[0]?.state, "stored");
});

test("The outbox is bounded.", () => {
  let log = unloaded();
  for (let i = 0; i <= LOG_BOUNDS.outbox; i++) log = written(log, { id: `m${i}`, body: "x", at: 0 });
  assert.equal(log.outbox.length, LOG_BOUNDS.outbox);
});

/** What may happen to a reader, by numbers: the meaning depends on the state it meets. */
type Step =
  | { readonly kind: "post"; readonly count: number }
  | { readonly kind: "hear"; readonly skip: boolean; readonly keep: Keep }
  | { readonly kind: "repeat"; readonly back: number }
  | { readonly kind: "stray"; readonly from: number; readonly keep: Keep }
  | { readonly kind: "resume" | "older" | "newer" | "newest" | "reload"; readonly size: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("post" as const), count: fc.integer({ min: 1, max: 300 }) }),
  fc.record({
    kind: fc.constant("hear" as const),
    skip: fc.boolean(),
    keep: fc.constantFrom<Keep>("newest", "oldest"),
  }),
  fc.record({ kind: fc.constant("repeat" as const), back: fc.integer({ min: 0, max: 40 }) }),
  fc.record({
    kind: fc.constant("stray" as const),
    from: fc.integer({ min: 1, max: 1_000 }),
    keep: fc.constantFrom<Keep>("newest", "oldest"),
  }),
  fc.record({
    kind: fc.constantFrom("resume" as const, "older" as const, "newer" as const, "newest" as const, "reload" as const),
    size: fc.integer({ min: 1, max: 60 }),
  }),
);

/** A server's log of `total` entries, a stream that has sent `heard` of them, and the reader. */
interface World {
  total: number;
  heard: number;
  log: RoomLog;
}

function take(world: World, step: Step): void {
  const { log } = world;
  const page = (from: number, to: number) => run(Math.max(1, from), Math.min(world.total, to));
  const first = log.entries[0]?.offset ?? 1;
  const last = log.entries.at(-1)?.offset ?? 0;
  if (step.kind === "post") world.total += step.count;
  else if (step.kind === "hear") {
    for (let count = 0; count < 20 && world.heard < world.total; count++) {
      world.heard++;
      if (!step.skip || count % 3 > 0) world.log = addLive(world.log, entry(world.heard), step.keep);
    }
  } else if (step.kind === "repeat") {
    for (const one of page(world.heard - step.back, world.heard)) world.log = addLive(world.log, one);
  } else if (step.kind === "stray") {
    world.log = addPage(log, page(step.from, step.from + 9), step.keep);
  } else if (step.kind === "resume") {
    world.heard = world.log.head.offset;
    if (!log.loaded) world.log = replaceWith(log, page(world.total - step.size, world.total));
  } else if (step.kind === "older") world.log = addPage(log, page(first - step.size, first - 1), "oldest");
  else if (step.kind === "newer") world.log = addPage(log, page(last + 1, last + step.size), "newest");
  else if (step.kind === "newest") world.log = addPage(log, page(world.total - step.size, world.total), "newest");
  else if (step.kind === "reload") {
    world.log = replaceWith(unloaded(log.outbox), page(world.total - step.size + 1, world.total));
    world.heard = Math.max(world.heard, world.log.head.offset);
  }
}

test("Any interleaving of history, live and replay shows each offset once, in order, and ends complete.", () => {
  const property = fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
    const world: World = { total: 0, heard: 0, log: replaceWith(unloaded(), []) };
    for (const step of steps) {
      const before = world.log.head.offset;
      take(world, step);
      assertSound(world.log);
      if (step.kind !== "reload") assert.ok(world.log.head.offset >= before, "the position never moves back");
    }
    // A reader that resumes and hears the rest has it all.
    for (let offset = world.log.head.offset + 1; offset <= world.total; offset++) {
      world.log = addLive(world.log, entry(offset));
    }
    assertSound(world.log);
    assert.equal(world.log.head.offset, world.total);
    assert.ok(!hasGap(world.log));
  });
  fc.assert(property, { numRuns: 500 });
});
