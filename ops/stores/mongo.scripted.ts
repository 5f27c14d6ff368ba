/**
 * A small server of MongoDB's wire protocol whose faults are scripted: it keeps documents in memory and shows
 * itself as a replica set of one, so the driver retries as it does in production (or as a standalone, where the
 * driver does not). Not a database: filters and updates are those that the archive uses, and a command that it
 * does not know is answered with an error.
 */
import { createServer, type Server, type Socket } from "node:net";
import { BSON } from "mongodb";
import { changed, type Fields, matches, sortedBy } from "./mongo.scripted.documents.ts";
import { answerBytes, requestOf, WireCutter, type WireRequest } from "./mongo.scripted.wire.ts";

/** What goes wrong with one command. */
export type MongoFault =
  /** Nothing is done and nothing answered. */
  | { readonly kind: "hang" }
  /** The first `landed` documents or updates are done, then the connection is cut. */
  | { readonly kind: "drop"; readonly landed: number }
  /** All is done, and the majority has not confirmed it. */
  | { readonly kind: "write-concern" }
  /** Nothing is done; this code is answered. */
  | { readonly kind: "error"; readonly code: number; readonly labels?: readonly string[] }
  /** It is done and answered after `delayMs`. */
  | { readonly kind: "slow"; readonly delayMs: number };

/** A command that was received. */
export interface SeenCommand {
  readonly name: string;
  readonly body: Fields;
}

type Reply = Record<string, unknown>;

const SET_NAME = "scripted";
const SEEN_MAX = 10_000;
const DUPLICATE_KEY = 11_000;
const UNKNOWN_COMMAND = 59;
const WRITE_CONCERN_TIMED_OUT = 64;

/** The server. */
export class ScriptedMongo {
  readonly url: string;
  /** The last commands received, oldest first; those that only watch the server left out. */
  readonly seen: SeenCommand[] = [];
  readonly #port: number;
  readonly #standalone: boolean;
  readonly #collections = new Map<string, Map<unknown, Fields>>();
  readonly #faults = new Map<string, MongoFault[]>();
  /** Statements that landed, by session and number of a retryable write. */
  readonly #landed = new Map<string, Set<number>>();
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** ms that each document of a command takes. */
  readonly #paces = new Map<string, number>();
  /** What open cursors have not given out. */
  readonly #cursors = new Map<number, Fields[]>();
  #lastCursor = 0;
  #server: Server;
  #onFault: (() => void)[] = [];

  private constructor(server: Server, standalone: boolean) {
    this.#server = server;
    this.#port = (server.address() as { port: number }).port;
    this.#standalone = standalone;
    this.url = `mongodb://127.0.0.1:${this.#port}/`;
    server.on("connection", (socket) => this.#serve(socket));
  }

  /** Listens on a spare port. `standalone`: a single server, to which the driver never resends a write. */
  static async open(options: { readonly standalone?: boolean } = {}): Promise<ScriptedMongo> {
    return new ScriptedMongo(await listening(0), options.standalone ?? false);
  }

  /** The next commands of this name meet these faults, one each. */
  script(command: string, ...faults: readonly MongoFault[]): void {
    this.#faults.set(command, [...(this.#faults.get(command) ?? []), ...faults]);
  }

  /**
   * From now on each document that a command of this name writes or answers takes so many ms; of a command whose
   * caller has gone before it was done, nothing is done. 0 ends it.
   */
  slow(command: string, msPerDocument: number): void {
    this.#paces.set(command, msPerDocument);
  }

  /** Resolves when the next command meets its fault. */
  faulted(): Promise<void> {
    return new Promise((resolve) => this.#onFault.push(resolve));
  }

  /** The documents of a collection by `_id`; tests may plant and take away. */
  documents(collection: string): Map<unknown, Fields> {
    const found = this.#collections.get(collection) ?? new Map<unknown, Fields>();
    this.#collections.set(collection, found);
    return found;
  }

  /** Cuts every connection and refuses new ones, as a server that is away. */
  async refuse(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Listens again at the same place, with its documents. */
  async accept(): Promise<void> {
    this.#server = await listening(this.#port);
    this.#server.on("connection", (socket) => this.#serve(socket));
  }

  /** Ends it. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    if (this.#server.listening) await this.refuse();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket)).on("error", () => socket.destroy());
    const cutter = new WireCutter((message) => this.#meet(socket, requestOf(message)));
    socket.on("data", (bytes: Buffer) => cutter.read(bytes));
  }

  #meet(socket: Socket, request: WireRequest): void {
    const { name, body } = request;
    if (!/^(hello|ismaster|ping|endSessions)$/i.test(name)) this.seen.push({ name, body });
    if (this.seen.length > SEEN_MAX) this.seen.shift();
    const fault = this.#faults.get(name)?.shift();
    const send = (reply: Reply): void => {
      if (request.answered && !socket.destroyed) socket.write(answerBytes(request, reply));
    };
    if (fault) for (const resolve of this.#onFault.splice(0)) resolve();
    switch (fault?.kind) {
      case undefined:
        return this.#atItsPace(socket, request, send);
      case "hang":
        return;
      case "drop":
        this.#answer(body, name, fault.landed);
        socket.destroy();
        return;
      case "write-concern": {
        const writeConcernError = { code: WRITE_CONCERN_TIMED_OUT, errmsg: "waiting for replication timed out" };
        return send({ ...this.#answer(body, name), writeConcernError });
      }
      case "error":
        return send({ ok: 0, code: fault.code, errmsg: "as scripted", errorLabels: fault.labels ?? [] });
      case "slow":
        this.#later(fault.delayMs, () => send(this.#answer(body, name)));
    }
  }

  #later(delayMs: number, task: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      task();
    }, delayMs);
    this.#timers.add(timer);
  }

  #atItsPace(socket: Socket, { name, body }: WireRequest, send: (reply: Reply) => void): void {
    const msEach = this.#paces.get(name) ?? 0;
    if (msEach === 0) return send(this.#answer(body, name));
    const written = (body["documents"] ?? body["updates"]) as readonly Fields[] | undefined;
    if (written) {
      return this.#later(msEach * written.length, () => socket.destroyed || send(this.#answer(body, name)));
    }
    const reply = this.#answer(body, name);
    const { firstBatch, nextBatch } = (reply["cursor"] ?? {}) as { firstBatch?: Fields[]; nextBatch?: Fields[] };
    this.#later(msEach * (firstBatch ?? nextBatch ?? []).length, () => send(reply));
  }

  /** Does a command, of a write only the first `most` statements. */
  #answer(body: Fields, name: string, most = Number.POSITIVE_INFINITY): Reply {
    switch (name) {
      case "hello":
      case "ismaster":
      case "isMaster":
        return this.#hello();
      case "ping":
      case "endSessions":
      case "createIndexes":
      case "killCursors":
        return { ok: 1 };
      case "listIndexes":
        return { ok: 0, code: 26, codeName: "NamespaceNotFound", errmsg: "ns does not exist" };
      case "find":
        return this.#find(body);
      case "getMore":
        return this.#more(body);
      case "insert":
        return this.#write(body, { statements: (body["documents"] as Fields[]).slice(0, most), one: this.#insertOne });
      case "update":
        return this.#write(body, { statements: (body["updates"] as Fields[]).slice(0, most), one: this.#updateOne });
      default:
        return { ok: 0, code: UNKNOWN_COMMAND, codeName: "CommandNotFound", errmsg: `no such command: '${name}'` };
    }
  }

  #hello(): Reply {
    const me = `127.0.0.1:${this.#port}`;
    return {
      ok: 1,
      helloOk: true,
      isWritablePrimary: true,
      ismaster: true,
      maxBsonObjectSize: 16_777_216,
      maxMessageSizeBytes: 48_000_000,
      maxWriteBatchSize: 100_000,
      minWireVersion: 0,
      maxWireVersion: 21,
      logicalSessionTimeoutMinutes: 30,
      readOnly: false,
      ...(!this.#standalone && { setName: SET_NAME, setVersion: 1, hosts: [me], primary: me, me, secondary: false }),
    };
  }

  #find(body: Fields): Reply {
    const collection = body["find"] as string;
    const all = [...this.documents(collection).values()];
    const found = all.filter((document) => matches(document, (body["filter"] ?? {}) as Fields));
    const limit = (body["limit"] as number | undefined) || found.length;
    const sorted = sortedBy(found, (body["sort"] ?? {}) as Fields).slice(0, limit);
    const size = (body["batchSize"] as number | undefined) ?? sorted.length;
    const id = sorted.length > size ? ++this.#lastCursor : 0;
    if (id > 0) this.#cursors.set(id, sorted.slice(size));
    const ns = `${body["$db"]}.${collection}`;
    return { ok: 1, cursor: { id: BSON.Long.fromNumber(id), ns, firstBatch: sorted.slice(0, size) } };
  }

  #more(body: Fields): Reply {
    const id = Number(body["getMore"]);
    const left = this.#cursors.get(id) ?? [];
    this.#cursors.delete(id);
    const nextBatch = left.splice(0, (body["batchSize"] as number | undefined) ?? left.length);
    if (left.length > 0) this.#cursors.set(id, left);
    const next = left.length > 0 ? BSON.Long.fromNumber(id) : BSON.Long.ZERO;
    return { ok: 1, cursor: { id: next, ns: `${body["$db"]}.${body["collection"]}`, nextBatch } };
  }

  /** Does the statements in turn; one of a repeated retryable write that had landed counts without being done. */
  #write(body: Fields, work: { statements: readonly Fields[]; one: StatementWork }): Reply {
    const landed = this.#landedOf(body);
    const documents = this.documents((body["insert"] ?? body["update"]) as string);
    const reply = { ok: 1, n: 0, nModified: 0, upserted: [] as Reply[], writeErrors: [] as Reply[] };
    for (const [index, statement] of work.statements.entries()) {
      if (landed.has(index)) {
        reply.n++;
        continue;
      }
      if (work.one(documents, statement, { index, reply })) {
        landed.add(index);
        continue;
      }
      reply.writeErrors.push({ index, code: DUPLICATE_KEY, errmsg: "E11000 duplicate key error" });
      if (body["ordered"] !== false) break;
    }
    const { upserted, writeErrors, ...rest } = reply;
    return { ...rest, ...(upserted.length > 0 && { upserted }), ...(writeErrors.length > 0 && { writeErrors }) };
  }

  #landedOf(body: Fields): Set<number> {
    const { lsid, txnNumber } = body as { lsid?: Fields; txnNumber?: unknown };
    if (txnNumber === undefined) return new Set();
    const name = `${BSON.EJSON.stringify(lsid)} ${txnNumber}`;
    const landed = this.#landed.get(name) ?? new Set<number>();
    if (this.#landed.size > SEEN_MAX) this.#landed.clear();
    this.#landed.set(name, landed);
    return landed;
  }

  readonly #insertOne: StatementWork = (documents, document, { reply }) => {
    if (documents.has(document["_id"])) return false;
    documents.set(document["_id"], document);
    reply.n++;
    return true;
  };

  readonly #updateOne: StatementWork = (documents, statement, { index, reply }) => {
    const { q, u, upsert } = statement as unknown as { q: Fields; u: Fields; upsert?: boolean };
    const found = [...documents.values()].find((document) => matches(document, q));
    if (!found && !upsert) return true;
    const _id = found?.["_id"] ?? q["_id"];
    if (!found && documents.has(_id)) return false;
    documents.set(_id, changed(found ?? { _id }, u, found === undefined));
    reply.n++;
    if (found) reply.nModified++;
    else reply.upserted.push({ index, _id });
    return true;
  };
}

/** Does one statement; false when its `_id` is taken. */
type StatementWork = (
  documents: Map<unknown, Fields>,
  statement: Fields,
  at: { readonly index: number; readonly reply: { n: number; nModified: number; upserted: Reply[] } },
) => boolean;

function listening(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
