/** Conformance of an archive: inserting into logs and reading them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  anyEntry,
  archiveTest,
  assertSameEntries,
  assertSameEntry,
  HARD_USERS,
  offsets,
  PREFIX_ROOMS,
  sampleEntry,
  sampleLog,
} from "./archive.conformance.samples.ts";
import type { Archive, InsertOutcome, PageQuery } from "./archive.ts";
import type { Entry } from "./entry.ts";

type Open = () => Promise<Archive>;

const ALL: PageQuery = { limit: 10_000, end: "first" };

/** Inserts: order, conflicts, concurrency. */
export function inserting(open: Open): void {
  archiveTest(open, "inserts a batch over several rooms and says how many", async (archive) => {
    const batch = [sampleEntry("a", 1), sampleEntry("b", 1), sampleEntry("a", 2), sampleEntry("c", 1)];
    assert.deepEqual(await archive.insert(batch), { stored: 4, conflict: false });
    assert.deepEqual(await archive.insert([]), { stored: 0, conflict: false });
    assert.deepEqual(await offsets(archive, "a", ALL), [1, 2]);
  });

  archiveTest(open, "stops at the first place taken, writes nothing after it and counts exactly", async (archive) => {
    await archive.insert([sampleEntry("a", 3, { sender: "first" })]);
    const batch = [...sampleLog("a", 1, 5), sampleEntry("b", 1)];
    assert.deepEqual(await archive.insert(batch), { stored: 2, conflict: true });
    assert.deepEqual(await offsets(archive, "a", ALL), [1, 2, 3]);
    assert.equal((await archive.page("a", ALL))[2]?.entry.sender, "first");
    assert.equal(await archive.head("b"), undefined);
    assert.equal(await archive.byKey("a", "alice", "c/a-4"), undefined);
    assert.equal(await archive.byKey("a", "alice", "c/a-3"), undefined);
  });

  archiveTest(
    open,
    "says what stands at places, whichever rooms they are of, and nothing of free ones",
    async (archive) => {
      await archive.insert([...sampleLog("a", 1, 600), sampleEntry("b", 3, { term: 7, key: "c/b" })]);
      assert.deepEqual(await archive.standing([]), []);
      const places = [...sampleLog("a", 590, 620), sampleEntry("b", 2), sampleEntry("b", 3), sampleEntry("c", 1)];
      const standing = [...(await archive.standing(places))].sort((x, y) => x.offset - y.offset);
      const expected = sampleLog("a", 590, 600).map(({ room, offset, term, key }) => ({ room, offset, term, key }));
      assert.deepEqual(standing, [{ room: "b", offset: 3, term: 7, key: "c/b" }, ...expected]);
    },
  );

  archiveTest(open, "stops at a place that the batch itself has taken", async (archive) => {
    const batch = [sampleEntry("a", 1), sampleEntry("a", 1, { sender: "second" }), sampleEntry("a", 2)];
    assert.deepEqual(await archive.insert(batch), { stored: 1, conflict: true });
    assert.equal((await archive.page("a", ALL))[0]?.entry.sender, "alice");
    assert.deepEqual(await offsets(archive, "a", ALL), [1]);
  });

  archiveTest(open, "lets the first of many concurrent entries of one place win, and no other", async (archive) => {
    const tries = Array.from({ length: 20 }, (_, i) => [
      sampleEntry("a", 1, { term: i + 1, key: `c/${i}` }),
      sampleEntry("a", 2, { term: i + 1, prevTerm: i + 1, key: `c/${i}-2` }),
    ]);
    const outcomes = await Promise.all(tries.map((entries) => archive.insert(entries)));
    const winners = outcomes.flatMap((outcome, i) => (outcome.conflict ? [] : [i]));
    assert.equal(winners.length, 1);
    assert.equal(outcomes.filter((outcome) => outcome.conflict && outcome.stored === 0).length, 19);
    const log = (await archive.page("a", ALL)).map(({ entry }) => entry);
    assertSameEntries(log, tries[winners[0] as number] ?? []);
  });

  archiveTest(open, "answers exactly what it did for any batches, one after another or at once", async (archive) => {
    let round = 0;
    const place = fc.tuple(fc.constantFrom("x", "y"), fc.integer({ min: 1, max: 6 }));
    const batches = fc.array(fc.array(place, { maxLength: 6 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(batches, fc.boolean(), async (given, atOnce) => {
        const run = round++;
        let count = 0;
        const calls = given.map((batch) => batch.map(([r, at]) => sampleEntry(`${r}${run}`, at, { count: ++count })));
        const outcomes: InsertOutcome[] = [];
        if (atOnce) outcomes.push(...(await Promise.all(calls.map((entries) => archive.insert(entries)))));
        else for (const entries of calls) outcomes.push(await archive.insert(entries));
        const kept: Entry[] = [];
        for (const [i, entries] of calls.entries()) {
          const { stored, conflict } = outcomes[i] as InsertOutcome;
          assert.equal(conflict, stored < entries.length, "it stops only at a conflict");
          kept.push(...entries.slice(0, stored));
        }
        const standing = [...(await archive.page(`x${run}`, ALL)), ...(await archive.page(`y${run}`, ALL))];
        const byCount = (a: Entry, b: Entry): number => a.count - b.count;
        assertSameEntries(standing.map(({ entry }) => entry).sort(byCount), kept.sort(byCount));
        assertStops(calls, outcomes, atOnce);
      }),
      { numRuns: 60 },
    );
  });
}

/** Asserts that each stop was at a place taken: by anybody at last, and by an earlier entry when calls took turns. */
function assertStops(calls: Entry[][], outcomes: InsertOutcome[], atOnce: boolean): void {
  const placeOf = (entry: Entry): string => `${entry.room}.${entry.offset}`;
  const takenAtLast = new Set(calls.flatMap((entries, i) => entries.slice(0, outcomes[i]?.stored).map(placeOf)));
  const takenBefore = new Set<string>();
  for (const [i, entries] of calls.entries()) {
    const stored = outcomes[i]?.stored ?? 0;
    for (const entry of entries.slice(0, stored)) takenBefore.add(placeOf(entry));
    const stop = entries[stored];
    if (stop) assert.ok((atOnce ? takenAtLast : takenBefore).has(placeOf(stop)), "the place it stopped at is taken");
  }
}

/** What is read is what was written. */
export function roundTrip(open: Open): void {
  archiveTest(open, "gives any entry back byte for byte", async (archive) => {
    let offset = 0;
    await fc.assert(
      fc.asyncProperty(anyEntry("a", 1), async (drawn) => {
        const entry = { ...drawn, offset: ++offset };
        assert.deepEqual(await archive.insert([entry]), { stored: 1, conflict: false });
        assertSameEntry((await archive.page("a", { limit: 1, end: "last" }))[0]?.entry, entry);
        assertSameEntry(await archive.byKey("a", entry.sender, entry.key), entry);
        const { term, at, count } = entry;
        assert.deepEqual(await archive.head("a"), { offset, term, at, count });
      }),
      { numRuns: 150 },
    );
  });

  archiveTest(open, "gives empty bodies, bodies of 1 MiB and every byte back", async (archive) => {
    const every = Uint8Array.from({ length: 256 }, (_, i) => i);
    const large = Uint8Array.from({ length: 1_048_576 }, (_, i) => (i * 31) >>> 3);
    const entries = [new Uint8Array(0), every, large].map((body, i) =>
      sampleEntry("a", i + 1, { body, text: false, contentType: "", headers: ["x-kind", "", "ü", "\u0000: \\ 😀"] }),
    );
    await archive.insert(entries);
    const log = await archive.page("a", ALL);
    assert.equal(log.length, 3);
    for (const [i, entry] of entries.entries()) assertSameEntry(log[i]?.entry, entry);
  });

  archiveTest(open, "gives bodies that later reads and writes leave alone", async (archive) => {
    await archive.insert(sampleLog("a", 1, 60));
    const held = await archive.page("a", { limit: 60, end: "first" });
    const one = await archive.byKey("a", "alice", "c/a-7");
    await archive.insert(sampleLog("a", 61, 400));
    await archive.page("a", { after: 60, limit: 300, end: "first" });
    await archive.byKey("a", "alice", "c/a-399");
    for (const { entry } of held) assertSameEntry(entry, sampleEntry("a", entry.offset));
    assertSameEntry(one, sampleEntry("a", 7));
  });

  archiveTest(open, "takes any user id as sender and client keys far longer than an index row", async (archive) => {
    const senders = HARD_USERS.map((sender, i) => sampleEntry("a", i + 1, { sender, key: "c/same" }));
    await archive.insert(senders);
    for (const entry of senders) assertSameEntry(await archive.byKey("a", entry.sender, "c/same"), entry);
    const long = ["1", "2"].map((end, i) => sampleEntry("b", i + 1, { key: `c/${"é".repeat(4000)}${end}` }));
    await archive.insert(long);
    for (const entry of long) assertSameEntry(await archive.byKey("b", "alice", entry.key), entry);
  });
}

/** Heads and pages. */
export function reading(open: Open): void {
  archiveTest(open, "keeps rooms apart whose ids are prefixes of each other", async (archive) => {
    await archive.insert(PREFIX_ROOMS.flatMap((room, i) => sampleLog(room, 1, i + 2)));
    for (const [i, room] of PREFIX_ROOMS.entries()) {
      for (const end of ["first", "last"] as const) {
        const log = await archive.page(room, { limit: 100, end });
        assert.deepEqual(
          log.map(({ entry }) => `${entry.room} ${entry.offset}`),
          range(1, i + 2).map((o) => `${room} ${o}`),
        );
      }
      assert.equal((await archive.head(room))?.offset, i + 2);
      assert.equal(await archive.offsetAt(room, 9e15), i + 3);
      assert.equal(
        await archive.byKey(room, "alice", "c/b-1").then((entry) => entry?.room),
        room === "b" ? "b" : undefined,
      );
    }
  });

  archiveTest(open, "answers nothing for a room without entries", async (archive) => {
    await archive.insert(sampleLog("b", 1, 3));
    for (const room of ["a", "c"]) {
      assert.equal(await archive.head(room), undefined);
      assert.deepEqual(await archive.page(room, ALL), []);
      assert.equal(await archive.offsetAt(room, 0), 1);
      assert.equal(await archive.byKey(room, "alice", "c/b-1"), undefined);
    }
  });

  archiveTest(open, "pages any part of a log from either end, always rising", async (archive) => {
    const last = 300;
    await archive.insert(sampleLog("a", 1, last));
    const bound = fc.option(fc.integer({ min: 0, max: last + 5 }), { nil: undefined });
    const end = fc.constantFrom("first" as const, "last" as const);
    await fc.assert(
      fc.asyncProperty(bound, bound, fc.integer({ min: 1, max: 320 }), end, async (after, before, limit, from) => {
        const inRange = range(1, last).filter((o) => o > (after ?? 0) && o < (before ?? Infinity));
        const expected = from === "first" ? inRange.slice(0, limit) : inRange.slice(-limit);
        const query = {
          ...(after !== undefined && { after }),
          ...(before !== undefined && { before }),
          limit,
          end: from,
        };
        assert.deepEqual(await offsets(archive, "a", query), expected);
      }),
      { numRuns: 150 },
    );
    assert.deepEqual(await offsets(archive, "a", { limit: 0, end: "last" }), []);
  });

  archiveTest(open, "keeps offsets in order past every width of a number", async (archive) => {
    const places = [1, 255, 256, 65_535, 65_536, 16_777_216, 2 ** 32 - 1, 2 ** 32, 2 ** 40];
    for (const offset of places.toReversed()) await archive.insert([sampleEntry("a", offset)]);
    assert.deepEqual(await offsets(archive, "a", ALL), places);
    assert.equal((await archive.head("a"))?.offset, 2 ** 40);
  });
}

/** Searches by key and time, and what reads see. */
export function finding(open: Open): void {
  archiveTest(
    open,
    "finds an entry by room, sender and key, the last one when a key was used again",
    async (archive) => {
      const again = sampleEntry("a", 3, { key: "c/one" });
      const edge = sampleEntry("a", 4, { key: "e/node-1-17" });
      await archive.insert([
        sampleEntry("a", 1, { key: "c/one" }),
        sampleEntry("a", 2, { sender: "bob", key: "c/one" }),
      ]);
      await archive.insert([again, edge]);
      assertSameEntry(await archive.byKey("a", "alice", "c/one"), again);
      assert.equal((await archive.byKey("a", "bob", "c/one"))?.offset, 2);
      assertSameEntry(await archive.byKey("a", "alice", "e/node-1-17"), edge);
      for (const key of ["c/", "c/on", "c/one ", "e/one", "e/node-1-1", ""])
        assert.equal(await archive.byKey("a", "alice", key), undefined);
    },
  );

  archiveTest(open, "finds the lowest offset at or after a time", async (archive) => {
    const times = [10, 20, 20, 20, 35, 35, 90];
    await archive.insert(times.map((at, i) => sampleEntry("a", i + 1, { at })));
    for (const atMs of [0, 9, 10, 11, 20, 21, 34, 35, 36, 90, 91, 1e12]) {
      const index = times.findIndex((at) => at >= atMs);
      assert.equal(await archive.offsetAt("a", atMs), index < 0 ? times.length + 1 : index + 1, `at ${atMs}`);
    }
  });

  archiveTest(open, "shows every resolved write to every read after it", async (archive) => {
    for (let offset = 1; offset <= 40; offset++) {
      await archive.insert([sampleEntry("a", offset)]);
      assert.equal((await archive.head("a"))?.offset, offset);
      assert.equal((await archive.byKey("a", "alice", `c/a-${offset}`))?.offset, offset);
      assert.equal((await archive.page("a", { limit: 1, end: "last" }))[0]?.entry.offset, offset);
    }
  });
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
