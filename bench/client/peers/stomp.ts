/** STOMP 1.2 as Spring's simple broker and RabbitMQ speak it. Both frame messages as Confab does. */
import { FrameCounter } from "../counter.ts";
import { sendFrame, text } from "../frames.ts";
import type { Wire } from "./wire.ts";

/** RabbitMQ's own user, which it lets in from this machine only; Spring's broker asks for nobody. */
const CONNECT = "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\nlogin:guest\npasscode:guest\n\n\0";

function destination(room: string): string {
  return `/topic/${room}`;
}

function subscribe(room: string): string {
  return `SUBSCRIBE\nid:sub-0\ndestination:${destination(room)}\nreceipt:subscribed\n\n\0`;
}

const common = {
  path: "/ws",
  counter: () => new FrameCounter(),
  message: (room: string, body: string): Uint8Array => text(sendFrame(destination(room), body)),
  pong: new Uint8Array(0),
} as const;

/**
 * Spring's simple broker knows no receipts: a connection is open when its SUBSCRIBE is written. The first load, which
 * does not count, comes after it.
 */
export const spring: Wire = {
  ...common,
  steps: (room) => [{ say: text(CONNECT) }, { after: "connected", say: text(subscribe(room)) }],
};

export const rabbitMq: Wire = {
  ...common,
  steps: (room) => [{ say: text(CONNECT) }, { after: "connected", say: text(subscribe(room)) }, { after: "receipts" }],
};
