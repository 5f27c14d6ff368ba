/**
 * Own messages on the wire. Each goes out under its own id until a RECEIPT says it is stored; after a lost
 * connection all that are not receipted go out again, in order, under the same ids (promise 4).
 */
import type { IMessage } from "@stomp/stompjs";
import { discarded, failed, hasRoom, retried, stored, written } from "./outbox.ts";
import { retryOf, sentenceOf } from "./session.ts";
import { numberOf } from "./shapes.ts";
import { logOf, type Store, withLog } from "./store.ts";
import type { Goodbye, Wire } from "./wire.ts";

const ANSWER_MS = 20_000; // without a receipt for this long a message counts as failed, until one comes
const TOO_LARGE: readonly string[] = ["body-too-large", "frame-too-large"];
const TRIES = 4; // of a message that is refused with "later"

/** Sends the messages of all rooms' outboxes. */
export class Sending {
  readonly #store: Store;
  readonly #wire: Wire;
  /** By message id: the end of waiting for an answer, or of the pause before the next try. */
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(store: Store, wire: Wire) {
    this.#store = store;
    this.#wire = wire;
  }

  /** Writes a message to a room; false when too many are waiting. */
  write(room: string, own: { id: string; body: string }): boolean {
    if (!hasRoom(logOf(this.#store.state, room))) return false;
    this.#store.change((state) => withLog(state, room, (log) => written(log, { ...own, at: Date.now() })));
    this.#dispatch(room, own.id);
    return true;
  }

  /** The wire is up: what is still pending goes out, again or for the first time. */
  connected(): void {
    for (const [room, log] of this.#store.state.logs) {
      for (const own of log.outbox) if (own.state === "pending") this.#dispatch(room, own.id);
    }
  }

  /** Sends a failed message again, under the same id. */
  resend(room: string, id: string): void {
    this.#store.change((state) => withLog(state, room, (log) => retried(log, id, "by-person")));
    this.#dispatch(room, id);
  }

  /** Forgets a failed message. */
  discard(room: string, id: string): void {
    this.#clear(id);
    this.#store.change((state) => withLog(state, room, (log) => discarded(log, id)));
  }

  /** Forgets all timers, as when the user leaves. */
  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /** A refusal of a SEND; false when it is about none of ours. */
  refused(message: IMessage): boolean {
    const { headers } = message;
    const receipt = headers["receipt-id"] ?? "";
    const id = headers["client-message-id"] ?? (receipt.startsWith("send.") ? receipt.slice("send.".length) : "");
    for (const [room, log] of this.#store.state.logs) {
      const own = log.outbox.find((one) => one.id === id);
      if (own === undefined) continue;
      const pause = numberOf(headers["retry-after"]) || 1_000 * 2 ** own.tries;
      this.#refusedOne(room, { id, code: headers["code"] ?? "", pause, tries: own.tries });
      return true;
    }
    return false;
  }

  /**
   * The connection ended. Where it ended over one of ours, that one has failed: sent again it would end the
   * next one, too. An ERROR over a frame too large may not name it; then it is the longest of those sent.
   */
  ended({ code, receipt }: Goodbye): void {
    if (code === "" || retryOf(code) !== "never") return;
    const sent = [...this.#store.state.logs].flatMap(([room, { outbox }]) =>
      outbox.filter(({ id, state }) => state === "pending" && this.#timers.has(id)).map((own) => ({ room, own })),
    );
    const named = sent.find(({ own }) => receipt === `send.${own.id}`);
    const longest = sent.toSorted((a, b) => b.own.body.length - a.own.body.length)[0];
    const at = named ?? (TOO_LARGE.includes(code) ? longest : undefined);
    if (at !== undefined) this.#failed(at.room, at.own.id, sentenceOf(code));
  }

  #refusedOne(room: string, refusal: { id: string; code: string; pause: number; tries: number }): void {
    const { id, code, pause, tries } = refusal;
    if (retryOf(code) !== "later" || tries >= TRIES) return this.#failed(room, id, sentenceOf(code));
    this.#store.change((state) => withLog(state, room, (log) => retried(log, id, "by-itself")));
    this.#after(id, pause, () => this.#dispatch(room, id));
  }

  #dispatch(room: string, id: string): void {
    const own = logOf(this.#store.state, room).outbox.find((one) => one.id === id);
    if (own === undefined || own.state !== "pending") return;
    const sent = this.#wire.send(room, { id, body: own.body }, (offset) => {
      this.#clear(id);
      this.#store.change((state) => withLog(state, room, (log) => stored(log, id, offset)));
    });
    if (!sent) return;
    this.#after(id, ANSWER_MS, () => {
      if (this.#wire.up) this.#failed(room, id, "No answer yet.");
    });
  }

  #failed(room: string, id: string, reason: string): void {
    this.#clear(id);
    this.#store.change((state) => withLog(state, room, (log) => failed(log, id, reason)));
  }

  #after(id: string, ms: number, task: () => void): void {
    this.#clear(id);
    this.#timers.set(
      id,
      setTimeout(() => {
        this.#timers.delete(id);
        task();
      }, ms),
    );
  }

  #clear(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }
}
