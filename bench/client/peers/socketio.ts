/**
 * Socket.IO 4 straight over WebSocket: an Engine.IO packet per WebSocket message, whose first character is the packet's
 * type (`0` open, `2` ping, `4` message) and, in a message, whose second is Socket.IO's own (`0` connected, `2` event,
 * `3` acknowledgement, `4` refused).
 */
import { text } from "../frames.ts";
import { PayloadCounter } from "./payloads.ts";
import type { Wire } from "./wire.ts";

const OPEN = 0x30;
const PING = 0x32;
const MESSAGE = 0x34;
const CONNECTED = 0x30;
const EVENT = 0x32;
const ACKNOWLEDGED = 0x33;
const REFUSED = 0x34;

class SocketIoCounter extends PayloadCounter {
  #first = 0;
  #second = 0;
  #size = 0;

  protected piece(bytes: Uint8Array, from: number, to: number): void {
    if (this.#size === 0) {
      this.#first = bytes[from] ?? 0;
      if (to > from + 1) this.#second = bytes[from + 1] ?? 0;
    } else if (this.#size === 1) this.#second = bytes[from] ?? 0;
    this.#size += to - from;
  }

  protected ended(): void {
    if (this.#first === MESSAGE && this.#size > 1) this.#event();
    else if (this.#first === PING) this.calls += 1;
    else if (this.#first === OPEN) this.greetings += 1;
    this.#size = 0;
  }

  #event(): void {
    if (this.#second === EVENT) {
      this.messages += 1;
      this.messageBytes = this.#size;
    } else if (this.#second === CONNECTED) this.connected += 1;
    else if (this.#second === ACKNOWLEDGED) this.receipts += 1;
    else if (this.#second === REFUSED) this.errors += 1;
  }
}

/** Its server (`bench/peers/socketio.server.ts`) knows the events `join` and `send`. */
export const socketIo: Wire = {
  path: "/socket.io/?EIO=4&transport=websocket",
  counter: () => new SocketIoCounter(),
  steps: (room) => [
    { after: "greetings", say: text("40") },
    { after: "connected", say: text(`420${JSON.stringify(["join", room])}`) },
    { after: "receipts" },
  ],
  message: (room, body) => text(`42${JSON.stringify(["send", room, body])}`),
  pong: text("3"),
};
