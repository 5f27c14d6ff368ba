import { setup } from "xstate";
import { type Named, namedEffects } from "./table.ts";

/** The states of one shard as one node sees it. */
export const SHARD_STATES = ["free", "acquiring", "recovering", "owning", "handingOver"] as const;

/** What can happen to it. */
export const SHARD_EVENTS = [
  "want", // this node should own it: by hash, or after a back-off
  "lockTaken",
  "lockRefused",
  "fenced", // the term is claimed in the archive and holds in the hot log
  "recovered", // the hot log is read and its unstored entries are queued
  "failed", // the archive or the lease cannot be had now, or the lease ran out by this node's own clock
  "lost", // the hot log is not what it should be: own the shard again under a new term
  "stale", // a higher term exists: somebody else owns the shard
  "prepare", // another node should own it and has loaded it
  "handedOver", // that node has announced its term
  "handoverFailed", // it has not in time
  "release", // give it up without a receiver
] as const;

/** What is to be done about it. */
export const SHARD_EFFECTS = [
  "takeLock", // ends in `lockTaken` or `lockRefused`; a lock still held by this node counts as taken
  "startRenewal", // no second one if it runs
  "claimAndFence", // claim first, then fence, only then read
  "recover",
  "announce", // rooms may open, waiting SENDs are decided
  "suspend", // decide nothing more; new SENDs wait in their bounded lines
  "passLock", // the last renewal, then the lock's value to the receiver
  "forwardLine", // the waiting SENDs to the new owner
  "stepDown", // forget rooms and heads, if there are any; what was logged is still stored and receipted
  "letGo", // end the renewal, release the lock if it is still this node's
  "backOff", // `want` again later
] as const;

/** One of `SHARD_STATES`. */
export type ShardState = (typeof SHARD_STATES)[number];
/** One of `SHARD_EVENTS`. */
export type ShardEvent = (typeof SHARD_EVENTS)[number];
/** One of `SHARD_EFFECTS`. */
export type ShardEffect = (typeof SHARD_EFFECTS)[number];

const end = { target: "free", actions: ["stepDown", "letGo"] } as const;
const giveUp = { target: "free", actions: ["stepDown", "letGo", "backOff"] } as const;

/**
 * The ownership of one shard by this node (protocol: becoming owner, handing over). Runs as a real XState actor, with
 * the effects provided by the process.
 *
 *     free ── want ──> acquiring ── fenced ──> recovering ── recovered ──> owning ── prepare ──> handingOver
 *      ^               ^ │  ^│ lockTaken       │  │                        │  │                  │  │
 *      │               │ │  └┘ claim, fence    │  │                        │  │                  │  │
 *      │               └─┼──────── lost ───────┴──┼──────── lost ──────────┴──┼─ handoverFailed ─┘  │
 *      └── refused, failed, stale, lost, release ─┴── failed, stale, release ─┴──── handedOver, ... ┘
 *
 * A renewal is part of holding the lock: it begins when the lock is taken and ends when it is let go or passed on.
 */
export const shardMachine = setup({
  types: {} as { events: Named<ShardEvent> },
  actions: namedEffects(SHARD_EFFECTS),
}).createMachine({
  id: "shard",
  initial: "free",
  states: {
    free: {
      on: { want: "acquiring" },
    },
    acquiring: {
      entry: "takeLock",
      on: {
        lockTaken: { actions: ["startRenewal", "claimAndFence"] },
        lockRefused: giveUp,
        fenced: "recovering",
        failed: giveUp,
        lost: giveUp,
        stale: giveUp,
        release: end,
      },
    },
    recovering: {
      entry: "recover",
      on: {
        recovered: "owning",
        lost: "acquiring",
        failed: giveUp,
        stale: end,
        release: end,
      },
    },
    owning: {
      entry: "announce",
      exit: "suspend",
      on: {
        prepare: "handingOver",
        lost: "acquiring",
        failed: giveUp,
        stale: end,
        release: end,
      },
    },
    handingOver: {
      entry: "passLock",
      on: {
        handedOver: { target: "free", actions: ["stepDown", "forwardLine"] },
        stale: { target: "free", actions: ["stepDown", "forwardLine"] },
        handoverFailed: "acquiring",
        lost: "acquiring",
        failed: giveUp,
        release: end,
      },
    },
  },
});
