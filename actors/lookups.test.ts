import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import { MemoryArchive } from "./archive.memory.ts";
import type { Head, MarkerRecord, PageQuery } from "./archive.ts";
import type { RoomView } from "./chat.ts";
import { SimulatedClock } from "./clock.ts";
import { Refusal, StoreFailure } from "./codes.ts";
import { LOOKUP_MS, Lookups } from "./lookups.ts";
import { caller, message, Stage } from "./node.fixture.ts";
import { roomAt, sayUnstored, storedLate, twoNodes } from "./two.fixture.ts";

const [ALICE, BOB, EVE] = [caller("alice"), caller("bob"), caller("eve")];
/** Long enough for a room to be put to sleep. */
const IDLE = { limits: { roomIdleMs: 1_000 } } as const;
const ASLEEP_MS = 3_000;

/** Counts what it is asked. */
class Counting extends MemoryArchive {
  reads = 0;
  failing = false;

  override async head(room: string): Promise<Head | undefined> {
    this.reads++;
    if (this.failing) throw new StoreFailure("away");
    return super.head(room);
  }

  override async page(room: string, query: PageQuery) {
    this.reads++;
    return super.page(room, query);
  }

  override async member(room: string, user: string) {
    this.reads++;
    return super.member(room, user);
  }
}

/** Lookups of one room, whose state the test says. */
function looking() {
  const archive = new Counting();
  const clock = new SimulatedClock();
  const shard = { holds: true, term: 1 };
  const rooms = new Map<string, unknown>();
  const of = async (room: string, user: string): Promise<MarkerRecord> => {
    archive.reads++;
    return { room, user, read: 0, readCount: 0, delivered: 0 };
  };
  const lookups = new Lookups({ archive, clock, rooms, markers: { of }, shardOf: () => shard });
  const look = async (): Promise<number> => {
    const before = archive.reads;
    await Promise.all([lookups.logEnd("r"), lookups.member("r", "u"), lookups.marker("r", "u")]);
    return archive.reads - before;
  };
  return { archive, clock, shard, rooms, lookups, look };
}

test("What is known of a room that sleeps is read once, also when many ask at once.", async () => {
  const { look, archive } = looking();
  await Promise.all([look(), look(), look()]);
  assert.equal(archive.reads, 4);
  assert.equal(await look(), 0);
});

test("A look is over when the room was awake, when its short life ends, and under another term.", async () => {
  const { look, lookups, clock, shard } = looking();
  assert.equal(await look(), 4);
  lookups.forget("r");
  assert.equal(await look(), 4);
  await clock.advance(LOOKUP_MS - 1);
  assert.equal(await look(), 0);
  await clock.advance(1);
  assert.equal(await look(), 4);
  shard.term = 2;
  assert.equal(await look(), 4);
});

test("Nothing is remembered of a room that is awake, or whose shard is not held now.", async () => {
  const { look, shard, rooms } = looking();
  await look();
  shard.holds = false;
  assert.deepEqual([await look(), await look()], [4, 4]);
  shard.holds = true;
  rooms.set("r", "its actor");
  assert.deepEqual([await look(), await look()], [4, 4]);
});

test("A read that failed is not remembered, and one that began before the room woke neither.", async () => {
  const { archive, lookups, look } = looking();
  archive.failing = true;
  await assert.rejects(lookups.logEnd("r"), StoreFailure);
  archive.failing = false;
  assert.equal((await lookups.logEnd("r")).head, undefined);
  const early = lookups.logEnd("r");
  lookups.forget("r");
  await early;
  assert.equal(await look(), 4);
});

test("Beyond the bytes of the rooms remembered the oldest goes and the newest stays, the large ones by their size.", async () => {
  const { archive, lookups } = looking();
  const body = new Uint8Array(1_048_576);
  // 31 large ones fit into 32 MiB with what they are counted beside their bodies, and 32 do not.
  const rooms = Array.from({ length: 32 }, (_, at) => `room-${at}`);
  await archive.insert(rooms.map((room) => sampleEntry(room, 1, { body })));
  const reads = async (room: string): Promise<number> => {
    const before = archive.reads;
    assert.equal((await lookups.logEnd(room)).lastMessage?.entry.body.length, body.length);
    return archive.reads - before;
  };
  for (const room of rooms) assert.equal(await reads(room), 2);
  assert.deepEqual([await reads("room-1"), await reads("room-31")], [0, 0]);
  assert.equal(await reads("room-0"), 2);
  // That was the newest then, and the one that was looked at longest ago went for it.
  assert.deepEqual([await reads("room-0"), await reads("room-1"), await reads("room-2")], [0, 0, 2]);
});

test("Beyond the users remembered the oldest goes and the newest stays, of members and of markers.", async () => {
  const { archive, lookups } = looking();
  const most = 20_000;
  await lookups.logEnd("r");
  for (const read of [(user: string) => lookups.member("r", user), (user: string) => lookups.marker("r", user)]) {
    const reads = async (user: string): Promise<number> => {
      const before = archive.reads;
      await read(user);
      return archive.reads - before;
    };
    for (let at = 0; at < most; at++) await read(`u${at}`);
    assert.equal(await reads("u0"), 0);
    assert.equal(await reads(`u${most}`), 1);
    assert.deepEqual([await reads(`u${most}`), await reads("u0"), await reads("u2")], [0, 0, 0]);
    assert.equal(await reads("u1"), 1);
  }
});

async function listed(stage: Stage, by: typeof ALICE, room: string): Promise<RoomView | undefined> {
  const { items } = await stage.run(stage.chat.myRooms(by, { limit: 50 }));
  return items.find(({ id }) => id === room);
}

test("What another node does to a room that sleeps is in the next list of every node.", async () => {
  const { a, b } = await twoNodes(IDLE);
  const id = await roomAt(a, "private", "alice", ["bob"]);
  await a.clock.advance(ASLEEP_MS);
  for (const text of ["one", "two"]) {
    assert.equal(a.node.rooms.has(id), false);
    const before = [await listed(b, BOB, id), await listed(a, BOB, id)];
    assert.deepEqual(before[0], before[1]);
    await b.run(b.chat.post(ALICE, id, message(text)));
    await a.clock.advance(ASLEEP_MS);
    for (const stage of [a, b]) {
      const after = await listed(stage, BOB, id);
      assert.equal(Buffer.from(after?.lastMessage?.entry.body ?? []).toString(), text);
      assert.equal(after?.unread, (before[0]?.unread ?? 0) + 1);
    }
  }
});

test("What was remembered of a room before another node owned it is not shown when it is back.", async () => {
  const a = await Stage.open({ shards: 8, shared: true, limits: { roomIdleMs: 100 } });
  const ids: string[] = [];
  while (new Set(ids.map((id) => a.node.shardIndexOf(id))).size < 8) {
    ids.push(await a.makeRoom("private", "alice", ["bob"]));
  }
  await until(a, () => ids.every((id) => !a.node.rooms.has(id)));
  const b = await Stage.open({ beside: a, limits: { roomIdleMs: 100 } });
  await listed(a, BOB, ids[0] as string);
  const rememberedMs = a.clock.monotonic();
  await until(a, () => ids.some((id) => b.node.owns(id)));
  const moved = ids.find((id) => b.node.owns(id)) as string;
  await b.run(b.chat.post(ALICE, moved, message("meanwhile")));
  await until(a, () => !b.node.rooms.has(moved));
  void b.node.drain();
  await until(a, () => a.node.shardOf(moved).holds && a.node.owns(moved));
  assert.equal(a.node.rooms.has(moved), false);
  assert.ok(a.clock.monotonic() - rememberedMs < LOOKUP_MS);
  const shown = await listed(a, BOB, moved);
  assert.equal(Buffer.from(shown?.lastMessage?.entry.body ?? []).toString(), "meanwhile");
});

async function until(stage: Stage, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !holds(); i++) await stage.clock.advance(10);
  assert.ok(holds());
}

/** A node gives all its shards to the other one, for good. */
async function leave(room: string, from: Stage, to: Stage): Promise<void> {
  void from.node.drain();
  await until(from, () => to.node.owns(room) && to.node.shardOf(room).holds);
}

test("Who is added, removed, made admin or named anew is so in the next list of every node, with no time between.", async () => {
  const { a, b } = await twoNodes(IDLE);
  for (const [owner, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const id = await roomAt(owner, "public", "alice");
    const roles = async (): Promise<readonly (string | undefined)[]> => {
      const views = [];
      for (const stage of [owner, other]) {
        const { items } = await stage.run(stage.chat.publicRooms(BOB, { limit: 50 }));
        views.push(items.find((view) => view.id === id));
      }
      assert.equal(views[0]?.name, views[1]?.name);
      return [views[0]?.name, ...views.map((view) => view?.role)];
    };
    await a.clock.advance(ASLEEP_MS);
    assert.deepEqual(await roles(), ["room", "none", "none"]);
    const changes = [
      [() => other.chat.addMember(ALICE, id, { id: "bob", name: "Bob", role: "member" }), ["room", "member", "member"]],
      [() => other.chat.setRole(ALICE, id, "bob", "admin"), ["room", "admin", "admin"]],
      [() => other.chat.renameRoom(ALICE, id, "den"), ["den", "admin", "admin"]],
      [() => other.chat.removeMember(ALICE, id, "bob"), ["den", "none", "none"]],
      [() => other.chat.deleteRoom(ALICE, id), [undefined, undefined, undefined]],
    ] as const;
    for (const [change, after] of changes) {
      assert.equal(owner.node.rooms.has(id), false);
      await roles();
      await other.run<unknown>(change());
      assert.deepEqual(await roles(), after);
      await a.clock.advance(ASLEEP_MS);
      assert.deepEqual(await roles(), after);
    }
  }
});

test("What an earlier owner stores late is in the next list at the new owner, once the bus has said so.", async () => {
  const { a, b } = await twoNodes(IDLE);
  const id = await roomAt(a, "private", "alice", ["bob"]);
  await sayUnstored(id, a);
  await leave(id, a, b);
  const before = await listed(b, BOB, id);
  assert.deepEqual([b.node.rooms.has(id), before?.headOffset, before?.unread], [false, 2, 0]);
  const rememberedMs = a.clock.monotonic();
  await storedLate(id, a);
  await a.clock.advance(10);
  assert.ok(a.clock.monotonic() - rememberedMs < LOOKUP_MS);
  assert.equal(b.node.rooms.has(id), false);
  const after = await listed(b, BOB, id);
  assert.equal(Buffer.from(after?.lastMessage?.entry.body ?? []).toString(), "late");
  assert.deepEqual([after?.headOffset, after?.unread], [3, 1]);
});

test("A read marker that an earlier owner writes late is in the next list at the new owner.", async () => {
  const { a, b } = await twoNodes({ limits: { ...IDLE.limits, markerFlushMs: 8_000 } });
  const id = await roomAt(a, "private", "alice", ["bob"]);
  await a.run(a.chat.post(ALICE, id, message("hello")));
  await a.run(a.node.mark(id, "bob", { kind: "read", offset: 3 }));
  await leave(id, a, b);
  // Asleep at the new owner, and a look of it that is young when the marker is written.
  await a.clock.advance(5_000);
  assert.equal(b.node.rooms.has(id), false);
  assert.equal((await listed(b, BOB, id))?.unread, 1);
  const rememberedMs = a.clock.monotonic();
  while (a.node.markers.pending > 0) await a.clock.advance(10);
  await a.clock.advance(10);
  assert.ok(a.clock.monotonic() - rememberedMs < LOOKUP_MS);
  assert.deepEqual([b.node.rooms.has(id), (await listed(b, BOB, id))?.unread], [false, 0]);
});

test("A look that is stale grants nothing: who was removed is refused everywhere, whatever is remembered.", async () => {
  const { a, b } = await twoNodes(IDLE);
  const id = await roomAt(a, "private", "alice", ["bob"]);
  const open = await roomAt(a, "public", "alice", ["bob"]);
  await a.clock.advance(ASLEEP_MS);
  assert.equal((await listed(b, BOB, id))?.role, "member");
  assert.equal((await listed(b, BOB, open))?.role, "member");
  // An earlier owner's last write lands behind this one's back.
  const gone = { name: "BOB", role: "none", joinedAt: 0, rev: 99, user: "bob" } as const;
  await a.store.derive([id, open].map((room) => ({ kind: "member", member: { ...gone, room } })));
  // The look is stale, and shown as such, until its short life ends.
  assert.equal((await a.node.lookups.member(id, "bob"))?.role, "member");
  for (const { chat, node, run } of [a, b].map((stage) => ({
    ...stage,
    chat: stage.chat,
    run: stage.run.bind(stage),
  }))) {
    assert.equal(node.rooms.has(id), false);
    assert.deepEqual((await run(chat.myRooms(BOB, { limit: 50 }))).items, []);
    assert.deepEqual(await run(chat.counts(BOB, [id])), {});
  }
  const refused = (error: unknown): boolean => error instanceof Refusal && error.code === "room-not-found";
  await assert.rejects(b.run(b.chat.history(BOB, id, { limit: 9 })), refused);
  await assert.rejects(b.run(b.chat.room(BOB, id)), refused);
  await assert.rejects(b.run(b.chat.post(BOB, id, message("still me"))), refused);
  await assert.rejects(a.run(a.chat.room(EVE, id)), refused);
  await a.clock.advance(ASLEEP_MS + LOOKUP_MS);
  const { items } = await b.run(b.chat.publicRooms(BOB, { limit: 50 }));
  assert.equal(items.find((view) => view.id === open)?.role, "none");
});
