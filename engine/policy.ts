/**
 * How long a store is waited for, how often a read is tried again and when a store is left alone: one literal
 * for all stores (issue 4, point 5), and one for the driver of each. `guard.ts` applies the first: a write is
 * never repeated there, as its outcome is unclear, and the actors repeat those whose repetition changes nothing.
 * The drivers' limits lie below it, so that nothing that was given up is still under way.
 *
 * ```
 *   actor ─► guard: POLICIES ─► driver: MONGO_POLICY, PG_POLICY, REDIS_POLICY ─► server
 * ```
 */

/** Calls that change nothing: tried again when they fail at once, with growing pauses that differ by chance. */
export interface ReadPolicy {
  /** ms until a try without an answer is given up; such a try is not repeated, as the store is too slow already. */
  readonly timeoutMs: number;
  /** Tries after the first. */
  readonly retries: number;
  /** Longest pause before the second try, ms; doubles from try to try. Half of each pause is left to chance. */
  readonly pauseFirstMs: number;
  readonly pauseLongestMs: number;
}

/** Calls that change something. */
export interface WritePolicy {
  /** ms until a call without an answer is given up, its outcome unknown. */
  readonly timeoutMs: number;
}

/** When a store is left alone. Reads and writes have a breaker each: a full disk still reads. */
export interface BreakerPolicy {
  /** So many failures in a row open it. */
  readonly failures: number;
  /** ms that it stays open; then one call finds out, and the others wait for what it finds. */
  readonly openMs: number;
}

/** The policies of a store that is read and written. */
export interface StorePolicy {
  readonly reads: ReadPolicy;
  readonly writes: WritePolicy;
  readonly breaker: BreakerPolicy;
  /** ms after which a store that answered nobody is asked something cheap, so that its state is never old. */
  readonly probeMs: number;
}

/** The policies of the leases, which are only written. */
export type LeasesPolicy = Pick<StorePolicy, "writes" | "breaker">;

/** The policies of all stores. */
export const POLICIES = Object.freeze({
  archive: {
    reads: {
      timeoutMs: 5_000, // ms; a page of history from a cold disk fits, and a person still waits for it
      retries: 2, // tries; the driver has chosen another server by then
      pauseFirstMs: 50, // ms; a dropped connection is made again in less
      pauseLongestMs: 500, // ms; somebody waits
    },
    writes: {
      timeoutMs: 10_000, // ms; above the driver's own limits together, so that nothing given up is still under way
    },
    breaker: {
      failures: 5, // failures; one dropped connection fails the few calls on it
      openMs: 500, // ms; the writer tries at least once a second, so it goes on within two
    },
    probeMs: 2_000, // ms; readiness tells of an archive that nobody needs just now
  },
  directory: {
    reads: {
      timeoutMs: 5_000, // ms; all reads are by index, but may wait for a connection
      retries: 2, // tries; the pool has another connection by then
      pauseFirstMs: 50, // ms; as for the archive
      pauseLongestMs: 500, // ms; somebody waits to log in
    },
    writes: {
      timeoutMs: 11_000, // ms; above the pool's own limit of a call: who hears of an unknown outcome logs in anew
    },
    breaker: {
      failures: 5, // failures; about two polls for revocations, each with its tries
      openMs: 1_000, // ms; nothing of chat waits for it
    },
    probeMs: 2_000, // ms; the poll for revocations answers most of it
  },
  bus: {
    reads: {
      timeoutMs: 5_000, // ms; the whole hot log of a busy room is some tens of megabytes
      retries: 1, // tries; heads are asked again every 500 ms anyway
      pauseFirstMs: 50, // ms; a connection within one network is made again in less
      pauseLongestMs: 50, // ms; there is one pause
    },
    writes: {
      timeoutMs: 3_500, // ms; above the client's own limits together: the wait for a connection, and the answer
    },
    breaker: {
      failures: 8, // failures; the shards of one turn fail together on one dropped connection
      openMs: 200, // ms; every SEND waits for it
    },
    probeMs: 1_000, // ms; half of what an operator notices
  },
  leases: {
    writes: {
      timeoutMs: 1_000, // ms; a renewal is due each second, and two may fail before the lease of 3 s is given up
    },
    breaker: {
      failures: 16, // failures; all shards of a node are renewed at about the same time
      openMs: 100, // ms; less than a tenth of the time between renewals, so none is missed for it
    },
  },
} satisfies { archive: StorePolicy; directory: StorePolicy; bus: StorePolicy; leases: LeasesPolicy });

/** The name of a store: the only values of the label `store`. */
export type StoreName = keyof typeof POLICIES;

/** The driver of MongoDB: the stages of a call, which ends within their sum, twice where the driver retries. */
export const MONGO_POLICY = Object.freeze({
  selectMs: 2_000, // ms; finding a primary: an election within one network takes less
  connectMs: 2_000, // ms; opening a connection
  queueMs: 2_000, // ms; waiting for a connection of the pool
  writeMs: 4_000, // ms; waiting for the majority: below the socket's, so that the server can say so
  socketMs: 6_000, // ms; waiting for any answer
  connections: 32, // connections; lanes of the writer, derived writes and reads: more would queue in the server
});

/** The driver of PostgreSQL, and the bounds of the directory's connections. */
export const PG_POLICY = Object.freeze({
  connections: 8, // connections; of a node: logins come by the hundred a second at most
  callsWaiting: 256, // calls; that wait for a connection, the next fails at once
  callMs: 10_000, // ms; a call with its wait
  connectMs: 3_000, // ms; until a connection is usable
  statementMs: 5_000, // ms; a statement with its locks, ended by the server
  answerMs: 6_000, // ms; no answer to a statement: the connection is given up
  idleInTransactionMs: 5_000, // ms; a node that stands still gives its locks back
  idleMs: 30_000, // ms; a connection that nobody uses is closed
  endMs: 1_000, // ms; a goodbye that nobody answers
});

/** Every connection to Redis. */
export const REDIS_POLICY = Object.freeze({
  callMs: 1_500, // ms; without an answer a call is given up, and its connection with it; also the wait for one
  handshakeMs: 3_000, // ms; from the TCP connection to the first answered commands
  startMs: 10_000, // ms; a start waits so long for a Redis that is away
  pingMs: 1_000, // ms; an idle connection that must not fail unseen is asked this often
  retryFirstMs: 50, // ms; before a lost connection is tried again: doubled each time, and up to half added
  retryLongestMs: 1_000, // ms; a Redis that came back is used within two seconds
  waitingMax: 10_000, // calls; that wait for a connection, further ones fail at once
});
