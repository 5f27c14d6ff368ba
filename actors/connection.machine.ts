import { setup } from "xstate";
import { lower, type Named, namedEffects } from "./table.ts";

/** The states of a connection. */
export const CONNECTION_STATES = ["opening", "authenticating", "ready", "draining", "closed"] as const;

/** What can happen to a connection. */
export const CONNECTION_EVENTS = [
  "connect", // a CONNECT or STOMP frame
  "accepted", // its token and version are good
  "refused", // they are not
  "timeout", // the timer of the state ran out: the wait for CONNECT, or for the last outcomes
  "frame", // any other client frame
  "disconnect", // a DISCONNECT frame, or an ordered end
  "drain", // the node is shutting down
  "settled", // all outcomes that were owed are out
  "expired", // the token's life ended, or it was revoked
  "fault", // a protocol fault, lost heart-beats included; the code is the process's to keep
  "lost", // the socket is gone
] as const;

/** What is to be done about it. */
export const CONNECTION_EFFECTS = [
  "startConnectTimer", // `connectMs`, then `timeout`
  "stopConnectTimer",
  "authenticate", // ends in `accepted` or `refused`
  "sendConnected",
  "startHeartbeat", // never before CONNECTED [STOMP 1.2 Heart-beating]
  "handleFrame",
  "dropFrame", // not answered, counted: the client sends it again after its reconnect
  "noteDisconnect", // keep the receipt id of the DISCONNECT
  "startDrainTimer", // `drainMs`, then `timeout`
  "stopDrainTimer",
  "awaitOutcomes", // `settled` as soon as nothing is owed
  "answerDisconnect", // the DISCONNECT's RECEIPT, if it asked for one
  "sendError", // an ERROR frame with the code in hand
  "closeSocket", // with the close code of the code in hand
  "release", // heart-beat, subscriptions, transactions, counters: all that the connection holds
] as const;

/** One of `CONNECTION_STATES`. */
export type ConnectionState = (typeof CONNECTION_STATES)[number];
/** One of `CONNECTION_EVENTS`. */
export type ConnectionEvent = (typeof CONNECTION_EVENTS)[number];
/** One of `CONNECTION_EFFECTS`. */
export type ConnectionEffect = (typeof CONNECTION_EFFECTS)[number];

const refusal = { target: "closed", actions: ["sendError", "closeSocket"] } as const;
const goodbye = { target: "closed", actions: "closeSocket" } as const;

/** A frame that is wrong here, an ended token, a vanished socket: the ends that every live state knows. */
const anyLive = { expired: refusal, fault: refusal, lost: "closed" } as const;

/**
 * The life of one client connection (design 3 and 7).
 *
 *     opening ── connect ──> authenticating ── accepted ──> ready ── disconnect, drain ──> draining ── settled ──> closed
 *        │ connect timer           │                      │  ^│ frame                      │  ^│ frame, drain,       ^
 *        │                         │                      │  └┘ handled                    │  └┘ disconnect          │
 *        └── timeout, any frame ───┴── refused, timeout ──┴── connect, expired, fault ─────┴── timeout, ... ─────────┘
 *
 * A client may send nothing between CONNECT and CONNECTED: an implementation that authenticates in the turn of the
 * CONNECT never sees it. `disconnect` and `drain` before `ready` close at once, as nothing is owed yet. From every
 * live state `lost` leads to closed without a word. Nothing leads out of closed.
 */
export const connectionMachine = setup({
  types: {} as { events: Named<ConnectionEvent> },
  actions: namedEffects(CONNECTION_EFFECTS),
}).createMachine({
  id: "connection",
  initial: "opening",
  states: {
    opening: {
      entry: "startConnectTimer",
      on: {
        ...onWait(),
        connect: { target: "authenticating", actions: "authenticate" },
      },
    },
    authenticating: {
      on: {
        ...onWait(),
        connect: { target: "closed", actions: ["stopConnectTimer", "sendError", "closeSocket"] },
        accepted: { target: "ready", actions: ["stopConnectTimer", "sendConnected", "startHeartbeat"] },
        refused: { target: "closed", actions: ["stopConnectTimer", "sendError", "closeSocket"] },
      },
    },
    ready: {
      on: {
        ...anyLive,
        frame: { actions: "handleFrame" },
        connect: refusal,
        disconnect: { target: "draining", actions: "noteDisconnect" },
        drain: "draining",
      },
    },
    draining: {
      entry: ["startDrainTimer", "awaitOutcomes"],
      exit: "stopDrainTimer",
      on: {
        ...anyLive,
        frame: { actions: "dropFrame" },
        connect: refusal,
        disconnect: { actions: "noteDisconnect" },
        drain: {},
        settled: { target: "closed", actions: ["answerDisconnect", "closeSocket"] },
        timeout: goodbye,
      },
    },
    closed: { type: "final", entry: "release" },
  },
});

/** The ends of a connection that is not yet ready; all of them stop the timer that waits for CONNECT. */
function onWait() {
  const wrong = { target: "closed", actions: ["stopConnectTimer", "sendError", "closeSocket"] } as const;
  const polite = { target: "closed", actions: ["stopConnectTimer", "closeSocket"] } as const;
  return {
    frame: wrong,
    timeout: wrong,
    expired: wrong,
    fault: wrong,
    disconnect: polite,
    drain: polite,
    lost: { target: "closed", actions: "stopConnectTimer" },
  } as const;
}

/** The machine as every connection runs it. */
export const connectionTable = lower<ConnectionState, ConnectionEvent, ConnectionEffect>(connectionMachine, {
  states: CONNECTION_STATES,
  events: CONNECTION_EVENTS,
  effects: CONNECTION_EFFECTS,
});
