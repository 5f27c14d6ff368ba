import { setup } from "xstate";
import { type Named, namedEffects } from "./table.ts";

/** The states of one process. */
export const NODE_STATES = ["joining", "ready", "draining", "gone"] as const;

/** What can happen to it. */
export const NODE_EVENTS = [
  "joined", // stores open, terms claimed, listening
  "drain", // SIGTERM, or an ordered end
  "flushed", // shards handed over, all stored, connections sent away
  "deadline", // that took too long
  "failed", // it cannot start, or cannot go on
] as const;

/** What is to be done about it. */
export const NODE_EFFECTS = [
  "join", // ends in `joined` or `failed`
  "openDoors", // ready: health says so, connections are taken
  "closeDoors", // not ready: none are taken
  "startDeadline", // of the 10 s that SIGTERM has
  "stopDeadline",
  "handOver", // shards to others, then flush, then connections away in jittered slices; ends in `flushed`
  "noteFailure", // the exit code will be 1
  "noteUnflushed", // log what was not stored
  "leave", // close the stores and end
] as const;

/** One of `NODE_STATES`. */
export type NodeState = (typeof NODE_STATES)[number];
/** One of `NODE_EVENTS`. */
export type NodeEvent = (typeof NODE_EVENTS)[number];
/** One of `NODE_EFFECTS`. */
export type NodeEffect = (typeof NODE_EFFECTS)[number];

/**
 * The life of one process (design 6). Runs as a real XState actor, with the effects provided by the process.
 *
 *     joining ── joined ──> ready ── drain, failed ──> draining ── flushed, deadline, failed ──> gone
 *        │                                              ^                                         ^
 *        └─────────────────── drain ────────────────────┘                                         │
 *        └─────────────────── failed ─────────────────────────────────────────────────────────────┘
 *
 * A second `drain` changes nothing: it neither hurries nor restarts the first.
 */
export const nodeMachine = setup({
  types: {} as { events: Named<NodeEvent> },
  actions: namedEffects(NODE_EFFECTS),
}).createMachine({
  id: "node",
  initial: "joining",
  states: {
    joining: {
      entry: "join",
      on: {
        joined: "ready",
        drain: "draining",
        failed: { target: "gone", actions: "noteFailure" },
      },
    },
    ready: {
      entry: "openDoors",
      exit: "closeDoors",
      on: {
        drain: "draining",
        failed: { target: "draining", actions: "noteFailure" },
      },
    },
    draining: {
      entry: ["startDeadline", "handOver"],
      exit: "stopDeadline",
      on: {
        flushed: "gone",
        deadline: { target: "gone", actions: "noteUnflushed" },
        failed: { target: "gone", actions: "noteFailure" },
      },
    },
    gone: { type: "final", entry: "leave" },
  },
});
