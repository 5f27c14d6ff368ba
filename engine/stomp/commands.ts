/** One small function per STOMP command, behind a table [STOMP 1.2]. Bodies are views of the chunk and copied once. */
import { Buffer, isUtf8 } from "node:buffer";
import { Refusal } from "../../actors/codes.ts";
import type { About } from "../../actors/link.ts";
import type { From } from "../../actors/resume.ts";
import type { CommitGroup } from "../../actors/sends.ts";
import { type Destination, readDestination } from "./destinations.ts";
import { type Frame, header, type Version } from "./frame.ts";
import { RESERVED } from "./message.ts";
import type { Session } from "./session.ts";

type Handler = (session: Session, frame: Frame) => void;

const HANDLERS: ReadonlyMap<string, Handler> = new Map(
  Object.entries<Handler>({
    SEND: send,
    SUBSCRIBE: ready(subscribe),
    UNSUBSCRIBE: ready(unsubscribe),
    ACK: ready((session, frame) => inTransaction(session, frame, (kept) => acknowledge(session, kept, "ack"))),
    NACK: ready((session, frame) => inTransaction(session, frame, (kept) => acknowledge(session, kept, "nack"))),
    BEGIN: ready(transaction("begin")),
    COMMIT: ready(transaction("commit")),
    ABORT: ready(transaction("abort")),
    DISCONNECT: ready((session, frame) => session.connection.disconnect(header(frame, "receipt"))),
    CONNECT: connect,
    STOMP: connect,
  }),
);

/** Runs a frame. A refusal of the protocol ends the connection; a sound frame that is refused does not. */
export function handleFrame(session: Session, frame: Frame): void {
  try {
    const handler = HANDLERS.get(frame.command);
    if (!handler) throw new Refusal("unknown-command", JSON.stringify(frame.command.slice(0, 40)));
    handler(session, frame);
  } catch (error) {
    session.failed(error, { receipt: header(frame, "receipt") });
  }
}

function ready(handler: Handler): Handler {
  return (session, frame) => {
    session.connection.requireReady();
    handler(session, frame);
  };
}

function required(frame: Frame, name: string): string {
  const value = header(frame, name);
  if (value === undefined || value === "") throw new Refusal("missing-header", `${frame.command} needs ${name}.`);
  return value;
}

/** [STOMP 1.2 CONNECT]: the highest version both know; the token by `passcode` or `Authorization`. */
function connect(session: Session, frame: Frame): void {
  if (session.connection.claims) throw new Refusal("wrong-state", "The connection is open already.");
  const version = negotiate(header(frame, "accept-version"));
  const [theirs, wanted] = heartbeats(header(frame, "heart-beat"));
  const bearer = header(frame, "Authorization") ?? header(frame, "authorization");
  const token = header(frame, "passcode") || (bearer ? bearerToken(bearer) : undefined);
  const { connection, edge } = session;
  session.version = version;
  session.parser.version = version;
  const claims = connection.connect(token);
  const offer = edge.node.limits.heartbeatMs;
  session.heartbeat = `${offer},${offer}`;
  session.connected(claims.sub);
  // Agreed is the slower of the two [STOMP 1.2 Heart-beating]; we beat early and end late (design 3).
  if (wanted > 0) connection.beatMs = Math.floor(0.8 * Math.max(offer, wanted));
  if (theirs > 0) connection.silenceMs = 2.5 * Math.max(offer, theirs);
  connection.beatAt = connection.seenAt + connection.beatMs;
}

function negotiate(accepted: string | undefined): Version {
  if (accepted === undefined) return "1.0"; // [STOMP 1.2 Protocol Negotiation]
  for (const [version, offered] of VERSIONS) if (offered.test(accepted)) return version;
  throw new Refusal("version-unsupported", `Offered: ${JSON.stringify(accepted.slice(0, 80))}.`);
}

/** Best first; each with what a list that offers it looks like. */
const VERSIONS: readonly (readonly [Version, RegExp])[] = [
  ["1.2", /(?:^|,)\s*1\.2\s*(?:,|$)/],
  ["1.1", /(?:^|,)\s*1\.1\s*(?:,|$)/],
  ["1.0", /(?:^|,)\s*1\.0\s*(?:,|$)/],
];

const NO_BEATS: readonly [number, number] = [0, 0];

function heartbeats(text: string | undefined): readonly [number, number] {
  if (text === undefined || text === "0,0") return NO_BEATS;
  const match = /^\s*(\d{1,9})\s*,\s*(\d{1,9})\s*$/.exec(text);
  if (!match) throw new Refusal("bad-header", "heart-beat is two whole numbers with a comma between.");
  return [Number(match[1]), Number(match[2])];
}

/** The token of `Bearer …`; the text itself when it has no scheme. */
export function bearerToken(value: string): string {
  return /^bearer /i.test(value) ? value.slice(7).trim() : value.trim();
}

function send(session: Session, frame: Frame): void {
  const { connection } = session;
  connection.requireReady();
  const destination = required(frame, "destination");
  const transactionId = header(frame, "transaction");
  if (transactionId === undefined) {
    // Without a function for each: nearly all frames are such.
    try {
      sendTo(session, frame, readDestination(destination, connection.user));
    } catch (error) {
      connection.failed(error, aboutOf(frame));
    }
    return;
  }
  const about = aboutOf(frame);
  const kept: Frame = { ...frame, body: copied(frame.body) };
  connection.transactions.keep(transactionId, keptBytes(kept), (group) =>
    connection.attempt(about, () => sendTo(session, kept, readDestination(destination, connection.user), group)),
  );
}

/** What a frame of a transaction holds in memory, about. */
function keptBytes({ headers, body }: Frame): number {
  return headers.reduce((sum, text) => sum + text.length * 2, body.byteLength + 256);
}

function aboutOf(frame: Frame): About {
  return { receipt: header(frame, "receipt"), clientMessageId: header(frame, "client-message-id") };
}

function sendTo(session: Session, frame: Frame, destination: Destination, group?: CommitGroup): void {
  switch (destination.kind) {
    case "room":
      return post(session, frame, { room: destination.room }, group);
    case "queue":
      return post(session, frame, { user: destination.user }, group);
    case "typing":
    case "read":
      return signal(session, frame, destination);
    case "refresh": {
      const bearer = header(frame, "Authorization") ?? header(frame, "authorization");
      return session.connection.refresh(bearer ? bearerToken(bearer) : "", { receipt: header(frame, "receipt") });
    }
    default:
      throw new Refusal("bad-destination", "Nothing can be sent there.");
  }
}

function post(session: Session, frame: Frame, to: { room: string } | { user: string }, group?: CommitGroup): void {
  const { connection } = session;
  const level = header(frame, "ack-level") ?? "stored";
  if (level !== "stored" && level !== "accepted") throw new Refusal("bad-header", "ack-level is stored or accepted.");
  const clientMessageId = header(frame, "client-message-id");
  if (clientMessageId !== undefined && (clientMessageId === "" || clientMessageId.length > KEY_LENGTH)) {
    throw new Refusal("bad-header", `client-message-id has 1 to ${KEY_LENGTH} characters.`);
  }
  connection.send(
    {
      to,
      headers: userHeaders(session, frame),
      contentType: header(frame, "content-type") ?? "",
      body: copied(frame.body),
      text: isUtf8(frame.body),
      clientMessageId,
      receipt: header(frame, "receipt"),
      level,
    },
    group,
  );
}

/** Longest client-message-id, characters: a UUID fits several times. */
const KEY_LENGTH = 128;
/** Not frozen: V8 makes an iterator and a result anew wherever a frozen array is gone through, and this is ten times a SEND. */
const NONE: readonly string[] = [];
const NO_BODY = new Uint8Array(0);

/** The headers of a SEND that are stored: all that the engine does not set itself (design 3, Headers). */
function userHeaders(session: Session, frame: Frame): readonly string[] {
  const { headers } = frame;
  let list: string[] | undefined;
  let bytes = 0;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (RESERVED.has(name)) continue;
    const value = headers[i + 1] as string;
    list ??= [];
    list.push(name, value);
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (!list) return NONE;
  const { limits } = session.edge.node;
  if (list.length > limits.userHeaders * 2)
    throw new Refusal("too-many-headers", `At most ${limits.userHeaders} are stored.`);
  if (bytes > limits.headerBytes) throw new Refusal("header-too-long", "Headers that are stored together.");
  return list;
}

/** Bytes of their own: a view would keep the chunk, or a pool, alive. */
function copied(body: Uint8Array): Uint8Array {
  return new Uint8Array(body);
}

function signal(session: Session, frame: Frame, to: { kind: "typing" | "read"; room: string }): void {
  const { connection, edge } = session;
  const about: About = { receipt: header(frame, "receipt") };
  if (!connection.takeSignalToken()) throw new Refusal("rate-limited", undefined, 1_000);
  const body = readJson(frame, to.kind === "typing" ? "state" : "offset");
  let done: Promise<void>;
  if (to.kind === "typing") {
    const state = body["state"] ?? "start";
    if (state !== "start" && state !== "stop")
      throw new Refusal("bad-body", 'typing wants {"state":"start"} or {"state":"stop"}.');
    done = edge.node.typing(to.room, connection.user, state === "start");
  } else {
    const offset = body["offset"];
    if (!Number.isSafeInteger(offset) || (offset as number) < 0)
      throw new Refusal("bad-body", 'read wants {"offset":N}.');
    done = edge.node.mark(to.room, connection.user, { kind: "read", offset: offset as number });
  }
  settle(session, done, about);
}

/** The JSON object of a body, with the one key that it may have; nothing is an empty object. */
function readJson(frame: Frame, key: string): Record<string, unknown> {
  if (frame.body.byteLength === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(frame.body).toString("utf8"));
  } catch {
    // Told below, like any other body that is no object.
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refusal("bad-body", "A JSON object is expected.");
  }
  const other = Object.keys(value).find((name) => name !== key);
  if (other !== undefined)
    throw new Refusal("bad-body", `Only ${key} is expected, not ${JSON.stringify(other.slice(0, 40))}.`);
  return value as Record<string, unknown>;
}

/** Answers a frame whose work takes a moment; the connection counts it as pending meanwhile. */
function settle(session: Session, done: Promise<void>, about: About): void {
  const { connection } = session;
  connection.pending++;
  done.then(
    () => {
      connection.receipt(about.receipt);
      connection.settle();
    },
    (error: unknown) => {
      connection.refuse(error instanceof Refusal ? error : new Refusal("store-unavailable", undefined, 1_000), about);
      connection.settle();
    },
  );
}

function subscribe(session: Session, frame: Frame): void {
  const { connection } = session;
  const destination = required(frame, "destination");
  const receipt = header(frame, "receipt");
  // [STOMP 1.0 SUBSCRIBE] knows no id of its own: the destination names the subscription.
  const id = session.version === "1.0" ? (header(frame, "id") ?? destination) : required(frame, "id");
  const ack = header(frame, "ack") ?? "auto";
  if (ack !== "auto" && ack !== "client" && ack !== "client-individual")
    throw new Refusal("bad-header", "ack is auto, client or client-individual.");
  // A fault of the protocol, which ends the connection; what follows is refused at most.
  if (connection.subscriptions.some((other) => other.id === id)) throw new Refusal("duplicate-subscription");
  connection.attempt({ receipt }, () => {
    const target = readDestination(destination, connection.user);
    const from = readFrom(frame);
    if (target.kind === "room") {
      connection.subscribe({ id, kind: "log", subject: target.room, destination: target.topic, ack, receipt }, from);
    } else if (target.kind === "signals") {
      connection.subscribe({ id, kind: "signals", subject: target.room, destination, ack: "auto", receipt }, from);
    } else if (target.kind === "queue") {
      connection.subscribe({ id, kind: "queue", subject: target.user, destination, ack: "auto", receipt }, from);
    } else if (target.kind === "errors") {
      connection.subscribe({ id, kind: "errors", subject: "", destination, ack: "auto", receipt }, from);
    } else {
      throw new Refusal("bad-destination", "Nothing can be subscribed there.");
    }
  });
}

/** Where the subscription begins: a position is offset and term together, or the last N. */
function readFrom(frame: Frame): From {
  const offset = header(frame, "after-offset");
  const term = header(frame, "after-term");
  const last = header(frame, "last");
  if (offset === undefined && term === undefined && last === undefined) return NOW;
  if ((offset === undefined) !== (term === undefined) || (last !== undefined && offset !== undefined))
    throw new Refusal("bad-position");
  if (last !== undefined) return { kind: "last", entries: whole(last, "last") };
  return { kind: "after", position: { offset: whole(offset, "after-offset"), term: whole(term, "after-term") } };
}

const NOW: From = Object.freeze({ kind: "now" });

function whole(text: string | undefined, name: string): number {
  if (text === undefined || !/^\d{1,15}$/.test(text)) throw new Refusal("bad-position", `${name} is a whole number.`);
  return Number(text);
}

function unsubscribe(session: Session, frame: Frame): void {
  const id =
    session.version === "1.0" ? (header(frame, "id") ?? required(frame, "destination")) : required(frame, "id");
  session.connection.unsubscribe(id, header(frame, "receipt"));
}

function transaction(what: "begin" | "commit" | "abort"): Handler {
  return (session, frame) => {
    const id = required(frame, "transaction");
    const receipt = header(frame, "receipt");
    const { transactions } = session.connection;
    if (what === "commit") return transactions.commit(id, receipt);
    transactions[what](id);
    session.connection.receipt(receipt);
  };
}

/** Runs a frame that needs no body, now or at COMMIT; until then it is kept without one, as a view would keep it alive. */
function inTransaction(session: Session, frame: Frame, run: (frame: Frame) => void): void {
  const id = header(frame, "transaction");
  if (id === undefined) return run(frame);
  const kept: Frame = { ...frame, body: NO_BODY };
  const about: About = { receipt: header(frame, "receipt") };
  session.connection.transactions.keep(id, keptBytes(kept), () => session.guard(about, () => run(kept)));
}

/** ACK moves the delivered marker; NACK moves nothing; unknown ids are ignored and counted (design 3). */
function acknowledge(session: Session, frame: Frame, what: "ack" | "nack"): void {
  const { connection, edge } = session;
  const receipt = header(frame, "receipt");
  const id = session.version === "1.2" ? required(frame, "id") : required(frame, "message-id");
  const dot = id.lastIndexOf(".");
  const offset = Number(id.slice(dot + 1));
  const name = session.version === "1.2" ? id.slice(0, dot) : header(frame, "subscription");
  const room = session.version === "1.2" ? undefined : id.slice(0, id.indexOf("."));
  const subscription = connection.subscriptions.find(
    (one) => one.kind === "log" && one.ack !== "auto" && (name === undefined ? one.subject === room : one.id === name),
  );
  if (dot < 0 || !Number.isSafeInteger(offset) || offset < 1 || !subscription) edge.node.counters.unknownAcks++;
  else if (what === "ack") {
    if (receipt === undefined) return session.acknowledge(subscription, offset);
    settle(session, edge.node.mark(subscription.subject, connection.user, { kind: "delivered", offset }), { receipt });
    return;
  }
  connection.receipt(receipt);
}
