/** Conformance of an archive: derived writes, rooms and members. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  archiveTest,
  HARD_USERS,
  PREFIX_ROOMS,
  sampleEntry,
  sampleLog,
  sampleMember,
  sampleRoom,
} from "./archive.conformance.samples.ts";
import type { Archive, DerivedWrite, KeyPage } from "./archive.ts";
import type { Fate } from "./entry.ts";

type Open = () => Promise<Archive>;

/** Every page of a list, walked by keys. */
async function walk<T>(read: (page: KeyPage) => Promise<T[]>, keyOf: (item: T) => string, limit: number): Promise<T[]> {
  const found: T[] = [];
  for (let page: KeyPage = { limit }; ; ) {
    const items = await read(page);
    assert.ok(items.length <= limit, "a page holds no more than its limit");
    found.push(...items);
    const last = items.at(-1);
    if (!last || items.length < limit) return found;
    page = { after: keyOf(last), limit };
  }
}

async function fateAt(archive: Archive, room: string, offset: number): Promise<Fate | undefined> {
  const [found] = await archive.page(room, { after: offset - 1, limit: 1, end: "first" });
  return found?.fate;
}

/** Writes that follow their entries. */
export function deriving(open: Open): void {
  archiveTest(open, "applies a derived write only over a lower rev", async (archive) => {
    const admin = sampleMember("a", "u", { role: "admin", rev: 5 });
    await archive.derive([{ kind: "member", member: admin }]);
    await archive.derive([{ kind: "member", member: sampleMember("a", "u", { rev: 4 }) }]);
    await archive.derive([{ kind: "member", member: sampleMember("a", "u", { rev: 5, name: "other" }) }]);
    assert.deepEqual(await archive.member("a", "u"), admin);
    const gone = sampleMember("a", "u", { role: "none", rev: 6 });
    await archive.derive([{ kind: "member", member: gone }]);
    assert.deepEqual(await archive.member("a", "u"), gone);

    await archive.createRoom(sampleRoom("a", { rev: 2 }));
    const renamed = sampleRoom("a", { name: "New", rev: 3 });
    await archive.derive([{ kind: "room", room: renamed }]);
    await archive.derive([{ kind: "room", room: sampleRoom("a", { name: "Old", rev: 2 }) }]);
    assert.deepEqual(await archive.room("a"), renamed);
    const deleted = sampleRoom("a", { name: "New", rev: 4, deletedAt: 1_700_000_000_005 });
    await archive.derive([{ kind: "room", room: deleted }]);
    assert.deepEqual(await archive.room("a"), deleted);
  });

  archiveTest(open, "shows what became of an entry beside it, every field of it", async (archive) => {
    await archive.insert([...sampleLog("a", 1, 4), sampleEntry("a-b", 2)]);
    const edited: Fate = {
      rev: 5,
      editedAt: 1_700_000_000_001,
      body: Uint8Array.of(0, 255, 10),
      contentType: "",
      text: false,
    };
    const deleted: Fate = { rev: 6, deletedAt: 1_700_000_000_002 };
    const liked: Fate = { rev: 7, reactions: { "👍": ["u", "a/b"], ["__proto__"]: ["c"], "": [" "] } };
    await archive.derive([
      { kind: "fate", roomId: "a", offset: 2, fate: edited },
      { kind: "fate", roomId: "a", offset: 3, fate: deleted },
      { kind: "fate", roomId: "a", offset: 4, fate: liked },
    ]);
    const found = await fateAt(archive, "a", 2);
    assert.deepEqual({ ...found, body: [...(found?.body ?? [])] }, { ...edited, body: [0, 255, 10] });
    assert.deepEqual(await fateAt(archive, "a", 3), deleted);
    assert.deepEqual(await fateAt(archive, "a", 4), liked);
    assert.equal(await fateAt(archive, "a", 1), undefined);
    assert.equal(await fateAt(archive, "a-b", 2), undefined);
    await archive.derive([{ kind: "fate", roomId: "a", offset: 3, fate: { rev: 5, editedAt: 1 } }]);
    assert.deepEqual(await fateAt(archive, "a", 3), deleted);
    assert.equal((await archive.head("a"))?.offset, 4);
  });
}

/** Derived writes in any order. */
export function converging(open: Open): void {
  archiveTest(
    open,
    "ends at the highest rev whatever the order, grouping and repetition of the writes",
    async (archive) => {
      let round = 0;
      const write = fc.record({ target: fc.nat(2), rev: fc.integer({ min: 1, max: 9 }), repeat: fc.boolean() });
      const groups = fc.array(fc.array(write, { maxLength: 5 }), { minLength: 1, maxLength: 5 });
      await fc.assert(
        fc.asyncProperty(groups, fc.boolean(), async (given, atOnce) => {
          const room = `r${round++}`;
          await archive.insert(sampleLog(room, 1, 3));
          const user = (target: number): string => `u${target}`;
          const expand = ({
            target,
            rev,
            repeat,
          }: {
            target: number;
            rev: number;
            repeat: boolean;
          }): DerivedWrite[] => {
            const fate: Fate = { rev, editedAt: rev, body: Buffer.from(`${target} ${rev}`) };
            const member = sampleMember(room, user(target), {
              rev,
              role: rev % 2 === 0 ? "none" : "member",
              name: `n${rev}`,
            });
            const writes: DerivedWrite[] = [
              { kind: "fate", roomId: room, offset: target + 1, fate },
              { kind: "member", member },
            ];
            return repeat ? [...writes, ...writes] : writes;
          };
          const calls = given.map((group) => group.flatMap(expand));
          if (atOnce) await Promise.all(calls.map((writes) => archive.derive(writes)));
          else for (const writes of calls) await archive.derive(writes);
          const all = given.flat();
          for (const target of [0, 1, 2]) {
            const rev = Math.max(0, ...all.filter((w) => w.target === target).map((w) => w.rev));
            const fate = await fateAt(archive, room, target + 1);
            assert.equal(fate?.rev ?? 0, rev);
            if (rev > 0) assert.equal(Buffer.from(fate?.body ?? []).toString(), `${target} ${rev}`);
            assert.equal((await archive.member(room, user(target)))?.name, rev > 0 ? `n${rev}` : undefined);
          }
          const present = (await archive.members(room, { limit: 10 })).map((member) => member.rev);
          assert.ok(
            present.every((rev) => rev % 2 === 1),
            "no tombstone is listed",
          );
        }),
        { numRuns: 50 },
      );
    },
  );
}

/** Creating rooms and reading their records. */
export function rooms(open: Open): void {
  archiveTest(
    open,
    "creates a room once, and answers the room that stands there to every other call",
    async (archive) => {
      const calls = Array.from({ length: 20 }, (_, i) => archive.createRoom(sampleRoom("general", { name: `N${i}` })));
      const answers = await Promise.all(calls);
      assert.equal(answers.filter((answer) => answer.created).length, 1);
      const winner = answers.find((answer) => answer.created)?.room;
      for (const answer of answers) assert.deepEqual(answer.room, winner);
      assert.deepEqual(await archive.room("general"), winner);
      assert.equal(await archive.room("genera"), undefined);
    },
  );

  archiveTest(open, "makes one direct room of a pair, however many calls at once", async (archive) => {
    const direct = (id: string, pair: [string, string]): Parameters<Archive["createRoom"]>[0] =>
      sampleRoom(id, { type: "direct", pair });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => archive.createRoom(direct(`d-${i}`, ["a b", "c"]))),
    );
    assert.equal(answers.filter((answer) => answer.created).length, 1);
    const winner = answers.find((answer) => answer.created)?.room;
    for (const answer of answers) assert.deepEqual(answer.room, winner);
    for (let i = 0; i < 20; i++)
      assert.deepEqual(await archive.room(`d-${i}`), winner?.id === `d-${i}` ? winner : undefined);
    // Pairs whose texts run together the same way are different pairs.
    assert.equal((await archive.createRoom(direct("e-1", ["a", "b c"]))).created, true);
    assert.equal((await archive.createRoom(direct("e-2", ["a b c", ""]))).created, true);
    const long: [string, string] = ["😀".repeat(32), "😀".repeat(31)];
    assert.equal((await archive.createRoom(direct("e-3", long))).created, true);
    assert.equal((await archive.createRoom(direct("e-4", long))).room.id, "e-3");
  });

  archiveTest(open, "lists public rooms by id, private, direct and deleted ones left out", async (archive) => {
    const ids = ["a", "a-", "a-b", "a0", "ab", "b", "c", "d", "e", "z".repeat(64)];
    for (const id of ids.toReversed()) await archive.createRoom(sampleRoom(id));
    await archive.createRoom(sampleRoom("aa", { type: "private" }));
    await archive.createRoom(sampleRoom("ac", { type: "direct", pair: ["x", "y"] }));
    await archive.derive([
      { kind: "room", room: sampleRoom("c", { rev: 1, deletedAt: 1 }) },
      { kind: "room", room: sampleRoom("d", { rev: 1, type: "private" }) },
    ]);
    const expected = ids.filter((id) => id !== "c" && id !== "d");
    for (const limit of [1, 3, 100]) {
      const found = await walk(
        (page) => archive.publicRooms(page),
        (room) => room.id,
        limit,
      );
      assert.deepEqual(
        found.map((room) => room.id),
        expected,
      );
    }
    assert.deepEqual(await archive.publicRooms({ after: "zzz", limit: 5 }).then((found) => found.length), 1);
  });
}

/** Lists of members and of a user's rooms. */
export function membersAndRooms(open: Open): void {
  archiveTest(open, "pages the members of a room by user id, tombstones left out, no other room's", async (archive) => {
    const writes = PREFIX_ROOMS.flatMap((room) =>
      HARD_USERS.toReversed().map((user): DerivedWrite => ({ kind: "member", member: sampleMember(room, user) })),
    );
    await archive.derive(writes);
    await archive.derive([{ kind: "member", member: sampleMember("a-b", "ab", { role: "none", rev: 2 }) }]);
    for (const room of PREFIX_ROOMS) {
      const expected = HARD_USERS.filter((user) => room !== "a-b" || user !== "ab");
      for (const limit of [1, 5, 100]) {
        const found = await walk(
          (page) => archive.members(room, page),
          (member) => member.user,
          limit,
        );
        assert.deepEqual(
          found,
          expected.map((user) => sampleMember(room, user)),
        );
      }
    }
    assert.deepEqual(await archive.members("nowhere", { limit: 5 }), []);
    for (const user of HARD_USERS) assert.deepEqual(await archive.member("a", user), sampleMember("a", user));
    assert.equal((await archive.member("a-b", "ab"))?.role, "none");
    assert.equal(await archive.member("a", "nobody"), undefined);
  });

  archiveTest(open, "pages the rooms of a user by room id, left and deleted ones left out", async (archive) => {
    for (const room of [...PREFIX_ROOMS, "left", "dead"]) await archive.createRoom(sampleRoom(room));
    await archive.derive(
      HARD_USERS.flatMap((user) =>
        [...PREFIX_ROOMS, "left", "dead", "unmade"].map(
          (room): DerivedWrite => ({ kind: "member", member: sampleMember(room, user) }),
        ),
      ),
    );
    await archive.derive([
      ...HARD_USERS.map(
        (user): DerivedWrite => ({ kind: "member", member: sampleMember("left", user, { role: "none", rev: 2 }) }),
      ),
      { kind: "room", room: sampleRoom("dead", { rev: 1, deletedAt: 1 }) },
    ]);
    for (const user of HARD_USERS) {
      for (const limit of [1, 4, 100]) {
        const found = await walk(
          (page) => archive.roomsOf(user, page),
          (room) => room.id,
          limit,
        );
        assert.deepEqual(
          found.map((room) => room.id),
          PREFIX_ROOMS,
          `rooms of ${JSON.stringify(user)}`,
        );
      }
    }
    assert.deepEqual(await archive.roomsOf("nobody", { limit: 5 }), []);
    const back = sampleMember("left", "a", { rev: 3 });
    await archive.derive([{ kind: "member", member: back }]);
    assert.ok((await archive.roomsOf("a", { limit: 100 })).some((room) => room.id === "left"));
  });
}
