import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";

setFlagsFromString("--allow-natives-syntax");
const laidOut = new Script("%HasFastProperties(String.prototype)");
const quick = (): boolean => laidOut.runInThisContext() as boolean;

test("Loading ioredis makes the methods of strings slow, and what loads it here makes them quick again.", async () => {
  assert.ok(quick());
  await import("ioredis");
  assert.ok(!quick(), "ioredis does no harm any more: quickenStrings can go");
  await import("./bus.redis.connection.ts");
  assert.ok(quick());
});
