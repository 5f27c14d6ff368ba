import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type AnyStateMachine, assign, createMachine, initialTransition, setup, transition } from "xstate";
import { CONNECTION_EFFECTS, CONNECTION_EVENTS, CONNECTION_STATES, connectionMachine } from "./connection.machine.ts";
import { MEMBERSHIP_EFFECTS, MEMBERSHIP_EVENTS, MEMBERSHIP_STATES, membershipMachine } from "./membership.machine.ts";
import { NODE_EFFECTS, NODE_EVENTS, NODE_STATES, nodeMachine } from "./node.machine.ts";
import { SHARD_EFFECTS, SHARD_EVENTS, SHARD_STATES, shardMachine } from "./shard.machine.ts";
import { lower, type Named, namedEffects, type Table } from "./table.ts";

interface Case {
  readonly machine: AnyStateMachine;
  readonly states: readonly string[];
  readonly events: readonly string[];
  readonly effects: readonly string[];
}

/** Every kind of transition that a flat machine has, which the four of ours need not all have. */
const sampler = setup({
  types: {} as { events: Named<"self" | "again" | "stay" | "shut" | "go" | "end"> },
  actions: namedEffects(["in", "out", "way"]),
}).createMachine({
  id: "sampler",
  initial: "one",
  states: {
    one: {
      entry: ["in", "way"],
      exit: "out",
      on: {
        self: { target: "one", actions: "way" },
        again: { target: "one", actions: "way", reenter: true },
        stay: { actions: ["way", "way"] },
        shut: {},
        go: { target: "two", actions: "way" },
      },
    },
    two: { entry: "in", exit: ["out", "way"], on: { go: "one", end: "three" } },
    three: { type: "final", entry: "in" },
  },
});

const SAMPLER: Case = {
  machine: sampler,
  states: ["one", "two", "three"],
  events: ["self", "again", "stay", "shut", "go", "end"],
  effects: ["in", "out", "way"],
};

const CASES: Readonly<Record<string, Case>> = {
  sampler: SAMPLER,
  connection: {
    machine: connectionMachine,
    states: CONNECTION_STATES,
    events: CONNECTION_EVENTS,
    effects: CONNECTION_EFFECTS,
  },
  membership: {
    machine: membershipMachine,
    states: MEMBERSHIP_STATES,
    events: MEMBERSHIP_EVENTS,
    effects: MEMBERSHIP_EFFECTS,
  },
  shard: { machine: shardMachine, states: SHARD_STATES, events: SHARD_EVENTS, effects: SHARD_EFFECTS },
  node: { machine: nodeMachine, states: NODE_STATES, events: NODE_EVENTS, effects: NODE_EFFECTS },
};

const types = (actions: readonly { readonly type: string }[]): string[] => actions.map((action) => action.type);

/** Asserts that table and machine agree on one event, and gives the machine's next snapshot. */
function step(table: Table<string, string, string>, machine: AnyStateMachine, value: string, event: string) {
  const [after, actions] = transition(machine, machine.resolveState({ value, context: {} }), { type: event });
  const state = table.state(value);
  const next = table.next(state, table.event(event));
  const where = `${machine.id}: ${value}, ${event}`;
  assert.equal(next < 0 ? value : table.name(next), after.value, where);
  assert.deepEqual(table.effects(state, table.event(event)), types(actions), where);
  return String(after.value);
}

for (const [name, { machine, ...words }] of Object.entries(CASES)) {
  describe(`The table of the ${name} machine`, () => {
    const table = lower(machine, words);

    it("begins as the machine does.", () => {
      const [snapshot, actions] = initialTransition(machine);
      assert.equal(table.name(table.initial), snapshot.value);
      assert.deepEqual(table.initialEffects, types(actions));
    });

    it("equals the machine on every pair of state and event.", () => {
      const finals = Object.values(machine.states).filter((node) => node.type === "final");
      for (const value of words.states) {
        for (const event of words.events) {
          // A snapshot made from a final state's name is not marked as done, yet has no transitions either.
          const after = step(table, machine, value, event);
          const allowed = table.next(table.state(value), table.event(event)) >= 0;
          assert.ok(allowed || after === value);
          if (finals.some((node) => node.key === value)) assert.ok(!allowed);
        }
      }
    });

    it("equals the machine on random sequences of events.", () => {
      fc.assert(
        fc.property(fc.array(fc.constantFrom(...words.events), { maxLength: 25 }), (events) => {
          let [snapshot] = initialTransition(machine);
          let state = table.initial;
          for (const event of events) {
            const [after, actions] = transition(machine, snapshot, { type: event });
            const index = table.event(event);
            assert.deepEqual(table.effects(state, index), types(actions));
            const next = table.next(state, index);
            if (next >= 0) state = next;
            assert.equal(table.name(state), after.value);
            snapshot = after;
          }
        }),
        { numRuns: 200 },
      );
    });

    it("reaches every state, and has no idle event or effect.", () => {
      const reached = new Set([table.initial]);
      const heard = new Set<string>();
      const done = new Set<string>(table.initialEffects);
      for (const state of reached) {
        for (const event of table.events) {
          const next = table.next(state, table.event(event));
          if (next < 0) continue;
          reached.add(next);
          heard.add(event);
          for (const effect of table.effects(state, table.event(event))) done.add(effect);
        }
      }
      assert.equal(reached.size, table.states.length);
      assert.deepEqual([...heard].sort(), [...words.events].sort());
      assert.deepEqual([...done].sort(), [...words.effects].sort());
    });
  });
}

describe("A lowered table", () => {
  it("does nothing at an event that the state does not know.", () => {
    const table = lower(sampler, SAMPLER);
    const [two, stay] = [table.state("two"), table.event("stay")];
    assert.equal(table.next(two, stay), -1);
    assert.deepEqual(table.effects(two, stay), []);
  });

  it("hands out its lists of effects frozen and always the same.", () => {
    const table = lower(sampler, SAMPLER);
    const [one, go] = [table.state("one"), table.event("go")];
    assert.ok(Object.isFrozen(table.effects(one, go)));
    assert.equal(table.effects(one, go), table.effects(one, go));
  });
});

// Machines that go from a to b at go, each with something that a flat table cannot say.
const FLAT = { a: { on: { go: "b" } }, b: {} };
const WORDS = { states: ["a", "b"], events: ["go"], effects: ["act"] };
const REFUSED: [string, RegExp, AnyStateMachine][] = [
  [
    "a guard",
    /guard at go/,
    createMachine({ initial: "a", states: { ...FLAT, a: { on: { go: { target: "b", guard: () => true } } } } }),
  ],
  [
    "a choice",
    /choice of ways at go/,
    createMachine({ initial: "a", states: { ...FLAT, a: { on: { go: [{ target: "b" }, { target: "a" }] } } } }),
  ],
  [
    "nested states",
    /b is compound/,
    createMachine({ initial: "a", states: { ...FLAT, b: { initial: "c", states: { c: {} } } } }),
  ],
  [
    "parallel states",
    /b is parallel/,
    createMachine({ initial: "a", states: { ...FLAT, b: { type: "parallel", states: { c: {} } } } }),
  ],
  ["a history state", /b is history/, createMachine({ initial: "a", states: { ...FLAT, b: { type: "history" } } })],
  ["a parallel root", /root is parallel/, createMachine({ type: "parallel", states: FLAT })],
  ["no states at all", /root is atomic/, createMachine({})],
  ["transitions of the root", /root has transitions/, createMachine({ initial: "a", states: FLAT, on: { go: ".b" } })],
  ["actions of the root", /root does things/, createMachine({ initial: "a", states: FLAT, entry: "act" })],
  ["an invoked actor", /b invokes/, createMachine({ initial: "a", states: { ...FLAT, b: { invoke: { src: "x" } } } })],
  ["a delay", /b has a delayed/, createMachine({ initial: "a", states: { ...FLAT, b: { after: { 10: "a" } } } })],
  [
    "an eventless transition",
    /b has an eventless/,
    createMachine({ initial: "a", states: { ...FLAT, b: { always: "a" } } }),
  ],
  ["a wildcard", /waits for \*/, createMachine({ initial: "a", states: { ...FLAT, a: { on: { "*": "b" } } } })],
  [
    "an action with parameters",
    /more than a name/,
    createMachine({ initial: "a", states: { ...FLAT, b: { entry: { type: "act", params: { x: 1 } } } } }),
  ],
  [
    "an inline action",
    /more than a name/,
    createMachine({ initial: "a", states: { ...FLAT, b: { entry: () => undefined } } }),
  ],
  ["a context", /more than a name/, createMachine({ initial: "a", states: { ...FLAT, b: { entry: assign({}) } } })],
  ["an unknown effect", /effect other/, createMachine({ initial: "a", states: { ...FLAT, b: { entry: "other" } } })],
  ["an unknown event", /event come/, createMachine({ initial: "a", states: { ...FLAT, b: { on: { come: "a" } } } })],
  ["a state too many", /states a, b, c/, createMachine({ initial: "a", states: { ...FLAT, c: {} } })],
  ["a missing state", /states a,/, createMachine({ initial: "a", states: { a: {} } })],
  [
    "a final state with a way out",
    /final and yet/,
    createMachine({ initial: "a", states: { ...FLAT, b: { type: "final", on: { go: "a" } } } }),
  ],
  [
    "a final state with an exit",
    /final and yet/,
    createMachine({ initial: "a", states: { ...FLAT, b: { type: "final", exit: "act" } } }),
  ],
];
describe("Lowering", () => {
  for (const [what, sentence, machine] of REFUSED) {
    it(`refuses a machine with ${what}, with a full sentence.`, () => {
      assert.throws(
        () => lower(machine, WORDS),
        (fault: Error) => {
          assert.match(fault.message, sentence);
          assert.match(fault.message, /^The machine .*\.$/);
          return true;
        },
      );
    });
  }
});
