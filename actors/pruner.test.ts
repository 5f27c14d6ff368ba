import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock } from "./clock.ts";
import { StoreFailure } from "./codes.ts";
import { MemoryDirectory } from "./directory.memory.ts";
import { LIMITS } from "./limits.ts";
import { DirectoryPruner } from "./pruner.ts";

const DAY_MS = 86_400_000;

test("What is over goes at start and every ten minutes, also after a failure.", async () => {
  const directory = new MemoryDirectory();
  const clock = new SimulatedClock();
  const warned: string[] = [];
  let away = false;
  const pruner = new DirectoryPruner({
    directory: {
      prune: async (nowMs, auditFromMs, limit) => {
        if (away) throw new StoreFailure("away");
        return directory.prune(nowMs, auditFromMs, limit);
      },
    },
    clock,
    limits: LIMITS,
    log: { debug() {}, info() {}, warn: (_fields, message) => void warned.push(message), error() {} },
  });
  const login = (at: number) => directory.audit({ at, success: true, account: "ann", address: "", agent: "" });
  const left = async () => (await directory.logins(undefined, 10_000)).length;
  const now = clock.now();
  for (let i = 0; i < 1_200; i++) await directory.revoke("ann", `t${i}`, { nowMs: now, keepUntilMs: now });
  await login(now - LIMITS.loginAuditDays * DAY_MS - 1);
  await login(now - LIMITS.loginAuditDays * DAY_MS + 900_000);
  pruner.start();
  await clock.turn();
  assert.equal((await directory.revocationsAfter(0, 10)).length, 0);
  assert.equal(await left(), 1);
  away = true;
  await clock.advance(600_000);
  assert.deepEqual(warned, ["the directory could not be pruned"]);
  away = false;
  await clock.advance(600_000);
  assert.equal(await left(), 0);
  pruner.stop();
  await login(0);
  await clock.advance(3_600_000);
  assert.equal(await left(), 1);
});
