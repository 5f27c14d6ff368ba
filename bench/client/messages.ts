/** What the bench and its load client say to each other over the channel between parent and child process. */

/** How a server is spoken to: `stomp` is Confab's wire, `bare` is a plain WebSocket whose path names the topic. */
export type Dialect = "stomp" | "bare";

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

/** Load on the rooms of the open connections: each connection is a publisher in turn, `window` are outstanding. */
export interface Run {
  readonly kind: "run";
  /** When a message is no longer outstanding: when its sender sees it come back, or when its SEND is answered. */
  readonly until: "returned" | "answered";
  readonly window: number;
  readonly bodyBytes: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  /** How many of the connections publish; the others only listen. */
  readonly publishers: number;
  /** Further load clients whose CPU time counts. */
  readonly helperPids: readonly number[];
}

export type Command = Open | CloseAll | Nap | Mark | Tally | Run;

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
  /** Sent by room since the run began, warm-up included. */
  readonly sent: Readonly<Record<string, number>>;
  /** Still outstanding when the time to wait for them was over. */
  readonly unanswered: number;
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
  readonly nap: null;
  readonly mark: null;
  readonly tally: Tallied;
  readonly run: Load;
}

/** A command on its way, and what comes back. */
export interface Envelope {
  readonly id: number;
  readonly command: Command;
}

export type Reply =
  | { readonly id: number; readonly answer: Answers[keyof Answers] }
  | { readonly id: number; readonly failure: string };
