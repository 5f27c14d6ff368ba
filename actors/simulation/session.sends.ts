/** SENDs of one simulated connection, alone and in transactions, and the answers that it waits for. */
import { Buffer } from "node:buffer";
import type { Connection } from "../connection.ts";
import type { Entry } from "../entry.ts";
import type { SendRequest } from "../sends.ts";
import type { Judge, Sent } from "./judge.ts";

/** How a message is sent. */
export interface How {
  readonly id: string | undefined;
  readonly level: Sent["level"];
  /** Without it nobody hears what becomes of the message. */
  readonly receipt: boolean;
}

/** What the SENDs need of their connection. */
export interface SendsHost {
  readonly number: number;
  readonly user: string;
  readonly nowMs: number;
  readonly judge: Judge;
  say(what: string): void;
  /** An answer is waited for. */
  ask(): void;
  toNode(frame: (connection: Connection) => void): void;
}

/** Bytes that a frame counts for in a transaction. */
const FRAME_BYTES = 512;

interface Said {
  readonly sent: Sent;
  readonly receipt: string | undefined;
  readonly request: SendRequest;
}

/** The SENDs of one connection. */
export class Sends {
  readonly #host: SendsHost;
  readonly #open = new Map<string, Sent>();
  /** COMMITs, with what they wait for. */
  readonly #commits = new Map<string, readonly Sent[]>();
  #number = 0;
  #receipts = 0;

  constructor(host: SendsHost) {
    this.#host = host;
  }

  /** Whether an answer is missing. */
  get waiting(): boolean {
    return this.#open.size + this.#commits.size > 0;
  }

  /** The unanswered SEND of a receipt. */
  of(receipt: string): Sent | undefined {
    return this.#open.get(receipt);
  }

  /** SENDs a message. */
  send(to: SendRequest["to"], how: How): void {
    const { request } = this.#say(to, how);
    this.#host.toNode((connection) => connection.send(request));
  }

  /** SENDs messages in one transaction; of one that is aborted none is posted. */
  transact(to: SendRequest["to"], hows: readonly How[], { commit }: { readonly commit: boolean }): void {
    const host = this.#host;
    const id = `t${this.#receipts++}`;
    host.toNode((connection) => connection.attempt({}, () => connection.transactions.begin(id)));
    const said = hows.map((how) => this.#say(to, how));
    for (const { request, receipt } of said) {
      host.toNode((connection) =>
        connection.attempt({ receipt }, () =>
          connection.transactions.keep(id, FRAME_BYTES, (group) => connection.send(request, group)),
        ),
      );
    }
    if (!commit) {
      for (const { sent, receipt } of said) {
        sent.refused = "aborted";
        if (receipt !== undefined) this.#open.delete(receipt);
      }
      return host.toNode((connection) => connection.attempt({}, () => connection.transactions.abort(id)));
    }
    const receipt = `m${this.#receipts++}`;
    this.#commits.set(
      receipt,
      said.map(({ sent }) => sent),
    );
    host.ask();
    host.toNode((connection) => connection.attempt({ receipt }, () => connection.transactions.commit(id, receipt)));
  }

  #say(to: SendRequest["to"], { id, level, receipt: wanted }: How): Said {
    const { judge, nowMs: sentMs, number, user } = this.#host;
    const body = `${number} ${this.#number++}`;
    const [room, other] = "room" in to ? [to.room, undefined] : ["", to.user];
    const sent: Sent = {
      ...{ user, room, id, body, level, life: 0, answers: 0, stored: undefined },
      ...{ sentMs, receipted: wanted, refused: undefined, other },
    };
    judge.sent(sent);
    const receipt = wanted ? `r${this.#receipts++}` : undefined;
    if (receipt !== undefined) {
      this.#open.set(receipt, sent);
      this.#host.ask();
    }
    this.#host.say(`SEND ${body}${id === undefined ? "" : ` as ${id}`} to ${other ?? room}`);
    const content = { headers: [], contentType: "text/plain", body: Buffer.from(body), text: true };
    return { sent, receipt, request: { to, ...content, clientMessageId: id, receipt, level } };
  }

  /** The client hears a RECEIPT of a SEND. Answers what is broken, if anything is. */
  receipted(receipt: string, sent: Sent, entry: Entry): string | undefined {
    this.#open.delete(receipt);
    if (sent.level === "stored") sent.stored = { ...entry, room: sent.room };
    const twice = sent.answers > 0 || sent.refused !== undefined;
    sent.answers++;
    return twice ? `${sent.body} is answered twice` : undefined;
  }

  /** The client hears that a SEND is refused. */
  refused(receipt: string, sent: Sent, code: string): string | undefined {
    this.#open.delete(receipt);
    sent.refused = code;
    return sent.answers > 0 ? `${sent.body} is refused after its receipt` : undefined;
  }

  /** The client hears a RECEIPT of a COMMIT, which comes after the outcomes of its SENDs; false when it is none. */
  committed(receipt: string): boolean {
    const sents = this.#commits.get(receipt);
    if (!sents || !this.#commits.delete(receipt)) return false;
    const open = sents.find((one) => one.receipted && one.answers === 0 && one.refused === undefined);
    if (open) this.#host.judge.breaks(`a COMMIT is answered before ${open.body} of it`);
    return true;
  }

  /** A COMMIT is refused. */
  uncommitted(receipt: string): boolean {
    return this.#commits.delete(receipt);
  }
}
