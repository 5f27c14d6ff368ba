/** SENDs of a connection: what is asked, who hears the outcome, and the COMMIT that waits for many. */
import type { Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import type { Entry } from "./entry.ts";
import type { Link } from "./link.ts";
import type { Reply } from "./posting.ts";

/** A SEND that posts a message. The body belongs to the request. */
export interface SendRequest {
  /** Room id, or the other user for a private message. */
  readonly to: { readonly room: string } | { readonly user: string };
  readonly headers: readonly string[];
  readonly contentType: string;
  readonly body: Uint8Array;
  readonly text: boolean;
  readonly clientMessageId: string | undefined;
  readonly receipt: string | undefined;
  /** `accepted`: the RECEIPT promises a place in the order and no more. */
  readonly level: "stored" | "accepted";
}

/** The COMMIT that waits for the SENDs of its transaction. */
export class CommitGroup {
  #open = 0;
  #sealed = false;
  readonly #done: () => void;

  constructor(done: () => void) {
    this.#done = done;
  }

  add(): void {
    this.#open++;
  }

  settle(): void {
    this.#open--;
    if (this.#open === 0 && this.#sealed) this.#done();
  }

  /** All SENDs were started. */
  seal(): void {
    this.#sealed = true;
    if (this.#open === 0) this.#done();
  }
}

/** Turns the outcome of a SEND into its RECEIPT or refusal. */
export class SendReply implements Reply {
  readonly #connection: Connection;
  readonly #receipt: string | undefined;
  readonly #clientMessageId: string | undefined;
  readonly #early: boolean;
  readonly #group: CommitGroup | undefined;
  /** What is decided again after an owner change is accepted again, but answered once. */
  #told = false;

  constructor(connection: Connection, request: SendRequest, group: CommitGroup | undefined) {
    this.#connection = connection;
    this.#receipt = request.receipt;
    this.#clientMessageId = request.clientMessageId;
    this.#early = request.level === "accepted";
    this.#group = group;
  }

  get urgent(): boolean {
    return (this.#receipt !== undefined && !this.#early) || this.#group !== undefined;
  }

  get origin(): Link | undefined {
    return this.#receipt !== undefined && !this.#early ? this.#connection.link : undefined;
  }

  accepted(entry: Entry): void {
    if (!this.#early || this.#told) return;
    this.#told = true;
    this.#connection.receipt(this.#receipt, { entry });
  }

  stored(entry: Entry): void {
    if (!this.#early) this.#connection.receipt(this.#receipt, { entry });
    this.#group?.settle();
    this.#connection.settle();
  }

  refused(refusal: Refusal): void {
    // It had its place, and the hot log lost it: no more was promised, and a frame is answered once.
    const answered = this.#early && this.#told;
    if (!answered) this.#connection.refuse(refusal, { receipt: this.#receipt, clientMessageId: this.#clientMessageId });
    this.#group?.settle();
    this.#connection.settle();
  }
}
