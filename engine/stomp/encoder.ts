import { Buffer } from "node:buffer";
import type { Version } from "./frame.ts";

/** A heart-beat: one EOL between frames. */
export const HEARTBEAT: Uint8Array = Buffer.from("\n");

const NO_BODY = new Uint8Array(0);

/** CONNECT and CONNECTED are never escaped, as their reader does not know the version yet: they are written as this. */
export const CONNECTED_AS: Version = "1.0";

/**
 * A header name or value as it is written in a version [STOMP 1.2 Value Encoding]. 1.2 escapes `\r \n \c \\`,
 * 1.1 `\n \c \\`. What a version has no sequence for and would break the frame (NUL everywhere, CR in 1.1, CR and
 * LF in 1.0) becomes a space: harmless, visible, and of the same length. A colon in a value of 1.0 stays, as its
 * readers split at the first colon. A value without such characters is returned as it is.
 */
export function escapeHeader(value: string, version: Version): string {
  if (version === "1.0") return /[\n\r\0]/.test(value) ? value.replace(/[\n\r\0]/g, " ") : value;
  if (!/[\\:\n\r\0]/.test(value)) return value;
  return value.replace(/[\\:\n\r\0]/g, (character) => {
    if (character === "\\") return "\\\\";
    if (character === ":") return "\\c";
    if (character === "\n") return "\\n";
    return character === "\r" && version === "1.2" ? "\\r" : " ";
  });
}

/** A header name; the one thing more than a value: in 1.0 a colon would end it early, so it becomes a space. */
function escapeName(name: string, version: Version): string {
  const escaped = escapeHeader(name, version);
  return version === "1.0" && escaped.includes(":") ? escaped.replaceAll(":", " ") : escaped;
}

/** A header line with its EOL. */
export function encodeHeader(name: string, value: string, version: Version): string {
  return `${escapeName(name, version)}:${escapeHeader(value, version)}\n`;
}

/** The header lines, each with its EOL, of flat name, value pairs. Fan-out makes them once for all its topics. */
export function encodeHeaders(headers: readonly string[], version: Version): string {
  let lines = "";
  for (let i = 0; i + 1 < headers.length; i += 2) {
    lines += encodeHeader(headers[i] as string, headers[i + 1] as string, version);
  }
  return lines;
}

/**
 * The bytes of a frame from its command line and header lines, each with its EOL and already escaped. Writes
 * `content-length` if there is a body, so the lines must not have one. One allocation, of exactly the frame.
 */
export function assembleFrame(lines: string, body: Uint8Array = NO_BODY): Buffer {
  const head = body.length === 0 ? `${lines}\n` : `${lines}content-length:${body.length}\n\n`;
  const headBytes = Buffer.byteLength(head);
  const bytes = Buffer.allocUnsafe(headBytes + body.length + 1);
  if (headBytes === head.length) bytes.write(head, 0, headBytes, "latin1");
  else bytes.write(head, 0, headBytes, "utf8");
  if (body.length > 0) bytes.set(body, headBytes);
  bytes[headBytes + body.length] = 0;
  return bytes;
}

/**
 * The bytes of a frame. `headers` are flat name, value pairs, not escaped, without `content-length`. CONNECT and
 * CONNECTED are never escaped, whatever the version, as their reader does not know it yet; they are written as in
 * 1.0. The buffer may be a part of Node's pool: small frames that are kept for long should be copied.
 */
export function encodeFrame(command: string, headers: readonly string[], body: Uint8Array, version: Version): Buffer {
  const spoken = command === "CONNECTED" || command === "CONNECT" || command === "STOMP" ? CONNECTED_AS : version;
  return assembleFrame(`${command}\n${encodeHeaders(headers, spoken)}`, body);
}
