import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SimulatedClock } from "../actors/clock.ts";
import { Deadlines, type Waiting } from "./guard.deadlines.ts";

const TIMEOUT_MS = 100;

const step = fc.oneof(
  fc.constant({ kind: "add" } as const),
  fc.record({ kind: fc.constant("end" as const), at: fc.nat(20) }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(60) }),
);

test("Whatever ends when, each call that does not end expires at its time, once, and no other does.", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const clock = new SimulatedClock();
      const deadlines = new Deadlines(clock, TIMEOUT_MS);
      const calls: { waiting: Waiting; addedMs: number; expiredMs: number[]; ended: boolean }[] = [];
      for (const one of steps) {
        if (one.kind === "wait") await clock.advance(one.ms);
        else if (one.kind === "add") {
          const addedMs = clock.monotonic();
          const expiredMs: number[] = [];
          const waiting = deadlines.add(addedMs, () => expiredMs.push(clock.monotonic()));
          calls.push({ waiting, addedMs, expiredMs, ended: false });
        } else {
          const call = calls[one.at];
          if (call === undefined) continue;
          const open = !call.ended && call.expiredMs.length === 0;
          assert.equal(deadlines.end(call.waiting), open);
          call.ended ||= open;
        }
      }
      await clock.advance(TIMEOUT_MS * 2);
      for (const { addedMs, expiredMs, ended } of calls) {
        assert.deepEqual(expiredMs, ended ? [] : [addedMs + TIMEOUT_MS]);
      }
    }),
    { numRuns: 60 },
  );
});
