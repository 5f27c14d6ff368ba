import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { centrifugo } from "./centrifugo.ts";
import { nats } from "./nats.ts";
import { socketIo } from "./socketio.ts";
import { StampReader, stamped } from "./stamps.ts";
import { rabbitMq, spring } from "./stomp.ts";
import type { Counter, Wire } from "./wire.ts";
import { peerWire } from "./wires.ts";

const TEXT = 1;
const BINARY = 2;
const PING = 9;

/** A WebSocket frame as a server sends it. */
function frame(payload: string, opcode: number, more = ""): Buffer {
  const body = Buffer.from(payload);
  const opening = (more === "more" ? 0 : 0x80) | opcode;
  if (body.length < 126) return Buffer.concat([Buffer.from([opening, body.length]), body]);
  const head = Buffer.alloc(body.length < 65_536 ? 4 : 10);
  head[0] = opening;
  head[1] = head.length === 4 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(body.length, 2);
  else head.writeBigUInt64BE(BigInt(body.length), 2);
  return Buffer.concat([head, body]);
}

/** What a wire counts of these bytes when they come in pieces of these sizes, the last size again and again. */
function counted(wire: Wire, bytes: Buffer, sizes: readonly number[]): Counter {
  const counter = wire.counter();
  let at = 0;
  for (let i = 0; at < bytes.length; i += 1) {
    const size = sizes[Math.min(i, sizes.length - 1)] as number;
    const part = bytes.subarray(at, at + size);
    // Read buffers are shared and longer than a read; what follows the end must not count.
    counter.take(Buffer.concat([part, Buffer.from('\n\n42["x"]MSG a 1 1\r\n{"push":1}')]), part.length);
    at += part.length;
  }
  return counter;
}

function numbers({ messages, receipts, connected, errors, greetings, calls, pings, messageBytes }: Counter): object {
  return { messages, receipts, connected, errors, greetings, calls, pings, messageBytes };
}

const nothing = { receipts: 0, connected: 0, errors: 0, greetings: 0, calls: 0, pings: 0 };
const push = (size: number): string => `{"push":{"channel":"room0","pub":{"data":"${"x".repeat(size)}"}}}`;
const msg = (size: number): string => `MSG room0 1 ${size}\r\n${"\n".repeat(size)}\r\n`;

interface Case {
  readonly name: string;
  readonly wire: Wire;
  readonly bytes: Buffer;
  readonly counts: object;
}

const CASES: readonly Case[] = [
  {
    name: "Socket.IO",
    wire: socketIo,
    bytes: Buffer.concat([
      frame('0{"sid":"a","upgrades":[],"pingInterval":25000}', TEXT),
      frame('40{"sid":"b"}', TEXT),
      frame("430[]", TEXT),
      frame('42["message","a"]', TEXT),
      frame("2", TEXT),
      frame(`42["message","${"x".repeat(128)}"]`, TEXT),
      frame('44{"message":"no"}', TEXT),
      frame("", PING),
    ]),
    counts: { messages: 2, receipts: 1, connected: 1, errors: 1, greetings: 1, calls: 1, pings: 1, messageBytes: 144 },
  },
  {
    name: "Centrifugo",
    wire: centrifugo,
    bytes: Buffer.concat([
      frame('{"id":1,"connect":{"client":"a","version":"5.4.9","ping":25,"pong":true,"session":"b"}}', TEXT),
      frame('{"id":2,"subscribe":{}}', TEXT),
      frame(`${push(1)}\n${push(128)}\n{"id":3,"publish":{}}\n${push(128)}`, TEXT),
      frame("{}", TEXT),
      frame('{"id":3,"error":{"code":103,"message":"permission denied"}}', TEXT),
      frame(push(128).slice(0, 9), TEXT, "more"),
      frame(push(128).slice(9), 0),
    ]),
    counts: { ...nothing, messages: 4, receipts: 2, connected: 1, errors: 1, calls: 1, messageBytes: push(128).length },
  },
  {
    name: "NATS",
    wire: nats,
    bytes: Buffer.concat([
      frame('INFO {"server_id":"MSG","max_payload":1048576}\r\n', BINARY),
      frame("PONG\r\nPING\r\n", BINARY),
      frame(`${msg(128)}${msg(0)}${msg(1_000).slice(0, 500)}`, BINARY),
      frame(msg(1_000).slice(500), BINARY),
      frame("-ERR 'Slow Consumer'\r\n", BINARY),
    ]),
    counts: {
      ...nothing,
      messages: 3,
      receipts: 1,
      errors: 1,
      greetings: 1,
      calls: 1,
      messageBytes: msg(1_000).length,
    },
  },
];

for (const { name, wire, bytes, counts } of CASES) {
  test(`What a ${name} server sends is counted alike, however it is cut.`, () => {
    assert.deepEqual(numbers(counted(wire, bytes, [bytes.length])), counts);
    assert.deepEqual(numbers(counted(wire, bytes, [1])), counts);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }), (sizes) => {
        assert.deepEqual(numbers(counted(wire, bytes, sizes)), counts);
      }),
    );
  });
}

test("Many Centrifugo pushes in one long message are all counted.", () => {
  const bytes = frame(Array.from({ length: 1_000 }, () => push(128)).join("\n"), TEXT);
  assert.equal(counted(centrifugo, bytes, [4_096]).messages, 1_000);
});

test("A masked message of a server is refused.", () => {
  assert.throws(() => nats.counter().take(Buffer.from([0x82, 0x80, 0, 0, 0, 0]), 6), /masked/);
});

/** The payload of a message that a wire writes: masked with zeros, so as it is. */
function payloadOf(message: Uint8Array): string {
  const short = (message[1] ?? 0) & 0x7f;
  const header = short < 126 ? 2 : short === 126 ? 4 : 10;
  return Buffer.from(message.subarray(header + 4)).toString("utf8");
}

test("Each wire opens a subscription and publishes in its protocol's words.", () => {
  const said = (wire: Wire): string[] =>
    wire.steps("room0").map(({ say }) => (say === undefined ? "" : payloadOf(say)));
  assert.deepEqual(said(socketIo), ["40", '420["join","room0"]', ""]);
  assert.deepEqual(said(centrifugo), ['{"id":1,"connect":{}}', '{"id":2,"subscribe":{"channel":"room0"}}', ""]);
  assert.match(said(nats)[0] ?? "", /^CONNECT \{.*\}\r\nSUB room0 1\r\nPING\r\n$/);
  assert.match(said(spring)[1] ?? "", /^SUBSCRIBE\nid:sub-0\ndestination:\/topic\/room0\n/);
  assert.equal(said(rabbitMq).length, 3);
  assert.equal(payloadOf(socketIo.message("room0", "a")), '42["send","room0","a"]');
  assert.equal(payloadOf(centrifugo.message("room0", "a")), '{"id":3,"publish":{"channel":"room0","data":"a"}}');
  assert.equal(payloadOf(nats.message("room0", "é")), "PUB room0 2\r\né\r\n");
  assert.match(payloadOf(spring.message("room0", "a")), /^SEND\ndestination:\/topic\/room0\n.*\n\na\0$/s);
});

test("Only peers' dialects name a wire.", () => {
  assert.equal(peerWire("nats"), nats);
  assert.equal(peerWire("stomp"), undefined);
  assert.equal(peerWire("bare"), undefined);
  assert.equal(peerWire("toString"), undefined);
});

test("A stamp keeps the length of a body, and a body too short for one stays.", () => {
  assert.equal(stamped("x".repeat(128), 7).length, 128);
  assert.match(stamped("x".repeat(128), 7), /^~000000007~x/);
  assert.equal(stamped("short", 7), "short");
});

test("A message that overtakes another is seen, wherever payloads are cut; gaps and repeats are no disorder.", () => {
  const body = "x".repeat(20);
  const stream = [0, 1, 2, 4, 3, 5, 5, 9].map((number) => `{"data":"${stamped(body, number)}"}\n`).join("");
  for (let size = 1; size < stream.length; size += 1) {
    const reader = new StampReader();
    for (let at = 0; at < stream.length; at += size) reader.take(Buffer.from(stream.slice(at, at + size)));
    assert.equal(reader.disordered, 1, `in pieces of ${size}`);
  }
});
