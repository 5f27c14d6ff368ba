import assert from "node:assert/strict";
import { test } from "node:test";
import type { Archive } from "./archive.ts";
import type { Bus } from "./bus.ts";
import { LEASE_MS } from "./leases.memory.ts";
import { Stage } from "./node.fixture.ts";
import type { Word } from "./words.ts";

/** A node of its own with 32 shards, and what becomes of the words that it tells. */
async function giver(lose: (word: Word) => boolean = () => false) {
  const a = await Stage.open({ shared: true, shards: 32 });
  const told: Word[] = [];
  const tell = a.node.bus.tell;
  Object.assign(a.node.bus, {
    tell: (node, word) => {
      told.push(word);
      if (!lose(word)) tell(node, word);
    },
  } satisfies Pick<Bus, "tell">);
  const passes = (): number => told.filter(({ kind }) => kind === "pass").length;
  return { a, told, passes };
}

/** How many shards a node owns. */
const owned = ({ node }: Stage): number => node.shards.filter(({ mine }) => mine).length;

/** A room of a shard that goes to whoever comes second: found by its owner after the move. */
async function moved(a: Stage, b: Stage, rooms: readonly string[]): Promise<string> {
  await a.clock.advance(3_000);
  const room = rooms.find((one) => b.node.owns(one));
  assert.ok(room, "a room moved");
  return room;
}

const many = (stage: Stage): Promise<string[]> =>
  Promise.all(Array.from({ length: 8 }, () => stage.makeRoom("public", "owner")));

test("A pass word that is lost is said again, and the shard moves all the same.", async () => {
  const lost = new Set<number>();
  const { a, passes } = await giver((word) => {
    if (word.kind !== "pass" || lost.has(word.shard)) return false;
    lost.add(word.shard);
    return true;
  });
  const b = await Stage.open({ beside: a });
  await a.clock.advance(3_000);
  assert.ok(lost.size > 1);
  assert.deepEqual([owned(b), owned(a), passes()], [lost.size, 32 - lost.size, 2 * lost.size]);
  for (const shard of lost) assert.equal(a.node.cluster.owners.of(shard), b.node.name);
});

test("A shard whose pass never arrives is owned by its giver again, and nobody who talks in it is refused.", async () => {
  let cut = true;
  const { a, passes } = await giver((word) => cut && word.kind === "pass");
  const rooms = await many(a);
  const client = a.connect("talker");
  for (const room of rooms) client.subscribe("log", room, { id: room });
  await a.clock.advance(100);
  const b = await Stage.open({ beside: a });
  const receipts: string[] = [];
  for (let lap = 0; lap < 100; lap++) {
    for (const room of rooms) receipts.push(client.send(room, `${lap}`));
    await a.clock.advance(60);
  }
  assert.equal(owned(b), 0);
  assert.ok(passes() >= 8);
  cut = false;
  const room = await moved(a, b, rooms);
  await a.clock.advance(3_000);
  assert.deepEqual(
    receipts.filter((receipt) => !client.receiptOf(receipt)?.entry),
    [],
  );
  assert.deepEqual([client.all("refused"), client.all("resumed"), client.all("closed")], [[], [], []]);
  assert.deepEqual(
    client.heard(room).filter((body) => body !== "member"),
    Array.from({ length: 100 }, (_, lap) => `${lap}`),
  );
});

test("Nothing is passed to a node that went while it was to prepare itself.", async () => {
  const { a, told, passes } = await giver((word) => word.kind === "prepare");
  await many(a);
  const b = await Stage.open({ beside: a });
  while (!told.some(({ kind }) => kind === "prepare")) await a.clock.advance(10);
  const before = passes();
  b.die();
  a.node.cluster.onFarewell({ kind: "farewell", node: b.node.name });
  await a.clock.advance(LEASE_MS);
  assert.equal(passes(), before);
});

test("The receiver has read a room before its giver stops deciding: what it reads then is one entry and the record.", async () => {
  const { a, told } = await giver();
  const rooms = await many(a);
  for (const room of rooms) a.connect("talker").send(room, "joins", { id: `of ${room}` });
  await a.clock.advance(500);
  const b = await Stage.open({ beside: a });
  const asked: string[] = [];
  const page = a.store.page.bind(a.store);
  const members = a.store.members.bind(a.store);
  const note = (room: string, what: string): void => {
    if (told.some((word) => word.kind === "pass" && word.shard === a.node.shardIndexOf(room))) asked.push(room + what);
  };
  Object.assign(a.store, {
    page: (room, query) => {
      note(room, ` page of ${query.limit}`);
      return page(room, query);
    },
    members: (room, query) => {
      note(room, " members");
      return members(room, query);
    },
  } satisfies Pick<Archive, "page" | "members">);
  const room = await moved(a, b, rooms);
  assert.ok(told.some((word) => word.kind === "prepare" && word.rooms.includes(room)));
  // A retry needs the window: that is there, too.
  const client = b.connect("talker");
  const retry = client.send(room, "joins", { id: `of ${room}` });
  const next = client.send(room, "next", { id: "next" });
  await a.clock.advance(500);
  assert.deepEqual(
    [retry, next].map((receipt) => client.receiptOf(receipt)?.entry?.offset),
    [3, 4],
  );
  assert.deepEqual(
    asked.filter((one) => one.startsWith(room)),
    [`${room} page of 1`],
  );
});

test("A word to prepare that is lost costs its time and no more.", async () => {
  const { a } = await giver((word) => word.kind === "prepare");
  const rooms = await many(a);
  const client = a.connect("talker");
  for (const room of rooms) client.send(room, "joins");
  await a.clock.advance(500);
  const b = await Stage.open({ beside: a });
  const room = await moved(a, b, rooms);
  const receipt = client.send(room, "after");
  await a.clock.advance(500);
  assert.ok(client.receiptOf(receipt)?.entry);
});
