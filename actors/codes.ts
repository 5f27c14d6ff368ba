/**
 * The one table of codes. Everything Confab refuses, fails at, or says goodbye with has a lower-case
 * word here; STOMP ERROR frames, `application/problem+json` answers and close codes are made from it.
 * The README's table of codes is compared with this one by a test, in both directions.
 */

/** What a client should do after meeting the code. */
export type Retry =
  /** The same request will be refused again. */
  | "never"
  /** The same request may succeed after a pause (`retry-after`, ms). */
  | "later"
  /** Reconnect now (with jitter), and resume. */
  | "reconnect"
  /** Get a new token first. */
  | "login";

/** One row of the table. */
export interface Code {
  /** A full sentence for people. */
  readonly sentence: string;
  /** HTTP status of a REST problem with this code. */
  readonly http: number;
  /** WebSocket close code when the connection ends by it; 1002 is a protocol fault. */
  readonly close: number;
  readonly retry: Retry;
}

const row = (sentence: string, http: number, close: number, retry: Retry): Code =>
  Object.freeze({ sentence, http, close, retry });

/** All codes. Never reuse a word for another meaning. */
export const CODES = Object.freeze({
  // Frames: protocol faults end the connection after an ERROR frame [STOMP 1.2 ERROR].
  "bad-frame": row("The frame is malformed.", 400, 1002, "never"),
  "unknown-command": row("The command is not one of STOMP's client commands.", 400, 1002, "never"),
  "wrong-state": row("The command is not allowed in this state of the connection.", 409, 1002, "never"),
  "bad-escape": row("A header has an escape sequence that its protocol version does not know.", 400, 1002, "never"),
  "missing-header": row("A required header is missing.", 400, 1002, "never"),
  "bad-header": row("A header has a value that is not allowed.", 400, 1002, "never"),
  "header-too-long": row("A header line or the header block is too long.", 431, 1002, "never"),
  "too-many-headers": row("The frame has too many headers.", 431, 1002, "never"),
  "frame-too-large": row("The frame is larger than the limit.", 413, 1002, "never"),
  "body-too-large": row("The body is larger than the limit.", 413, 1002, "never"),
  "bad-content-length": row("The content-length header does not fit the body.", 400, 1002, "never"),
  "version-unsupported": row("None of the offered STOMP versions is supported.", 400, 1002, "never"),
  "duplicate-subscription": row("A subscription with this id is already open.", 409, 1002, "never"),
  "unknown-transaction": row("There is no open transaction with this id.", 404, 1002, "never"),
  "duplicate-transaction": row("A transaction with this id is already open.", 409, 1002, "never"),
  "transaction-too-large": row("The transaction holds more frames or bytes than allowed.", 413, 1002, "never"),
  "heartbeat-lost": row("The connection was silent for longer than the agreed heart-beat.", 408, 1002, "reconnect"),
  "connect-timeout": row("No CONNECT frame arrived in time.", 408, 1002, "reconnect"),

  // Tokens.
  "token-missing": row("A token is required.", 401, 4401, "login"),
  "token-bad": row("The token is not valid.", 401, 4401, "login"),
  "token-expired": row("The token has expired.", 401, 4401, "login"),
  "token-revoked": row("The token or its user has been revoked.", 401, 4401, "login"),
  "subject-mismatch": row("The token belongs to another user.", 403, 4401, "never"),

  // Access and destinations: refusals of sound frames; the connection may live on.
  "bad-destination": row("The destination is none of this server's destinations.", 404, 1002, "never"),
  "room-not-found": row("The room does not exist, or may not be seen by this user.", 404, 1002, "never"),
  "message-not-found": row("There is no such message in this room.", 404, 1002, "never"),
  "user-not-found": row("There is no such user.", 404, 1002, "never"),
  forbidden: row("This user is not allowed to do that.", 403, 1002, "never"),
  "last-admin": row("A private room is never left without an admin.", 409, 1002, "never"),
  conflict: row("The request does not fit the present state.", 409, 1002, "never"),
  "bad-position": row("after-offset and after-term go together, and not with last.", 400, 1002, "never"),
  "bad-body": row("The body is not what this destination expects.", 400, 1002, "never"),

  // Pressure: try again later.
  "rate-limited": row("Too many requests; slow down.", 429, 1013, "later"),
  "queue-full": row("The room's or the store's queue is full.", 503, 1013, "later"),
  "store-unavailable": row("The store cannot take writes now.", 503, 1013, "later"),
  "too-many-subscriptions": row("The connection has too many subscriptions.", 429, 1002, "never"),
  "room-full": row("The room has as many members as it may have.", 409, 1002, "never"),
  busy: row("The server has too much of this work in hand.", 503, 1013, "later"),

  // Ends of a subscription (`event: ended`).
  removed: row("The user is no longer a member of the room.", 403, 1000, "never"),
  "room-deleted": row("The room has been deleted.", 410, 1000, "never"),

  // Goodbyes: the connection ends.
  done: row("The connection was closed as asked.", 200, 1000, "never"),
  draining: row("The server is shutting down; reconnect and resume.", 503, 1012, "reconnect"),
  "try-later": row("The server cannot take the connection now.", 503, 1013, "later"),
  "too-slow": row("The connection did not read fast enough; reconnect and resume.", 408, 1006, "reconnect"),
  "gap-unfilled": row("A gap could not be filled; reconnect and resume.", 503, 1012, "reconnect"),
  "closed-by-admin": row("An administrator closed the connection.", 403, 1000, "reconnect"),

  // REST.
  "bad-request": row("The request does not fit its schema.", 400, 1002, "never"),
  "not-found": row("There is nothing at this address.", 404, 1002, "never"),
  "method-not-allowed": row("The method is not allowed here.", 405, 1002, "never"),
  "upgrade-required": row("This address is for WebSocket alone.", 426, 1002, "never"),
  "unsupported-media-type": row("The content type is not supported.", 415, 1002, "never"),
  "origin-refused": row("This origin is not allowed.", 403, 1002, "never"),
  "email-taken": row("An account with this email exists.", 409, 1002, "never"),
  "credentials-wrong": row("The email or the password is wrong.", 401, 1002, "never"),
  internal: row("Something went wrong on our side.", 500, 1011, "later"),
} satisfies Record<string, Code>);

/** A word of the table. */
export type CodeWord = keyof typeof CODES;

/** The row of a word. */
export function codeOf(word: CodeWord): Code {
  return CODES[word];
}

/**
 * A coded refusal: the caller's fault, or pressure. Thrown or handed to a callback; never logged as an
 * error of ours. `detail` says what was wrong in this case; `retryAfterMs` goes with retry `later`.
 */
export class Refusal extends Error {
  readonly code: CodeWord;
  readonly detail: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: CodeWord, detail?: string, retryAfterMs?: number) {
    super(detail === undefined ? CODES[code].sentence : `${CODES[code].sentence} ${detail}`);
    this.name = "Refusal";
    this.code = code;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A store did not answer, or answered unclearly: what was asked may or may not have happened. */
export class StoreFailure extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "StoreFailure";
  }
}

/**
 * A store answered with what Confab never put there. The message names the row. Nothing of the answer is shown or passed
 * over; asking again only repeats it, and the store is none the worse for everything else.
 */
export class DamagedRow extends StoreFailure {
  constructor(message: string, cause?: unknown) {
    super(message, cause);
    this.name = "DamagedRow";
  }
}
