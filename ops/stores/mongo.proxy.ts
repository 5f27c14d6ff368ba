/**
 * A proxy on 127.0.0.1 between a node and a store that speaks MongoDB's wire protocol, for drills and tests. It
 * passes everything on as it is, and on command spoils one insert into a collection: answers it late, cuts it in
 * the middle, loses its answer, says that the majority has not confirmed it, or lets another go between.
 *
 * ```
 *   node ─ insert [a b c d] ─► proxy ─ insert [a b] ─► store       landed: 2
 *                                ├─ between: work()
 *                                └─ insert [c d] ──────► store      and one answer for both parts
 * ```
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Fields } from "./mongo.scripted.documents.ts";
import {
  answerBytes,
  answersTo,
  commandBytes,
  requestOf,
  WireCutter,
  type WireRequest,
} from "./mongo.scripted.wire.ts";

/** What goes wrong with one insert. `landed` is how many of its documents the store gets, from the first on. */
export type InsertFault =
  /** All land, and the answer comes `delayMs` later. */
  | { readonly kind: "slow"; readonly delayMs: number }
  /** The first `landed` land, all of them for a lost answer, `work` is done, then the connection is cut. */
  | { readonly kind: "drop"; readonly landed: number; readonly work?: () => Promise<void> }
  /** The answer tells of all and of a write-concern error; the others than the first `landed` are rolled back. */
  | { readonly kind: "write-concern"; readonly landed: number }
  /** The first `landed` land, then `work` is done, then the rest is inserted. */
  | { readonly kind: "between"; readonly landed: number; readonly work: () => Promise<void> };

/** Says which fault an insert of these documents meets; undefined lets it pass. */
export type InsertChoice = (documents: readonly Fields[]) => InsertFault | undefined;

interface Trap {
  readonly choose: InsertChoice;
  readonly sprung: (documents: readonly Fields[]) => void;
  readonly failed: (error: Error) => void;
}

/** What a connection asks of its proxy. */
interface Gate {
  /** The trap, taken away, and its fault, when an insert of these documents springs it. */
  readonly take: (documents: readonly Fields[]) => { readonly trap: Trap; readonly fault: InsertFault } | undefined;
  /** The collection whose inserts are watched. */
  readonly collection: string;
  /** ms by which an answer is late. */
  readonly delayMs: () => number;
  /** The store said that a document's `_id` is taken, and the node hears of it. */
  readonly met: (id: unknown) => void;
}

type Reply = Readonly<Record<string, unknown>>;
type WriteError = Readonly<Record<string, unknown>> & { readonly index: number; readonly code: number };

const WRITE_CONCERN_TIMED_OUT = 64;
const DUPLICATE_KEY = 11_000;
const MET_MAX = 10_000;
const GREETINGS = /^(hello|ismaster)$/i;

/** One connection of the node and the one to the store that goes with it. */
class Link {
  readonly #node: Socket;
  readonly #store: Socket;
  readonly #gate: Gate;
  /** Parts of a spoilt insert on their way to the store, by id. */
  readonly #asked = new Map<number, { answered: (reply: Reply) => void; failed: (error: Error) => void }>();
  /** Inserts whose answers are passed on, by id, and greetings, whose answers are never late. */
  readonly #inserts = new Map<number, readonly Fields[]>();
  readonly #greetings = new Set<number>();

  constructor(sockets: { node: Socket; store: Socket }, gate: Gate) {
    this.#node = sockets.node;
    this.#store = sockets.store;
    this.#gate = gate;
    // A fault of one side ends the other as well, by "close".
    for (const socket of [this.#node, this.#store]) socket.setNoDelay(true).on("error", () => undefined);
    const requests = new WireCutter((message) => this.#toStore(message));
    const answers = new WireCutter((message) => this.#toNode(message));
    this.#node.on("data", (bytes: Buffer) => requests.read(bytes)).on("close", () => this.#store.end());
    this.#store.on("data", (bytes: Buffer) => answers.read(bytes)).on("close", () => this.#gone());
  }

  #gone(): void {
    this.#node.destroy();
    for (const { failed } of this.#asked.values()) failed(new Error("The store went away in the middle of a fault."));
    this.#asked.clear();
  }

  #toStore(message: Buffer): void {
    const request = requestOf(message);
    if (GREETINGS.test(request.name)) this.#greetings.add(request.id);
    if (request.name === "insert" && request.body["insert"] === this.#gate.collection) {
      const documents = request.body["documents"] as readonly Fields[];
      const taken = this.#gate.take(documents);
      if (taken) return this.#spring(message, documents, taken);
      this.#inserts.set(request.id, documents);
    }
    this.#store.write(message);
  }

  #spring(message: Buffer, documents: readonly Fields[], taken: { trap: Trap; fault: InsertFault }): void {
    const { trap, fault } = taken;
    this.#spoil(requestOf(message, "exact"), fault).then(
      (reply) => {
        if (reply) this.#answer(requestOf(message), documents, reply);
        else this.#node.destroy();
        trap.sprung(documents);
      },
      (error: Error) => {
        this.#node.destroy();
        trap.failed(error);
      },
    );
  }

  /** Does what the fault leaves of an insert; answers what the node is told, undefined for a cut. */
  async #spoil(request: WireRequest, fault: InsertFault): Promise<Reply | undefined> {
    const { length } = request.body["documents"] as readonly Fields[];
    if (fault.kind === "slow") {
      const reply = await this.#insert(request, 0, length);
      await later(fault.delayMs);
      return reply;
    }
    const reply = await this.#insert(request, 0, fault.landed);
    switch (fault.kind) {
      case "drop":
        await fault.work?.();
        return undefined;
      case "write-concern": {
        const writeConcernError = { code: WRITE_CONCERN_TIMED_OUT, errmsg: "waiting for replication timed out" };
        return { ...reply, ...(!reply["writeErrors"] && { n: length }), writeConcernError };
      }
      case "between": {
        await fault.work();
        // An ordered insert that has met a taken place is over.
        return reply["writeErrors"] ? reply : joined(reply, await this.#insert(request, fault.landed, length), fault);
      }
    }
  }

  /** Gives the store a part of an insert's documents; answers what it says. Rejects when the store goes. */
  #insert(request: WireRequest, from: number, to: number): Promise<Reply> {
    if (from >= to) return Promise.resolve({ n: 0, ok: 1 });
    const { documents, ...command } = request.body;
    const part = (documents as readonly Fields[]).slice(from, to);
    return new Promise((answered, failed) => {
      this.#asked.set(request.id, { answered, failed });
      this.#store.write(commandBytes(request.id, { ...command, documents: part }));
    });
  }

  #toNode(message: Buffer): void {
    const id = answersTo(message);
    const asked = this.#asked.get(id);
    if (asked) {
      this.#asked.delete(id);
      return asked.answered(requestOf(message).body);
    }
    const documents = this.#inserts.get(id);
    if (documents) this.#note(documents, requestOf(message).body);
    this.#inserts.delete(id);
    this.#pass(message, this.#greetings.delete(id) ? 0 : this.#gate.delayMs());
  }

  #answer(request: WireRequest, documents: readonly Fields[], reply: Reply): void {
    this.#note(documents, reply);
    this.#pass(answerBytes(request, reply), this.#gate.delayMs());
  }

  /** Remembers which documents found their place taken. */
  #note(documents: readonly Fields[], reply: Reply): void {
    for (const { index, code } of errorsOf(reply))
      if (code === DUPLICATE_KEY) this.#gate.met(documents[index]?.["_id"]);
  }

  #pass(message: Buffer, delayMs: number): void {
    if (delayMs > 0) void later(delayMs).then(() => this.#pass(message, 0));
    else if (!this.#node.destroyed) this.#node.write(message);
  }

  cut(): void {
    this.#node.destroy();
    this.#store.destroy();
  }
}

function errorsOf(reply: Reply): readonly WriteError[] {
  return (reply["writeErrors"] as readonly WriteError[] | undefined) ?? [];
}

/** The answer to an insert of which the store was given two parts. */
function joined(first: Reply, second: Reply, { landed }: { readonly landed: number }): Reply {
  const writeErrors = errorsOf(second).map((error) => ({ ...error, index: error.index + landed }));
  const n = (first["n"] as number) + (second["n"] as number);
  return { ...second, n, ...(writeErrors.length > 0 && { writeErrors }) };
}

/** Does not keep the process alive. */
function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

/** The proxy of one store. */
export class MongoProxy {
  /** `_id`s of which the node was told that they are taken, oldest first; the newest `MET_MAX`. */
  readonly met: unknown[] = [];
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #gate: Gate;
  #trap: Trap | undefined;
  #delayMs = 0;

  private constructor(server: Server, collection: string) {
    this.#server = server;
    this.#gate = {
      collection,
      take: (documents) => this.#take(documents),
      delayMs: () => this.#delayMs,
      met: (id) => {
        this.met.push(id);
        if (this.met.length > MET_MAX) this.met.shift();
      },
    };
  }

  /** Listens on a spare port, passes connections on to `port` of 127.0.0.1 and watches inserts into `collection`. */
  static async open(port: number, collection: string): Promise<MongoProxy> {
    const server = createServer();
    const proxy = new MongoProxy(server, collection);
    server.on("connection", (node) => proxy.#join(node, port));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  /** The same URL by way of the proxy; the URL must name host and port, no user and no options. */
  through(url: string): string {
    const { port } = this.#server.address() as { port: number };
    // Directly: a driver that looks for the members of a set would find the way around the proxy.
    return `${url.replace(/^(\w+:\/\/)[^/]+/, `$1127.0.0.1:${port}`)}?directConnection=true`;
  }

  /**
   * Spoils the next insert for which `choose` answers a fault. Resolves with its documents once the fault has
   * happened; rejects when it could not, or when a later call or `disarm` took its place. One at a time.
   */
  spoil(choose: InsertChoice): Promise<readonly Fields[]> {
    this.disarm();
    return new Promise((sprung, failed) => {
      this.#trap = { choose, sprung, failed };
    });
  }

  /** Spoils nothing more, unless an insert is being spoilt already. */
  disarm(): void {
    this.#trap?.failed(new Error("The insert to spoil never came."));
    this.#trap = undefined;
  }

  /** Every answer of the store comes so much later from now on, those to greetings excepted. 0 heals it. */
  slow(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  /** Ends every connection and listens no more. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const link of this.#links) link.cut();
    await closed;
  }

  #join(node: Socket, port: number): void {
    const store = connect(port, "127.0.0.1");
    const link = new Link({ node, store }, this.#gate);
    this.#links.add(link);
    store.once("close", () => this.#links.delete(link));
  }

  #take(documents: readonly Fields[]): { trap: Trap; fault: InsertFault } | undefined {
    const trap = this.#trap;
    const fault = trap?.choose(documents);
    if (!trap || !fault) return undefined;
    this.#trap = undefined;
    return { trap, fault };
  }
}
