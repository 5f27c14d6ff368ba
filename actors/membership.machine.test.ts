import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MEMBERSHIP_EVENTS, type MembershipEvent, membershipTable as table } from "./membership.machine.ts";

/** Runs a life; gives the state it ends in and all effects. */
function live(events: readonly MembershipEvent[]): { state: string; effects: string[] } {
  let state = table.initial;
  const effects: string[] = [...table.initialEffects];
  for (const event of events) {
    const index = table.event(event);
    effects.push(...table.effects(state, index));
    const next = table.next(state, index);
    if (next >= 0) state = next;
  }
  return { state: table.name(state), effects };
}

/** What others hear of it. */
const told = (effects: readonly string[]): string[] => effects.filter((effect) => effect.startsWith("announce"));

describe("The membership machine", () => {
  it("hides a reconnect within the grace.", () => {
    const { state, effects } = live(["granted", "lastGone", "returned", "lastGone", "returned"]);
    assert.equal(state, "present");
    assert.deepEqual(told(effects), ["announceJoin"]);
  });

  it("announces the leave when the grace is over.", () => {
    const { state, effects } = live(["granted", "lastGone", "graceOver"]);
    assert.equal(state, "left");
    assert.deepEqual(effects, ["announceJoin", "startGrace", "stopGrace", "announceLeave", "forget"]);
  });

  it("ends typing before it lingers, and before it leaves.", () => {
    assert.deepEqual(live(["granted", "type", "type", "lastGone"]).effects, [
      ...["announceJoin", "announceTypingStart", "startTypingTimer", "startTypingTimer"],
      ...["stopTypingTimer", "announceTypingStop", "startGrace"],
    ]);
    assert.deepEqual(told(live(["granted", "type", "removed"]).effects), [
      ...["announceJoin", "announceTypingStart", "announceTypingStop", "announceLeave"],
    ]);
  });

  it("announces no second join of who was there before the room opened again, and the leave.", () => {
    assert.deepEqual(live(["reopened", "granted", "returned"]), {
      state: "present",
      effects: ["startGrace", "stopGrace"],
    });
    for (const end of ["removed", "graceOver"] as const) {
      assert.deepEqual(told(live(["reopened", end]).effects), ["announceLeave"]);
    }
  });

  it("announces nothing of a user that was denied, or gone before it was granted.", () => {
    for (const event of ["denied", "lastGone", "removed"] as const) {
      assert.deepEqual(live([event, "granted", "type"]), { state: "left", effects: ["forget"] });
    }
  });

  it("pairs what it announces, stops what it starts, and forgets once, in every life.", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...MEMBERSHIP_EVENTS), { maxLength: 40 }), (events) => {
        const { state, effects } = live(events);
        const first = events.find((event) => table.next(table.initial, table.event(event)) >= 0);
        // The opening before this one said it.
        const before = first === "reopened" ? ["announceJoin"] : [];
        const said = [...before, ...told(effects)].join(" ");
        assert.match(
          said,
          /^(announceJoin( announceTypingStart announceTypingStop)*( announceTypingStart| announceLeave)?)?$/,
        );
        const last = (effect: string): number => effects.lastIndexOf(effect);
        if (state !== "typing") assert.ok(last("stopTypingTimer") >= last("startTypingTimer"));
        if (state !== "lingering") assert.ok(last("stopGrace") >= last("startGrace"));
        assert.equal(said.endsWith("announceTypingStart"), state === "typing");
        assert.equal(effects.filter((effect) => effect === "forget").length, state === "left" ? 1 : 0);
        assert.equal(said.includes("announceLeave"), state === "left" && said.includes("announceJoin"));
      }),
    );
  });
});
