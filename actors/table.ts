/**
 * A flat XState machine lowered to a table of integers. The machine is where a life cycle is written down, drawn and
 * tested; the table is what a hundred thousand of them run on: one small integer each, no allocation per event.
 *
 *              event 0   event 1   event 2
 *     state 0  1 | [a]   -         0 | []         next state | effects: exit, transition, entry
 *     state 1  -         0 | [b]   -              -          : not allowed here, nothing happens
 */
import type { AnyStateMachine, StateNode } from "xstate";

/** The event objects of a machine whose events carry nothing but their names. */
export type Named<Name extends string> = Name extends string ? { readonly type: Name } : never;

/** The words of a machine: what its table may hold, in the order of the indexes. */
export interface Words<State extends string, Event extends string, Effect extends string> {
  readonly states: readonly State[];
  readonly events: readonly Event[];
  /** The machine's action names. */
  readonly effects: readonly Effect[];
}

/** A lowered machine. States and events are indexes into `states` and `events`; out of range answers are undefined. */
export interface Table<State extends string, Event extends string, Effect extends string> {
  readonly states: readonly State[];
  readonly events: readonly Event[];
  /** The state that a life begins in. */
  readonly initial: number;
  /** What is to be done when a life begins. */
  readonly initialEffects: readonly Effect[];
  /** The state after the event; -1 if the event is not allowed in this state and changes nothing. */
  next(state: number, event: number): number;
  /** What is to be done, in order; empty if there is nothing or the event is not allowed. Never copied: do not change. */
  effects(state: number, event: number): readonly Effect[];
  /** The name of a state. */
  name(state: number): State;
  /** The index of a state. */
  state(name: State): number;
  /** The index of an event; hot paths look it up once. */
  event(name: Event): number;
}

/** Placeholders for the actions of a machine, which only name effects; a process provides what they do. */
export function namedEffects<const Effect extends string>(names: readonly Effect[]): Record<Effect, () => void> {
  return Object.fromEntries(names.map((name) => [name, () => undefined])) as Record<Effect, () => void>;
}

const STATES_MOST = 127; // an Int8Array holds the next states
const EFFECT_LISTS_MOST = 255; // a Uint8Array holds the numbers of the effect lists

/**
 * Walks a machine into a table with the same behaviour. Meant for start: it throws an `Error` with a full sentence if
 * the machine has what a flat table cannot express (guards, nested, parallel or history states, invoked actors,
 * delayed or eventless transitions, wildcards, actions that are more than a name), or uses a word not in `words`.
 */
export function lower<State extends string, Event extends string, Effect extends string>(
  machine: AnyStateMachine,
  words: Words<State, Event, Effect>,
): Table<State, Event, Effect> {
  return new LoweredTable(machine, words);
}

class LoweredTable<State extends string, Event extends string, Effect extends string>
  implements Table<State, Event, Effect>
{
  readonly states: readonly State[];
  readonly events: readonly Event[];
  readonly initial: number;
  readonly initialEffects: readonly Effect[];
  readonly #next: Int8Array;
  readonly #list: Uint8Array;
  readonly #lists: (readonly Effect[])[] = [[]];
  readonly #stateIndex: ReadonlyMap<string, number>;
  readonly #eventIndex: ReadonlyMap<string, number>;

  constructor(machine: AnyStateMachine, words: Words<State, Event, Effect>) {
    this.states = Object.freeze([...words.states]);
    this.events = Object.freeze([...words.events]);
    this.#stateIndex = new Map(this.states.map((name, index) => [name, index]));
    this.#eventIndex = new Map(this.events.map((name, index) => [name, index]));
    const effects = new Set<string>(words.effects);
    const flat = flatten(machine, effects);
    const strangers = [...flat.states.keys()].filter((name) => !this.#stateIndex.has(name));
    if (strangers.length > 0 || flat.states.size !== this.states.length || this.states.length > STATES_MOST) {
      const named = [...flat.states.keys()].join(", ");
      throw new Error(
        `The machine ${machine.id} has the states ${named}, not the ${this.states.length} it should have.`,
      );
    }
    this.#next = new Int8Array(this.states.length * this.events.length).fill(-1);
    this.#list = new Uint8Array(this.#next.length);
    for (const [from, state] of flat.states) {
      for (const [name, step] of state.steps) this.#add(machine.id, [from, name], step);
    }
    this.initial = this.state(flat.initial as State);
    this.initialEffects = Object.freeze((flat.states.get(flat.initial)?.entry ?? []) as Effect[]);
    Object.freeze(this.#lists);
  }

  #add(id: string, [from, name]: readonly [string, string], step: Step): void {
    const event = this.#eventIndex.get(name);
    if (event === undefined) throw new Error(`The machine ${id} handles the event ${name}, which is not in its list.`);
    const cell = this.state(from as State) * this.events.length + event;
    const found = this.#lists.findIndex((list) => list.join() === step.effects.join());
    const list = found >= 0 ? found : this.#lists.push(Object.freeze(step.effects as Effect[])) - 1;
    if (list > EFFECT_LISTS_MOST)
      throw new Error(`The machine ${id} has more than ${EFFECT_LISTS_MOST} lists of effects.`);
    this.#next[cell] = this.state(step.to as State);
    this.#list[cell] = list;
  }

  next(state: number, event: number): number {
    return this.#next[state * this.events.length + event] as number;
  }

  effects(state: number, event: number): readonly Effect[] {
    return this.#lists[this.#list[state * this.events.length + event] as number] as readonly Effect[];
  }

  name(state: number): State {
    return this.states[state] as State;
  }

  state(name: State): number {
    return this.#stateIndex.get(name) as number;
  }

  event(name: Event): number {
    return this.#eventIndex.get(name) as number;
  }
}

interface Step {
  readonly to: string;
  readonly effects: readonly string[];
}

interface FlatState {
  readonly entry: readonly string[];
  readonly steps: ReadonlyMap<string, Step>;
}

interface FlatMachine {
  readonly initial: string;
  readonly states: ReadonlyMap<string, FlatState>;
}

/** Reads a machine, refusing everything that is not a name, a target, or an event. */
function flatten(machine: AnyStateMachine, effects: ReadonlySet<string>): FlatMachine {
  const refuse = (what: string): never => {
    throw new Error(`The machine ${machine.id} cannot be lowered to a table: ${what}.`);
  };
  const names = (node: StateNode, actions: readonly unknown[]): string[] =>
    actions.map((action) => {
      const name = actionName(action) ?? refuse(`the state ${node.key} has an action that is more than a name`);
      return effects.has(name) ? name : refuse(`the effect ${name} is not in its list`);
    });
  const nodes: StateNode[] = Object.values(machine.root.states);
  for (const why of [reasonAgainstRoot(machine.root), ...nodes.map(reasonAgainst)]) if (why !== undefined) refuse(why);
  const states = new Map<string, FlatState>();
  for (const node of nodes) {
    const steps = new Map<string, Step>();
    for (const [event, [transition]] of node.transitions) {
      if (transition === undefined) continue;
      const target = transition.target?.[0] ?? node;
      // As in XState 5: a transition to the same state leaves and enters it only if it says `reenter`.
      const moves = target !== node || (transition.target !== undefined && transition.reenter);
      const actions = moves ? [...node.exit, ...transition.actions, ...target.entry] : transition.actions;
      steps.set(event, { to: target.key, effects: names(node, actions) });
    }
    states.set(node.key, { entry: names(node, node.entry), steps });
  }
  return { initial: machine.root.initial.target[0]?.key ?? refuse("it has no initial state"), states };
}

/** The name of an action that is nothing but a name. */
function actionName(action: unknown): string | undefined {
  if (typeof action === "string") return action;
  if (typeof action !== "object" || action === null || !("type" in action) || typeof action.type !== "string") return;
  return Object.keys(action).length === 1 || ("params" in action && action.params === undefined)
    ? action.type
    : undefined;
}

/** What a root has that no flat table can say. */
function reasonAgainstRoot(root: StateNode): string | undefined {
  if (root.type !== "compound") return `its root is ${root.type}, not a choice of states`;
  if (root.transitions.size > 0) return "its root has transitions of its own";
  if (root.entry.length + root.exit.length + root.invoke.length > 0 || root.always)
    return "its root does things itself";
  return root.initial.actions.length > 0 ? "its initial transition has actions" : undefined;
}

/** What a state has that no row of a flat table can say. */
function reasonAgainst(node: StateNode): string | undefined {
  const state = `the state ${node.key}`;
  if (node.type !== "atomic" && node.type !== "final") return `${state} is ${node.type}, not flat`;
  if (node.invoke.length > 0) return `${state} invokes an actor`;
  if (node.after.length > 0) return `${state} has a delayed transition`;
  if (node.always !== undefined && node.always.length > 0) return `${state} has an eventless transition`;
  if (node.type === "final" && node.transitions.size > 0) return `${state} is final and yet has transitions`;
  if (node.type === "final" && node.exit.length > 0) return `${state} is final and yet has exit actions`;
  for (const [event, transitions] of node.transitions) {
    if (event.includes("*") || event.startsWith("xstate.")) return `${state} waits for ${event}`;
    if (transitions.length !== 1) return `${state} has a choice of ways at ${event}`;
    if (transitions[0]?.guard !== undefined) return `${state} has a guard at ${event}`;
    const targets = transitions[0]?.target ?? [node];
    if (targets.length !== 1 || targets[0]?.parent !== node.parent)
      return `${state} leads to no single state at ${event}`;
  }
  return undefined;
}
