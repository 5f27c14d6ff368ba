/** What must be so once nothing befalls a cluster any more: all answered, all shown, all presence true, all let go. */
import type { Entry } from "../entry.ts";
import { derivedBreach } from "./judge.derived.ts";
import type { Machine } from "./machine.ts";
import type { Person } from "./person.ts";
import { SETTLE_MS, type World } from "./world.ts";

/** Pause between two looks, ms. */
const LOOK_MS = 500;
/** Rooms sleep and users leave within this, once nobody is there, ms. */
const EMPTY_MS = 45_000;

/** Waits until the cluster has settled, and judges it then. */
export async function settle(world: World): Promise<void> {
  await until(world, SETTLE_MS, () => unsettled(world));
  if (world.judge.breach !== undefined) return;
  await until(world, SETTLE_MS, () => presenceUntrue(world));
  if (world.judge.breach !== undefined) return;
  await judgeLogs(world);
  if (!world.plan.toTheEnd || world.judge.breach !== undefined) return;
  for (const person of world.persons) person.go();
  await until(world, EMPTY_MS, () => notEmpty(world));
}

/** Judges what the archive holds, against all that was said of it. */
async function judgeLogs({ judge, mongo, rooms }: World): Promise<void> {
  const logs = new Map<string, readonly Entry[]>();
  const whole = { limit: 100_000 } as const;
  for (const room of new Set([...rooms, ...judge.rooms])) {
    const items = await mongo.store.page(room, { ...whole, end: "first" });
    const entries = items.map(({ entry }) => entry);
    logs.set(room, entries);
    // What follows from an entry that was stored as its room closed is derived when the room opens next (rule 12),
    // and nobody need ever open a direct room again.
    const broken = rooms.includes(room) && derivedBreach(room, items, await mongo.store.members(room, whole));
    if (broken) judge.breaks(broken);
    for (const { user, read, delivered } of await mongo.store.markers(room, whole)) {
      if (Math.max(read, delivered) > entries.length) judge.breaks(`${user} is marked beyond the end of ${room}`);
    }
  }
  judge.end(logs);
}

/** Lets time pass until nothing is missing; what is then still missing is a breach. */
async function until(world: World, mostMs: number, missing: () => string | undefined | Promise<string | undefined>) {
  const endMs = world.nowMs + mostMs;
  let what = await missing();
  while (what !== undefined && world.nowMs < endMs) {
    await world.time.run(world.nowMs + LOOK_MS, () => world.judge.breach !== undefined);
    if (world.judge.breach !== undefined) return;
    what = await missing();
  }
  if (what !== undefined) world.judge.breaks(`${mostMs} ms after all was mended ${what}`);
}

function unsettled(world: World): string | undefined {
  const { alive, clerk, persons } = world;
  const notUp = alive.find(({ state }) => state !== "up");
  if (notUp) return `${notUp.name} is ${notUp.state}`;
  if (alive.length === 0) return "no node is up";
  if (clerk.open > 0) return `${clerk.open} questions over REST are not answered`;
  for (const person of persons) {
    const waits = waiting(person);
    if (waits !== undefined) return waits;
  }
  for (const { name, node } of alive) {
    if (node.writer.entries > 0) return `${name} has ${node.writer.entries} entries that are not stored`;
    if (node.markers.pending > 0) return `${name} has ${node.markers.pending} markers that are not written`;
    if (node.lines.waiting > 0) return `${name} has ${node.lines.waiting} SENDs in ${node.lines.size} lines to others`;
  }
  for (const shard of alive[0]?.node.shards ?? []) {
    const owners = alive.filter(({ node }) => node.shards[shard.id]?.mine).map(({ name }) => name);
    if (owners.length !== 1) return `the shard ${shard.id} is owned by ${owners.join(" and ") || "nobody"}`;
  }
  return behind(world);
}

function waiting({ session, user }: Person): string | undefined {
  if (!session?.open) return `a client of ${user} is not connected`;
  if (session.waitingSinceMs !== undefined) return `${session.name} waits for an answer`;
  if (session.pending > 0) return `${session.name} has ${session.pending} SENDs pending at its node`;
  return undefined;
}

function behind({ persons, judge }: World): string | undefined {
  for (const { session } of persons) {
    for (const stream of session?.streams.values() ?? []) {
      if (stream.over || !stream.granted) continue;
      const head = judge.logOf(stream.room).length;
      if (stream.at?.offset !== head) return `${stream.name} is at ${stream.at?.offset} of ${head} in ${stream.room}`;
    }
  }
  return undefined;
}

/** Who is present in each room, as the nodes say, and as it is. */
async function presenceUntrue(world: World): Promise<string | undefined> {
  for (const room of world.rooms) {
    const truth = new Set<string>();
    for (const { session, user } of world.persons) {
      for (const stream of session?.streams.values() ?? []) {
        if (stream.room === room && stream.granted && !stream.over) truth.add(user);
      }
    }
    const owner = world.alive.find(({ node }) => node.owns(room)) as Machine | undefined;
    const said = (owner?.node.rooms.get(room)?.presence.list(1_000) ?? []).map(({ id }) => id).sort();
    const expected = [...truth].sort();
    if (said.join() !== expected.join())
      return `${owner?.name} says that ${said.join()} are in ${room}, and ${expected.join()} are`;
  }
  return undefined;
}

/** Promise 6: when all have gone, nothing is left. */
function notEmpty(world: World): string | undefined {
  for (const { name, node, fanout } of world.alive) {
    const left = {
      entries: node.writer.entries,
      bytes: node.writer.bytes,
      rooms: node.rooms.size,
      shardRooms: node.shards.reduce((sum, shard) => sum + shard.rooms.size, 0),
      audiences: [...node.audiences.all()].length,
      window: node.windowBudget.bytes,
      connections: node.registry.size,
      users: node.registry.users,
      attached: fanout.size,
      markers: node.markers.pending,
      signals: node.speaker.pending,
      lines: node.lines.size,
      waiting: node.lines.waiting,
      lineBytes: node.lines.bytes,
      calls: node.calls.open,
      guests: node.guests.size,
      crowds: node.audiences.crowds.size,
    };
    const what = Object.entries(left).filter(([, count]) => count !== 0);
    if (what.length > 0) return `${name} holds ${JSON.stringify(Object.fromEntries(what))}, and nobody is there`;
  }
  return undefined;
}
