/** STOMP's transactions, kept in memory, bounded, run in order at COMMIT; not atomic across rooms (design 3). */
import { Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import { CommitGroup } from "./sends.ts";

interface Transaction {
  readonly frames: ((group: CommitGroup) => void)[];
  bytes: number;
}

/** The open transactions of one connection. */
export class Transactions {
  readonly #connection: Connection;
  readonly #open = new Map<string, Transaction>();
  #bytes = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  begin(id: string): void {
    if (this.#open.has(id)) throw new Refusal("duplicate-transaction", `Transaction ${id}.`);
    if (this.#open.size >= this.#connection.node.limits.transactions) {
      throw new Refusal("transaction-too-large", "Too many transactions are open.");
    }
    this.#open.set(id, { frames: [], bytes: 0 });
  }

  /** Keeps a frame; `run` is called at COMMIT. `bytes` is what it holds in memory. */
  keep(id: string, bytes: number, run: (group: CommitGroup) => void): void {
    const transaction = this.#find(id);
    const { transactionFrames, transactionBytes } = this.#connection.node.limits;
    if (transaction.frames.length >= transactionFrames || this.#bytes + bytes > transactionBytes) {
      throw new Refusal("transaction-too-large", `Transaction ${id}.`);
    }
    transaction.frames.push(run);
    transaction.bytes += bytes;
    this.#bytes += bytes;
  }

  /** Runs the frames in order; the RECEIPT comes when every SEND of them has its outcome. */
  commit(id: string, receipt: string | undefined): void {
    const transaction = this.#take(id);
    const group = new CommitGroup(() => this.#connection.receipt(receipt));
    for (const run of transaction.frames) {
      // A frame that was refused may have ended the connection; what follows it is not done.
      if (!this.#connection.ready) return;
      run(group);
    }
    group.seal();
  }

  abort(id: string): void {
    this.#take(id);
  }

  #find(id: string): Transaction {
    const transaction = this.#open.get(id);
    if (!transaction) throw new Refusal("unknown-transaction", `Transaction ${id}.`);
    return transaction;
  }

  #take(id: string): Transaction {
    const transaction = this.#find(id);
    this.#open.delete(id);
    this.#bytes -= transaction.bytes;
    return transaction;
  }
}
