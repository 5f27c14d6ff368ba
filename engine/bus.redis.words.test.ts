import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Ear, type Told } from "../actors/bus.conformance.wire.ts";
import type { Bus } from "../actors/bus.ts";
import type { Word } from "../actors/words.ts";
import type { StoreServer } from "../ops/stores/process.ts";
import { nextPrefix, openNode, openRaw, serverOrReason } from "./bus.redis.fixture.ts";

const found = await serverOrReason();
const ROOM = "r";
const MIB = 1_048_576;

if (typeof found === "string") {
  test("Words over Redis.", { skip: found }, () => {});
} else {
  describe("Words over Redis", () => words(found));
  describe("Words over a Redis that fails", () => faults());
}

/** A node with a name, which hears its words. */
async function named(url: string, prefix: string, name: string) {
  const node = await openNode(url, prefix);
  const ear = new Ear(name);
  node.bus.receive(ear);
  await node.bus.join(ROOM);
  return { ...node, ear };
}

function callOf(id: number, body: Uint8Array): Word {
  return { kind: "call", id, method: "m", args: [body] };
}

const beat = (bus: Bus) => bus.beat({ node: "n", draining: false, since: 0, connections: 0, shards: 0 }, 1_000);

function words({ url }: StoreServer): void {
  test("leave in one message per node and turn.", async () => {
    const prefix = nextPrefix();
    const { bus, close } = await named(url, prefix, "n1");
    const raw = openRaw(url);
    const channels = [`${prefix}node:n2`, `${prefix}node:n3`] as const;
    await raw.subscribe(...channels);
    const messages: string[] = [];
    raw.on("message", (channel: string) => messages.push(channel));
    for (let id = 0; id < 100; id++) bus.tell(id === 50 ? "n3" : "n2", callOf(id, new Uint8Array(8)));
    await once(raw, "message");
    while (messages.length < 2) await once(raw, "message");
    bus.tell("n3", callOf(0, new Uint8Array(8)));
    await once(raw, "message");
    assert.deepEqual(messages, [channels[0], channels[1], channels[1]]);
    assert.equal(bus.wordsDropped, 0);
    raw.disconnect();
    await close();
  });

  test("bring bytes that are no part of a network buffer.", async () => {
    const prefix = nextPrefix();
    const [first, second] = [await named(url, prefix, "n1"), await named(url, prefix, "n2")];
    const body = Uint8Array.from({ length: 256 }, (_, at) => at);
    first.bus.tell("n2", callOf(1, new Uint8Array(9)));
    first.bus.tell("n2", callOf(2, body));
    await second.ear.until(2);
    const heard = (second.ear.heard[1] as Told).word as Word & { kind: "call" };
    const [there] = heard.args as readonly [Uint8Array];
    assert.deepEqual(Uint8Array.from(there), body);
    assert.equal(there.buffer.byteLength, body.length);
    await first.close();
    await second.close();
  });

  test("come in order behind whatever else anybody publishes to the channels of a node.", async () => {
    const prefix = nextPrefix();
    const [first, second] = [await named(url, prefix, "n1"), await named(url, prefix, "n2")];
    const raw = openRaw(url);
    const garbage = [
      "",
      "x",
      "{}",
      Buffer.alloc(8),
      Buffer.alloc(9, 1),
      Buffer.alloc(64, 0xff),
      Buffer.from("\u0001".repeat(40)),
    ];
    for (const message of garbage) {
      for (const channel of [`${prefix}node:n2`, `${prefix}notices`]) await raw.publish(channel, message);
    }
    first.bus.tell("n2", callOf(1, new Uint8Array(9)));
    await second.ear.until(1);
    assert.equal((second.ear.heard[0] as Told).word.kind, "call");
    raw.disconnect();
    await first.close();
    await second.close();
  });

  test("are counted when nobody of that name is there.", async () => {
    const { bus, close } = await named(url, nextPrefix(), "n1");
    bus.tell("nobody", callOf(1, new Uint8Array(8)));
    bus.tell("nobody", callOf(2, new Uint8Array(8)));
    while (bus.wordsDropped === 0) await beat(bus);
    assert.equal(bus.wordsDropped, 2);
    await close();
  });

  test("tell the lag of the bus.", async () => {
    const node = await openNode(url, nextPrefix());
    assert.equal(node.bus.lagMs, undefined);
    node.bus.receive(new Ear("n1"));
    while (node.bus.lagMs === undefined) await beat(node.bus);
    assert.ok(node.bus.lagMs >= 0 && node.bus.lagMs < 1_000, `${node.bus.lagMs} ms`);
    await node.close();
  });
}

function faults(): void {
  test("are dropped and counted while it is away, come again when it is back, and to oneself always.", async () => {
    const server = await serverOrReason();
    assert.ok(typeof server !== "string");
    const prefix = nextPrefix();
    const [first, second] = [await named(server.url, prefix, "n1"), await named(server.url, prefix, "n2")];
    await server.kill();
    await assert.rejects(beat(first.bus));
    for (const name of ["n2", "n1"]) first.bus.tell(name, callOf(1, new Uint8Array(8)));
    await first.ear.until(1);
    while (first.bus.wordsDropped === 0) await assert.rejects(beat(first.bus));
    assert.equal(first.bus.wordsDropped, 1);
    assert.equal((first.ear.heard[0] as Told).from, "n1");
    await server.start();
    await second.ear.until(1);
    assert.deepEqual(second.ear.heard, ["gap"]);
    const again = await answered(first.bus);
    assert.deepEqual([again.nodes.length, again.rememberedMs], [1, 0], "it came back empty");
    first.bus.tell("n2", callOf(2, new Uint8Array(8)));
    await second.ear.until(2);
    assert.equal(((second.ear.heard[1] as Told).word as Word & { kind: "call" }).id, 2);
    await first.close();
    await second.close();
    await server.close();
  });

  test("are dropped and counted beyond a bound while it stands still.", async () => {
    const server = await serverOrReason();
    assert.ok(typeof server !== "string");
    const { bus, close } = await named(server.url, nextPrefix(), "n1");
    server.pause();
    for (let id = 0; id < 40; id++) bus.tell("n2", callOf(id, new Uint8Array(MIB)));
    assert.equal(bus.wordsDropped, 40 - 31);
    server.resume();
    await close();
    await server.close();
  });
}

/** Beats until it is answered, as a node does. */
async function answered(bus: Bus): ReturnType<typeof beat> {
  for (;;) {
    try {
      return await beat(bus);
    } catch {
      // Redis is not back yet.
    }
  }
}
