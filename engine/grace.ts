/** The end of the process, in order: once, within a time, whatever comes meanwhile. */

/** What the end needs. */
export interface GraceOptions {
  /** Most time the orderly end may take, ms; then the process is killed. */
  readonly delayMs: number;
  /** Ends everything; when it resolves no write may be under way. */
  readonly stop: () => Promise<void>;
  readonly log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
}

/**
 * Ends the process in order on SIGTERM, SIGINT and SIGHUP with exit 0, and on a fault that nobody caught
 * with exit 1. Further signals are not heeded: a terminal and npm send each Ctrl-C twice, and the first is
 * on its way. Where the end fails or takes too long the process kills itself: `process.exit` would wait for
 * ever for a write of LMDB that in turn waits for this thread. (Libraries for this exit on a second signal.)
 */
export function endWithGrace({ delayMs, stop, log }: GraceOptions): void {
  let ending = false;
  const kill = (why: string, err?: unknown): void => {
    log.error({ err }, why);
    // A turn for the line to be written.
    setTimeout(() => process.kill(process.pid, "SIGKILL"), 50);
  };
  const end = (code: number): void => {
    if (ending) return;
    ending = true;
    setTimeout(() => kill("the orderly end took too long; the process is killed"), delayMs).unref();
    stop().then(
      () => {
        log.info({}, "stopped");
        process.exit(code);
      },
      (err: unknown) => kill("the orderly end failed; the process is killed", err),
    );
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (!ending) log.info({ signal }, "stopping");
      end(0);
    });
  }
  for (const fault of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(fault, (err: unknown) => {
      log.error({ err }, "a fault nobody caught ends the process");
      end(1);
    });
  }
}
