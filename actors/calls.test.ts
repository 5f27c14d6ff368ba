import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MemoryHub } from "./bus.memory.ts";
import type { Bus } from "./bus.ts";
import { Astray, Calls, type CallWord, OPEN_MOST, SERVED_MOST, type Serving, Unanswered } from "./calls.ts";
import { SimulatedClock } from "./clock.ts";
import { type CodeWord, Refusal, StoreFailure } from "./codes.ts";
import { LIMITS } from "./limits.ts";
import { SILENT } from "./log.ts";
import type { Word } from "./words.ts";

const code = (word: CodeWord) => (error: unknown) => error instanceof Refusal && error.code === word;
const unanswered = (error: unknown): boolean => error instanceof Unanswered;

/** Two nodes on one hub; `lose` says which words are lost. */
function two(serving: Partial<Serving>): {
  clock: SimulatedClock;
  ask: Calls;
  serve: Calls;
  said: Word[];
  wire: { lose: (word: Word) => boolean };
} {
  const clock = new SimulatedClock();
  const hub = new MemoryHub(1, LIMITS);
  const said: Word[] = [];
  const wire = { lose: (_word: Word): boolean => false };
  const node = (name: string): Calls => {
    const bus = hub.connect();
    const tell: Bus["tell"] = (to, word) => {
      said.push(word);
      if (!wire.lose(word)) bus.tell(to, word);
    };
    const nothing: Serving = { serve: async () => undefined, safe: () => false };
    const { serve, safe } = { ...nothing, ...serving };
    const calls = new Calls({ name, bus: { tell }, clock, log: SILENT, serve, safe });
    const silent = { onPack() {}, onSignals() {}, onNotice() {}, onGap() {} };
    bus.receive({ name, ...silent, onWord: (from, word) => calls.take(from, word as CallWord) });
    return calls;
  };
  return { clock, ask: node("a"), serve: node("b"), said, wire };
}

test("A call is answered with what the other node did, and one to oneself without the bus.", async () => {
  const { ask, said } = two({ serve: async (from, method, args) => ({ from, method, args, body: new Uint8Array(2) }) });
  const there = { from: "a", method: "m", args: [1, undefined, "x"], body: new Uint8Array(2) };
  assert.deepEqual(await ask.ask("b", "m", [1, undefined, "x"]), there);
  assert.deepEqual(
    said.map(({ kind }) => kind),
    ["call", "result"],
  );
  assert.deepEqual(await ask.ask("a", "m", [1, undefined, "x"]), there);
  assert.equal(said.length, 2);
  assert.equal(ask.open, 0);
});

test("A refusal comes back as it was, astray as astray, a store's silence as such, and a fault as internal.", async () => {
  const faults = [
    new Refusal("last-admin", "so", 7),
    new Astray(),
    new StoreFailure("away"),
    new TypeError("secret of ours"),
  ];
  const { ask } = two({
    serve: async (_from, _method, [at]) => {
      throw faults[at as number];
    },
  });
  for (const node of ["b", "a"]) {
    const refused = await ask.ask(node, "m", [0]).catch((error: unknown) => error as Refusal);
    assert.ok(refused instanceof Refusal);
    assert.deepEqual([refused.code, refused.detail, refused.retryAfterMs], ["last-admin", "so", 7]);
    await assert.rejects(ask.ask(node, "m", [1]), Astray);
    await assert.rejects(ask.ask(node, "m", [2]), code("store-unavailable"));
    await assert.rejects(ask.ask(node, "m", [3]), (error: Error) => !error.message.includes("secret"));
    await assert.rejects(ask.ask(node, "m", [3]), code("internal"));
  }
});

test("What is lost on the way is said again after 300 ms, and done once.", async () => {
  let done = 0;
  const { ask, serve, clock, wire } = two({ serve: async () => ++done });
  const lost = new Set<string>();
  // The first word of each kind is lost.
  wire.lose = ({ kind }) => !lost.has(kind) && lost.add(kind).size > 0;
  const answer = ask.ask("b", "m", []);
  await clock.advance(299);
  assert.equal(done, 0);
  await clock.advance(1);
  assert.equal(done, 1);
  await clock.advance(300);
  assert.equal(await answer, 1);
  assert.equal(done, 1);
  assert.equal(ask.counts.repeated, 2);
  assert.equal(serve.counts.remembered, 1);
  assert.equal(ask.open, 0);
});

test("A call that comes again while it is under way is one call.", async () => {
  let done = 0;
  let finish = (): void => {};
  const { ask, clock } = two({
    serve: () => {
      done++;
      return new Promise((resolve) => {
        finish = () => resolve(done);
      });
    },
  });
  const answer = ask.ask("b", "m", []);
  await clock.advance(1_000);
  finish();
  assert.equal(await answer, 1);
});

test("Without an answer a call ends after 5 s, or the time given, or when the node is gone.", async () => {
  const { ask, clock, wire } = two({});
  wire.lose = () => true;
  const outcomes: string[] = [];
  const note = (name: string, asked: Promise<unknown>): void => {
    asked.catch((error: unknown) => {
      assert.ok(unanswered(error));
      outcomes.push(`${name} ${clock.monotonic() - start}`);
    });
  };
  const start = clock.monotonic();
  note("long", ask.ask("b", "m", []));
  note("short", ask.ask("b", "m", [], 1_000));
  note("gone", ask.ask("c", "m", []));
  await clock.advance(500);
  ask.gone("c");
  await clock.advance(5_000);
  assert.deepEqual(outcomes, ["gone 500", "short 1000", "long 5000"]);
  assert.deepEqual([ask.open, ask.counts.unanswered], [0, 3]);
  const last = ask.ask("b", "m", []);
  ask.stop();
  await assert.rejects(last, unanswered);
});

test("What may be done again is not kept; what may not is kept for 15 s and no longer.", async () => {
  const { ask, serve, clock } = two({ safe: (method) => method === "read" });
  for (let i = 0; i < 5; i++) await ask.ask("b", "read", []);
  assert.equal(serve.served, 0);
  for (let i = 0; i < 5; i++) await ask.ask("b", "write", []);
  assert.equal(serve.served, 5);
  await clock.advance(14_999);
  await ask.ask("b", "read", []);
  assert.equal(serve.served, 5);
  await clock.advance(1);
  await ask.ask("b", "read", []);
  assert.equal(serve.served, 0);
});

test("Beyond the bound of open calls nothing is asked; beyond that of remembered ones nothing is done.", async () => {
  const { ask, wire, said } = two({});
  wire.lose = () => true;
  for (let i = 0; i < OPEN_MOST; i++) ask.ask("b", "m", []).catch(() => undefined);
  await assert.rejects(ask.ask("b", "m", []), code("busy"));
  assert.equal(said.length, OPEN_MOST);
  let done = 0;
  const other = two({ serve: async () => ++done });
  for (let id = 0; id < SERVED_MOST; id++) other.serve.take("x", { kind: "call", id, method: "m", args: [] });
  await assert.rejects(other.ask.ask("b", "m", []), code("busy"));
  assert.equal(done, SERVED_MOST);
  assert.equal(other.serve.counts.busy, 1);
});

test("An answer of a node that was not asked, or to another question, is none.", async () => {
  const { ask, clock, said, wire } = two({ serve: async () => "true" });
  wire.lose = ({ kind }) => kind === "call";
  const answer = ask.ask("b", "m", []);
  const [call] = said;
  assert.ok(call?.kind === "call");
  ask.take("c", { kind: "result", id: call.id, method: "m", value: "false" });
  ask.take("b", { kind: "result", id: call.id, method: "another", value: "false" });
  wire.lose = () => false;
  await clock.advance(300);
  assert.equal(await answer, "true");
});

test("Whatever is lost, a call is done at most once, and once if it was answered.", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { maxLength: 60 }),
      fc.integer({ min: 1, max: 5 }),
      async (losses, calls) => {
        const done: number[] = [];
        const { ask, clock, wire } = two({
          serve: async (_from, _method, [n]) => {
            done[n as number] = (done[n as number] ?? 0) + 1;
            return n;
          },
        });
        let at = 0;
        wire.lose = () => losses[at++] ?? false;
        const outcomes = Array.from({ length: calls }, (_, n) =>
          ask.ask("b", "m", [n]).then(
            (value) => assert.deepEqual([value, done[n]], [n, 1]),
            (error: unknown) => assert.ok(unanswered(error)),
          ),
        );
        await clock.advance(6_000);
        await Promise.all(outcomes);
        assert.ok(done.every((times) => times === 1));
        assert.equal(ask.open, 0);
      },
    ),
    { numRuns: 60 },
  );
});
