/** A Redis that is full: by a real one, and by what one of an older version says. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Redis } from "ioredis";
import { packOf, ROOM } from "../actors/bus.conformance.wire.ts";
import type { Beat, Pack } from "../actors/bus.ts";
import { SimulatedClock } from "../actors/clock.ts";
import { StoreFailure } from "../actors/codes.ts";
import { shardOf } from "../actors/entry.ts";
import { SILENT } from "../actors/log.ts";
import { answered, elapse, openNode, openRaw, owner, SHARD, SHARDS, serverOrReason } from "./bus.redis.fixture.ts";
import { Space } from "./bus.redis.space.ts";

const found = await serverOrReason();

/** Rooms of `SHARD`. */
function roomsOfShard(count: number): string[] {
  const names = Array.from({ length: 100 * count }, (_, at) => `r${at}`);
  return names.filter((room) => shardOf(room, SHARDS) === SHARD).slice(0, count);
}

/** A pack of one large entry. */
function largePack(room: string, offset: number): Pack {
  const pack = packOf(room, offset, offset, { opening: offset === 1 });
  return { ...pack, entries: pack.entries.map((entry) => ({ ...entry, body: new Uint8Array(100_000) })) };
}

/** Lets a server have so many bytes more than it uses. */
async function limitMemory(raw: Redis, more: number): Promise<void> {
  const used = Number(/^used_memory:(\d+)/m.exec(await raw.info("memory"))?.[1]);
  await raw.config("SET", "maxmemory", used + more);
}

if (typeof found === "string") {
  test("A full Redis.", { skip: found }, () => {});
} else {
  await found.close();
  describe("A Redis bus", fullness);
}

function fullness(): void {
  test("goes on when Redis is full of what is stored, and keeps what is not.", { timeout: 30_000 }, async () => {
    const server = await serverOrReason();
    assert.ok(typeof server !== "string");
    const { bus, leases, lock, close } = await owner(server.url);
    const raw = openRaw(server.url);
    const [unstored, ...rooms] = roomsOfShard(6) as [string, ...string[]];
    assert.equal(await bus.append(SHARD, 1, [largePack(unstored, 1)]), "ok");
    const post = async (offset: number): Promise<void> => {
      for (const room of rooms) {
        assert.equal(await answered(bus, 1, [largePack(room, offset)]), "ok");
        assert.equal(await bus.stored(SHARD, 1, room, { offset, term: 1 }), true);
      }
    };
    for (let offset = 1; offset <= 3; offset++) await post(offset);
    assert.equal((await bus.log(rooms[0] as string, 0, 9)).length, 3, "what is stored is kept for replay");
    await limitMemory(raw, 300_000);
    for (let offset = 4; offset <= 8; offset++) await post(offset);
    assert.ok(await leases.renew({ shard: SHARD, value: lock, untilMs: 0 }), "a full Redis would renew no lock");
    assert.deepEqual(await bus.dirty(SHARD), [unstored]);
    assert.equal((await bus.log(unstored, 0, 9)).length, 1);
    assert.equal((await bus.heads(SHARD)).get(rooms[0] as string)?.offset, 8);
    raw.disconnect();
    await close();
    await server.close();
  });

  test("has room made by a node that owns nothing yet, where Redis is full of what nodes before it stored.", {
    timeout: 30_000,
  }, async () => {
    const server = await serverOrReason();
    assert.ok(typeof server !== "string");
    const former = await owner(server.url);
    const raw = openRaw(server.url);
    for (let offset = 1; offset <= 4; offset++) {
      assert.equal(await former.bus.append(SHARD, 1, [largePack(ROOM, offset)]), "ok");
      assert.equal(await former.bus.stored(SHARD, 1, ROOM, { offset, term: 1 }), true);
    }
    await limitMemory(raw, -200_000);
    const { bus, leases, close } = await openNode(server.url, former.prefix);
    const beat = (): Promise<unknown> => bus.beat({ node: "n2" } as Beat, 3_000).catch(() => undefined);
    await beat();
    await elapse(raw, 200);
    assert.equal((await bus.log(ROOM, 0, 9)).length, 4, "what another node holds is that node's");
    await former.leases.release({ shard: SHARD, value: former.lock, untilMs: 0 });
    await former.close();
    let lock: string | undefined;
    while (lock === undefined) {
      await beat();
      lock = (await leases.acquire(SHARD).catch(() => undefined))?.value;
    }
    assert.ok(await bus.take(SHARD, { lock, term: 2, node: "n2", lossy: false }));
    assert.equal((await bus.heads(SHARD)).get(ROOM)?.offset, 4);
    raw.disconnect();
    await close();
    await server.close();
  });

  test("says of a full Redis what is stored, also where nothing of it is to be trimmed.", async () => {
    const server = await serverOrReason();
    assert.ok(typeof server !== "string");
    const { bus, close } = await owner(server.url);
    const raw = openRaw(server.url);
    for (let offset = 1; offset <= 2; offset++) {
      assert.equal(await bus.append(SHARD, 1, [largePack(ROOM, offset)]), "ok");
    }
    await limitMemory(raw, -1);
    assert.equal(await bus.stored(SHARD, 1, ROOM, { offset: 1, term: 1 }), true);
    assert.deepEqual(await bus.dirty(SHARD), [ROOM]);
    assert.equal(await bus.stored(SHARD, 1, ROOM, { offset: 2, term: 1 }), true);
    assert.deepEqual(await bus.dirty(SHARD), []);
    raw.disconnect();
    await close();
    await server.close();
  });
}

test("What Redis says when it is full is known in each version, and relief is not begun again at once.", async () => {
  const clock = new SimulatedClock();
  const said = "OOM command not allowed when used memory > 'maxmemory'.";
  // Before 7.0 a script's failure was told behind where it stood.
  for (const message of [
    said,
    `ERR Error running script (call to f_0a): @user_script:41: @user_script: 41: -${said}`,
  ]) {
    let reliefs = 0;
    const relieve = async (): Promise<void> => void reliefs++;
    const space = new Space({ replayBytes: 1, clock, log: SILENT, relieve });
    space.failed(new StoreFailure("Redis failed.", new Error("ERR no such key BOOM")));
    assert.deepEqual([reliefs, space.crowded], [0, false]);
    for (let i = 0; i < 9; i++) space.failed(new StoreFailure("Redis failed.", new Error(message)));
    assert.deepEqual([reliefs, space.crowded], [1, true]);
    await clock.advance(1_000);
    space.failed(new Error(message));
    assert.equal(reliefs, 2);
    await clock.advance(60_000);
    assert.equal(space.crowded, false);
  }
});
