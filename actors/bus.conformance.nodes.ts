/** Conformance of a bus: what nodes say to each other by name, and how they learn who lives. */
import assert from "node:assert/strict";
import { type Check, Ear, type Told } from "./bus.conformance.wire.ts";
import type { Beat, Bus } from "./bus.ts";
import type { Draft } from "./posting.ts";
import type { Word } from "./words.ts";

/** Words between nodes, and beats. */
export function nodes(check: Check): void {
  words(check);
  owners(check);
  beats(check);
}

const BODY = Uint8Array.from({ length: 256 }, (_, at) => at);
const END: Word = { kind: "astray", id: 0 };

function draftOf(key: string, body: Uint8Array): Draft {
  const named = { sender: "alice", senderName: "Alice Ω", key, ref: 0 };
  return { ...named, event: "message", contentType: "", headers: ["x", "1"], body, text: false };
}

function sendsOf(first: number, ...bodies: readonly Uint8Array[]): Word {
  const drafts = bodies.map((body, at) => draftOf(`c/${first + at}`, body));
  return {
    kind: "sends",
    parcels: [{ room: "a", line: 7, first, oldest: first, again: 0, term: 0, drafts, urgent: [0], passed: [1] }],
  };
}

/** One of each kind, with all that a word may hold. */
const SAMPLES: readonly Word[] = [
  sendsOf(1, BODY, BODY.subarray(3, 3)),
  {
    kind: "answers",
    lines: [
      {
        room: "a",
        line: 7,
        answers: [
          { what: "stored", at: 1, offset: 2 ** 52, term: 3 },
          { what: "refused", at: 2, code: "queue-full", detail: undefined, retryAfterMs: 1.5 },
        ],
        expected: undefined,
        astray: false,
      },
    ],
  },
  { kind: "call", id: 1, method: "members", args: ["a", { after: undefined, limit: -1 }, [BODY], null, true] },
  { kind: "result", method: "m", id: 1, value: undefined },
  { kind: "refusal", id: 1, code: "not-found", detail: "Gone.", retryAfterMs: undefined },
  { kind: "crowds", crowds: [] },
  { kind: "whoIsThere", rooms: ["a", "b"] },
  { kind: "pass", shard: 3, lock: "value", term: 9 },
  END,
];

/** The same with plain bytes: a backend may hand out any kind of Uint8Array. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

/** Gives a node its name; once a room is joined that it does not own, words come too. */
async function named(bus: Bus, name: string, room: string): Promise<Ear> {
  const ear = new Ear(name);
  bus.receive(ear);
  await bus.join(room);
  return ear;
}

function words(check: Check): void {
  check("tells words to the node of that name only, once, in order, as they were.", async ({ hub, bus, stranger }) => {
    const [second, third] = [await hub.connect(), await hub.connect()];
    const [one, two, three] = [
      await named(bus, "n1", stranger),
      await named(second, "n2", stranger),
      await named(third, "n3", stranger),
    ];
    for (const word of SAMPLES) bus.tell("n2", word);
    third.tell("n3", END);
    third.tell("n1", END);
    await Promise.all([one.until(1), two.until(SAMPLES.length), three.until(1)]);
    second.tell("n2", END);
    await two.until(SAMPLES.length + 1);
    assert.deepEqual(two.heard.pop(), { from: "n2", word: END }, "nothing comes twice");
    assert.deepEqual(
      two.heard.map(plain),
      SAMPLES.map((word) => plain({ from: "n1", word })),
    );
    assert.deepEqual([one.heard, three.heard], [[{ from: "n3", word: END }], [{ from: "n3", word: END }]]);
  });

  check("keeps the order of words of any size, over many turns.", async ({ hub, bus, stranger }) => {
    const second = await hub.connect();
    const two = await named(second, "n2", stranger);
    await named(bus, "n1", stranger);
    const large = new Uint8Array(700_000).fill(7);
    for (let turn = 0; turn < 3; turn++) {
      for (let at = 1; at <= 4; at++) bus.tell("n2", sendsOf(turn * 4 + at, at === 2 ? large : BODY, large));
      await two.until(turn * 4 + 1);
    }
    await two.until(12);
    const parcels = two.heard.map((one) => ((one as Told).word as Word & { kind: "sends" }).parcels[0]);
    assert.deepEqual(
      parcels.map((parcel) => parcel?.first),
      Array.from({ length: 12 }, (_, at) => at + 1),
    );
    for (const parcel of parcels) assert.deepEqual(plain(parcel?.drafts[1]?.body), large);
  });

  check("tells no word within the call that says it, to whomever it goes.", async ({ hub, bus, stranger }) => {
    const second = await hub.connect();
    const [one, two] = [await named(bus, "n1", stranger), await named(second, "n2", stranger)];
    for (const name of ["n1", "n2", "nobody"]) bus.tell(name, END);
    assert.deepEqual([one.heard, two.heard], [[], []]);
    await Promise.all([one.until(1), two.until(1)]);
    assert.deepEqual([one.heard, two.heard], [[{ from: "n1", word: END }], [{ from: "n1", word: END }]]);
  });
}

function owners(check: Check): void {
  check("sends notices of owners, of ends and of who is there as they were.", async ({ bus, hub, stranger }) => {
    const second = await hub.connect();
    const ear = await named(second, "n2", stranger);
    const notices = [
      { kind: "owner", node: "n1", shards: [[1, 2] as const, [255, 2 ** 40] as const] },
      { kind: "dissolved", room: "a" },
      { kind: "changed", what: "entries", rooms: ["a", "b"] },
      { kind: "changed", what: "markers", rooms: ["a"] },
      { kind: "offline", node: "n1", users: ["alice", "bob"] },
      { kind: "online", node: "n1", users: [] },
    ] as const;
    for (const notice of notices) bus.notify(notice);
    await ear.until(notices.length);
    assert.deepEqual(ear.heard, notices);
  });
}

function beatOf(node: string, over: Partial<Beat> = {}): Beat {
  return { node, draining: false, since: 1_700_000_000_000, connections: 3, shards: 0, ...over };
}

const LONG_MS = 600_000;

function beats(check: Check): void {
  const namesOf = async (bus: Bus, self: Beat): Promise<string[]> => {
    const { nodes: living } = await bus.beat(self, LONG_MS);
    return living.map(({ node }) => node).sort();
  };

  check("hears from all who live what they said last, the asking one included.", async ({ hub, bus }) => {
    const second = await hub.connect();
    const [one, two] = [beatOf("n1"), beatOf("n2 Ω \n", { draining: true, shards: 128 })];
    assert.deepEqual((await bus.beat({ ...one, connections: 9 }, LONG_MS)).nodes, [{ ...one, connections: 9 }]);
    await second.beat(two, LONG_MS);
    const { nodes: living } = await bus.beat(one, LONG_MS);
    assert.deepEqual(
      [...living].sort((a, b) => (a.node < b.node ? -1 : 1)),
      [one, two],
    );
  });

  check("forgets a node whose life is over, and knows it again when it beats.", async ({ hub, bus }) => {
    const second = await hub.connect();
    await second.beat(beatOf("n2"), 500);
    assert.deepEqual(await namesOf(bus, beatOf("n1")), ["n1", "n2"]);
    await hub.elapse(501);
    assert.deepEqual(await namesOf(bus, beatOf("n1")), ["n1"]);
    await second.beat(beatOf("n2"), LONG_MS);
    assert.deepEqual(await namesOf(bus, beatOf("n1")), ["n1", "n2"]);
  });

  check("counts a life from its last beat.", async ({ hub, bus }) => {
    const second = await hub.connect();
    await second.beat(beatOf("n2"), 100);
    await second.beat(beatOf("n2"), LONG_MS);
    await hub.elapse(101);
    assert.deepEqual(await namesOf(bus, beatOf("n1")), ["n1", "n2"]);
    await second.beat(beatOf("n2"), 100);
    await hub.elapse(101);
    assert.deepEqual(await namesOf(bus, beatOf("n1")), ["n1"], "also when it asks for less than before");
  });

  check("forgets a node that ended in order at once, also when it is told twice.", async ({ hub, bus }) => {
    const second = await hub.connect();
    await second.beat(beatOf("n2"), LONG_MS);
    await second.fade("n2");
    await bus.fade("n2");
    assert.deepEqual(await namesOf(bus, beatOf("n1")), ["n1"]);
  });

  check("says for how long it has remembered, and that it came back empty.", async ({ hub, bus }) => {
    const second = await hub.connect();
    await second.beat(beatOf("n2"), LONG_MS);
    await hub.elapse(200);
    assert.ok((await bus.beat(beatOf("n1"), LONG_MS)).rememberedMs >= 200);
    await hub.wipe();
    const { nodes: living, rememberedMs } = await bus.beat(beatOf("n1"), LONG_MS);
    assert.ok(rememberedMs >= 0 && rememberedMs < 200, `${rememberedMs} ms`);
    assert.deepEqual(living, [beatOf("n1")]);
  });
}
