/** What is read from a channel is what one of us wrote, or is refused: whatever the bytes are. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { packOf } from "../actors/bus.conformance.wire.ts";
import { isNotice, isPack, isWord } from "../actors/bus.shapes.ts";
import type { Notice, Signal } from "../actors/bus.ts";
import { SimulatedClock } from "../actors/clock.ts";
import type { Word } from "../actors/words.ts";
import { type Message, Origin, packWord, readBeat, readMessage, TurnWriter } from "./bus.redis.codec.ts";
import { Damage } from "./bus.redis.damage.ts";

const BODY_AT = 9;
const packr = new Packr({ useRecords: false });
const origin = new Origin();

const SIGNALS: readonly Signal[] = [
  { room: "a", event: "presence", user: "alice", state: "join", offset: 0, term: 3 },
  { room: "a", event: "read", user: "bob", state: "", offset: 7, term: 3 },
];
const NOTICES: readonly Notice[] = [
  { kind: "notice", user: "alice", event: "added", room: "a", by: "bob" },
  { kind: "revoked", user: "alice", token: undefined, beforeMs: 1.5 },
  { kind: "owner", node: "n", shards: [[3, 9]] },
  { kind: "offline", node: "n", users: ["alice", "bob"] },
];
const guest = { user: "alice", name: "Alice" };
const draft = {
  event: "message",
  sender: "alice",
  senderName: "Alice",
  key: "c/1",
  ref: 0,
  contentType: "",
  headers: ["a", "b"],
  body: Uint8Array.of(1, 2),
  text: false,
} as const;
const WORDS: readonly Word[] = [
  {
    kind: "sends",
    parcels: [{ room: "a", line: 1, first: 1, oldest: 1, again: 0, term: 2, drafts: [draft], urgent: [0], passed: [] }],
  },
  {
    kind: "answers",
    lines: [
      {
        room: "a",
        line: 1,
        answers: [
          { what: "stored", at: 1, offset: 2, term: 2 },
          { what: "refused", at: 2, code: "queue-full", detail: undefined, retryAfterMs: 1 },
        ],
        expected: undefined,
        astray: false,
      },
    ],
  },
  { kind: "call", id: 1, method: "room.grant", args: ["a", "alice"] },
  { kind: "call", id: 2, method: "of another version", args: [undefined, 1] },
  {
    kind: "result",
    id: 3,
    method: "chat.presence",
    value: { count: 1, users: [{ id: "alice", name: "Alice", typing: false }] },
  },
  { kind: "refusal", id: 4, code: "busy", detail: "Later.", retryAfterMs: 5 },
  {
    kind: "crowds",
    crowds: [{ room: "a", came: [guest], went: ["bob"], whole: true, count: 1, digest: 5, believed: ["carol"] }],
  },
  { kind: "whoIsThere", rooms: ["a"] },
  { kind: "pass", shard: 1, lock: "value", term: 2 },
];

/** The bytes of a pack as they are published: what follows its size in the argument of the script. */
function packBytes(): Buffer {
  const entries = packOf("a", 4, 6, { term: 2 });
  const argument = new TurnWriter(origin).appends([{ shard: 0, term: 2, packs: [entries] }]);
  const size = argument.readUInt32BE(4 + 16 + 2 + 4 * 8 + 1);
  return argument.subarray(argument.length - size);
}

const SOUND: readonly Buffer[] = [
  packBytes(),
  origin.signals(SIGNALS),
  ...NOTICES.map((notice) => origin.notice(notice)),
  ...WORDS.map((word) => origin.words("n", [packWord(word)])),
  origin.words("n", WORDS.map(packWord)),
];

/** The message, or undefined when it is refused. */
function read(bytes: Buffer): Message | undefined {
  try {
    return readMessage(bytes);
  } catch (error) {
    assert.ok(error instanceof Error);
    return undefined;
  }
}

function assertShape(message: Message | undefined): void {
  if (message?.kind === "pack") assert.ok(isPack(message.pack));
  if (message?.kind === "notice") assert.ok(isNotice(message.notice));
  if (message?.kind === "words") for (const word of message.words) assert.ok(isWord(word));
  if (message?.kind === "signals") {
    for (const { room, user, state, offset, term } of message.signals) {
      for (const text of [room, user, state]) assert.equal(typeof text, "string");
      for (const number of [offset, term]) assert.ok(Number.isSafeInteger(number));
    }
  }
}

/** Bytes of any kind as a list. */
function plain(_name: string, value: unknown): unknown {
  const buffer = value as { readonly type?: unknown; readonly data?: unknown } | null;
  if (typeof value === "object" && buffer?.type === "Buffer") return buffer.data;
  return value instanceof Uint8Array ? [...value] : value;
}

test("What one of us wrote is read as it was.", () => {
  const messages = SOUND.map(readMessage);
  assert.deepEqual(
    messages.map(({ kind }) => kind),
    ["pack", "signals", ...NOTICES.map(() => "notice"), ...WORDS.map(() => "words"), "words"],
  );
  const last = messages.at(-1);
  assert.ok(last?.kind === "words" && last.damaged === 0);
  assert.deepEqual(
    last.words.map((word) => JSON.stringify(word, plain)),
    WORDS.map((word) => JSON.stringify(word, plain)),
  );
});

test("Any bytes are read as something of its shape, or refused with an error.", () => {
  const headed = fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ maxLength: 200 }))
    .map(([kind, rest]) => Buffer.concat([Buffer.from([kind]), Buffer.alloc(8), rest]));
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    headed,
  );
  fc.assert(
    fc.property(any, (bytes) => assertShape(read(bytes))),
    { numRuns: 5_000 },
  );
});

test("A message with some of its bytes changed, cut or doubled is of its shape still, or refused.", () => {
  const change = fc.oneof(
    fc.record({ at: fc.nat(), value: fc.nat({ max: 255 }) }),
    fc.record({ cut: fc.nat() }),
    fc.record({ twice: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.constantFrom(...SOUND), fc.array(change, { minLength: 1, maxLength: 4 }), (sound, changes) => {
      let bytes = Buffer.from(sound);
      for (const one of changes) {
        if ("at" in one) bytes[one.at % bytes.length] = one.value;
        else if ("cut" in one) bytes = bytes.subarray(0, one.cut % (bytes.length + 1));
        else bytes = Buffer.concat([bytes, bytes.subarray(one.twice % (bytes.length + 1))]);
        if (bytes.length === 0) break;
      }
      assertShape(read(bytes));
    }),
    { numRuns: 20_000 },
  );
});

/** All places of a value, with what to put there. */
function* placesOf(value: unknown, put: (value: unknown) => unknown): Generator<(value: unknown) => unknown> {
  yield put;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  for (const [name, inner] of Object.entries(value)) {
    const copy = (one: unknown): unknown => {
      const whole = Array.isArray(value) ? [...value] : { ...value };
      Reflect.set(whole, name, one);
      return put(whole);
    };
    yield* placesOf(inner, copy);
  }
}

test("A word, a notice or a signal with another kind of value at any of its places is refused.", () => {
  const others: readonly unknown[] = [-1, 0.5, null, true, "__proto__", "\u0000", [[[]]], { constructor: 1 }, 2 ** 60];
  const kinds: readonly [readonly unknown[], (bytes: Buffer) => Buffer][] = [
    [WORDS, (bytes) => origin.words("n", [bytes])],
    [NOTICES, (bytes) => Buffer.concat([Buffer.from([3]), Buffer.alloc(8), bytes])],
    [[SIGNALS], (bytes) => Buffer.concat([Buffer.from([2]), Buffer.alloc(8), bytes])],
  ];
  let refused = 0;
  for (const [samples, framed] of kinds) {
    for (const sample of samples) {
      for (const put of placesOf(sample, (value) => value)) {
        for (const other of others) {
          const message = read(framed(packr.pack(put(other))));
          assertShape(message);
          if (!message || (message.kind === "words" && message.damaged === 1)) refused++;
        }
      }
    }
  }
  assert.ok(refused > 500, `${refused}`);
});

test("Of the words of one message only those without their shape are dropped, and they are counted.", () => {
  const bad = packr.pack({ kind: "crowds", crowds: [{ room: "a", came: [{}], went: [], whole: true }] });
  const message = readMessage(origin.words("n", [packWord(WORDS[7] as Word), bad, packWord(WORDS[8] as Word)]));
  assert.ok(message.kind === "words");
  assert.deepEqual([message.words.map(({ kind }) => kind), message.damaged], [["whoIsThere", "pass"], 1]);
  assert.throws(() => readMessage(origin.words("", [packWord(WORDS[7] as Word)])), RangeError);
});

test("Words nested a thousand times over, and lists that say they are endless, are refused.", () => {
  const nested = Buffer.concat([Buffer.alloc(1_000_000, 0x91), Buffer.from([0xc0])]);
  const endless = Buffer.from([0xdd, 0x01, 0xff, 0xff, 0xff]);
  for (const body of [nested, Buffer.concat(Array.from({ length: 100 }, () => endless))]) {
    for (const kind of [2, 3, 4]) {
      const bytes = Buffer.concat([Buffer.from([kind]), Buffer.alloc(BODY_AT - 1), body]);
      assert.throws(() => readMessage(bytes));
    }
  }
});

test("A draft that no document of the archive could hold is refused before it gets a place in a log.", () => {
  const large = { ...draft, body: new Uint8Array(10_000_000) };
  const sends = WORDS[0] as Extract<Word, { kind: "sends" }>;
  const word = { ...sends, parcels: [{ ...(sends.parcels[0] as (typeof sends.parcels)[0]), drafts: [large] }] };
  const message = readMessage(origin.words("n", [packWord(word)]));
  assert.ok(message.kind === "words" && message.damaged === 1);
});

test("A beat that is none is refused.", () => {
  const beat = { node: "n", draining: false, since: 1, connections: 0, shards: 0 };
  assert.deepEqual(readBeat(JSON.stringify(beat)), beat);
  for (const said of ["", "{", "null", "[]", JSON.stringify({ ...beat, node: "" }), JSON.stringify({ node: "n" })]) {
    assert.throws(() => readBeat(said));
  }
});

test("Damage is counted each time, and told at once, then at most every ten seconds, with how much there was.", async () => {
  const clock = new SimulatedClock();
  const told: number[] = [];
  const damage = new Damage(clock, ({ count }) => told.push(count));
  for (let i = 0; i < 1_000; i++) damage.met(1, new RangeError("none"));
  assert.deepEqual([damage.count, told], [1_000, [1]]);
  await clock.advance(10_000);
  assert.deepEqual(told, [1, 999]);
  damage.met(2, new RangeError("none"));
  await clock.advance(10_000);
  assert.deepEqual(told, [1, 999, 2]);
  await clock.advance(60_000);
  assert.deepEqual(told, [1, 999, 2]);
  damage.met(1, new RangeError("none"));
  assert.deepEqual([damage.count, told], [1_003, [1, 999, 2, 1]]);
  damage.stop();
});
