/**
 * Accounts: sign up, log in, refresh, log out, change, delete (design 4; issue 3 point 2). Everything is
 * decided here; hashing, signing, chance and counting are handed in.
 */
import { emailOf, nameOf, newPasswordOf } from "./accounts.input.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Credentials, Directory, Ending, Exchanged, FoundUser, Revocation, UserRecord } from "./directory.ts";
import { normalEmail } from "./directory.ts";
import type { Claims } from "./identity.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";

/** Hashes passwords. Both refuse with `busy` when too many wait. */
export interface Passwords {
  hash(password: string): Promise<string>;
  /** Whether the password is the hash's. Undefined: false, after the same work, so that time tells nothing. */
  verify(password: string, hash: string | undefined): Promise<boolean>;
}

/** A refresh token and what the directory keeps of it. */
export interface RefreshToken {
  readonly token: string;
  readonly handle: string;
  readonly hash: string;
}

/** Chance, and what is made of it. */
export interface Secrets {
  uuid(): string;
  /** The first refresh token of a session. */
  refreshToken(): RefreshToken;
  /** The token after this well-formed one: same handle. */
  nextRefreshToken(token: string): RefreshToken;
  /** Undefined for a text that cannot be a refresh token. */
  readRefreshToken(token: string): { readonly handle: string; readonly hash: string } | undefined;
  /** A hash that stands for a text in the audit. */
  fingerprint(text: string): string;
}

/** Signs access tokens. */
export interface TokenSigner {
  /** False when this server only verifies tokens that are made elsewhere. */
  readonly signs: boolean;
  sign(subject: { sub: string; name: string; groups: readonly string[]; sid: string; issuedAtMs: number }): {
    token: string;
    expiresInS: number;
  };
}

/** Counts tries; each refuses with `rate-limited` and `retryAfterMs` when there were too many. */
export interface Throttle {
  /** Counts a try to log in as failed, before it is made. `account` is the normalised email, known or not. */
  attempt(account: string, address: string): Promise<void>;
  /** Takes back one try that did not fail by a wrong password. */
  giveBack(account: string, address: string): Promise<void>;
  signup(address: string): Promise<void>;
}

/** Where a request comes from. */
export interface Origin {
  readonly address: string;
  readonly agent: string;
}

/** A user as it sees itself. `email` is absent for a user of another issuer. */
export interface Profile {
  readonly id: string;
  readonly name: string;
  readonly email?: string;
}

/** What a login or refresh gives. */
export interface SessionTokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Life of the access token, seconds. */
  readonly expiresIn: number;
  readonly user: { readonly id: string; readonly name: string; readonly email: string };
}

/** What accounts need. */
export interface AccountsOptions {
  readonly directory: Directory;
  readonly passwords: Passwords;
  readonly signer: TokenSigner;
  readonly secrets: Secrets;
  readonly throttle: Throttle;
  readonly clock: Pick<Clock, "now">;
  readonly log: Log;
  readonly limits: Pick<Limits, "sessionsPerUser" | "usersFound">;
  /** Life of an access token, seconds. */
  readonly accessTokenS: number;
  /** Life of a refresh token, seconds. */
  readonly refreshTokenS: number;
  /** Called once a revocation is durable: ends live connections, here and on other nodes. */
  readonly onRevoked: (revocation: Revocation) => void;
}

/** How long a revocation is kept whose tokens another issuer made, of unknown life: 30 days, ms. */
const FOREIGN_KEEP_MS = 2_592_000_000;
const AGENT_LENGTH = 256;
const ADDRESS_LENGTH = 64;

/** The accounts of one node. Every method is complete in itself; nodes share only the directory. */
export class Accounts {
  readonly #options: AccountsOptions;

  constructor(options: AccountsOptions) {
    this.#options = options;
  }

  /** Makes an account. Refuses with `bad-request`, `email-taken`, `rate-limited`, `busy`. */
  async signup(
    input: { email: string; password: string; name: string },
    origin: Origin,
  ): Promise<{ id: string; name: string; email: string }> {
    this.#requireSigner();
    const email = emailOf(input.email);
    const name = nameOf(input.name);
    const password = newPasswordOf(input.password);
    const { directory, passwords, secrets, throttle, clock, log } = this.#options;
    await throttle.signup(origin.address);
    if ((await directory.credentialsByEmail(email)) !== undefined) throw new Refusal("email-taken");
    const hash = await passwords.hash(password);
    const user = { id: secrets.uuid(), email, name };
    const made = await directory.createUser({ ...user, createdAt: clock.now() }, hash);
    if (!made) throw new Refusal("email-taken");
    log.info({ user: user.id }, "account made");
    return user;
  }

  /** Opens a session. Refuses with `credentials-wrong` (unknown email and wrong password alike), `rate-limited`, `busy`. */
  async login(input: { email: string; password: string }, origin: Origin): Promise<SessionTokens> {
    this.#requireSigner();
    const { directory } = this.#options;
    const email = normalEmail(input.email);
    const found = await this.#guarded(email, origin, async () => {
      const credentials = await directory.credentialsByEmail(email);
      const right = await this.#options.passwords.verify(input.password, credentials?.passwordHash);
      const session = right && credentials !== undefined ? await this.#open(credentials) : undefined;
      return { account: credentials?.user.id, session };
    });
    const { account = this.#options.secrets.fingerprint(email), session } = found;
    await directory.audit({
      at: this.#options.clock.now(),
      success: session !== undefined,
      account,
      address: origin.address.slice(0, ADDRESS_LENGTH),
      agent: origin.agent.slice(0, AGENT_LENGTH),
    });
    if (session === undefined) throw new Refusal("credentials-wrong");
    return session;
  }

  /**
   * Exchanges a refresh token. Refuses with `token-bad` alike whether it is malformed, unknown, expired or
   * used before; the last ends the session, as two parties hold its token.
   */
  async refresh(refreshToken: string): Promise<SessionTokens> {
    const { exchanged, next } = await this.#exchange(refreshToken);
    return this.#tokens(exchanged.user, exchanged, next);
  }

  /** Ends the session of a refresh token. Refuses with `token-bad` one that is not in force. */
  async logoutByRefreshToken(refreshToken: string): Promise<void> {
    const { user, session } = (await this.#exchange(refreshToken)).exchanged;
    await this.#revoke(user.id, session, 0);
  }

  /** Ends the session of a token; a token of another issuer is revoked by its `jti`, or else all of its user's. */
  async logout(claims: Claims): Promise<void> {
    await this.#revoke(claims.sub, claims.sid ?? claims.jti, claims.expiresAtMs);
  }

  /** Ends all sessions of the user and every token issued so far. */
  async logoutAll(claims: Claims): Promise<void> {
    await this.#revoke(claims.sub, undefined, claims.expiresAtMs);
  }

  /** For administrators: revokes one token or session of a user, or all issued so far. */
  async revoke(user: string, token: string | undefined): Promise<void> {
    await this.#revoke(user, token, 0);
  }

  /**
   * Changes the password and ends the user's other sessions. Refuses with `credentials-wrong`,
   * `bad-request`, `conflict` (changed by somebody else meanwhile), `user-not-found`, `rate-limited`, `busy`.
   */
  async changePassword(claims: Claims, input: { current: string; next: string }, origin: Origin): Promise<void> {
    const { directory, passwords, log } = this.#options;
    const next = newPasswordOf(input.next);
    const credentials = await directory.credentials(claims.sub);
    if (credentials === undefined) throw new Refusal("user-not-found");
    const from = credentials.passwordHash;
    const { session: to } = await this.#guarded(credentials.user.email, origin, async () => {
      const right = await passwords.verify(input.current, from);
      return { session: right ? await passwords.hash(next) : undefined };
    });
    if (to === undefined) throw new Refusal("credentials-wrong", "The present password is another one.");
    const change = { ...this.#ending(), from, to, keep: claims.sid };
    const ended = await directory.changePassword(claims.sub, change);
    if (ended === undefined) throw new Refusal("conflict", "The password was changed meanwhile.");
    log.info({ user: claims.sub, sessionsEnded: ended.length }, "password changed");
    for (const revocation of ended) this.#options.onRevoked(revocation);
  }

  /** One's own account; that of another issuer is what its token says. */
  async profile(claims: Claims): Promise<Profile> {
    const user = await this.#options.directory.user(claims.sub);
    if (user === undefined) return { id: claims.sub, name: claims.name };
    if (user.deletedAt !== undefined) throw new Refusal("user-not-found");
    return ownView(user);
  }

  /** Changes the name; tokens bear it from the next refresh on. Refuses with `bad-request`, `user-not-found`. */
  async rename(claims: Claims, name: string): Promise<Profile> {
    const user = await this.#options.directory.rename(claims.sub, nameOf(name));
    if (user === undefined) throw new Refusal("user-not-found");
    return ownView(user);
  }

  /** Deletes the account and ends all its tokens; id and name stay, so that histories read on. */
  async remove(claims: Claims): Promise<void> {
    const revocation = await this.#options.directory.deleteUser(claims.sub, this.#ending(claims.expiresAtMs));
    if (revocation === undefined) throw new Refusal("user-not-found");
    this.#options.log.info({ user: claims.sub }, "account deleted");
    this.#options.onRevoked(revocation);
  }

  /** A user by id, deleted ones too. Refuses with `user-not-found`. */
  async user(id: string): Promise<FoundUser & { deleted: boolean }> {
    const user = await this.#options.directory.user(id);
    if (user === undefined) throw new Refusal("user-not-found");
    return { id: user.id, name: user.name, deleted: user.deletedAt !== undefined };
  }

  /** Users whose name begins with the text. */
  findUsers(prefix: string, limit: number): Promise<FoundUser[]> {
    // No name has control characters, and what keys have beyond names is nobody's to search in.
    if (prefix.trim() === "" || /\p{Cc}/u.test(prefix)) return Promise.resolve([]);
    return this.#options.directory.findUsers(prefix.trimStart(), Math.min(limit, this.#options.limits.usersFound));
  }

  #requireSigner(): void {
    if (this.#options.signer.signs) return;
    throw new Refusal("not-found", "Accounts are kept elsewhere; this server only verifies their tokens.");
  }

  /** Runs a check of a password as a counted try; one that ends otherwise than by a wrong password is taken back. */
  async #guarded<T extends { session: unknown }>(account: string, origin: Origin, check: () => Promise<T>): Promise<T> {
    const { throttle } = this.#options;
    await throttle.attempt(account, origin.address);
    let wrong = false;
    try {
      const outcome = await check();
      wrong = outcome.session === undefined;
      return outcome;
    } finally {
      if (!wrong) await throttle.giveBack(account, origin.address);
    }
  }

  async #exchange(refreshToken: string): Promise<{ exchanged: Exchanged & { kind: "exchanged" }; next: string }> {
    this.#requireSigner();
    const { directory, secrets, clock, log } = this.#options;
    const given = secrets.readRefreshToken(refreshToken);
    if (given === undefined) throw new Refusal("token-bad");
    const next = secrets.nextRefreshToken(refreshToken);
    const exchanged = await directory.exchange({
      ...this.#ending(),
      handle: given.handle,
      from: given.hash,
      to: next.hash,
      expiresAtMs: clock.now() + this.#options.refreshTokenS * 1_000,
    });
    if (exchanged.kind === "exchanged") return { exchanged, next: next.token };
    if (exchanged.kind === "reused") {
      log.warn(
        { user: exchanged.user, session: exchanged.revocation.token },
        "refresh token used twice, session ended",
      );
      this.#options.onRevoked(exchanged.revocation);
    }
    throw new Refusal("token-bad");
  }

  /** Undefined when the password was changed, or the account deleted, since it was read. */
  async #open({ user, passwordHash }: Credentials): Promise<SessionTokens | undefined> {
    const { directory, secrets, clock, limits } = this.#options;
    const id = secrets.uuid();
    const { token, handle, hash } = secrets.refreshToken();
    const opened = await directory.openSession({
      ...this.#ending(),
      id,
      user: user.id,
      passwordHash,
      handle,
      current: hash,
      expiresAtMs: clock.now() + this.#options.refreshTokenS * 1_000,
      sessions: limits.sessionsPerUser,
    });
    if (opened === undefined) return undefined;
    for (const revocation of opened.ended) this.#options.onRevoked(revocation);
    return this.#tokens(user, { session: id, issuedAtMs: opened.issuedAtMs }, token);
  }

  #tokens(user: UserRecord, of: { session: string; issuedAtMs: number }, refreshToken: string): SessionTokens {
    const { id, name, email } = user;
    const subject = { sub: id, name, groups: [], sid: of.session, issuedAtMs: of.issuedAtMs };
    const { token, expiresInS } = this.#options.signer.sign(subject);
    return { accessToken: token, refreshToken, expiresIn: expiresInS, user: { id, name, email } };
  }

  async #revoke(user: string, token: string | undefined, aliveUntilMs: number): Promise<void> {
    const { directory, clock, log } = this.#options;
    const foreign = (await directory.user(user)) === undefined;
    const keepUntilMs = foreign ? Math.max(aliveUntilMs, clock.now() + FOREIGN_KEEP_MS) : aliveUntilMs;
    const revocation = await directory.revoke(user, token, this.#ending(keepUntilMs));
    log.info({ user, all: token === undefined }, "tokens revoked");
    this.#options.onRevoked(revocation);
  }

  /** An ending now, whose tokens live as long as ours do, or until a time if that is later. */
  #ending(aliveUntilMs = 0): Ending {
    const nowMs = this.#options.clock.now();
    return { nowMs, keepUntilMs: Math.max(aliveUntilMs, nowMs + (this.#options.accessTokenS + 1) * 1_000) };
  }
}

function ownView({ id, name, email }: UserRecord): Profile {
  return { id, name, email };
}
