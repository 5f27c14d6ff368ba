/**
 * PostgreSQL behind bounds: so many connections, so many calls that wait for one, so long for each step. What
 * goes beyond, and whatever PostgreSQL answers that was not expected, is a `StoreFailure`. Nothing here waits
 * for the server longer than `PG_POLICY` say, whether it is away, stopped or slow.
 *
 * slonik runs on a driver of our own, over `pg`: the one that comes with it asks the server before there is a
 * pool, gives up on a silent connection never, and has no listener for errors while it asks, which would end
 * the process.
 */
import { BulkheadRejectedError, bulkhead, TaskCancelledError, TimeoutStrategy, timeout } from "cockatiel";
import { Client, type ClientConfig, types } from "pg";
import {
  BackendTerminatedError,
  createDriverFactory,
  createPool,
  type DatabasePool,
  type DatabaseTransactionConnection,
  type Interceptor,
  type QueryResultRow,
  SchemaValidationError,
} from "slonik";
import { StoreFailure } from "../actors/codes.ts";
import { PG_POLICY } from "./policy.ts";

/** The settings of a connection. `url` is a `postgres://` URL, whose parameters come first. */
export function connectionSettings(url: string): ClientConfig {
  return {
    connectionString: url,
    application_name: "confab",
    connectionTimeoutMillis: PG_POLICY.connectMs,
    statement_timeout: PG_POLICY.statementMs,
    query_timeout: PG_POLICY.answerMs,
    idle_in_transaction_session_timeout: PG_POLICY.idleInTransactionMs,
    keepAlive: true,
  };
}

/** The number that PostgreSQL has for the type `bigint`. */
const INT8 = 20;
/** Times and ids are whole numbers below 2⁵³, which the rows' schemas check. */
const parsers: ClientConfig["types"] = {
  getTypeParser: (oid, format) => (oid === INT8 ? Number : types.getTypeParser(oid, format)),
};

/** A write is durable when it is confirmed, also where the server's default is another. */
const DURABLE =
  "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/** Connects, and throws when the server does not take part in time. */
async function connect(client: Client): Promise<void> {
  try {
    await client.connect();
    await client.query(DURABLE);
  } catch (error) {
    await end(client);
    throw error;
  }
}

/** A server that stands still answers no goodbye. */
async function end(client: Client): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, PG_POLICY.endMs);
  });
  await Promise.race([client.end(), late]);
  clearTimeout(timer);
}

const driverOf = (url: string) =>
  createDriverFactory(async () => ({
    createPoolClient: async ({ clientEventEmitter }) => {
      const client = new Client({ ...connectionSettings(url), types: parsers });
      // slonik stops to listen when it gives a connection up, and an error that nobody hears ends the process.
      clientEventEmitter.on("error", () => undefined);
      // Told after the query under way has failed of it: before, slonik would wait for that query, fail by its
      // error and never give the connection's place in the pool back.
      client.on("error", (error) => setImmediate(() => clientEventEmitter.emit("error", error)));
      return {
        connect: () => connect(client),
        end: () => end(client),
        query: async (sql, values = []) => {
          try {
            const { command, fields, rowCount, rows } = await client.query(sql, values.map(storable));
            const named = fields.map(({ dataTypeID, name }) => ({ dataTypeId: dataTypeID, name }));
            return { command: command as "SELECT", fields: named, rowCount, rows };
          } catch (error) {
            // Without a SQLSTATE it was the connection: told so, slonik does not ask it for a ROLLBACK.
            throw error instanceof Error && !("code" in error) ? new BackendTerminatedError(error) : error;
          }
        },
        stream: () => {
          throw new Error("The directory reads no streams.");
        },
      };
    },
  }));

/** Text of PostgreSQL has no U+0000; ours has it nowhere but in what clients say of themselves. */
function storable(value: unknown): unknown {
  return typeof value === "string" ? value.replaceAll("\0", "\uFFFD") : value;
}

/** Rows are what their schema says, or the call fails. */
const validating: Interceptor = {
  name: "rows",
  transformRow(context, query, row) {
    const parsed = context.resultParser?.safeParse(row);
    if (parsed === undefined) return row;
    if (!parsed.success) throw new SchemaValidationError(query, row, parsed.error.issues);
    return parsed.data as QueryResultRow;
  },
};

/** A pool of connections. */
export class PgPool {
  readonly #pool: DatabasePool;
  readonly #slots;
  readonly #deadline = timeout(PG_POLICY.callMs, TimeoutStrategy.Aggressive);
  readonly #running = new Set<Promise<unknown>>();
  #closed: string | undefined;

  private constructor(pool: DatabasePool, poolSize: number) {
    this.#pool = pool;
    // slonik's own queue has no bound, and forgets who waits when a connection cannot be made.
    this.#slots = bulkhead(poolSize, PG_POLICY.callsWaiting);
  }

  /** Makes a pool, which connects when it is used. Calls fail with the sentence `closed` until it is opened. */
  static async create({ url, poolSize, closed }: { url: string; poolSize: number; closed: string }): Promise<PgPool> {
    const pool = await createPool(url, {
      driverFactory: driverOf(url),
      interceptors: [validating],
      maximumPoolSize: poolSize,
      idleTimeout: PG_POLICY.idleMs,
      gracefulTerminationTimeout: PG_POLICY.endMs,
      connectionRetryLimit: 0,
      // Connections are not reset between uses, which would cost a round trip: nothing here sets any state.
      resetConnection: async () => {},
    });
    const made = new PgPool(pool, poolSize);
    made.shut(closed);
    return made;
  }

  /** Lets calls through. */
  open(): void {
    this.#closed = undefined;
  }

  /** Calls fail with a sentence from now on. */
  shut(sentence: string): void {
    this.#closed = sentence;
  }

  /** Runs statements of which each is atomic by itself. Rejects with `StoreFailure`. */
  run<T>(work: (connection: DatabasePool) => Promise<T>): Promise<T> {
    return this.#within(() => work(this.#pool));
  }

  /** Runs statements as one, READ COMMITTED; run again when PostgreSQL met a deadlock. Rejects with `StoreFailure`. */
  transaction<T>(work: (connection: DatabaseTransactionConnection) => Promise<T>): Promise<T> {
    return this.#within(() => this.#pool.transaction(work));
  }

  async #within<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new StoreFailure(this.#closed);
    try {
      return await this.#deadline.execute(({ signal }) =>
        this.#slots.execute(() => {
          // Nobody waits for it any more.
          if (signal.aborted) throw new TaskCancelledError();
          return this.#tracked(work());
        }),
      );
    } catch (error) {
      throw new StoreFailure(sentenceOf(error), error);
    }
  }

  #tracked<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    const done = (): void => void this.#running.delete(work);
    work.then(done, done);
    return work;
  }

  /** Waits for what is under way, then closes the connections. */
  async close(): Promise<void> {
    this.shut("The directory is closed.");
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    await this.#pool.end();
  }
}

function sentenceOf(error: unknown): string {
  if (error instanceof BulkheadRejectedError) return "Too many calls wait for PostgreSQL.";
  if (error instanceof TaskCancelledError) return `PostgreSQL did not answer within ${PG_POLICY.callMs} ms.`;
  if (error instanceof SchemaValidationError) return "PostgreSQL holds a row that the directory did not write.";
  const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
  return `PostgreSQL could not be asked${code}.`;
}
