import assert from "node:assert/strict";
import { test } from "node:test";
import type { Item, Place, StreamEvent } from "./checker.ts";
import { type Foreign, unexplained } from "./displaced.ts";

const item = (offset: number, term: number): Item => ({
  ...{ offset, term, id: `a.${term}.${offset}`, event: "message", sender: "u", key: `k${offset}` },
  ...{ body: "b", count: offset, atMs: 0 },
});
const entry = (offset: number, term: number): StreamEvent => ({ kind: "entry", item: item(offset, term) });
const told = (head: Place): StreamEvent => ({ kind: "resumed", recovered: false, head });
const head = (place: Place): StreamEvent => ({ kind: "head", head: place });

/** Another's entry of term 2 stands at 3, where one of term 1 was to stand; the log goes on under term 3. */
const foreign: Foreign = {
  sending: { room: "a", sender: "rival", key: "r", bodies: [], order: 1, stored: [], accepted: [] },
  place: { offset: 3, term: 2 },
  displaced: 1,
};
const log = [item(1, 1), item(2, 1), item(3, 2), item(4, 3), item(5, 3)];

const rules = (events: readonly StreamEvent[], known: readonly Foreign[] = [foreign]): string[] =>
  unexplained([{ client: "c", room: "a", events }], new Map([["a", log]]), known).map(({ rule }) => rule);

test("Who saw what another's entry displaced, or stood there, may be told so.", () => {
  assert.deepEqual(rules([entry(2, 1), entry(3, 1), entry(4, 1), told({ offset: 3, term: 2 }), entry(4, 3)]), []);
  assert.deepEqual(rules([head({ offset: 4, term: 1 }), told({ offset: 4, term: 3 }), entry(5, 3)]), []);
  assert.deepEqual(rules([{ kind: "subscribe", after: { offset: 3, term: 1 } }, told({ offset: 3, term: 2 })]), []);
});

test("Who stands on the log, before the foreign entry or after it, may not be told.", () => {
  assert.deepEqual(rules([entry(2, 1), told({ offset: 3, term: 2 })]), ["not-recovered"]);
  assert.deepEqual(rules([entry(4, 3), told({ offset: 4, term: 3 })]), ["not-recovered"]);
  const displaced = [entry(3, 1), told({ offset: 3, term: 2 })];
  assert.deepEqual(rules([...displaced, told({ offset: 3, term: 2 })]), ["not-recovered"]);
});

test("What was shown under another term than the displaced one, or in another room, must be in the log.", () => {
  assert.deepEqual(rules([entry(5, 2)]), ["not-displaced"]);
  assert.deepEqual(rules([entry(3, 1)], []), ["not-displaced"]);
  const unshown = { ...foreign, displaced: undefined };
  assert.deepEqual(rules([entry(3, 1), told({ offset: 3, term: 2 })], [unshown]), ["not-displaced", "not-recovered"]);
  const elsewhere = { ...foreign, sending: { ...foreign.sending, room: "b" } };
  assert.deepEqual(rules([entry(3, 1), told({ offset: 3, term: 2 })], [elsewhere]), ["not-displaced", "not-recovered"]);
});
