import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameCounter } from "./counter.ts";
import { REFUSALS } from "./frames.ts";
import { PayloadReader, parseFrame } from "./reader.ts";

/** A WebSocket message as a server sends it, with the shortest length field that fits. */
function message(payload: Uint8Array, opening = 0x81): Buffer {
  const size = payload.length;
  const header = Buffer.alloc(size < 126 ? 2 : size < 65_536 ? 4 : 10);
  header[0] = opening;
  if (size < 126) header[1] = size;
  else if (size < 65_536) {
    header[1] = 126;
    header.writeUInt16BE(size, 2);
  } else {
    header[1] = 127;
    header.writeBigUInt64BE(BigInt(size), 2);
  }
  return Buffer.concat([header, payload]);
}

function stomp(command: string, bytes: number): Buffer {
  return Buffer.from(`${command}\n`.padEnd(bytes, "x"));
}

function counts(counter: FrameCounter): Record<string, number> {
  const { messages, receipts, connected, errors, others, pings, closes } = counter;
  return { messages, receipts, connected, errors, others, pings, closes };
}

const one = { messages: 0, receipts: 0, connected: 0, errors: 0, others: 0, pings: 0, closes: 0 };

test("Each STOMP command is counted under its own name.", () => {
  const counter = new FrameCounter();
  const stream = Buffer.concat([
    message(stomp("CONNECTED", 40)),
    message(stomp("MESSAGE", 330)),
    message(stomp("RECEIPT", 30)),
    message(stomp("ERROR", 50)),
    message(Buffer.from("\n")),
    message(Buffer.alloc(0), 0x89),
    message(Buffer.from([3, 232]), 0x88),
  ]);
  counter.take(stream, stream.length);
  assert.deepEqual(counts(counter), {
    messages: 1,
    receipts: 1,
    connected: 1,
    errors: 1,
    others: 1,
    pings: 1,
    closes: 1,
  });
  assert.equal(counter.messageBytes, 330);
  assert.equal(counter.receiptBytes, 30);
});

test("Bytes beyond the given end of a shared read buffer are not looked at.", () => {
  const counter = new FrameCounter();
  const first = message(stomp("MESSAGE", 20));
  const buffer = Buffer.concat([first, message(stomp("MESSAGE", 20))]);
  counter.take(buffer, first.length);
  assert.equal(counter.messages, 1);
});

test("A message counts when its last byte is in, not before.", () => {
  const counter = new FrameCounter();
  const bytes = message(stomp("MESSAGE", 300));
  counter.take(bytes, bytes.length - 1);
  assert.equal(counter.messages, 0);
  counter.take(bytes.subarray(bytes.length - 1), 1);
  assert.equal(counter.messages, 1);
});

test("A message in fragments counts once, and a ping between them is seen.", () => {
  const counter = new FrameCounter();
  const stream = Buffer.concat([
    message(stomp("MESSAGE", 200), 0x01),
    message(Buffer.alloc(0), 0x89),
    message(Buffer.alloc(100), 0x00),
    message(Buffer.alloc(50), 0x80),
  ]);
  counter.take(stream, stream.length);
  assert.deepEqual(counts(counter), { ...one, messages: 1, pings: 1 });
  assert.equal(counter.messageBytes, 350);
});

test("A masked message, which no server may send, is refused.", () => {
  const counter = new FrameCounter();
  assert.throws(() => counter.take(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 1]), 7), /masked/);
});

test("Any split of any stream gives the same counts, with lengths of 1, 2 and 8 bytes.", () => {
  const sizes = fc.oneof(
    fc.integer({ min: 8, max: 140 }),
    fc.integer({ min: 65_530, max: 65_545 }),
    fc.integer({ min: 126, max: 2_000 }),
  );
  const frames = fc.array(fc.tuple(fc.constantFrom("MESSAGE", "RECEIPT"), sizes), { minLength: 1, maxLength: 12 });
  const cuts = fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 40_000 })), {
    minLength: 1,
    maxLength: 40,
  });
  fc.assert(
    fc.property(frames, cuts, (wanted, steps) => {
      const stream = Buffer.concat(wanted.map(([command, size]) => message(stomp(command, size))));
      const counter = new FrameCounter();
      const payloads: number[] = [];
      const reader = new PayloadReader((payload) => payloads.push(payload.length));
      for (let at = 0, k = 0; at < stream.length; k += 1) {
        const chunk = stream.subarray(at, at + (steps[k % steps.length] ?? 1));
        counter.take(chunk, chunk.length);
        reader.take(chunk, chunk.length);
        at += chunk.length;
      }
      const messages = wanted.filter(([command]) => command === "MESSAGE").length;
      assert.deepEqual(counts(counter), { ...one, messages, receipts: wanted.length - messages });
      assert.deepEqual(
        payloads,
        wanted.map(([, size]) => size),
      );
    }),
    { numRuns: 60 },
  );
});

test("A frame that is read in full gives its command, the first of repeated headers, and its body.", () => {
  const frame = parseFrame("MESSAGE\noffset:7\noffset:8\nsubscription:sub-0\n\nhello\nthere\0\n");
  assert.equal(frame.command, "MESSAGE");
  assert.equal(frame.headers.get("offset"), "7");
  assert.equal(frame.headers.get("subscription"), "sub-0");
  assert.equal(frame.body, "hello\nthere");
});

test("A MESSAGE on the subscription to refusals is counted as a refusal, however the stream is cut.", () => {
  const frames = [
    `MESSAGE\nsubscription:sub-0\n\n${"x".repeat(200)}\0`,
    `MESSAGE\nsubscription:${REFUSALS}\nevent:refused\n\n\0`,
    "MESSAGE\nsubscription:\0",
  ].map((frame) => message(Buffer.from(frame)));
  const stream = Buffer.concat(frames);
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const counter = new FrameCounter();
    const [first, second] = [stream.subarray(0, cut), stream.subarray(cut)];
    counter.take(first, first.length);
    counter.take(second, second.length);
    assert.deepEqual([counter.messages, counter.refusals], [2, 1], `cut at ${cut}`);
  }
});
