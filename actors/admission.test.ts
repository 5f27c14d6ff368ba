import assert from "node:assert/strict";
import { test } from "node:test";
import { Admission } from "./admission.ts";
import { SimulatedClock } from "./clock.ts";

function door(limits: { connections?: number; connectsPerSecond?: number; connectsBurst?: number }) {
  const clock = new SimulatedClock();
  const host = {
    clock,
    limits: { connections: 1_000, connectsPerSecond: 10, connectsBurst: 20, ...limits },
    connections: 0,
    draining: false,
  };
  const admission = new Admission(host);
  const enter = (times: number): number => {
    let came = 0;
    for (let at = 0; at < times; at++) {
      if (admission.enter() !== undefined) continue;
      came++;
      host.connections++;
    }
    return came;
  };
  return { clock, host, admission, enter };
}

test("A crowd comes in at the rate, after a first burst.", async () => {
  const { clock, enter, admission } = door({});
  assert.equal(enter(100), 20);
  assert.equal(admission.enter(), "try-later");
  await clock.advance(1_000);
  assert.equal(enter(100), 10);
  await clock.advance(60_000);
  assert.equal(enter(100), 20);
});

test("Without a rate only the bound of connections holds, and a draining node takes nobody.", () => {
  const { enter, admission, host } = door({ connectsPerSecond: 0, connections: 50 });
  assert.equal(enter(100), 50);
  assert.equal(admission.enter(), "try-later");
  host.draining = true;
  assert.equal(admission.enter(), "draining");
});
