/**
 * Faults of nodes that live on: an owner paused beyond its lease, a Redis that comes back with its data or without,
 * and an owner cut off from Redis. Nobody loses their connection by any of them.
 */
import { figure, TakeoverMeter } from "./cluster.figures.ts";
import type { ClusterWorld, Place } from "./cluster.world.ts";
import { pause } from "./crash.ts";
import { replaceData } from "./stores.redis.ts";

/** Pauses of an owner, ms: one within its lease, which is 3 s (design 6), the others beyond it. */
const PAUSES_MS = [5_500, 1_500, 6_500, 8_000] as const;
/** How long an owner is cut off from Redis, and what becomes of the bytes that were on their way. */
const CUTS = [
  { forMs: 6_500, bytes: "late" },
  { forMs: 6_500, bytes: "lost" },
  { forMs: 1_500, bytes: "lost" },
  { forMs: 8_000, bytes: "late" },
] as const;
/** A lease, ms (design 6): an owner that was away for longer has lost its shards. */
const LEASE_MS = 3_000;
/** How long Redis is away, ms: less than a lease, and more. */
const AWAY_MS = [500, 4_500] as const;

/** What is done to a node and undone. */
interface Spell {
  readonly what: string;
  readonly forMs: number;
  readonly begin: () => void;
  readonly end: () => void;
}

/**
 * An owner is away for a spell while people at it and elsewhere go on speaking in its rooms. Those elsewhere are
 * answered by the next owner; those at it are once it is back, and all keep their connection.
 */
async function spell(world: ClusterWorld, owner: { place: Place; rooms: ReadonlyMap<string, number> }, how: Spell) {
  const { place, rooms } = owner;
  const kept = world.keepsConnected(world.people);
  const meter = new TakeoverMeter(world.ledger, rooms, (person) => person.node !== place.at);
  // On its way to the hot log when the spell begins, and after it has begun.
  for (const room of rooms.keys()) world.inside(room, (node) => node === place.at).say(room);
  how.begin();
  const ended = pause(how.forMs).then(() => how.end());
  for (const room of rooms.keys())
    for (const here of [true, false]) world.inside(room, (node) => (node === place.at) === here).say(room);
  await ended;
  const left = meter.waiting;
  world.say(`${how.what} of node ${place.at} with ${rooms.size} rooms: taken over after ${figure(meter.stop())}`);
  if (how.forMs > LEASE_MS && left.length > 0)
    world.break("not-taken", `${how.what} of node ${place.at}: nothing of another owner in ${left.join(", ")}.`);
  await world.goesOn(`${how.what}, at that node`, place);
  await world.goesOn(`${how.what}, anywhere`);
  kept(how.what);
}

/** SIGSTOP of an owner, then SIGCONT. */
export async function pauses(world: ClusterWorld): Promise<void> {
  for (const forMs of PAUSES_MS) {
    await world.balanced();
    const owner = await world.anyOwner();
    const { server } = owner.place;
    const what = `SIGSTOP for ${forMs} ms`;
    await spell(world, owner, { what, forMs, begin: () => server.pause(), end: () => server.resume() });
  }
}

/** An owner's packets to Redis and from it are dropped; its people and the other nodes notice nothing of the kind. */
export async function cutOff(world: ClusterWorld): Promise<void> {
  for (const { forMs, bytes } of CUTS) {
    await world.balanced();
    const owner = await world.anyOwner();
    const proxy = owner.place.redis;
    const end = (): void => {
      // Otherwise what was held comes late, when its sender may be no owner any more.
      if (bytes === "lost") proxy?.cut();
      proxy?.release();
    };
    const what = `a cut of ${forMs} ms with ${bytes} bytes`;
    await spell(world, owner, { what, forMs, begin: () => proxy?.hold(), end });
  }
}

/** Redis is killed and comes back with its data, then without. */
export async function redisRestarts(world: ClusterWorld): Promise<void> {
  const { redis } = world.stores;
  const away = async (forMs: number, restore: () => Promise<void>, what: string): Promise<void> => {
    const kept = world.keepsConnected(world.people);
    await redis.kill();
    for (const room of world.rooms) world.inside(room, () => true).say(room);
    await pause(forMs);
    await restore();
    await redis.start();
    await world.goesOn(`Redis was away for ${forMs} ms and came back ${what}`);
    kept("it");
    await world.balanced();
  };
  for (const forMs of AWAY_MS) await away(forMs, async () => undefined, "with its data");
  const told = world.people.reduce((total, { notRecovered }) => total + notRecovered, 0);
  if (told > 0) world.break("not-recovered", `${told} times recovered: false, and Redis had kept its data.`);
  world.redisLost = true;
  for (const forMs of AWAY_MS) await away(forMs, () => replaceData(undefined, redis.place.folder), "empty");
}
