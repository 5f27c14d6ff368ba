/** What the bench and its load client say to each other over the channel between parent and child process. */

import type { PeerDialect } from "./peers/wires.ts";

/** How a server is spoken to: `stomp` is Confab's wire, `bare` is a plain WebSocket whose path names the topic. */
export type Dialect = "stomp" | "bare" | PeerDialect;

/** A place in a room's log after which everything is wanted, or how many of the newest entries. */
export type Replay = { readonly offset: number; readonly term: number } | { readonly last: number };

/** When a message is no longer outstanding: when it comes back to its room, or when its SEND is answered. */
export type Until = "returned" | "answered";

/** Open connections, each subscribed to one room, in addition to those that are open. */
export interface Open {
  readonly kind: "open";
  readonly port: number;
  readonly dialect: Dialect;
  /** Process whose CPU time is read with the load client's own. */
  readonly serverPid: number;
  /** Signs the tokens (`stomp` only). */
  readonly secret: string;
  /** Connections are spread over these in blocks: the first `perRoom` into the first, and so on. */
  readonly rooms: readonly string[];
  readonly perRoom: number;
  /** Tells the users and source addresses of several load clients apart; 0 to 19. */
  readonly group: number;
  /** Handshakes in progress at once. */
  readonly inFlight: number;
  /** Every how many connections one is read in full, to check order and contents; 0 is none. */
  readonly sampleEvery: number;
  /** What each room's SUBSCRIBE asks for before it goes live (`stomp` only). */
  readonly replay?: Readonly<Record<string, Replay>>;
  /** MESSAGE frames that a connection gets before it is open; 0 if left out. */
  readonly replayed?: number;
}

/** Each of the first connections sends one SEND and awaits its RECEIPT: that makes its user a member. */
export interface Greet {
  readonly kind: "greet";
  readonly publishers: number;
}

/**
 * From now on, read at most this often: the kernel gathers meanwhile, and many frames cost one read. For an audience
 * whose promptness nobody measures. The nap shrinks by itself when much has gathered, so that no socket fills up.
 */
export interface Nap {
  readonly kind: "nap";
  readonly ms: number;
}

/** Remember the counts of all connections, for a later `tally`. */
export interface Mark {
  readonly kind: "mark";
}

/** Wait until all is quiet and compare what each connection got since the mark with what was sent to its room. */
export interface Tally {
  readonly kind: "tally";
  /** Messages sent since the mark, by room. */
  readonly sent: Readonly<Record<string, number>>;
}

/** Close every connection at once, by reset. */
export interface CloseAll {
  readonly kind: "close";
}

/** Closed-loop load on the rooms of the open connections: each connection is a publisher in turn, `window` are outstanding. */
export interface Run {
  readonly kind: "run";
  readonly until: Until;
  readonly window: number;
  readonly bodyBytes: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  /** How many of the connections publish, in turn; several may be in one room. The others only listen. */
  readonly publishers: number;
  /** Further load clients whose CPU time counts. */
  readonly helperPids: readonly number[];
}

/**
 * Open-loop load: messages are due at an even rate whatever the server does, and latency counts from the moment a
 * message was due. With `until: "returned"` every open connection of the room measures, not only the sender. Who has as
 * many messages out as a publisher may holds the rest back, at the cost of their latency.
 */
export interface Pace {
  readonly kind: "pace";
  readonly until: Until;
  /** Messages a second, over all publishers in turn. */
  readonly rate: number;
  readonly bodyBytes: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  /** How many of the connections publish, in turn; several may be in one room. */
  readonly publishers: number;
  readonly helperPids: readonly number[];
}

/** Stop reading on every connection, until the load client is told to wake. */
export interface Stall {
  readonly kind: "stall";
}

/** Read again, see what became of the connections, and close them. */
export interface Wake {
  readonly kind: "wake";
}

/** Close connections and open others in their places, with new users, at an even rate. */
export interface Churn {
  readonly kind: "churn";
  readonly perSecond: number;
  readonly seconds: number;
}

/** Closed-loop HTTP load by autocannon. */
export interface Cannon {
  readonly kind: "cannon";
  readonly url: string;
  readonly serverPid: number;
  readonly connections: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  readonly token?: string;
  /** JSON to POST; without it the request is a GET. */
  readonly body?: string;
}

/** Open-loop HTTP load: GETs due at an even rate over kept connections; a request waits for a free one at its own cost. */
export interface Ask {
  readonly kind: "ask";
  readonly port: number;
  readonly path: string;
  readonly serverPid: number;
  readonly token: string;
  readonly connections: number;
  /** Requests a second. */
  readonly rate: number;
  readonly warmSeconds: number;
  readonly seconds: number;
}

export type Command = Open | CloseAll | Greet | Nap | Mark | Tally | Run | Pace | Stall | Wake | Churn | Cannon | Ask;

/** What opening cost. */
export interface Opened {
  readonly connections: number;
  readonly seconds: number;
  readonly serverCpuSeconds: number;
  readonly clientCpuSeconds: number;
}

/** What a run of load measured, over its timed part unless said otherwise. */
export interface Load {
  readonly seconds: number;
  /** Messages that returned to their sender, or SENDs that were answered. */
  readonly messages: number;
  readonly serverCpuSeconds: number;
  /** Of all load clients. */
  readonly clientCpuSeconds: number;
  /** Milliseconds a message was outstanding. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Sent by room since the run began and not refused, warm-up included. */
  readonly sent: Readonly<Record<string, number>>;
  /** SENDs that the server refused since the run began. */
  readonly refused: number;
  /** Still outstanding when the time to wait for them was over. */
  readonly unanswered: number;
}

/** What a run of open-loop load measured. `messages` is what came back, as a mean over those who measured. */
export interface Paced extends Load {
  /** Messages that were due in the timed part, whether they could be sent or not. */
  readonly due: number;
  /** Milliseconds that the load client sent a message after it was due; part of every latency. */
  readonly lateP99Ms: number;
}

/** What became of connections that did not read. */
export interface Woken {
  /** How many of them the server had ended. */
  readonly cut: number;
  /** Bytes that all of them still read. */
  readonly bytes: number;
}

/** What a churn did. */
export interface Churned {
  readonly reopened: number;
  /** Openings that failed. */
  readonly failed: number;
}

/** What HTTP load measured. */
export interface Requested {
  readonly seconds: number;
  /** Answered with 2xx in the timed part. */
  readonly requests: number;
  /** Answered otherwise, or not at all. */
  readonly failures: number;
  readonly serverCpuSeconds: number;
  readonly clientCpuSeconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What a load client received, against what it should have. */
export interface Tallied {
  /** MESSAGE frames counted. */
  readonly deliveries: number;
  /** MESSAGE frames that never came, over all connections. */
  readonly lost: number;
  /** MESSAGE frames beyond what was sent. */
  readonly doubled: number;
  /** Frames of the sampled connections that did not follow the one before, and answers to another SEND. */
  readonly disordered: number;
  /** Connections read in full. */
  readonly sampled: number;
  /** Payload bytes of the last MESSAGE and RECEIPT seen, for a peer to send the same; 0 if none was. */
  readonly messageBytes: number;
  readonly receiptBytes: number;
}

/** The answer to each kind of command. */
export interface Answers {
  readonly open: Opened;
  readonly close: null;
  readonly greet: null;
  readonly nap: null;
  readonly mark: null;
  readonly tally: Tallied;
  readonly run: Load;
  readonly pace: Paced;
  readonly stall: null;
  readonly wake: Woken;
  readonly churn: Churned;
  readonly cannon: Requested;
  readonly ask: Requested;
}

/** A command on its way, and what comes back. */
export interface Envelope {
  readonly id: number;
  readonly command: Command;
}

export type Reply =
  | { readonly id: number; readonly answer: Answers[keyof Answers] }
  | { readonly id: number; readonly failure: string };
