import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ConnectionEvent, connectionTable as table } from "./connection.machine.ts";

/** Runs a life; gives the state it ends in and all effects, the initial ones included. */
function live(...events: ConnectionEvent[]): { state: string; effects: string[] } {
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

describe("The connection machine", () => {
  it("goes from the handshake over CONNECT and DISCONNECT to a closed socket.", () => {
    const { state, effects } = live("connect", "accepted", "frame", "disconnect", "settled");
    assert.equal(state, "closed");
    assert.deepEqual(effects, [
      ...["startConnectTimer", "authenticate", "stopConnectTimer", "sendConnected", "startHeartbeat", "handleFrame"],
      ...["noteDisconnect", "startDrainTimer", "awaitOutcomes"],
      ...["stopDrainTimer", "answerDisconnect", "closeSocket", "release"],
    ]);
  });

  it("refuses every frame before CONNECTED, and a second CONNECT.", () => {
    for (const events of [
      ["frame"],
      ["connect", "frame"],
      ["connect", "connect"],
      ["connect", "accepted", "connect"],
    ]) {
      const { state, effects } = live(...(events as ConnectionEvent[]));
      assert.equal(state, "closed");
      assert.deepEqual(effects.slice(-3), ["sendError", "closeSocket", "release"]);
      assert.ok(effects.includes("stopConnectTimer"));
    }
  });

  it("drops frames that come while it drains, and notes a DISCONNECT that meets the drain.", () => {
    const { state, effects } = live("connect", "accepted", "drain", "frame", "disconnect", "drain", "settled");
    assert.equal(state, "closed");
    assert.deepEqual(effects.slice(5), [
      ...["startDrainTimer", "awaitOutcomes", "dropFrame", "noteDisconnect"],
      ...["stopDrainTimer", "answerDisconnect", "closeSocket", "release"],
    ]);
  });

  const paths: ConnectionEvent[][] = [[], ["connect"], ["connect", "accepted"], ["connect", "accepted", "drain"]];
  for (const path of paths) {
    const name = live(...path).state;
    it(`releases what it holds exactly once, however it ends while ${name}, and stops its timers.`, () => {
      for (const end of ["lost", "fault", "expired"] as const) {
        const { state, effects } = live(...path, end, "lost", "settled", "timeout", "fault");
        assert.equal(state, "closed");
        assert.equal(effects.filter((effect) => effect === "release").length, 1);
        assert.equal(effects.includes("closeSocket"), end !== "lost");
        assert.equal(effects.includes("sendError"), end !== "lost");
        for (const timer of ["ConnectTimer", "DrainTimer"]) {
          assert.ok(effects.lastIndexOf(`stop${timer}`) >= effects.lastIndexOf(`start${timer}`), timer);
        }
      }
    });
  }
});
