/** Status lines and headers as they go to uWebSockets.js: checked as node checks them, and in Latin-1. */

import type { HttpResponse } from "uWebSockets.js";
import { Buffer } from "node:buffer";
import { type OutgoingHttpHeader, STATUS_CODES } from "node:http";

/** Framing, connection and date are uWebSockets.js's own business; what it writes itself is not written twice. */
export const OWN_HEADERS: ReadonlySet<string> = new Set(
  "connection keep-alive transfer-encoding content-length date".split(" "),
);

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const ASCII = /^[\t\x20-\x7e]*$/;
const LATIN1 = /^[\t\x20-\x7e\x80-\xff]*$/;

const statusLines = new Map<number, string>();

/** Status and reason, as the first line has them. */
export function statusLine(code: number): string {
  let line = statusLines.get(code);
  if (line === undefined) {
    line = `${code} ${STATUS_CODES[code] ?? "Unknown"}`;
    // Bounded, as only whole numbers of three digits get here.
    statusLines.set(code, line);
  }
  return line;
}

/** An error with a code of node's. */
export function coded(code: string, message: string): Error {
  return Object.assign(new TypeError(message), { code });
}

/** Refuses what would break the header block, as node does: a header is never a way to inject another one. */
export function checkHeader(name: string, value: OutgoingHttpHeader): void {
  if (!TOKEN.test(name)) throw coded("ERR_INVALID_HTTP_TOKEN", "Header name must be a token.");
  if (typeof value === "number") return;
  for (const one of typeof value === "string" ? [value] : value) {
    if (!ASCII.test(one) && !LATIN1.test(one)) {
      throw coded("ERR_INVALID_CHAR", `Invalid character in header content ["${name}"].`);
    }
  }
}

/** uWebSockets.js writes strings as UTF-8; headers are Latin-1, as node writes them. */
export function writeHeader(uws: HttpResponse, name: string, value: string): void {
  uws.writeHeader(name, ASCII.test(value) ? value : Buffer.from(value, "latin1"));
}
