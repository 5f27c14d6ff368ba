/** What one publisher sends: gathered over a turn of the event loop, and written at once. */
import type { Connection } from "./connection.ts";
import { sendFrame, text } from "./frames.ts";
import type { Until } from "./messages.ts";

/** The messages of one publisher on their way. */
export class Outgoing {
  readonly connection: Connection;
  readonly #until: Until;
  readonly #body: string;
  /** Where nothing is answered every message is the same, and made once. */
  readonly #constant: Uint8Array;
  readonly #pending: Uint8Array[] = [];

  constructor(connection: Connection, until: Until, bodyBytes: number) {
    this.connection = connection;
    this.#until = until;
    this.#body = "x".repeat(bodyBytes);
    this.#constant = text(sendFrame(connection.destination, this.#body));
  }

  /** Adds a message; returns whether it is the first since the last write. `receipt` names its RECEIPT, if it has one. */
  add(receipt: number): boolean {
    const message =
      this.connection.peerMessage(this.#body) ??
      (this.#until === "returned" ? this.#constant : this.#receipted(String(receipt)));
    return this.#pending.push(message) === 1;
  }

  /** Writes what was added. */
  flush(): void {
    const [first] = this.#pending;
    if (first === undefined) return;
    this.connection.write(this.#pending.length === 1 ? first : Buffer.concat(this.#pending));
    this.#pending.length = 0;
  }

  #receipted(receipt: string): Uint8Array {
    if (this.connection.sampled) this.connection.receiptsAwaited.push(receipt);
    return text(sendFrame(this.connection.destination, this.#body, receipt));
  }
}

/** How many frames of the kind that is waited for a connection has received. */
export function countOf(connection: Connection, until: Until): number {
  return until === "answered" ? connection.counter.receipts : connection.counter.messages;
}

/** Publishers by whom they hear of: of one room all its messages, and where SENDs are answered each its own answers. */
export function lanesOf(publishers: readonly Connection[], until: Until): Connection[][] {
  if (until === "answered") return publishers.map((publisher) => [publisher]);
  const rooms = new Map<string, Connection[]>();
  for (const publisher of publishers) {
    const lane = rooms.get(publisher.place.room);
    if (lane === undefined) rooms.set(publisher.place.room, [publisher]);
    else lane.push(publisher);
  }
  return [...rooms.values()];
}
