/** For tests: two nodes that share their stores, each with rooms of its own. */
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
