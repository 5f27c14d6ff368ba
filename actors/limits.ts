/** Every bound of the engine, in one frozen literal: value, unit, reason. Settings and `--help` are made from it. */

/** One bound. */
export interface Bound {
  /** The default. */
  readonly value: number;
  /** What the number counts. */
  readonly unit: string;
  /** Why it is there, or what happens beyond it. */
  readonly why: string;
  /** The lowest value that a setting may give; 0 means that 0 switches the bound off. */
  readonly min: number;
  /** The highest value that a setting may give. */
  readonly max: number;
}

/** Timers of the platform hold no more milliseconds. */
const TIMER_MS_MAX = 2_147_483_647;
/** What a single buffer of the platform surely holds. */
const BUFFER_BYTES_MAX = 1_073_741_824;

const frozen = (value: number, unit: string, why: string, range: readonly [number, number]): Bound =>
  Object.freeze({ value, unit, why, min: range[0], max: range[1] });
const count = (value: number, unit: string, why: string): Bound => frozen(value, unit, why, [1, 1_000_000_000]);
const orOff = (value: number, unit: string, why: string): Bound => frozen(value, unit, why, [0, 1_000_000_000]);
const ms = (value: number, why: string): Bound => frozen(value, "ms", why, [1, TIMER_MS_MAX]);
/** Bytes of one buffer, frame or socket. */
const bytes = (value: number, why: string): Bound => frozen(value, "bytes", why, [1, BUFFER_BYTES_MAX]);
/** Bytes over many buffers. */
const memory = (value: number, why: string): Bound => frozen(value, "bytes", why, [1, Number.MAX_SAFE_INTEGER]);

/** The bounds with unit and reason. A setting `LIMIT_…` may change each; where 0 is allowed, 0 is off. */
export const BOUNDS = Object.freeze({
  // Clients (design 4).
  loginsPerAccountPerMinute: orOff(10, "failed logins a minute", "per account; slows guessing"),
  loginsPerAddressPerMinute: orOff(60, "failed logins a minute", "per address; an office behind one still gets in"),
  signupsPerAddressPerMinute: orOff(60, "signups a minute", "per address; slows mass registration"),
  sendsPerSecond: orOff(50, "SENDs a second", "per connection; faster than a person and most bots"),
  sendsBurst: count(200, "SENDs", "per connection at once; a reconnect's resends fit"),
  connectsPerSecond: orOff(2_000, "handshakes a second", "per node; a dead node's clients come back as a stream"),
  connectsBurst: count(4_000, "handshakes", "per node at once"),
  bodyBytes: bytes(1_048_576, "body of a SEND or a REST message"),
  subscriptions: count(128, "subscriptions", "per connection"),
  replayEntries: count(10_000, "entries", "replayed per resume; further behind is recovered: false"),

  // Frames.
  headerBytes: bytes(8_192, "one header line, and all user headers together"),
  headers: count(64, "headers", "per frame"),
  userHeaders: count(32, "headers", "per SEND, those that are stored"),
  frameOverheadBytes: bytes(16_384, "header block of a frame beyond its body"),
  transactions: count(8, "transactions", "open at once per connection"),
  transactionFrames: count(256, "frames", "kept per transaction"),
  transactionBytes: bytes(2_097_152, "kept per connection over all its transactions"),
  pendingSends: count(1_024, "SENDs", "per connection, waiting for an outcome; then queue-full"),

  // Rooms.
  roomMailbox: count(4_096, "commands", "waiting while a room opens; then queue-full"),
  pendingEntries: count(50_000, "entries", "node-wide, accepted but not stored; then queue-full"),
  pendingBytes: memory(268_435_456, "node-wide, accepted but not stored; then queue-full"),
  lineEntries: count(50_000, "SENDs", "node-wide, on their way to rooms owned elsewhere, not stored; then queue-full"),
  lineBytes: memory(268_435_456, "node-wide, of those SENDs; then queue-full"),
  replayKeep: count(128, "entries", "of each awake room kept in memory for replay"),
  replayKeepBytes: bytes(1_048_576, "of those entries, per room"),
  replayBytes: memory(268_435_456, "of all replay entries of the node; beyond it only unstored ones stay"),
  windowMs: ms(600_000, "duplicate window (promise 4)"),
  windowEntries: count(10_000, "entries", "duplicate window, per room"),
  windowBytes: memory(134_217_728, "duplicate windows of the node; beyond it keys are looked up in the archive"),
  membersPerRoom: count(100_000, "members", "held in memory by the owner while the room is awake"),
  roomsAwake: count(100_000, "rooms", "per node; beyond it opening waits for one to sleep, then queue-full"),
  roomIdleMs: ms(30_000, "nobody in it for this long: the room sleeps"),
  metricRooms: frozen(
    20,
    "rooms",
    "shown by id in the metrics: the longest waits for the store, then the busiest",
    [0, 256],
  ),
  historyPage: count(200, "entries", "of one REST page at most"),
  presenceListed: count(1_000, "users", "of one presence answer at most"),
  presenceMembers: count(256, "members", "rooms with more get no online and offline signals, only counts"),
  reactionsPerMessage: count(32, "reactions", "distinct ones of a message"),
  reactionUsers: count(1_000, "users", "of one reaction"),

  // Signals.
  typingMs: ms(6_000, "typing ends by itself"),
  presenceGraceMs: ms(5_000, "hides a reconnect"),
  signalBatchMs: ms(50, "signals of a room are coalesced this long"),
  markerFlushMs: ms(1_000, "markers are written this often"),
  markersPending: count(100_000, "markers", "node-wide, not yet written; then refused"),

  // Writer.
  batchEntries: count(512, "entries", "per archive batch"),
  batchBytes: memory(4_194_304, "per archive batch"),
  batchReceiptMs: ms(2, "a batch with a waiting RECEIPT leaves at this age"),
  batchIdleMs: ms(25, "a batch nobody waits for leaves at this age"),
  batchLoggedMs: ms(100, "the same where Redis keeps it meanwhile: each batch costs two stores a call"),
  lanes: count(1, "batches", "in flight at once, one per lane; LMDB has one writer, so one serves it best"),

  // Connections.
  connections: count(100_000, "connections", "per node; then try-later"),
  connectMs: ms(10_000, "from the handshake to CONNECT"),
  heartbeatMs: ms(10_000, "heart-beat interval offered both ways"),
  backpressureBytes: bytes(
    2_359_296,
    "per socket, unsent: two of the largest messages; beyond it the reader is too slow",
  ),
  drainMs: ms(8_000, "of the 10 s that SIGTERM has"),

  // Accounts and tokens.
  tokenBytes: bytes(8_192, "of an access token; a longer one is refused unread"),
  tokenCacheEntries: count(2_000, "tokens", "remembered when they come again, so that a third time costs no check"),
  tokenCacheMs: ms(30_000, "a verified token is remembered for at most this long"),
  sessionsPerUser: count(64, "sessions", "refresh-token families of a user; beyond it the oldest session ends"),
  hashesWaiting: count(64, "passwords", "waiting to be hashed behind those in work; then busy"),
  revocationsHeld: count(200_000, "revocations", "per node; beyond it tokens older than the oldest one are refused"),
  revocationPollMs: ms(500, "how often the directory is asked for revocations of other nodes"),
  loginAuditEntries: count(10_000, "logins", "kept in the login audit; the oldest go first"),
  loginAuditDays: count(90, "days", "a login stays in the audit"),
  usersFound: count(50, "users", "of one search by name"),
  throttleBuckets: count(65_536, "counters", "per rate limit; accounts or addresses may share one"),
} satisfies Record<string, Bound>);

/** The bounds as numbers, for actors that take them. */
export type Limits = { readonly [name in keyof typeof BOUNDS]: number };

/** The defaults as numbers. */
export const LIMITS: Limits = Object.freeze(
  Object.fromEntries(Object.entries(BOUNDS).map(([name, bound]) => [name, bound.value])),
) as Limits;
