/** Access tokens: signed and verified with fast-jwt, without asking any store (design 3, 4; RFC 7519, RFC 7515). */
import { createHash, createHmac, createPrivateKey, createPublicKey, type KeyObject, randomUUID } from "node:crypto";
import { createSigner, createVerifier } from "fast-jwt";
import { LRUCache } from "lru-cache";
import type { Clock } from "../actors/clock.ts";
import { Refusal } from "../actors/codes.ts";
import type { Claims, TokenVerifier } from "../actors/identity.ts";
import type { Limits } from "../actors/limits.ts";
import { readClaims } from "./claims.ts";

/** Which keys and names tokens have. Either a secret, or key PEMs; `readConfig` gives this shape. */
export interface TokenKeys {
  /** HS256: at least 32 bytes of UTF-8. Never together with key PEMs. */
  readonly secret: string | undefined;
  /** PKCS #8 PEM, Ed25519 (EdDSA) or RSA of 2,048 bits and more (RS256). */
  readonly privateKey: string | undefined;
  /** SPKI PEM of the private key; alone: tokens are made elsewhere and only verified here. */
  readonly publicKey: string | undefined;
  /** Former secrets, whose tokens are still taken. */
  readonly previousSecrets: readonly string[];
  /** Former public keys (SPKI PEM), whose tokens are still taken. */
  readonly previousPublicKeys: readonly string[];
  /** `iss` of our tokens, required of every token. */
  readonly issuer: string | undefined;
  /** `aud` of our tokens, required of every token. */
  readonly audience: string | undefined;
}

/** What `createTokens` needs. */
export interface TokenOptions extends TokenKeys {
  /** Life of an access token, seconds. */
  readonly lifetimeS: number;
  readonly clock: Pick<Clock, "now">;
  readonly limits: Pick<Limits, "tokenBytes" | "tokenCacheEntries" | "tokenCacheMs">;
}

/** Whom a new token is for. */
export interface TokenSubject {
  readonly sub: string;
  readonly name: string;
  readonly groups: readonly string[];
  /** The session that the token belongs to. */
  readonly sid: string;
  /** ms since 1970, as the directory gave it (its guarantee on revocations rests on this); now when left out. */
  readonly issuedAtMs?: number;
}

/** A public key as RFC 7517 writes it. */
export type JsonWebKeyEntry = Readonly<Record<string, string>>;

/** Signs and verifies. */
export interface Tokens extends TokenVerifier {
  /** Whether this server makes tokens; false when it has only a public key. */
  readonly signs: boolean;
  /** A new token. Throws `Refusal` `not-found` when this server makes none. */
  sign(subject: TokenSubject): { token: string; expiresInS: number; jti: string };
  /** The public keys (RFC 7517); empty for HS256. */
  jwks(): { keys: readonly JsonWebKeyEntry[] };
  /** Marks of what it signs with and of what it takes, by which nodes see whether they take each other's tokens. */
  readonly marks: { readonly signs: string | undefined; readonly takes: readonly string[] };
}

/** A key that tokens are verified with, and the one algorithm it is used with. */
interface VerifyKey {
  readonly kid: string;
  readonly algorithm: "HS256" | "EdDSA" | "RS256";
  readonly verify: (token: string) => unknown;
  readonly jwk: JsonWebKeyEntry | undefined;
}

const SECRET_BYTES = 32; // RFC 7518 3.2: a key of the size of the hash, or larger
const RSA_BITS = 2048; // RFC 7518 3.3
const KEYS = 16; // verification keys; a token without kid may be tried against each
const HEADER_CHARACTERS = 1_024; // of the first part of a token
const HEADERS_KNOWN = 128; // distinct first parts remembered; a signer has one
/** Slots for the marks of tokens that were met once, a power of two. */
const MET = 16_384;
const MARK_CHARACTERS = 8; // of the end of a token, its signature
const NBF_LEEWAY_S = 5; // clocks of issuers differ a little [RFC 7519 4.1.5]

const NO_KEYS: readonly VerifyKey[] = Object.freeze([]);

/**
 * Builds the signer and verifier. Throws an `Error` with a full sentence when a key is too weak, of a
 * kind that is not taken, or does not fit the others.
 *
 * The key is chosen by `kid`; a token without one, or with one that is not ours (another issuer's name
 * for its key), is tried against the current key, then the others. A key is used with one algorithm only,
 * so that a public key can never serve as an HMAC secret.
 */
export function createTokens(options: TokenOptions): Tokens {
  const { current, others } = keysOf(options);
  const keys = [current, ...others];
  if (keys.length > KEYS) throw new Error(`At most ${KEYS} keys for tokens can be used at once.`);
  return new JwtTokens(options, keys);
}

class JwtTokens implements Tokens {
  readonly signs: boolean;
  readonly #options: TokenOptions;
  readonly #keys: readonly VerifyKey[];
  readonly #sign: (payload: object) => string;
  /** First part of a token → the keys to try. */
  readonly #headers = new LRUCache<string, readonly VerifyKey[]>({ max: HEADERS_KNOWN });
  /** The first part that came last, with its dot, and its keys: a signer has one. */
  #lastPart = "";
  #lastKeys: readonly VerifyKey[] = NO_KEYS;
  /** Marks of sound tokens that were met, by slot; a later one takes the place of an earlier. */
  readonly #met = new Int32Array(MET);
  /** Token → its claims. Only sound tokens; expiry is looked at every time, revocation is not this layer's. */
  readonly #known: LRUCache<string, { readonly claims: Claims; readonly untilMs: number }>;

  constructor(options: TokenOptions, keys: readonly VerifyKey[]) {
    this.#options = options;
    this.#keys = keys;
    this.#known = new LRUCache({ max: options.limits.tokenCacheEntries });
    const current = keys[0] as VerifyKey;
    const key = options.privateKey ?? options.secret;
    this.signs = key !== undefined;
    this.#sign =
      key === undefined ? refuseToSign : createSigner({ key, algorithm: current.algorithm, kid: current.kid });
  }

  verify(token: string): Claims {
    if (token === "") throw new Refusal("token-missing");
    if (token.length > this.#options.limits.tokenBytes) throw new Refusal("token-bad", "It is too long.");
    const now = this.#options.clock.now();
    const mark = markOf(token);
    const met = this.#met[mark & (MET - 1)] === mark;
    const known = met ? this.#known.get(token) : undefined;
    const fresh = known !== undefined && now < known.untilMs;
    const claims = fresh ? known.claims : this.#verifyCold(token);
    if (now >= claims.expiresAtMs) throw new Refusal("token-expired");
    // Most tokens come once, with a connection that stays: only one that comes again is worth its place.
    if (!met) this.#met[mark & (MET - 1)] = mark;
    else if (!fresh) {
      // A copy as the key: the token may be a slice that would keep a whole frame alive.
      const key = Buffer.from(token, "latin1").toString("latin1");
      this.#known.set(key, { claims, untilMs: now + this.#options.limits.tokenCacheMs });
    }
    return claims;
  }

  sign(subject: TokenSubject): { token: string; expiresInS: number; jti: string } {
    const { issuer, audience, lifetimeS, clock } = this.#options;
    const now = clock.now();
    const issuedAtMs = subject.issuedAtMs ?? now;
    const jti = randomUUID();
    const token = this.#sign({
      ...(issuer === undefined ? {} : { iss: issuer }),
      ...(audience === undefined ? {} : { aud: audience }),
      sub: subject.sub,
      name: subject.name,
      ...(subject.groups.length === 0 ? {} : { groups: subject.groups }),
      sid: subject.sid,
      jti,
      iat: Math.floor(issuedAtMs / 1_000),
      // Seconds cannot tell a token from just before a revocation from one just after it.
      iat_ms: issuedAtMs,
      exp: Math.floor(now / 1_000) + lifetimeS,
    });
    return { token, expiresInS: lifetimeS, jti };
  }

  get marks(): Tokens["marks"] {
    const { issuer = "", audience = "" } = this.#options;
    const takes = this.#keys.map(({ kid }) =>
      createHash("sha256")
        .update(JSON.stringify([kid, issuer, audience]))
        .digest("base64url")
        .slice(0, 16),
    );
    return { signs: this.signs ? takes[0] : undefined, takes };
  }

  jwks(): { keys: readonly JsonWebKeyEntry[] } {
    return { keys: this.#keys.flatMap((key) => (key.jwk === undefined ? [] : [key.jwk])) };
  }

  /** Signature first, claims after it: nothing unsigned is looked at but the header. */
  #verifyCold(token: string): Claims {
    for (const key of this.#keysFor(token)) {
      let payload: unknown;
      try {
        payload = key.verify(token);
      } catch {
        continue;
      }
      const { issuer, audience, clock } = this.#options;
      return readClaims(payload, { issuer, audience, latestNbfS: clock.now() / 1_000 + NBF_LEEWAY_S });
    }
    throw new Refusal("token-bad");
  }

  /** The keys to try for a token, remembered by its first part. */
  #keysFor(token: string): readonly VerifyKey[] {
    if (this.#lastPart !== "" && token.startsWith(this.#lastPart)) return this.#lastKeys;
    const end = token.indexOf(".");
    if (end <= 0 || end > HEADER_CHARACTERS) return NO_KEYS;
    const part = token.slice(0, end);
    const own = Buffer.from(part, "latin1").toString("latin1");
    const known = this.#headers.get(own);
    const found = known ?? this.#readHeader(own);
    if (known === undefined) this.#headers.set(own, found);
    this.#lastPart = `${own}.`;
    this.#lastKeys = found;
    return found;
  }

  #readHeader(part: string): readonly VerifyKey[] {
    let header: unknown;
    try {
      header = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    } catch {
      return NO_KEYS;
    }
    if (typeof header !== "object" || header === null) return NO_KEYS;
    // We know no extension, so a token that has critical ones is refused [RFC 7515 4.1.11].
    if (Object.hasOwn(header, "crit")) return NO_KEYS;
    const { alg, kid } = header as { alg?: unknown; kid?: unknown };
    const fitting = this.#keys.filter((key) => key.algorithm === alg);
    const named = fitting.find((key) => key.kid === kid);
    return named === undefined ? fitting : [named];
  }
}

/** A number, not zero, that tells tokens apart well enough: their end is random. */
function markOf(token: string): number {
  let mark = 1;
  for (let i = Math.max(0, token.length - MARK_CHARACTERS); i < token.length; i++) {
    mark = (Math.imul(mark, 0x01000193) ^ token.charCodeAt(i)) | 0;
  }
  return mark === 0 ? 1 : mark;
}

function refuseToSign(): never {
  throw new Refusal("not-found", "Tokens are made elsewhere; this server only verifies them.");
}

/** Builds the verification keys, the signing one first. */
function keysOf(options: TokenKeys): { current: VerifyKey; others: readonly VerifyKey[] } {
  const { secret, privateKey, publicKey } = options;
  if (secret !== undefined && (privateKey !== undefined || publicKey !== undefined)) {
    throw new Error("Tokens are signed either with a secret or with a private key, not with both.");
  }
  const others = [...options.previousSecrets.map(secretKey), ...options.previousPublicKeys.map(asymmetricKey)];
  if (secret !== undefined) return { current: secretKey(secret), others };
  if (privateKey !== undefined) return { current: pairKey(privateKey, publicKey), others };
  if (publicKey !== undefined) return { current: asymmetricKey(publicKey), others };
  throw new Error("A secret or a key for tokens is needed.");
}

function secretKey(secret: string): VerifyKey {
  if (Buffer.byteLength(secret) < SECRET_BYTES) {
    throw new Error(`The secret for tokens must have at least ${SECRET_BYTES} bytes.`);
  }
  // Not RFC 7638: the plain hash of a secret would be shown to everybody who holds a token.
  const kid = createHmac("sha256", secret).update("confab token key id").digest("base64url").slice(0, 16);
  return { kid, algorithm: "HS256", verify: verifierOf(secret, "HS256"), jwk: undefined };
}

/** The key of a pair; the public half is made from the private one, and must be the one that is given, if any. */
function pairKey(privatePem: string, publicPem: string | undefined): VerifyKey {
  let pair: KeyObject;
  try {
    pair = createPrivateKey(privatePem);
  } catch (cause) {
    throw new Error("The private key for tokens is not a PEM without a passphrase.", { cause });
  }
  const own = asymmetricKey(createPublicKey(pair).export({ type: "spki", format: "pem" }).toString());
  if (publicPem !== undefined && asymmetricKey(publicPem).kid !== own.kid) {
    throw new Error("The public key for tokens does not belong to the private key.");
  }
  return own;
}

function asymmetricKey(pem: string): VerifyKey {
  let key: KeyObject;
  try {
    // A private key would be taken here too; only a public one may stand in a list of public keys.
    if (!pem.includes("PUBLIC KEY")) throw new Error("not a public key");
    key = createPublicKey(pem);
  } catch (cause) {
    throw new Error("A public key for tokens is not a PEM of a public key.", { cause });
  }
  const algorithm = algorithmOf(key);
  const jwk = key.export({ format: "jwk" }) as Record<string, string>;
  // RFC 7638: the required members only, in lexicographic order.
  const members = algorithm === "RS256" ? ["e", "kty", "n"] : ["crv", "kty", "x"];
  const canonical = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])));
  const kid = createHash("sha256").update(canonical).digest("base64url");
  const spki = key.export({ type: "spki", format: "pem" }).toString();
  return { kid, algorithm, verify: verifierOf(spki, algorithm), jwk: { ...jwk, kid, use: "sig", alg: algorithm } };
}

function algorithmOf(key: KeyObject): "EdDSA" | "RS256" {
  if (key.asymmetricKeyType === "ed25519") return "EdDSA";
  if (key.asymmetricKeyType === "rsa") {
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) >= RSA_BITS) return "RS256";
    throw new Error(`An RSA key for tokens must have at least ${RSA_BITS} bits.`);
  }
  throw new Error("A key for tokens must be Ed25519 or RSA.");
}

/** Checks the signature alone: times are read from our own clock, and sound tokens are remembered by our own cache. */
function verifierOf(key: string, algorithm: VerifyKey["algorithm"]): (token: string) => unknown {
  return createVerifier({ key, algorithms: [algorithm], cache: false, ignoreExpiration: true, ignoreNotBefore: true });
}
