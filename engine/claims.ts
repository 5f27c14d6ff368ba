/** Reads the claims of a token whose signature is right (RFC 7519 4.1; design 3). */
import { Refusal } from "../actors/codes.ts";
import { isUserId } from "../actors/entry.ts";
import type { Claims } from "../actors/identity.ts";

/** What a token must say beside its subject and expiry. */
export interface Expectations {
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
  /** A token that is not valid before a later time than this (s since 1970) is refused. */
  readonly latestNbfS: number;
}

const NAME_BYTES = 128;
const ID_CHARACTERS = 256; // of jti and sid
/** A surrogate without its half: such text is not UTF-8, and two of them would become one id. */
const LONE_SURROGATE = /\p{Surrogate}/u;
const CONTROLS = /\p{Cc}/gu;
/** Most names: nothing in them has to be made to fit. */
const PRINTABLE = /^[!-~](?:[ -~]{0,126}[!-~])?$/;

/** Refuses with `token-bad`, saying which claim. */
function bad(what: string): Refusal {
  return new Refusal("token-bad", what);
}

/**
 * The claims in our shape, frozen. Expiry is required but not compared with the time here.
 * Throws `Refusal` `token-bad` that names the claim at fault.
 */
export function readClaims(payload: unknown, expected: Expectations): Claims {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) throw bad("It holds no claims.");
  const claims = payload as Readonly<Record<string, unknown>>;
  if (expected.issuer !== undefined && claims["iss"] !== expected.issuer) throw bad("The issuer is another one.");
  if (expected.audience !== undefined && !isFor(claims["aud"], expected.audience)) {
    throw bad("The audience is another one.");
  }
  const nbf = secondsOf(claims["nbf"], "nbf");
  if (nbf !== undefined && nbf > expected.latestNbfS) throw bad("It is not valid yet.");
  const exp = secondsOf(claims["exp"], "exp");
  if (exp === undefined) throw bad("It has no exp.");
  const sub = claims["sub"];
  if (typeof sub !== "string" || !isUserId(sub)) throw bad("Its sub is no user id.");
  return Object.freeze({
    sub,
    name: nameOf(claims["name"], sub),
    groups: groupsOf(claims["groups"]),
    jti: idOf(claims["jti"], "jti"),
    sid: idOf(claims["sid"], "sid"),
    issuedAtMs: issuedAtMsOf(claims),
    expiresAtMs: Math.floor(exp * 1_000),
  });
}

/** `aud` is one name or a list of them [RFC 7519 4.1.3]. */
function isFor(aud: unknown, audience: string): boolean {
  return Array.isArray(aud) ? aud.includes(audience) : aud === audience;
}

/** A NumericDate, s since 1970, fractions allowed; undefined when it is not there. */
function secondsOf(value: unknown, name: "exp" | "nbf" | "iat"): number | undefined {
  if (value === undefined) return undefined;
  // JSON can write numbers that are infinite here, such as 1e999.
  if (typeof value !== "number" || !(Math.abs(value) <= Number.MAX_SAFE_INTEGER / 1_000)) {
    throw bad(`Its ${name} is no time.`);
  }
  return value;
}

/** Our own tokens say it to the millisecond; a token that does not say counts as issued before everything. */
function issuedAtMsOf(claims: Readonly<Record<string, unknown>>): number {
  const iat = secondsOf(claims["iat"], "iat");
  if (iat === undefined) return 0;
  const exact = claims["iat_ms"];
  if (typeof exact === "number" && Math.floor(exact / 1_000) === Math.floor(iat)) return exact;
  return Math.floor(iat * 1_000);
}

/** Names come from issuers we do not rule, so they are made to fit: no control characters, at most 128 bytes. */
function nameOf(name: unknown, sub: string): string {
  if (name === undefined || name === null) return sub;
  if (typeof name !== "string") throw bad("Its name is no text.");
  if (PRINTABLE.test(name)) return name;
  const plain = cutToBytes(name.replace(CONTROLS, "").trim(), NAME_BYTES);
  return plain === "" ? sub : plain;
}

/** The longest start of a text that fits into `bytes` of UTF-8; lone surrogates become U+FFFD. */
function cutToBytes(text: string, bytes: number): string {
  // A UTF-16 unit is at most three bytes, so most names need no look at their bytes.
  if (text.length * 3 <= bytes && !LONE_SURROGATE.test(text)) return text;
  const into = new Uint8Array(bytes);
  const { written } = new TextEncoder().encodeInto(text, into);
  return new TextDecoder().decode(into.subarray(0, written)).trimEnd();
}

function groupsOf(groups: unknown): readonly string[] {
  if (groups === undefined || groups === null) return NO_GROUPS;
  if (!Array.isArray(groups) || !groups.every((group) => typeof group === "string")) {
    throw bad("Its groups are no list of texts.");
  }
  return Object.freeze(groups as string[]);
}
const NO_GROUPS: readonly string[] = Object.freeze([]);

function idOf(value: unknown, name: "jti" | "sid"): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "" || value.length > ID_CHARACTERS) throw bad(`Its ${name} is no id.`);
  return value;
}
