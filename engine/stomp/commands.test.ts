import type uWS from "uWebSockets.js";
import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { LIMITS } from "../../actors/limits.ts";
import { Stage, tokenOf } from "../../actors/node.fixture.ts";
import { Edge } from "../edge.ts";
import { NativeFanout } from "../fanout.ts";
import { encodeFrame } from "./encoder.ts";
import { Session } from "./session.ts";

/** A session that is signed in, has begun the transaction `t`, and all that its socket was given. */
async function sessionInTransaction(): Promise<{ session: Session; sent: string[] }> {
  const { node } = await Stage.open();
  const sent: string[] = [];
  const socket = {
    send: (frame: string | Uint8Array) => sent.push(String(frame)),
    end: () => undefined,
  } as unknown as uWS.WebSocket<unknown>;
  const edge = new Edge(node, new NativeFanout(() => true), { limits: LIMITS, version: "0" });
  const session = new Session(edge, socket, "127.0.0.1");
  const passcode = tokenOf({ sub: "alice" });
  session.receive(encodeFrame("CONNECT", ["accept-version", "1.2", "passcode", passcode], NOTHING, "1.2"));
  session.receive(encodeFrame("BEGIN", ["transaction", "t"], NOTHING, "1.2"));
  return { session, sent };
}

const NOTHING = new Uint8Array(0);

function acknowledgement(body: Uint8Array, ...headers: readonly string[]): Buffer {
  return encodeFrame("ACK", ["id", "s.1", "transaction", "t", ...headers], body, "1.2");
}

test("An ACK that waits for COMMIT is kept without the body that came with it.", async () => {
  const { session } = await sessionInTransaction();
  const frame = acknowledgement(new Uint8Array(1_000_000));
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 40; i++) {
    // In two pieces, so that the parser gathers it.
    session.receive(frame.subarray(0, 500));
    session.receive(frame.subarray(500));
  }
  const held = (): number => process.memoryUsage().arrayBuffers - before;
  // What nobody holds any more is given back a while after it was found to be free.
  for (let turn = 0; turn < 200 && held() > 4_000_000; turn++) {
    collect();
    await new Promise(setImmediate);
  }
  assert.ok(held() <= 4_000_000, `${held()} bytes held`);
  assert.ok(session.connection.ready);
});

test("The headers of ACKs that wait for COMMIT count as what a transaction holds.", async () => {
  const { session, sent } = await sessionInTransaction();
  const long = "x".repeat(7_000);
  const frame = acknowledgement(NOTHING, "one", long, "two", long);
  const most = Math.ceil(LIMITS.transactionBytes / 28_000);
  for (let i = 0; i < most; i++) session.receive(frame);
  assert.match(sent.at(-1) ?? "", /^ERROR\n(?:.*\n)*code:transaction-too-large\n/);
});
