/** Refresh tokens and other random names of accounts (`RefreshTokens` of `actors/accounts.ts`). */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { RefreshToken, Secrets } from "../actors/accounts.ts";

/** Bytes that name the session; 128 bits cannot be guessed. */
const NAME_BYTES = 16;
/** Bytes that are new with every refresh. */
const FRESH_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{64}$/;

/**
 * A refresh token is 48 random bytes in base64url: 16 that name its session, and 32 that change with every
 * refresh. Only hashes leave this file for the directory; random input needs no salt.
 */
export const secrets: Secrets = Object.freeze({
  uuid: () => randomUUID(),
  refreshToken: () => tokenOf(randomBytes(NAME_BYTES)),
  nextRefreshToken: (token: string) => tokenOf(bytesOf(token).subarray(0, NAME_BYTES)),
  readRefreshToken: (token: string) => (TOKEN.test(token) ? hashesOf(bytesOf(token)) : undefined),
  fingerprint: (text: string) => createHash("sha256").update(text).digest("base64url"),
});

const bytesOf = (token: string): Buffer => Buffer.from(token, "base64url");
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64url");

function hashesOf(bytes: Buffer): { handle: string; hash: string } {
  return { handle: sha256(bytes.subarray(0, NAME_BYTES)), hash: sha256(bytes) };
}

function tokenOf(name: Uint8Array): RefreshToken {
  const bytes = Buffer.concat([name, randomBytes(FRESH_BYTES)]);
  return { token: bytes.toString("base64url"), ...hashesOf(bytes) };
}
