import assert from "node:assert/strict";
import { test } from "node:test";
import { Appends } from "./appends.ts";
import { packOf } from "./bus.conformance.wire.ts";
import type { AppendAnswer } from "./bus.ts";
import { SimulatedClock } from "./clock.ts";
import { StoreFailure } from "./codes.ts";
import type { Entry } from "./entry.ts";
import { SILENT } from "./log.ts";
import type { Room } from "./room.ts";

test("An append that is not answered is repeated until it is, and told of once.", async () => {
  const clock = new SimulatedClock();
  const told: string[] = [];
  const log = { ...SILENT, warn: (_: object, line: string) => void told.push(line) };
  let tries = 0;
  let away = true;
  const bus = {
    publish: () => assert.fail("nobody owns the shard but this node"),
    append: async () => {
      tries++;
      if (away) throw new StoreFailure("Redis is away.");
      return "ok" as const;
    },
  };
  const answers: string[] = [];
  const appends = new Appends(0, { bus, clock, log, fanout: {} }, ({ answer }) => void answers.push(answer));
  const pack = packOf("r", 1, 1, { opening: true });
  appends.send(1, [{ takePack: () => ({ pack, postings: [] }) } as unknown as Room]);
  await clock.advance(10_000);
  assert.ok(tries > 100);
  assert.deepEqual(told, ["an append was not answered; asking again"]);
  away = false;
  await clock.advance(100);
  assert.deepEqual(answers, ["ok"]);
  assert.equal(appends.busy, false);
});

test("What is on its way to the hot log is made ready for its receivers meanwhile, once, and not after its answer.", async () => {
  const clock = new SimulatedClock();
  const ready: string[] = [];
  const fanout = { prepare: (room: string, entries: readonly Entry[]) => void ready.push(`${room} ${entries.length}`) };
  const answers: { readonly resolve: (answer: AppendAnswer) => void; readonly reject: (error: Error) => void }[] = [];
  const bus = {
    publish: () => assert.fail("nobody owns the shard but this node"),
    append: () => new Promise<AppendAnswer>((resolve, reject) => void answers.push({ resolve, reject })),
  };
  const appends = new Appends(0, { bus, clock, log: SILENT, fanout }, () => undefined);
  const pack = packOf("r", 1, 2, { opening: true });
  const room = { takePack: () => ({ pack, postings: [] }) } as unknown as Room;
  appends.send(1, [room]);
  assert.deepEqual(ready, []);
  await clock.advance(1);
  assert.deepEqual(ready, ["r 2"]);
  answers[0]?.reject(new StoreFailure("Redis is away."));
  await clock.advance(1_000);
  assert.equal(answers.length, 2);
  assert.deepEqual(ready, ["r 2"]);
  answers[1]?.resolve("ok");
  await clock.advance(1);
  assert.equal(appends.busy, false);
  appends.send(1, [room]);
  answers[2]?.resolve("ok");
  await Promise.resolve();
  await clock.advance(1);
  assert.deepEqual(ready, ["r 2"]);
});

test("A fault of ours as a pack is made ready costs neither the process nor the packs beside it.", async () => {
  const clock = new SimulatedClock();
  const ready: string[] = [];
  const told: string[] = [];
  const log = { ...SILENT, error: (_: object, line: string) => void told.push(line) };
  const fanout = {
    prepare: (room: string) => {
      if (room === "bad") throw new TypeError("A fault of ours.");
      ready.push(room);
    },
  };
  const answers: string[] = [];
  const bus = {
    publish: () => undefined,
    append: () => new Promise<AppendAnswer>((resolve) => clock.after(9, () => resolve("ok"))),
  };
  const appends = new Appends(0, { bus, clock, log, fanout }, ({ answer }) => void answers.push(answer));
  const rooms = ["bad", "good"].map((room) => ({ takePack: () => ({ pack: packOf(room, 1, 1), postings: [] }) }));
  appends.send(1, rooms as unknown as Room[]);
  await clock.advance(100);
  assert.deepEqual([ready, told, answers], [["good"], ["a pack met a fault of ours as it was made ready"], ["ok"]]);
});
