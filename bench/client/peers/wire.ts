/** How a peer is spoken to: what opens a connection, what publishes, and what counts the frames that come back. */

/** What came in on one connection so far. */
export interface Counter {
  /** Messages of the room. */
  readonly messages: number;
  /** Answers that a subscription stands, or that a message was taken. */
  readonly receipts: number;
  /** Answers that the session stands. */
  readonly connected: number;
  /** SENDs that were refused while the connection lives on. */
  readonly refusals: number;
  /** Refusals that end the connection. */
  readonly errors: number;
  /** WebSocket pings, to be answered by who reads. */
  readonly pings: number;
  /** What the server said before it was asked. */
  readonly greetings: number;
  /** Pings of the protocol itself. */
  readonly calls: number;
  /** Bytes of the last message, as its protocol frames it; the WebSocket header is not in it. */
  readonly messageBytes: number;
  /** Bytes of the last answer to a message. */
  readonly receiptBytes: number;
  /**
   * Takes the next bytes of the stream; nothing of them is kept.
   * @param end - how many of the bytes count, as read buffers are shared and longer.
   */
  take(bytes: Uint8Array, end: number): void;
}

/** One step of opening: what is written once the named count is above zero; at once where none is named. */
export interface Step {
  readonly after?: "greetings" | "connected" | "receipts";
  readonly say?: Uint8Array;
}

/** One peer's protocol. All bytes to write are whole WebSocket messages. */
export interface Wire {
  /** Path and query of the handshake. */
  readonly path: string;
  readonly counter: () => Counter;
  /** From the answered handshake to the subscription. */
  readonly steps: (room: string) => readonly Step[];
  /** A message to a room. */
  readonly message: (room: string, body: string) => Uint8Array;
  /** The answer to a ping of the protocol itself; empty where it has none. */
  readonly pong: Uint8Array;
}
