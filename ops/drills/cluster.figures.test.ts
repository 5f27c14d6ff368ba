import assert from "node:assert/strict";
import { test } from "node:test";
import type { Item } from "./checker.ts";
import { figure, PauseMeter, percentile, TakeoverMeter } from "./cluster.figures.ts";
import { type Door, Ledger, Person } from "./cluster.person.ts";
import { Random } from "./random.ts";

const ledger = new Ledger();
const choose = (): Door => ({ node: 0, wsUrl: "ws://127.0.0.1:1/" });
const person = (id: string): Person => new Person({ id, rooms: ["r"], choose, ledger, random: new Random(1) });
const [ann, bob] = [person("ann"), person("bob")];

function item(room: string, term: number, offset: number): Item {
  const id = `${room}.${term}.${offset}`;
  return { id, offset, term, event: "message", sender: "ann", key: id, body: "", count: offset, atMs: offset };
}

function shown(who: Person, what: Item, atMs: number): void {
  for (const listener of ledger.listeners) listener(who, what, atMs);
}

test("A percentile is a value that was measured, and the largest of few.", () => {
  const values = Array.from({ length: 200 }, (_, at) => at + 1);
  assert.equal(percentile(values, 0.5), 100);
  assert.equal(percentile(values, 0.99), 198);
  assert.equal(percentile([7, 3], 0.99), 7);
  assert.ok(Number.isNaN(percentile([], 0.5)));
  assert.equal(figure([1, 2.4]), "2 times, p50 1 ms, p99 2 ms, max 2 ms");
});

test("A pause of a move is from the last entry of one owner to the first of the next, for each listener.", () => {
  const meter = new PauseMeter(ledger, (who) => who === ann);
  shown(ann, item("a", 1, 1), 1_000);
  shown(bob, item("a", 1, 1), 1_000);
  shown(ann, item("a", 1, 2), 1_040);
  shown(ann, item("b", 4, 9), 1_050);
  shown(ann, item("a", 2, 3), 1_290);
  shown(bob, item("a", 2, 3), 9_000);
  assert.ok(meter.since(1_049));
  assert.ok(!meter.since(1_051));
  shown(ann, item("a", 2, 4), 1_300);
  shown(ann, item("b", 4, 10), 1_060);
  assert.deepEqual(meter.stop(), { moved: [250], quiet: [40, 10] });
  assert.equal(ledger.listeners.size, 0);
});

test("A takeover is over when somebody elsewhere is shown an entry of a higher term.", () => {
  const meter = new TakeoverMeter(
    ledger,
    new Map([
      ["a", 3],
      ["b", 3],
    ]),
    (who) => who === bob,
  );
  const sinceMs = performance.now();
  shown(bob, item("a", 3, 1), sinceMs + 10);
  shown(ann, item("a", 4, 2), sinceMs + 20);
  assert.deepEqual(meter.waiting, ["a", "b"]);
  shown(bob, item("a", 4, 2), sinceMs + 3_000);
  shown(bob, item("a", 4, 3), sinceMs + 4_000);
  assert.deepEqual(meter.waiting, ["b"]);
  const [took, ...more] = meter.stop();
  assert.ok(took !== undefined && took >= 3_000 && took < 3_100);
  assert.deepEqual(more, []);
});
