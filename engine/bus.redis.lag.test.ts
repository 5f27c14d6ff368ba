import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedClock } from "../actors/clock.ts";
import { Lag } from "./bus.redis.lag.ts";

function lagOn(clock: SimulatedClock): { readonly lag: Lag; readonly pings: number[]; readonly wire: { up: boolean } } {
  const pings: number[] = [];
  const wire = { up: true };
  const ping = (number: number): boolean => {
    if (wire.up) pings.push(number);
    return wire.up;
  };
  return { lag: new Lag({ clock, ping }), pings, wire };
}

test("The lag is what the last ping took, and more once the next one takes longer.", async () => {
  const clock = new SimulatedClock();
  const { lag, pings } = lagOn(clock);
  assert.equal(lag.ms, undefined);
  lag.start();
  await clock.advance(20);
  assert.equal(lag.ms, undefined, "nothing is known yet");
  lag.heard(pings[0] as number);
  assert.equal(lag.ms, 20);
  await clock.advance(1_000);
  assert.equal(pings.length, 2);
  assert.equal(lag.ms, 20);
  await clock.advance(300);
  assert.equal(lag.ms, 320, "the second left 320 ms ago");
  lag.heard(pings[1] as number);
  assert.equal(lag.ms, 320);
  lag.heard(pings[1] as number);
  assert.equal(lag.ms, 320, "a number counts once");
  lag.stop();
  await clock.advance(10_000);
  assert.equal(pings.length, 2, "it has stopped");
});

test("A lost ping counts as late, and another follows it.", async () => {
  const clock = new SimulatedClock();
  const { lag, pings } = lagOn(clock);
  lag.start();
  await clock.advance(5_000);
  assert.equal(pings.length, 1);
  assert.equal(lag.ms, 5_000);
  await clock.advance(1_000);
  assert.equal(pings.length, 2);
  lag.heard(pings[0] as number);
  assert.equal(lag.ms, undefined, "the first one says nothing any more");
  lag.heard(pings[1] as number);
  assert.equal(lag.ms, 0);
  lag.stop();
});

test("There is no lag while the wire is down, and it is measured anew once the node hears itself again.", async () => {
  const clock = new SimulatedClock();
  const { lag, pings, wire } = lagOn(clock);
  lag.start();
  lag.heard(pings[0] as number);
  await clock.advance(1_000);
  wire.up = false;
  lag.start();
  await clock.advance(1_000);
  assert.equal(lag.ms, undefined);
  wire.up = true;
  lag.start();
  await clock.advance(1_000);
  lag.heard(pings[2] as number);
  assert.equal(lag.ms, 0);
  assert.equal(pings.length, 3);
  lag.stop();
  lag.start();
  await clock.advance(2_000);
  assert.equal(pings.length, 3, "what has stopped does not start again");
});
