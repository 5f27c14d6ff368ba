import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assertSameEntry, sampleEntry } from "../actors/archive.conformance.samples.ts";
import type { Entry } from "../actors/entry.ts";
import { EntryPacker, unpackEntry } from "./archive.lmdb.codec.ts";
import { Generation } from "./archive.lmdb.overlay.ts";

/** Adds entries as one insert does. */
function add(generation: Generation, entries: readonly Entry[]): Buffer {
  const packer = new EntryPacker();
  const starts = entries.map((entry) => packer.packPlaced(entry));
  const packed = packer.copy();
  generation.add(entries, packed, starts);
  return packed;
}

/** Entries of two rooms, in any order; the keys of some are clients'. */
const entries = fc.array(
  fc.record({ room: fc.constantFrom("a", "b"), offset: fc.integer({ min: 1, max: 30 }), own: fc.boolean() }),
  { maxLength: 40 },
);

test("A generation answers as a list of its entries would, whichever way they came.", () => {
  fc.assert(
    fc.property(entries, fc.nat(40), fc.nat(40), fc.nat(10), (places, from, to, limit) => {
      const generation = new Generation();
      const all: Entry[] = [];
      for (const { room, offset, own } of places) {
        const entry = sampleEntry(room, offset, { key: own ? `c/${room}-${offset}` : `e/${offset}` });
        if (offset % 2 === 0) add(generation, [entry]);
        else generation.addRow(add(new Generation(), [entry]));
        if (!all.some((other) => other.room === room && other.offset === offset)) all.push(entry);
      }
      all.sort((a, b) => a.offset - b.offset);
      assert.equal(generation.entries, all.length);
      for (const room of ["a", "b", "none"]) {
        const log = all.filter((entry) => entry.room === room);
        assert.deepEqual(generation.last(room), log.at(-1));
        assert.equal(generation.lastOffset(room), log.at(-1)?.offset ?? 0);
        const part = log.filter(({ offset }) => offset >= from && offset < to);
        const range = { from, to, limit };
        assert.deepEqual(generation.range(room, { ...range, reverse: false }), part.slice(0, limit));
        assert.deepEqual(generation.range(room, { ...range, reverse: true }), part.reverse().slice(0, limit));
        const at = sampleEntry("a", Math.max(1, from)).at;
        assert.equal(generation.offsetAt(room, at), log.find((entry) => entry.at >= at)?.offset);
        for (const entry of log) {
          assert.ok(generation.has(room, entry.offset));
          assertSameEntry(generation.byKey(room, entry.sender, entry.key), entry);
          assert.equal(generation.byKey(room, entry.sender, `${entry.key}x`), undefined);
        }
      }
      const placed = [...generation.places()].map(({ room, offset, packed }) => unpackEntry(room, offset, packed));
      const order = (a: Entry, b: Entry): number => (a.room < b.room ? -1 : a.room > b.room ? 1 : a.offset - b.offset);
      assert.deepEqual(placed, [...all].sort(order));
      const named = [...generation.names()].map(({ room, offset }) => `${room}${offset}`).sort();
      const clients = all.filter(({ key }) => key.startsWith("c/"));
      assert.deepEqual(named, clients.map(({ room, offset }) => `${room}${offset}`).sort());
    }),
  );
});

test("A generation reads no more entries than bytes are asked for, from either end.", () => {
  const generation = new Generation();
  const log = [1, 2, 3, 4].map((offset) => sampleEntry("a", offset, { body: new Uint8Array(100_000) }));
  add(generation, log);
  const offsets = (reverse: boolean): number[] =>
    generation.range("a", { from: 1, to: 5, limit: 9, bytes: 150_000, reverse }).map(({ offset }) => offset);
  assert.deepEqual(offsets(false), [1, 2]);
  assert.deepEqual(offsets(true), [4, 3]);
  // Read once they are the same objects, as long as they are kept.
  assert.equal(generation.last("a"), generation.last("a"));
});

test("Of more keys of clients in a room than are sorted at once each is indexed once.", () => {
  const generation = new Generation();
  const count = 2 * 2_048 + 5;
  add(
    generation,
    Array.from({ length: count }, (_, i) => sampleEntry("a", i + 1)),
  );
  const offsets = [...generation.names()].map(({ offset }) => offset).sort((a, b) => a - b);
  assert.deepEqual(
    offsets,
    Array.from({ length: count }, (_, i) => i + 1),
  );
});

test("What an entry takes besides its bytes is counted, too, so that very many small ones are too much at last.", () => {
  const generation = new Generation();
  const packed = add(generation, [sampleEntry("a", 1), sampleEntry("a", 2)]);
  assert.ok(generation.bytes >= packed.length + 100);
});
