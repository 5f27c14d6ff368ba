/** The narrow logger that actors take; pino fits it as it is. One line per event that matters, never a body or a secret. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Says nothing; for tests. */
export const SILENT: Log = Object.freeze({ debug() {}, info() {}, warn() {}, error() {} });
