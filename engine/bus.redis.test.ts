import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Redis } from "ioredis";
import { busConformance } from "../actors/bus.conformance.ts";
import { type BusUnderTest, Ear, packOf, ROOM } from "../actors/bus.conformance.wire.ts";
import type { Bus, Pack } from "../actors/bus.ts";
import { StoreFailure } from "../actors/codes.ts";
import { shardOf } from "../actors/entry.ts";
import type { Limits } from "../actors/limits.ts";
import type { StoreServer } from "../ops/stores/process.ts";
import { StoreProxy } from "../ops/stores/proxy.ts";
import {
  answered,
  elapse,
  nextPrefix,
  openNode,
  openRaw,
  owner,
  SHARD,
  SHARDS,
  serverOrReason,
} from "./bus.redis.fixture.ts";
import type { RedisHandles } from "./bus.redis.ts";

const found = await serverOrReason();
const OPENING = { opening: true } as const;

async function underTest(url: string, limits: Limits): Promise<BusUnderTest> {
  const prefix = nextPrefix();
  const raw = openRaw(url);
  const nodes: RedisHandles[] = [];
  return {
    shards: SHARDS,
    connect: async () => {
      const node = await openNode(url, prefix, limits);
      nodes.push(node);
      return node.bus;
    },
    lock: async (shard) => {
      await raw.set(`${prefix}{${shard}}:lock`, "held");
      return "held";
    },
    elapse: (ms) => elapse(raw, ms),
    wipe: async () => {
      await raw.unlink(...(await raw.keys(`${prefix}*`)));
    },
    close: async () => {
      for (const node of nodes) await node.close();
      raw.disconnect();
    },
  };
}

if (typeof found === "string") {
  test("The bus on Redis.", { skip: found }, () => {});
} else {
  busConformance("Redis", (limits) => underTest(found.url, limits));
  describe("The Redis bus", () => scripts(found));
  describe("The Redis bus on one that fails", () => faults(found));
}

function scripts({ url }: StoreServer): void {
  test("gives a shard only to the holder of the lock that redlock set.", async () => {
    const { bus, leases, lock, close } = await owner(url);
    const taking = { lock, term: 2, node: "n1", lossy: false };
    assert.equal(await bus.take(SHARD, { ...taking, lock: "another" }), undefined);
    assert.equal((await bus.take(SHARD, taking))?.previous, 1);
    await leases.release({ shard: SHARD, value: lock, untilMs: 0 });
    assert.equal(await bus.take(SHARD, { ...taking, term: 3 }), undefined);
    await close();
  });

  test("answers the appends of one turn each by itself, with one script.", async () => {
    const { bus, leases, close } = await owner(url);
    const raw = openRaw(url);
    const rooms = Array.from({ length: 200 }, (_, at) => `r${at}`);
    const taken = [0, 1, 2].filter((shard) => shard !== SHARD).slice(0, 2) as [number, number];
    for (const shard of taken) {
      const lock = (await leases.acquire(shard))?.value as string;
      await bus.take(shard, { lock, term: shard === taken[1] ? 9 : 1, node: "n1", lossy: false });
    }
    const roomOf = (shard: number): string => rooms.find((room) => shardOf(room, SHARDS) === shard) as string;
    const free = [3, 4, 5].find((shard) => shard !== SHARD) as number;
    const before = await scriptCalls(raw);
    const answers = await Promise.all([
      bus.append(SHARD, 1, [packOf(ROOM, 1, 1, OPENING)]),
      bus.append(taken[0], 1, [packOf(roomOf(taken[0]), 1, 1)]),
      bus.append(taken[1], 1, [packOf(roomOf(taken[1]), 1, 1, OPENING)]),
      bus.append(SHARD, 1, [packOf(ROOM, 1, 1, OPENING)]),
      bus.append(free, 1, [packOf(roomOf(free), 1, 1, OPENING)]),
    ]);
    assert.deepEqual(answers, ["ok", "lost", "stale", "already", "lost"]);
    assert.equal((await scriptCalls(raw)) - before, 1);
    raw.disconnect();
    await close();
  });

  test("leaves the keys of a shard under one hash tag, and none of a room that sleeps.", async () => {
    const { bus, prefix, close } = await owner(url);
    const raw = openRaw(url);
    await bus.append(SHARD, 1, [packOf(ROOM, 1, 3, OPENING)]);
    const keys = await raw.keys(`${prefix}*`);
    assert.deepEqual(
      keys.sort(),
      ["bytes", "dirty", "heads", "lock", `log:${ROOM}`, "lossy", "owner", "term"].map(
        (key) => `${prefix}{${SHARD}}:${key}`,
      ),
    );
    const [log] = await raw.xrange(`${prefix}{${SHARD}}:log:${ROOM}`, "-", "+");
    assert.equal(log?.[0], "3-0", "the id is the last offset of the pack");
    assert.ok(Number(await raw.get(`${prefix}{${SHARD}}:bytes`)) > 0);
    await bus.stored(SHARD, 1, ROOM, { offset: 3, term: 1 });
    assert.equal(await bus.sleep(SHARD, 1, ROOM, { offset: 3, term: 1 }), true);
    assert.equal(await raw.get(`${prefix}{${SHARD}}:bytes`), "0");
    assert.equal(await raw.exists(`${prefix}{${SHARD}}:log:${ROOM}`, `${prefix}{${SHARD}}:heads`), 0);
    raw.disconnect();
    await close();
  });

  test("keeps bytes that are no text as they are.", async () => {
    const { bus, close } = await owner(url);
    const pack = packOf(ROOM, 1, 1, OPENING);
    const body = Uint8Array.from({ length: 256 }, (_, at) => at);
    const entries = pack.entries.map((entry) => ({ ...entry, body, text: false }));
    await bus.append(SHARD, 1, [{ ...pack, entries }]);
    const [entry] = await bus.log(ROOM, 0, 1);
    assert.deepEqual(Buffer.from(entry?.body as Uint8Array), Buffer.from(body));
    assert.equal(entry?.body.buffer.byteLength, body.length, "the body is no part of a network buffer");
    await close();
  });

  test("listens to the rooms of a shard only once it is not its own, and says that there was a gap.", async () => {
    const first = await owner(url);
    const second = await openNode(url, first.prefix);
    const raw = openRaw(url);
    const channel = `${first.prefix}{${SHARD}}:room:${ROOM}`;
    const listeners = async (): Promise<unknown> => (await raw.pubsub("NUMSUB", channel))[1];
    const ear = new Ear();
    first.bus.receive(ear);
    await first.bus.join(ROOM);
    assert.equal(Number(await listeners()), 0);
    await second.bus.take(SHARD, { lock: first.lock, term: 2, node: "n2", lossy: false });
    assert.deepEqual(await first.bus.terms([SHARD]), [2]);
    await ear.until(1);
    assert.deepEqual(ear.heard, ["gap"]);
    assert.equal(Number(await listeners()), 1);
    await second.bus.append(SHARD, 2, [packOf(ROOM, 1, 1, { ...OPENING, term: 2 })]);
    await ear.until(2);
    assert.equal((ear.heard[1] as Pack).room, ROOM);
    raw.disconnect();
    await first.close();
    await second.close();
  });

  test("learns from heads, from an append and from a trim that its term is over.", async () => {
    const asks: ((bus: Bus) => Promise<unknown>)[] = [
      (bus) => bus.headsOf(SHARD, [ROOM]),
      (bus) => bus.append(SHARD, 1, [packOf(ROOM, 1, 1, OPENING)]),
      (bus) => bus.stored(SHARD, 1, ROOM, { offset: 1, term: 1 }),
    ];
    for (const ask of asks) {
      const first = await owner(url);
      const second = await openNode(url, first.prefix);
      const ear = new Ear();
      first.bus.receive(ear);
      await first.bus.join(ROOM);
      await second.bus.take(SHARD, { lock: first.lock, term: 2, node: "n2", lossy: false });
      await ask(first.bus);
      await ear.until(1);
      assert.deepEqual(ear.heard, ["gap"]);
      await first.close();
      await second.close();
    }
  });

  test("refuses a Redis that may evict keys, with a sentence.", async () => {
    const raw = openRaw(url);
    await raw.config("SET", "maxmemory-policy", "allkeys-lru");
    await assert.rejects(
      openNode(url, nextPrefix()),
      /^Error: Redis has the maxmemory-policy allkeys-lru .* noeviction\.$/,
    );
    await raw.config("SET", "maxmemory-policy", "noeviction");
    raw.disconnect();
  });
}

async function scriptCalls(raw: Redis): Promise<number> {
  const stats = await raw.info("commandstats");
  return [...stats.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}

function faults(shared: StoreServer): void {
  for (const after of ["cut", "silent"] as const) {
    test(`answers already when an append happened and its answer was lost (the connection is ${after}).`, async () => {
      const proxy = await StoreProxy.open(shared.place.port);
      const { bus, close } = await owner(proxy.through(shared.url));
      const packs = [packOf(ROOM, 1, 2, OPENING)];
      const lost = proxy.loseAnswer((bytes) => bytes.includes(packs[0]?.entries[0]?.key as string), after);
      await assert.rejects(bus.append(SHARD, 1, packs), StoreFailure);
      await lost;
      assert.equal(await answered(bus, 1, packs), "already");
      assert.deepEqual(await bus.log(ROOM, 0, 10).then((log) => log.map(({ offset }) => offset)), [1, 2]);
      await close();
      await proxy.close();
    });
  }

  test("hears other nodes again after a wire that went dead, and says that there was a gap.", async () => {
    const proxy = await StoreProxy.open(shared.place.port);
    const first = await owner(shared.url);
    const second = await openNode(proxy.through(shared.url), first.prefix);
    const ear = new Ear();
    second.bus.receive(ear);
    await second.bus.join(ROOM);
    proxy.hold();
    assert.equal(await first.bus.append(SHARD, 1, [packOf(ROOM, 1, 1, OPENING)]), "ok");
    proxy.cut();
    proxy.release();
    await ear.until(1);
    assert.deepEqual(ear.heard, ["gap"], "what was sent meanwhile is for the receiver to fetch");
    assert.equal(await first.bus.append(SHARD, 1, [packOf(ROOM, 2, 2)]), "ok");
    await ear.until(2);
    assert.equal((ear.heard[1] as Pack).entries[0]?.offset, 2);
    await first.close();
    await second.close();
    await proxy.close();
  });

  test("looks anew where Redis is once it has become a replica.", { timeout: 30_000 }, async () => {
    const [former, next] = [await serverOrReason(), await serverOrReason()];
    assert.ok(typeof former !== "string" && typeof next !== "string");
    const proxy = await StoreProxy.open(former.place.port);
    const { bus, leases, close } = await owner(proxy.through(former.url));
    const ear = new Ear();
    bus.receive(ear);
    const raw = openRaw(former.url);
    proxy.lead(next.place.port);
    assert.equal(await bus.append(SHARD, 1, [packOf(ROOM, 1, 1, OPENING)]), "ok", "connections stand where they stood");
    await raw.replicaof("127.0.0.1", next.place.port);
    assert.equal(await answered(bus, 1, [packOf(ROOM, 2, 2)]), "lost", "the other has no such term");
    await ear.until(1);
    assert.deepEqual(ear.heard, ["gap"], "the wire is that of the other, too");
    assert.ok(await leases.acquire(SHARD), "the locks are those of the other, too");
    raw.disconnect();
    await close();
    for (const one of [proxy, former, next]) await one.close();
  });

  test("fails calls in time while Redis is stopped, and goes on with the same data.", async () => {
    const server = await serverOrReason();
    assert.ok(typeof server !== "string");
    const { bus, leases, lock, close } = await owner(server.url);
    const packs = [packOf(ROOM, 1, 2, OPENING)];
    server.pause();
    const results = await Promise.allSettled([
      bus.append(SHARD, 1, packs),
      bus.heads(SHARD),
      bus.stored(SHARD, 1, ROOM, { offset: 1, term: 1 }),
      bus.join(ROOM),
      leases.renew({ shard: SHARD, value: lock, untilMs: 0 }),
    ]);
    for (const result of results) {
      assert.equal(result.status, result === results[3] ? "fulfilled" : "rejected");
      if (result.status === "rejected") assert.ok(result.reason instanceof StoreFailure);
    }
    server.resume();
    const answer = await answered(bus, 1, packs);
    assert.ok(answer === "ok" || answer === "already", answer);
    await close();
    await server.close();
  });

  test("says that a log is lost, and that no term is in force, when Redis comes back empty.", async () => {
    const server = await serverOrReason();
    assert.ok(typeof server !== "string");
    const { bus, leases, close } = await owner(server.url);
    const ear = new Ear();
    bus.receive(ear);
    await bus.append(SHARD, 1, [packOf(ROOM, 1, 2, OPENING)]);
    await server.kill();
    await assert.rejects(bus.append(SHARD, 1, [packOf(ROOM, 3, 3)]), StoreFailure);
    await server.start();
    assert.equal(await answered(bus, 1, [packOf(ROOM, 3, 3)]), "lost");
    await ear.until(1);
    assert.deepEqual(ear.heard, ["gap"]);
    assert.deepEqual(await bus.terms([SHARD]), [0]);
    assert.equal((await bus.heads(SHARD)).size, 0);
    const lock = (await leases.acquire(SHARD))?.value as string;
    const taken = await bus.take(SHARD, { lock, term: 2, node: "n1", lossy: false });
    assert.deepEqual(taken, { previous: 0, lossy: 2 });
    await close();
    await server.close();
  });

  test("goes on where it was when Redis comes back with its data, and hears other nodes again.", async () => {
    const server = await serverOrReason({ appendonly: true });
    assert.ok(typeof server !== "string");
    const { bus, prefix, close } = await owner(server.url);
    const second = await openNode(server.url, prefix);
    const ear = new Ear();
    second.bus.receive(ear);
    await second.bus.join(ROOM);
    await bus.append(SHARD, 1, [packOf(ROOM, 1, 2, OPENING)]);
    await ear.until(1);
    await server.kill();
    await server.start();
    await ear.until(2);
    assert.equal(ear.heard[1], "gap");
    assert.equal(await answered(bus, 1, [packOf(ROOM, 3, 3)]), "ok");
    await ear.until(3);
    assert.equal((ear.heard[2] as Pack).entries[0]?.offset, 3);
    assert.deepEqual(await bus.dirty(SHARD), [ROOM]);
    await close();
    await second.close();
    await server.close();
  });
}
