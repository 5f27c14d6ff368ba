import assert from "node:assert/strict";
import { test } from "node:test";
import { Appends } from "./appends.ts";
import { packOf } from "./bus.conformance.wire.ts";
import { SimulatedClock } from "./clock.ts";
import { StoreFailure } from "./codes.ts";
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
  const appends = new Appends(0, { bus, clock, log }, ({ answer }) => void answers.push(answer));
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
