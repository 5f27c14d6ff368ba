/** What every bus backend must pass: the guarantees of `bus.ts` and of rule 2 of the protocol, as tests. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertSameEntries } from "./archive.conformance.samples.ts";
import { nodes } from "./bus.conformance.nodes.ts";
import { type BusUnderTest, type Check, packOf, ROOM, type Scene, wire } from "./bus.conformance.wire.ts";
import type { Bus, Pack } from "./bus.ts";
import { type Entry, entryBytes, type Position, shardOf } from "./entry.ts";
import { LIMITS, type Limits } from "./limits.ts";

/** Opens an empty hub; the limits decide how much is kept for replay. */
export type OpenBus = (limits: Limits) => Promise<BusUnderTest>;

/** Registers the suite for one backend. `name` heads its titles. */
export function busConformance(name: string, open: OpenBus): void {
  const check: Check = (title, body, limits = {}) => {
    test(title, async () => {
      const hub = await open({ ...LIMITS, ...limits });
      try {
        const bus = await hub.connect();
        const shard = shardOf(ROOM, hub.shards);
        const others = Array.from({ length: 1_000 }, (_, at) => `r${at}`);
        const inShard = (want: boolean): string =>
          others.find((room) => (shardOf(room, hub.shards) === shard) === want) as string;
        const lock = await hub.lock(shard);
        const take: Scene["take"] = (term, over = {}) =>
          bus.take(shard, { lock, term, node: "n1", lossy: false, ...over });
        await take(1);
        await body({ hub, bus, shard, sibling: inShard(true), stranger: inShard(false), take });
      } finally {
        await hub.close();
      }
    });
  };
  describe(`The ${name} bus`, () => {
    fencing(check);
    looking(check);
    appending(check);
    reading(check);
    trimming(check);
    sleeping(check);
    clearing(check);
    wire(check);
    nodes(check);
  });
}

const OPENING = { opening: true } as const;

async function offsetsOf(bus: Bus, room: string): Promise<number[]> {
  return (await bus.log(room, 0, 10_000)).map((entry) => entry.offset);
}

const headOf = async (bus: Bus, shard: number, room: string): Promise<Position | undefined> =>
  (await bus.heads(shard)).get(room);

function fencing(check: Check): void {
  check("gives a shard to a higher term and says which one was before.", async ({ take }) => {
    assert.equal((await take(2))?.previous, 1);
    assert.equal((await take(5))?.previous, 2);
  });

  check("refuses a term that is in force or below it.", async ({ take, bus, shard }) => {
    await take(3);
    assert.equal(await take(3), undefined);
    assert.equal(await take(2), undefined);
    assert.equal(await bus.append(shard, 3, [packOf(ROOM, 1, 1, { ...OPENING, term: 3 })]), "ok");
  });

  check("remembers the first term whose predecessor did not end in order.", async ({ take }) => {
    assert.notEqual((await take(2))?.lossy, 2);
    assert.equal((await take(5))?.lossy, 5);
    assert.equal((await take(6))?.lossy, 5, "an orderly change keeps what was known");
  });

  check("marks a term as lossy when the taker has proof of a loss.", async ({ take }) => {
    assert.deepEqual(await take(2, { lossy: true }), { previous: 1, lossy: 2 });
    assert.deepEqual(await take(3), { previous: 2, lossy: 2 });
    assert.equal(await take(3, { lossy: true }), undefined);
    assert.deepEqual(await take(4), { previous: 3, lossy: 2 }, "a refused taker leaves no mark");
  });

  check("keeps what was logged over a change of the term.", async ({ take, bus, shard }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING)]);
    await take(2);
    assert.deepEqual(await headOf(bus, shard, ROOM), { offset: 2, term: 1 });
    assert.deepEqual(await bus.dirty(shard), [ROOM]);
    assert.equal(await bus.append(shard, 2, [packOf(ROOM, 3, 3, { term: 2, prevTerm: 1 })]), "ok");
  });
}

function looking(check: Check): void {
  check("tells the terms in force, and 0 where there is none.", async ({ bus, shard, stranger, hub, take }) => {
    const other = shardOf(stranger, hub.shards);
    assert.deepEqual(await bus.terms([other, shard, shard]), [0, 1, 1]);
    await take(4);
    assert.deepEqual(await (await hub.connect()).terms([shard, other]), [4, 0], "every node sees the same");
    assert.deepEqual(await bus.terms([]), []);
  });

  check("tells whom shards were last taken by.", async ({ bus, shard, stranger, hub, take }) => {
    const other = shardOf(stranger, hub.shards);
    assert.deepEqual(await bus.owners([other, shard]), [undefined, { node: "n1", term: 1 }]);
    await take(3, { node: "näme 2" });
    await take(2, { node: "n3" });
    assert.deepEqual(await (await hub.connect()).owners([shard]), [{ node: "näme 2", term: 3 }]);
    assert.deepEqual(await bus.owners([]), []);
  });

  check("shows the heads of some rooms.", async ({ bus, shard, sibling }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING), packOf(sibling, 1, 1, OPENING)]);
    const heads = await bus.headsOf(shard, ["nowhere", ROOM]);
    assert.deepEqual([...heads], [[ROOM, { offset: 2, term: 1 }]]);
    assert.equal((await bus.headsOf(shard, [])).size, 0);
  });
}

function appending(check: Check): void {
  check("answers ok and has the entries, byte for byte.", async ({ bus, shard, sibling }) => {
    const packs = [packOf(ROOM, 1, 3, OPENING), packOf(sibling, 1, 1, OPENING)];
    assert.equal(await bus.append(shard, 1, packs), "ok");
    assertSameEntries(await bus.log(ROOM, 0, 10), (packs[0] as Pack).entries);
    assert.deepEqual(await headOf(bus, shard, ROOM), { offset: 3, term: 1 });
    assert.deepEqual([...(await bus.dirty(shard))].sort(), [ROOM, sibling].sort());
  });

  check("answers already to a repeated append and writes nothing twice.", async ({ bus, shard, sibling }) => {
    const packs = [packOf(ROOM, 1, 2, OPENING), packOf(sibling, 1, 1, OPENING)];
    await bus.append(shard, 1, packs);
    assert.equal(await bus.append(shard, 1, packs), "already");
    await bus.append(shard, 1, [packOf(ROOM, 3, 4)]);
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING)]), "already", "also when the head is past it");
    assert.deepEqual(await offsetsOf(bus, ROOM), [1, 2, 3, 4]);
  });

  check("answers stale under a lower term and writes nothing.", async ({ bus, shard, take }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 1, OPENING)]);
    await take(2);
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 2, 2)]), "stale");
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 1, 1, OPENING)]), "stale", "a repeated one too");
    assert.deepEqual(await offsetsOf(bus, ROOM), [1]);
  });

  check("answers lost where the term is missing or below the writer's.", async ({ bus, shard, hub, stranger }) => {
    assert.equal(await bus.append(shard, 2, [packOf(ROOM, 1, 1, { ...OPENING, term: 2 })]), "lost");
    const never = shardOf(stranger, hub.shards);
    assert.equal(await bus.append(never, 1, [packOf(stranger, 1, 1, OPENING)]), "lost");
    assert.deepEqual(await offsetsOf(bus, ROOM), []);
    assert.deepEqual(await offsetsOf(bus, stranger), []);
  });

  check("takes an absent head only from the first pack after an opening.", async ({ bus, shard }) => {
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 1, 1)]), "lost");
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 8, 9, { ...OPENING, prevTerm: 1 })]), "ok");
    assert.deepEqual(await offsetsOf(bus, ROOM), [8, 9]);
  });

  check("answers lost where the head is not the entry before the first.", async ({ bus, shard }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING)]);
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 4, 4)]), "lost", "a gap");
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 2, 3)]), "lost", "an overlap");
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 3, 3, { prevTerm: 7 })]), "lost", "another term before it");
    assert.equal(
      await bus.append(shard, 1, [packOf(ROOM, 4, 4, OPENING)]),
      "lost",
      "an opening forgives only an absent head",
    );
    assert.deepEqual(await offsetsOf(bus, ROOM), [1, 2]);
  });

  check("does not take the head of an older term for its own.", async ({ bus, shard, take }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 3, OPENING)]);
    await take(2);
    const mine = packOf(ROOM, 2, 2, { term: 2, prevTerm: 1 });
    assert.equal(await bus.append(shard, 2, [mine]), "lost");
  });

  check("appends all packs or none.", async ({ bus, shard, sibling }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 1, OPENING)]);
    for (const bad of [packOf(sibling, 1, 1), packOf(sibling, 5, 5)]) {
      assert.equal(await bus.append(shard, 1, [packOf(ROOM, 2, 2), bad]), "lost");
      assert.equal(await bus.append(shard, 1, [bad, packOf(ROOM, 2, 2)]), "lost");
    }
    assert.deepEqual(await offsetsOf(bus, ROOM), [1]);
    assert.equal(await headOf(bus, shard, sibling), undefined);
  });
}

function reading(check: Check): void {
  check("reads a part of a log, rising, and nothing of a room that is not there.", async ({ bus, shard }) => {
    await bus.append(shard, 1, [packOf(ROOM, 5, 9, { ...OPENING, prevTerm: 1 })]);
    const read = async (after: number, limit: number): Promise<number[]> =>
      (await bus.log(ROOM, after, limit)).map((entry) => entry.offset);
    assert.deepEqual(await read(0, 2), [5, 6]);
    assert.deepEqual(await read(6, 2), [7, 8]);
    assert.deepEqual(await read(8, 10), [9]);
    assert.deepEqual(await read(9, 10), []);
    assert.deepEqual(await bus.log("nowhere", 0, 10), []);
  });

  check("ends what is read with the entry by which it has its bytes.", async ({ bus, shard }) => {
    const packs = Array.from({ length: 12 }, (_, i) => packOf(ROOM, i * 2 + 1, i * 2 + 2, i === 0 ? OPENING : {}));
    for (const pack of packs) assert.equal(await bus.append(shard, 1, [pack]), "ok");
    const all = packs.flatMap(({ entries }) => entries);
    const sizes = all.map(entryBytes);
    const upTo = (count: number): number => sizes.slice(0, count).reduce((sum, size) => sum + size, 0);
    const read = async (after: number, limit: number, bytes: number): Promise<number[]> =>
      (await bus.log(ROOM, after, limit, bytes)).map((entry) => entry.offset);
    assert.deepEqual(await read(0, 10, 1), [1]);
    assert.deepEqual(await read(3, 10, upTo(5) - upTo(3)), [4, 5]);
    for (const count of [5, 19, 20]) {
      assert.equal((await read(0, 100, upTo(count))).length, count);
      assert.equal((await read(0, 100, upTo(count) + 1)).length, count + 1);
    }
    assert.deepEqual(await read(20, 100, 1_000_000), [21, 22, 23, 24]);
    assert.deepEqual(await read(0, 2, 1_000_000), [1, 2]);
  });

  check("keeps rooms of different shards apart.", async ({ bus, shard, hub, stranger }) => {
    const other = shardOf(stranger, hub.shards);
    await bus.append(shard, 1, [packOf(ROOM, 1, 1, OPENING)]);
    await bus.take(other, { lock: await hub.lock(other), term: 1, node: "n1", lossy: false });
    await bus.append(other, 1, [packOf(stranger, 1, 2, OPENING)]);
    assert.deepEqual([...(await bus.heads(shard)).keys()], [ROOM]);
    assert.deepEqual(await bus.dirty(other), [stranger]);
  });

  check("shows every node the same log.", async ({ bus, shard, hub }) => {
    const second = await hub.connect();
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING)]);
    assert.deepEqual(await offsetsOf(second, ROOM), [1, 2]);
    assert.deepEqual(await headOf(second, shard, ROOM), { offset: 2, term: 1 });
  });
}

const KEEP_FOUR = { replayKeep: 4 } as const;

function trimming(check: Check): void {
  check("takes a room off the dirty ones only when its head is stored.", async ({ bus, shard }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 3, OPENING)]);
    assert.equal(await bus.stored(shard, 1, ROOM, { offset: 2, term: 1 }), true);
    assert.deepEqual(await bus.dirty(shard), [ROOM]);
    assert.equal(await bus.stored(shard, 1, ROOM, { offset: 3, term: 1 }), true);
    assert.deepEqual(await bus.dirty(shard), []);
  });

  check("does not take a stored entry of another term for the head.", async ({ bus, shard }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 3, OPENING)]);
    await bus.stored(shard, 1, ROOM, { offset: 3, term: 9 });
    assert.deepEqual(await bus.dirty(shard), [ROOM]);
  });

  check(
    "never trims what is not stored.",
    async ({ bus, shard }) => {
      for (let at = 1; at < 40; at += 2) {
        await bus.append(shard, 1, [packOf(ROOM, at, at + 1, { opening: at === 1 })]);
      }
      await bus.stored(shard, 1, ROOM, { offset: 10, term: 1 });
      const left = await offsetsOf(bus, ROOM);
      assert.deepEqual(
        left.slice(-30),
        Array.from({ length: 30 }, (_, i) => i + 11),
      );
    },
    KEEP_FOUR,
  );

  check(
    "keeps the last entries for replay and not many more.",
    async ({ bus, shard }) => {
      for (let at = 1; at <= 100; at += 2) {
        await bus.append(shard, 1, [packOf(ROOM, at, at + 1, { opening: at === 1 })]);
        await bus.stored(shard, 1, ROOM, { offset: at + 1, term: 1 });
        const left = await offsetsOf(bus, ROOM);
        assert.equal(left.at(-1), at + 1);
        assert.ok(left.length >= Math.min(4, at + 1) && left.length <= 10, `${left.length} are kept`);
      }
    },
    KEEP_FOUR,
  );

  check(
    "keeps fewer entries when they are large.",
    async ({ bus, shard }) => {
      const pack = packOf(ROOM, 1, 8, OPENING);
      const entries = pack.entries.map((entry): Entry => ({ ...entry, body: new Uint8Array(1_000) }));
      await bus.append(shard, 1, [{ ...pack, entries }]);
      await bus.stored(shard, 1, ROOM, { offset: 8, term: 1 });
      assert.ok((await offsetsOf(bus, ROOM)).length <= 3);
      assert.deepEqual(await headOf(bus, shard, ROOM), { offset: 8, term: 1 }, "the head stays");
    },
    { replayKeepBytes: 4_000 },
  );

  check("refuses a trim under another term and changes nothing.", async ({ bus, shard, take }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 3, OPENING)]);
    await take(2);
    assert.equal(await bus.stored(shard, 1, ROOM, { offset: 3, term: 1 }), false);
    assert.equal(await bus.stored(shard, 3, ROOM, { offset: 3, term: 1 }), false);
    assert.deepEqual(await bus.dirty(shard), [ROOM]);
  });

  check("takes a trim of a room that is not there as done.", async ({ bus, shard }) => {
    assert.equal(await bus.stored(shard, 1, "nowhere", { offset: 3, term: 1 }), true);
  });
}

function sleeping(check: Check): void {
  const stored = { offset: 2, term: 1 };

  check("puts a stored room away, and again without harm.", async ({ bus, shard }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING)]);
    await bus.stored(shard, 1, ROOM, stored);
    assert.equal(await bus.sleep(shard, 1, ROOM, stored), true);
    assert.equal(await bus.sleep(shard, 1, ROOM, stored), true);
    assert.equal(await headOf(bus, shard, ROOM), undefined);
    assert.deepEqual(await offsetsOf(bus, ROOM), []);
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 3, 3)]), "lost", "its head is absent now");
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 3, 3, OPENING)]), "ok");
  });

  check("does not put a room away that is not all stored.", async ({ bus, shard }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING)]);
    assert.equal(await bus.sleep(shard, 1, ROOM, stored), false);
    assert.deepEqual(await offsetsOf(bus, ROOM), [1, 2]);
  });

  check("does not put a room away whose head moved on, or under another term.", async ({ bus, shard, take }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 3, OPENING)]);
    await bus.stored(shard, 1, ROOM, { offset: 3, term: 1 });
    assert.equal(await bus.sleep(shard, 1, ROOM, stored), false, "a late copy names an older head");
    assert.equal(await bus.sleep(shard, 1, ROOM, { offset: 3, term: 9 }), false);
    await take(2);
    assert.equal(await bus.sleep(shard, 1, ROOM, { offset: 3, term: 1 }), false);
    assert.deepEqual(await offsetsOf(bus, ROOM), [1, 2, 3]);
  });
}

function clearing(check: Check): void {
  check("clears a room whether it is stored or not, and again without harm.", async ({ bus, shard, sibling }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING), packOf(sibling, 1, 1, OPENING)]);
    assert.equal(await bus.clear(shard, 1, ROOM, { offset: 2, term: 1 }), true);
    assert.equal(await bus.clear(shard, 1, ROOM, { offset: 2, term: 1 }), true);
    assert.equal(await headOf(bus, shard, ROOM), undefined);
    assert.deepEqual(await bus.dirty(shard), [sibling]);
    assert.deepEqual(await offsetsOf(bus, ROOM), []);
    assert.equal(await bus.append(shard, 1, [packOf(ROOM, 2, 2, OPENING)]), "ok", "a log may begin anew, lower");
    assert.deepEqual(await offsetsOf(bus, ROOM), [2]);
  });

  check("clears nothing under another term or another head.", async ({ bus, shard, take }) => {
    await bus.append(shard, 1, [packOf(ROOM, 1, 2, OPENING)]);
    assert.equal(await bus.clear(shard, 1, ROOM, { offset: 1, term: 1 }), false);
    assert.equal(await bus.clear(shard, 1, ROOM, { offset: 2, term: 9 }), false);
    await take(2);
    assert.equal(await bus.clear(shard, 1, ROOM, { offset: 2, term: 1 }), false);
    assert.deepEqual(await offsetsOf(bus, ROOM), [1, 2]);
    assert.deepEqual(await bus.dirty(shard), [ROOM]);
  });
}
