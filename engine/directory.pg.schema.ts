/** Brings the tables of the directory up to date, now or as soon as PostgreSQL is there, and then opens the pool. */
import { Client } from "pg";
import type { Timer } from "../actors/clock.ts";
import type { Log } from "../actors/log.ts";
import { systemClock } from "./clock.ts";
import { connectionSettings, type PgPool } from "./directory.pg.pool.ts";
import { MigrationsRefused, migrate } from "./migrations.ts";

/** Bounds of the migrations, ms. */
const BOUNDS_MS = Object.freeze({
  start: 5_000, // the start waits so long, then goes on without
  retry: 1_000, // from the end of one try to the next
  lock: 30_000, // another node migrates
  statement: 120_000, // a step of a migration over large tables
});

/** What it needs. */
export interface PgSchemaOptions {
  readonly url: string;
  readonly pool: Pick<PgPool, "open" | "shut">;
  readonly log: Log;
}

/** The directory's tables, on their way to the newest migration. */
export class PgSchema {
  readonly #options: PgSchemaOptions;
  #client: Client | undefined;
  #trying: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #stopped = false;
  /** The last failure that was logged. */
  #logged = "";

  constructor(options: PgSchemaOptions) {
    this.#options = options;
  }

  /**
   * Migrates; resolves when that is done, or could not be done yet and goes on in the background. Rejects with
   * `MigrationsRefused` when the history does not fit.
   */
  async start(): Promise<void> {
    let refused: MigrationsRefused | undefined;
    this.#trying = this.#try((refusal) => {
      refused = refusal;
    });
    let timer: Timer = {};
    const late = new Promise<void>((resolve) => {
      timer = systemClock.after(BOUNDS_MS.start, resolve);
    });
    await Promise.race([this.#trying, late]);
    systemClock.cancel(timer);
    if (refused === undefined) return;
    await this.stop();
    throw refused;
  }

  /** Ends trying. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== undefined) systemClock.cancel(this.#timer);
    void this.#client?.end();
    await this.#trying;
  }

  async #try(onRefused: (refusal: MigrationsRefused) => void): Promise<void> {
    const { pool, log } = this.#options;
    try {
      const migrations = await this.#migrate();
      if (this.#stopped) return;
      pool.open();
      log.info({ migrations }, "the tables of the directory are up to date");
    } catch (error) {
      if (this.#stopped) return;
      if (error instanceof MigrationsRefused) {
        pool.shut(error.message);
        onRefused(error);
      } else pool.shut(`PostgreSQL has been away since the start: ${reasonOf(error)}.`);
      this.#report(error);
      this.#timer = systemClock.after(BOUNDS_MS.retry, () => {
        this.#trying = this.#try(() => undefined);
      });
    }
  }

  async #migrate(): Promise<number> {
    const client = new Client({
      ...connectionSettings(this.#options.url),
      lock_timeout: BOUNDS_MS.lock,
      statement_timeout: BOUNDS_MS.statement,
      query_timeout: BOUNDS_MS.statement,
    });
    // Without a listener the end of the server would end this process; the query under way is told of it too.
    client.on("error", () => undefined);
    this.#client = client;
    try {
      await client.connect();
      return await migrate(client);
    } finally {
      void client.end();
      this.#client = undefined;
    }
  }

  /** Once for each kind of failure, not once a second. */
  #report(error: unknown): void {
    const { log } = this.#options;
    const message = reasonOf(error);
    if (message === this.#logged) return;
    this.#logged = message;
    if (error instanceof MigrationsRefused) log.error({ err: error }, "the tables of the directory are refused");
    else log.warn({ err: error }, "the directory waits for PostgreSQL");
  }
}

/** What the server or the system says, which names users, databases and hosts and never passwords. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
