/** Who somebody is, as a signed token says; the narrow interfaces that edges and REST need of tokens. */

/** The claims of a verified access token. */
export interface Claims {
  /** `sub`, verbatim: the user id. */
  readonly sub: string;
  /** `name`; the user id when the token has none. */
  readonly name: string;
  readonly groups: readonly string[];
  /** `jti`, when the token has one. */
  readonly jti: string | undefined;
  /** `sid`: the session (refresh-token family) that our own tokens belong to. */
  readonly sid: string | undefined;
  /** ms since 1970. */
  readonly issuedAtMs: number;
  /** ms since 1970. */
  readonly expiresAtMs: number;
}

/** Verifies access tokens without asking any store. */
export interface TokenVerifier {
  /**
   * The claims of a valid token. Throws `Refusal`: `token-missing` (empty), `token-bad` (malformed, wrong
   * key, algorithm, issuer or audience, no sub or exp), `token-expired`, `token-revoked`.
   */
  verify(token: string): Claims;
}
