import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createActor } from "xstate";
import { SHARD_EFFECTS, SHARD_EVENTS, type ShardEffect, type ShardEvent, shardMachine } from "./shard.machine.ts";

/** A started actor whose effects are written down. */
function start() {
  const effects: ShardEffect[] = [];
  const actions = Object.fromEntries(SHARD_EFFECTS.map((effect) => [effect, () => effects.push(effect)]));
  const actor = createActor(shardMachine.provide({ actions })).start();
  const live = (...events: ShardEvent[]): string => {
    for (const type of events) actor.send({ type });
    return String(actor.getSnapshot().value);
  };
  return { effects, live };
}

const OWN = ["want", "lockTaken", "fenced", "recovered"] as const;

describe("The shard machine, as an actor", () => {
  it("claims and fences before it reads, and reads before it announces.", () => {
    const { effects, live } = start();
    assert.equal(live(...OWN), "owning");
    assert.deepEqual(effects, ["takeLock", "startRenewal", "claimAndFence", "recover", "announce"]);
  });

  it("stops deciding before the lock is passed, and forwards the waiting SENDs at the end.", () => {
    const { effects, live } = start();
    live(...OWN);
    effects.length = 0;
    assert.equal(live("prepare", "handedOver"), "free");
    assert.deepEqual(effects, ["suspend", "passLock", "stepDown", "forwardLine"]);
  });

  it("owns the shard again, under a new term, after a lost hot log or a failed handover.", () => {
    for (const events of [["lost"], ["prepare", "handoverFailed"], ["prepare", "lost"]] as const) {
      const { effects, live } = start();
      assert.equal(live(...OWN, ...events), "acquiring");
      assert.equal(effects.at(-1), "takeLock");
      assert.equal(live("lockTaken", "fenced", "recovered"), "owning");
    }
  });

  it("never owns without a new claim, and steps down whenever it becomes free.", () => {
    const { effects, live } = start();
    const reach = {
      free: [],
      acquiring: ["want"],
      recovering: OWN.slice(0, 3),
      owning: OWN,
      handingOver: [...OWN, "prepare"],
    };
    for (const [name, path] of Object.entries(reach) as [string, ShardEvent[]][]) {
      for (const event of SHARD_EVENTS) {
        live("release");
        assert.equal(live(...path), name);
        effects.length = 0;
        const after = live(event);
        if (after === "free" && name !== "free") assert.ok(effects.includes("stepDown"), `${name}, ${event}`);
        if (after === "owning") assert.ok(name === "owning" || name === "recovering", `${name}, ${event}`);
        if (name === "owning" && after !== "owning") assert.equal(effects[0], "suspend", event);
        // A lock that may be somebody else's by now is never released without looking, nor kept.
        const passed = name === "handingOver" && (event === "handedOver" || event === "stale");
        if (after === "free" && name !== "free") assert.equal(effects.includes("letGo"), !passed, `${name}, ${event}`);
      }
    }
  });
});
