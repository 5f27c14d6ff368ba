import { setup } from "xstate";
import { lower, type Named, namedEffects } from "./table.ts";

/** The states of one user's presence in one room. */
export const MEMBERSHIP_STATES = ["joining", "present", "typing", "lingering", "left"] as const;

/** What can happen to it. */
export const MEMBERSHIP_EVENTS = [
  "granted", // the first subscription was allowed
  "reopened", // the room opened again, and its opening before said the join
  "denied", // it was not
  "type", // the user types
  "pause", // the user says that it stopped
  "typingTimeout", // it said nothing for `typingMs`
  "lastGone", // the last connection unsubscribed or was lost
  "returned", // a connection subscribed again
  "graceOver", // none did for `presenceGraceMs`
  "removed", // the user is no member any more, or the room is gone
] as const;

/** What is to be done about it. */
export const MEMBERSHIP_EFFECTS = [
  "announceJoin",
  "announceLeave",
  "announceTypingStart",
  "announceTypingStop",
  "startTypingTimer", // anew if it runs
  "stopTypingTimer",
  "startGrace",
  "stopGrace",
  "forget", // the user's presence in this room is over: keep nothing
] as const;

/** One of `MEMBERSHIP_STATES`. */
export type MembershipState = (typeof MEMBERSHIP_STATES)[number];
/** One of `MEMBERSHIP_EVENTS`. */
export type MembershipEvent = (typeof MEMBERSHIP_EVENTS)[number];
/** One of `MEMBERSHIP_EFFECTS`. */
export type MembershipEffect = (typeof MEMBERSHIP_EFFECTS)[number];

const leave = { target: "left", actions: "announceLeave" } as const;

/**
 * The presence of one user in one room, over all the user's connections (design 3, signals).
 *
 *     joining ── granted ──> present <── pause, typingTimeout ── typing
 *        │ │                 │ ^  │ ─────────── type ──────────> │ ^│ type
 *        │ │          lastGone │  │                       lastGone └┘ timer anew
 *        │ │                 v │returned                         v
 *        │ └── reopened ─> lingering <───────────────────────────┘
 *        │                   │ graceOver, removed
 *        └── denied, removed, lastGone ──> left <── removed ── present, typing
 *
 * Lingering hides a reconnect: who returns within the grace never left. Typing always ends with its own stop, before
 * anything else is said. A leave is announced only by those whose join was, by this
 * opening of the room or by the one before it.
 */
export const membershipMachine = setup({
  types: {} as { events: Named<MembershipEvent> },
  actions: namedEffects(MEMBERSHIP_EFFECTS),
}).createMachine({
  id: "membership",
  initial: "joining",
  states: {
    joining: {
      on: {
        granted: { target: "present", actions: "announceJoin" },
        reopened: "lingering",
        denied: "left",
        removed: "left",
        lastGone: "left",
      },
    },
    present: {
      on: { type: "typing", lastGone: "lingering", removed: leave },
    },
    typing: {
      entry: ["announceTypingStart", "startTypingTimer"],
      exit: ["stopTypingTimer", "announceTypingStop"],
      on: {
        type: { actions: "startTypingTimer" },
        pause: "present",
        typingTimeout: "present",
        lastGone: "lingering",
        removed: leave,
      },
    },
    lingering: {
      entry: "startGrace",
      exit: "stopGrace",
      on: { returned: "present", graceOver: leave, removed: leave },
    },
    left: { type: "final", entry: "forget" },
  },
});

/** The machine as every presence runs it. */
export const membershipTable = lower<MembershipState, MembershipEvent, MembershipEffect>(membershipMachine, {
  states: MEMBERSHIP_STATES,
  events: MEMBERSHIP_EVENTS,
  effects: MEMBERSHIP_EFFECTS,
});
