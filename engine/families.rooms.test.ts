import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage, type StageOptions } from "../actors/node.fixture.ts";
import type { Room } from "../actors/room.ts";
import { createMetrics } from "../ops/metrics.ts";
import { metricFamilies } from "./families.ts";
import { NativeFanout } from "./fanout.ts";

const ROOMS = ["one", "two", "three", "four"] as const;
type Shown = Readonly<Record<string, readonly [stored: number, accepted: number]>>;

/** A node with four rooms of alice's, each with its member entry; and what a scrape shows of rooms, by their names. */
async function scraped(options: StageOptions) {
  const stage = await Stage.open(options);
  const ids: Record<string, string> = {};
  for (const name of ROOMS) ids[name] = await stage.makeRoom("private", "alice");
  const alice = stage.connect("alice");
  const metrics = createMetrics(
    metricFamilies({
      node: stage.node,
      fanout: new NativeFanout(() => true),
      version: "0",
      ready: () => 1,
      parts: () => [],
      hashesWaiting: () => 0,
    }),
  );
  const scrape = async (): Promise<Shown> => {
    const { body } = await metrics.render();
    const of = (what: string): Map<string, number> =>
      new Map(
        [...body.matchAll(new RegExp(`^confab_room_${what}_offset\\{room="([^"]+)"\\} (\\d+)$`, "gm"))].map(
          ([, id, value]) => [ROOMS.find((name) => ids[name] === id) ?? "another", Number(value)],
        ),
      );
    const [stored, accepted] = [of("stored"), of("accepted")];
    assert.deepEqual([...stored.keys()], [...accepted.keys()]);
    return Object.fromEntries([...stored].map(([name, at]) => [name, [at, accepted.get(name) ?? 0] as const]));
  };
  const send = async (name: (typeof ROOMS)[number], count: number): Promise<void> => {
    for (let i = 0; i < count; i++) alice.send(ids[name] as string, "hi");
    await stage.clock.advance(1);
  };
  return { stage, scrape, send };
}

test("The rooms that are shown are those that wait longest for the store, then the busiest, and no more.", async () => {
  const { stage, scrape, send } = await scraped({ limits: { metricRooms: 2 }, refuseWhileFailing: false });
  await scrape();
  await send("one", 5);
  await send("two", 9);
  await send("three", 1);
  await stage.clock.advance(1_000);
  assert.deepEqual(await scrape(), { two: [10, 10], one: [6, 6] });
  stage.faults.archiveAway = true;
  await send("four", 1);
  // The batch that is on its way waits as well as what stands behind it.
  await stage.clock.advance(100);
  assert.ok(stage.node.writer.oldestMs() >= 100);
  await send("three", 2);
  await send("two", 30);
  assert.deepEqual(await scrape(), { four: [1, 2], three: [2, 4] });
  stage.faults.archiveAway = false;
  await stage.clock.advance(3_000);
  assert.deepEqual(await scrape(), { two: [40, 40], three: [4, 4] });
});

test("A room that paused for a scrape, and one that was opened since, are as busy as what they said since.", async () => {
  const { stage, scrape, send } = await scraped({ limits: { metricRooms: 1 } });
  await send("one", 3);
  await stage.clock.advance(1_000);
  await scrape();
  await stage.clock.advance(1_000);
  assert.deepEqual(await scrape(), { one: [4, 4] });
  await send("one", 5);
  await send("two", 1);
  await stage.clock.advance(1_000);
  assert.deepEqual(await scrape(), { one: [9, 9] });
  const { id } = stage.node.awake.byId.values().next().value as { id: string };
  stage.node.awake.byId.get(id)?.close();
  await send("one", 7);
  await send("two", 2);
  await stage.clock.advance(1_000);
  assert.deepEqual(await scrape(), { one: [16, 16] });
});

test("Rooms that nobody uses are shown by when they were used last, and those that sleep are not.", async () => {
  const { stage, scrape, send } = await scraped({ limits: { metricRooms: 3, roomIdleMs: 5_000 } });
  await send("two", 1);
  await send("one", 1);
  await send("four", 1);
  await stage.clock.advance(1_000);
  await scrape();
  await stage.clock.advance(1_000);
  assert.deepEqual(Object.keys(await scrape()), ["four", "one", "two"]);
  await stage.clock.advance(10_000);
  assert.deepEqual(await scrape(), {});
});

test("With the limit at 0 no room is shown.", async () => {
  const { scrape, send } = await scraped({ limits: { metricRooms: 0 } });
  await send("one", 1);
  assert.deepEqual(await scrape(), {});
});

test("A scrape of 20,000 rooms compares each with few others, though the busiest come last.", async () => {
  const { stage, scrape, send } = await scraped({ limits: { metricRooms: 256 } });
  await send("one", 1);
  const rooms = stage.node.awake.byId;
  const [{ state }] = [...rooms.values()] as [Room, ...Room[]];
  let looks = 0;
  for (let i = 0; rooms.size < 20_000; i++) {
    const room = {
      ...{ id: `like-${i}`, status: "open", seenOffset: 0 },
      state: Object.assign(Object.create(state), { accepted: { offset: 5, term: 1 } }),
      // The later the room the sooner it is shown: whoever compares sees when it was used last.
      get usedAt() {
        looks++;
        return i;
      },
    };
    rooms.set(room.id, room as unknown as Room);
  }
  await scrape();
  assert.ok(looks > rooms.size && looks < 50 * rooms.size, `${looks} looks at ${rooms.size} rooms`);
});
