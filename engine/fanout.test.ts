import type uWS from "uWebSockets.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { packOf } from "../actors/bus.conformance.wire.ts";
import type { Subscription } from "../actors/link.ts";
import { NativeFanout } from "./fanout.ts";

const socket = { subscribe: () => true, unsubscribe: () => true } as unknown as uWS.WebSocket<unknown>;

const subscription = (id: string): Subscription => ({
  ...{ id, kind: "log", subject: "r", destination: "/topic/room.r", ack: "auto", state: "live" },
});

/** A fan-out with receivers of these subscription ids in room `r`, and what it published: topic and text. */
function fanoutOf(...ids: readonly string[]) {
  const published: string[] = [];
  const fanout = new NativeFanout((topic, message) => {
    published.push(`${Buffer.from(topic)} ${Buffer.from(message)}`);
    return true;
  });
  for (const id of ids) fanout.attach(socket, subscription(id), "1.2");
  return { fanout, published };
}

test("What was made ahead is published as it would have been made, and is not made again.", () => {
  const { entries } = packOf("r", 1, 3);
  const plain = fanoutOf("a", "b");
  const ahead = fanoutOf("a", "b");
  ahead.fanout.prepare("r", entries);
  assert.deepEqual(ahead.published, []);
  assert.equal(ahead.fanout.encodings, 6);
  assert.equal(ahead.fanout.entries("r", entries), 6);
  assert.equal(ahead.fanout.encodings, 6);
  assert.equal(plain.fanout.entries("r", entries), 6);
  assert.deepEqual(ahead.published, plain.published);
});

test("Who comes after a pack was made ready gets it, who left before does not, and entries of another pack are their own.", () => {
  const { entries } = packOf("r", 1, 1);
  const { fanout, published } = fanoutOf("a", "b");
  fanout.prepare("r", entries);
  fanout.attach(socket, subscription("late"), "1.2");
  fanout.detach(socket, subscription("a"), "1.2");
  assert.equal(fanout.entries("r", entries), 2);
  assert.deepEqual(
    published.map((text) => /subscription:(\w+)/.exec(text)?.[1]),
    ["b", "late"],
  );
  published.length = 0;
  // Left and come back: another native topic under the same id.
  fanout.prepare("r", entries);
  fanout.detach(socket, subscription("b"), "1.2");
  fanout.attach(socket, subscription("b"), "1.2");
  fanout.entries("r", entries);
  assert.deepEqual(
    published.map((text) => text.slice(0, text.indexOf(" "))),
    ["3", "4"],
  );
  published.length = 0;
  fanout.entries("r", packOf("r", 2, 2).entries);
  assert.ok(published.every((text) => text.includes("\noffset:2\n")));
  assert.equal(published.length, 2);
});

test("Nothing is made ahead for a room that nobody listens to, nor for one of very many kinds of receivers.", () => {
  const { entries } = packOf("r", 1, 1);
  const nobody = fanoutOf();
  nobody.fanout.prepare("r", entries);
  assert.equal(nobody.fanout.encodings, 0);
  const many = fanoutOf(...Array.from({ length: 9 }, (_, id) => `sub-${id}`));
  many.fanout.prepare("r", entries);
  assert.equal(many.fanout.encodings, 0);
  assert.equal(many.fanout.entries("r", entries), 9);
});

test("Of what is not made ahead each frame is made as it is published: of very many kinds of receivers no two are held.", () => {
  const made: number[] = [];
  const fanout = new NativeFanout(() => {
    made.push(fanout.encodings);
    return true;
  });
  for (let id = 0; id < 9; id++) fanout.attach(socket, subscription(`sub-${id}`), "1.2");
  const { entries } = packOf("r", 1, 1);
  fanout.prepare("r", entries);
  fanout.entries("r", entries);
  assert.deepEqual(made, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("Packs of more bytes than may be held for each kind of receivers are not made ahead.", () => {
  const body = new Uint8Array(262_144);
  const entries = packOf("r", 1, 2).entries.map((entry) => ({ ...entry, body }));
  for (const [ids, ahead] of [
    [["a", "b"], 4],
    [["a", "b", "c"], 0],
  ] as const) {
    const { fanout, published } = fanoutOf(...ids);
    fanout.prepare("r", entries);
    assert.equal(fanout.encodings, ahead);
    assert.equal(fanout.entries("r", entries), ids.length * 2);
    assert.equal(published.length, ids.length * 2);
  }
});
