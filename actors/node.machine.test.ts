import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createActor } from "xstate";
import { NODE_EFFECTS, type NodeEffect, type NodeEvent, nodeMachine } from "./node.machine.ts";

/** Runs a life as a real actor; gives where it ends, whether it is over, and what was done. */
function live(...events: NodeEvent[]) {
  const effects: NodeEffect[] = [];
  const actions = Object.fromEntries(NODE_EFFECTS.map((effect) => [effect, () => effects.push(effect)]));
  const actor = createActor(nodeMachine.provide({ actions })).start();
  for (const type of events) actor.send({ type });
  const { value, status } = actor.getSnapshot();
  return { value, status, effects };
}

describe("The node machine, as an actor", () => {
  it("goes from start over SIGTERM to its end.", () => {
    assert.deepEqual(live("joined", "drain", "drain", "flushed", "failed"), {
      value: "gone",
      status: "done",
      effects: ["join", "openDoors", "closeDoors", "startDeadline", "handOver", "stopDeadline", "leave"],
    });
  });

  it("ends in time when the flush does not, and says so.", () => {
    const { value, effects } = live("joined", "drain", "deadline");
    assert.equal(value, "gone");
    assert.deepEqual(effects.slice(-3), ["stopDeadline", "noteUnflushed", "leave"]);
  });

  it("drains even after a failure, and notes it for the exit code.", () => {
    const { value, effects } = live("joined", "failed");
    assert.equal(value, "draining");
    assert.deepEqual(effects.slice(-4), ["closeDoors", "noteFailure", "startDeadline", "handOver"]);
  });

  it("opens no doors if it cannot start or is stopped while it starts.", () => {
    assert.deepEqual(live("failed").effects, ["join", "noteFailure", "leave"]);
    assert.deepEqual(live("drain", "joined", "flushed").effects, [
      ...["join", "startDeadline", "handOver", "stopDeadline", "leave"],
    ]);
  });
});
