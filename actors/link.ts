/** What the actors ask of the edge: one client's wire, and the fan-out to all local subscriptions. */
import type { Notice, Signal } from "./bus.ts";
import type { CodeWord, Refusal } from "./codes.ts";
import type { Entry, Position } from "./entry.ts";

/** What a subscription is for. */
export type SubscriptionKind = "log" | "signals" | "queue" | "errors";

/** One subscription of one connection. */
export interface Subscription {
  /** The client's id for it. */
  readonly id: string;
  readonly kind: SubscriptionKind;
  /** Room id for `log` and `signals`, user id for `queue`, empty for `errors`. */
  readonly subject: string;
  /** As the client wrote it; shown on MESSAGEs of the user's queue. */
  readonly destination: string;
  readonly ack: "auto" | "client" | "client-individual";
  state: "joining" | "replaying" | "live" | "ended";
}

/** What a refusal is about, as far as the client named it. */
export interface About {
  readonly receipt?: string | undefined;
  readonly clientMessageId?: string | undefined;
}

/** One client's wire. No method throws when the socket is gone. */
export interface Link {
  /** The client is known: CONNECTED. */
  connected(user: string): void;
  /** Answers a frame's receipt; `entry` for a SEND, `head` for a SUBSCRIBE. May leave at the end of the turn. */
  receipt(id: string, about?: { readonly entry?: Entry; readonly head?: Position }): void;
  /** An ERROR frame; the connection is closed after it. */
  fault(refusal: Refusal, about: About): void;
  /** A MESSAGE `refused` on the subscription of `/user/queue/errors`. */
  refused(errors: Subscription, refusal: Refusal, about: About): void;
  /** A MESSAGE `resumed`, before a replay. */
  resumed(subscription: Subscription, recovered: boolean, head: Position): void;
  /** Replayed entries, in one write. */
  replay(subscription: Subscription, entries: readonly Entry[]): void;
  /** The last MESSAGE of a subscription that ends. What was published before leaves before it. */
  ended(subscription: Subscription, code: CodeWord): void;
  /** Subscribes natively: from the next publish on. */
  attach(subscription: Subscription): void;
  /** Ends the native subscription; what was published before is sent first. */
  detach(subscription: Subscription): void;
  /** Whether so much is unsent that a replay should wait for `drained`. */
  congested(): boolean;
  /** Resolves when the socket has taken what was unsent; rejects never, resolves also when it is gone. */
  drained(): Promise<void>;
  /** A heart-beat. */
  beat(): void;
  /** Ends the connection with the close code of the word. */
  close(code: CodeWord): void;
}

/** All local subscriptions at once: encodes once per distinct kind of receiver and publishes natively. */
export interface Fanout {
  /**
   * Entries of one room, rising, to its log subscriptions. Answers the number of deliveries. `origin` as in `Pack`:
   * its own copy may wait a moment for the RECEIPT, never longer than what follows in the room.
   */
  entries(room: string, entries: readonly Entry[], origin?: Link): number;
  /**
   * Makes ahead what `entries` will need for this very array, in the time in which the hot log is asked whether it
   * accepts them. It may never be asked for.
   */
  prepare?(room: string, entries: readonly Entry[]): void;
  signals(room: string, signals: readonly Signal[]): void;
  /** An entry of a direct room, or a notice, to the queue of its user. */
  notice(notice: Extract<Notice, { kind: "entry" | "notice" }>): void;
}
