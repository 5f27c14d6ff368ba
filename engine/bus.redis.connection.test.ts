import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreFailure } from "../actors/codes.ts";
import { type Standing, standAtStart } from "./bus.redis.connection.ts";

const there: Standing = { stands: async () => {}, lastError: "" };
const away: Standing = {
  stands: () => Promise.reject(new StoreFailure("Redis is away.")),
  lastError: "connect ECONNREFUSED",
};

test("A start that waits in vain says for which Redis and why, and not with which password.", async () => {
  await standAtStart([there, there], "redis://127.0.0.1:6379");
  const url = "redis://confab:secret@127.0.0.1:6379/2";
  const message = "Redis at 127.0.0.1:6379 (REDIS_URL) is away: connect ECONNREFUSED.";
  await assert.rejects(standAtStart([there, away], url), { message });
  const silent = { ...away, lastError: "" };
  await assert.rejects(standAtStart([silent], url), { message: /is away: no answer\.$/ });
});
