/** What the load client writes: the WebSocket handshake, masked messages, STOMP frames, signed tokens. */
import { createHmac } from "node:crypto";
import type { Replay } from "./messages.ts";

const TEXT = 0x81;
const PONG = 0x8a;
const MASKED = 0x80;

/**
 * The handshake of a client. The key is the example of RFC 6455: a load client checks no answer to it.
 * @param host - with port, for the `Host` header.
 */
export function handshake(host: string, path: string): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "latin1",
  );
}

/**
 * One WebSocket message as a client sends it. The masking key is zero, so the payload goes out as it is; the server
 * unmasks it all the same, at full cost. [RFC 6455 5.3]
 */
function masked(opening: number, payload: string): Buffer {
  const body = Buffer.from(payload, "utf8");
  const header = body.length < 126 ? 2 : body.length < 65_536 ? 4 : 10;
  const message = Buffer.alloc(header + 4 + body.length);
  message[0] = opening;
  if (header === 2) message[1] = MASKED | body.length;
  else if (header === 4) {
    message[1] = MASKED | 126;
    message.writeUInt16BE(body.length, 2);
  } else {
    message[1] = MASKED | 127;
    message.writeBigUInt64BE(BigInt(body.length), 2);
  }
  body.copy(message, header + 4);
  return message;
}

/** A text message with this payload. */
export function text(payload: string): Buffer {
  return masked(TEXT, payload);
}

/** The answer to a ping. */
export function pong(): Buffer {
  return masked(PONG, "");
}

/** CONNECT with a token and without heart-beats, so that an idle connection is silent. */
export function connectFrame(token: string): string {
  return `CONNECT\naccept-version:1.2\nheart-beat:0,0\npasscode:${token}\n\n\0`;
}

/** Receipt id of every SUBSCRIBE. */
export const SUBSCRIBED = "subscribed";

/**
 * SUBSCRIBE with `sub-0`, the id that stompjs gives its first subscription, answered by a RECEIPT.
 * @param replay - what to ask for before going live.
 */
export function subscribeFrame(destination: string, replay?: Replay): string {
  const head = `SUBSCRIBE\nid:sub-0\ndestination:${destination}\nreceipt:${SUBSCRIBED}\n`;
  if (replay === undefined) return `${head}\n\0`;
  if ("last" in replay) return `${head}last:${replay.last}\n\n\0`;
  return `${head}after-offset:${replay.offset}\nafter-term:${replay.term}\n\n\0`;
}

/** Id of a publisher's subscription to refusals: its first character tells their frames from messages (`counter.ts`). */
export const REFUSALS = "!refusals";

/** SUBSCRIBE to what is refused of one's own frames, so that a refused SEND does not end the connection. */
export function refusalsFrame(): string {
  return `SUBSCRIBE\nid:${REFUSALS}\ndestination:/user/queue/errors\n\n\0`;
}

/** SEND of a plain text body; with a receipt if one is named. */
export function sendFrame(destination: string, body: string, receipt?: string): string {
  const wanted = receipt === undefined ? "" : `receipt:${receipt}\n`;
  return `SEND\ndestination:${destination}\n${wanted}content-type:text/plain\n\n${body}\0`;
}

/** An HS256 token that Confab accepts: `sub`, `name`, `groups`, `iat`, `exp` (an hour from now). [RFC 7519] */
export function signToken(secret: string, subject: string, groups: readonly string[] = []): string {
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString("base64url");
  const seconds = Math.floor(Date.now() / 1_000);
  const head = encode({ alg: "HS256", typ: "JWT" });
  const who = { sub: subject, name: subject, ...(groups.length > 0 ? { groups } : {}) };
  const claims = encode({ ...who, iat: seconds, exp: seconds + 3_600 });
  const signature = createHmac("sha256", secret).update(`${head}.${claims}`).digest("base64url");
  return `${head}.${claims}.${signature}`;
}
