/** For tests: two nodes that share their stores, each with rooms of its own. */
import assert from "node:assert/strict";
import type { RoomType } from "./archive.ts";
import { caller, Stage, type StageOptions } from "./node.fixture.ts";

/** Time in which shards find their owners and everybody hears of it, ms. */
const SETTLE_MS = 3_000;

/** Two nodes, `a` and `b`, each of which owns shards. */
export async function twoNodes(options: StageOptions = {}): Promise<{ a: Stage; b: Stage }> {
  const a = await Stage.open({ shards: 8, ...options, shared: true });
  const b = await Stage.open({ ...options, beside: a });
  await a.clock.advance(SETTLE_MS);
  return { a, b };
}

/** A room that `owner` owns, made there by its first member; answers its id. */
export async function roomAt(
  owner: Stage,
  type: Exclude<RoomType, "direct">,
  by: string,
  members: readonly string[] = [],
): Promise<string> {
  for (;;) {
    const { id } = await owner.run(owner.chat.createRoom(caller(by), { name: "room", type, members }));
    if (owner.node.ownerOf(id) === owner.node.name) return id;
  }
}

/** Gives the shard of a room from its owner to another node, as a handover does. */
export async function handOver(room: string, from: Stage, to: Stage): Promise<void> {
  const lock = await from.run(from.node.shardOf(room).letGo());
  assert.equal(await from.run(to.node.shardOf(room).receive(lock ?? "")), true);
  await from.clock.advance(10);
}

/**
 * Alice says "late" in her room of two entries: its owner shows it and cannot store it, and the hot log forgets it, so
 * that no other owner can know of it. It is stored once the archive of `owner` is not away any more.
 */
export async function sayUnstored(room: string, owner: Stage): Promise<void> {
  owner.faults.archiveAway = true;
  owner.connect("alice").send(room, "late", { level: "accepted" });
  await owner.clock.advance(50);
  owner.hub.wipe();
}

/** Until what was said unstored is stored, to the millisecond. */
export async function storedLate(room: string, from: Stage): Promise<void> {
  from.faults.archiveAway = false;
  while ((await from.log(room)).length < 3) await from.clock.advance(1);
}
