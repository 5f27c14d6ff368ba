/**
 * What a node knows of revoked tokens: a bounded set, asked for every token that is verified, and the
 * follower that keeps it equal to the directory's (rule 14 of the protocol of a room's log).
 */
import type { Clock, Timer } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Directory, Revocation } from "./directory.ts";
import type { Claims, TokenVerifier } from "./identity.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";

/**
 * The revocations in force. When it is full, the oldest gives way and leaves the *horizon* behind: every
 * token issued before that revocation's time is refused, whoever's it is. So a revoked token never passes;
 * the price is that tokens older than the oldest revocation kept have to be refreshed early.
 */
export class Revocations {
  /** Times that the oldest gave way to the bound (outcome `horizon`). */
  horizons = 0;
  readonly #bound: number;
  /** User, or user and token, to the revocation; the oldest first. */
  readonly #held = new Map<string, Revocation>();
  /** Tokens issued before it are refused, ms since 1970. */
  #horizonMs = 0;

  constructor(limits: Pick<Limits, "revocationsHeld">) {
    this.#bound = limits.revocationsHeld;
  }

  /** How many are held. */
  get size(): number {
    return this.#held.size;
  }

  /** Adds one; false when it, or a wider one in its place, is there already. */
  add(revocation: Revocation): boolean {
    const key = keyOf(revocation.user, revocation.token);
    const held = this.#held.get(key);
    if (held !== undefined && held.beforeMs >= revocation.beforeMs) {
      if (held.keepUntilMs >= revocation.keepUntilMs) return false;
      this.#held.set(key, { ...held, keepUntilMs: revocation.keepUntilMs });
      return false;
    }
    this.#held.delete(key);
    const keepUntilMs = Math.max(revocation.keepUntilMs, held?.keepUntilMs ?? 0);
    this.#held.set(key, { ...revocation, keepUntilMs });
    if (this.#held.size > this.#bound) this.#giveWay();
    return true;
  }

  /** Whether the token of these claims has been revoked. */
  isRevoked({ sub, jti, sid, issuedAtMs }: Claims): boolean {
    if (issuedAtMs < this.#horizonMs) return true;
    if (this.#held.size === 0) return false;
    const all = this.#held.get(sub);
    if (all !== undefined && issuedAtMs < all.beforeMs) return true;
    if (sid !== undefined && this.#held.has(keyOf(sub, sid))) return true;
    return jti !== undefined && this.#held.has(keyOf(sub, jti));
  }

  /** Forgets those whose tokens have all expired; answers how many. */
  prune(nowMs: number): number {
    let gone = 0;
    for (const [key, { keepUntilMs }] of this.#held) {
      if (keepUntilMs > nowMs) continue;
      this.#held.delete(key);
      gone++;
    }
    return gone;
  }

  #giveWay(): void {
    const oldest = this.#held.entries().next().value;
    if (oldest === undefined) return;
    const [key, { beforeMs }] = oldest;
    this.#held.delete(key);
    this.#horizonMs = Math.max(this.#horizonMs, beforeMs);
    this.horizons++;
  }
}

/** A user id has no control characters, so a line feed parts it from the token. */
function keyOf(user: string, token: string | undefined): string {
  return token === undefined ? user : `${user}\n${token}`;
}

/**
 * A verifier that also refuses revoked tokens, with `token-revoked`; and until all revocations are `known`, every
 * sound token with `store-unavailable`, as any of them may have been revoked.
 */
export function refusingRevoked(
  verifier: TokenVerifier,
  revocations: Revocations,
  known: () => boolean = () => true,
): TokenVerifier {
  return {
    verify(token: string): Claims {
      const claims = verifier.verify(token);
      if (revocations.isRevoked(claims)) throw new Refusal("token-revoked");
      if (!known()) throw new Refusal("store-unavailable", "Revoked tokens are not known yet.");
      return claims;
    },
  };
}

/** Revocations read in one look at the directory. */
const PAGE = 1_000;
/** How often expired revocations are forgotten, ms. */
const PRUNE_MS = 60_000;

/** What the follower needs. */
export interface FollowerOptions {
  readonly directory: Pick<Directory, "revocationsAfter">;
  readonly revocations: Revocations;
  readonly clock: Clock;
  readonly limits: Pick<Limits, "revocationPollMs">;
  readonly log: Log;
  /** Called once for each revocation that is new here: ends the live connections that it is about. */
  readonly onRevoked: (revocation: Revocation) => void;
}

/**
 * Keeps the set equal to the directory's: loads it, then asks for what is new. While the directory is away it is
 * asked on: once all was read tokens are judged by what is known, before that nobody can judge them.
 */
export class RevocationFollower {
  readonly #options: FollowerOptions;
  #complete: () => void = () => undefined;
  /** Resolves when all that the directory had was read once. */
  readonly known = new Promise<void>((resolve) => {
    this.#complete = resolve;
  });
  #isKnown = false;
  /** Highest id read from the directory. */
  #lastId = 0;
  #timer: Timer | undefined;
  #stopped = false;
  #failing = false;
  #prunedAt: number;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#prunedAt = options.clock.monotonic();
  }

  /** Whether all that the directory had was read once. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Begins to follow; resolves after the first look at the directory, whether it answered (`isKnown`) or not. */
  start(): Promise<void> {
    return this.#poll();
  }

  /** Takes a revocation that was made here, or came over the bus, at once. */
  take(revocation: Revocation): void {
    if (this.#options.revocations.add(revocation)) this.#options.onRevoked(revocation);
  }

  /** Ends following. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#options.clock.cancel(this.#timer);
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(this.#options.limits.revocationPollMs, () => void this.#poll());
  }

  async #poll(): Promise<void> {
    try {
      await this.#readNew();
      if (this.#failing) this.#options.log.info({}, "revocations are read again");
      this.#failing = false;
    } catch (err) {
      if (!this.#failing) this.#options.log.warn({ err }, "revocations cannot be read");
      this.#failing = true;
    }
    const { clock, revocations } = this.#options;
    if (clock.monotonic() - this.#prunedAt >= PRUNE_MS) {
      this.#prunedAt = clock.monotonic();
      revocations.prune(clock.now());
    }
    this.#schedule();
  }

  async #readNew(): Promise<void> {
    for (;;) {
      const page = await this.#options.directory.revocationsAfter(this.#lastId, PAGE);
      const nowMs = this.#options.clock.now();
      for (const revocation of page) {
        this.#lastId = revocation.id;
        if (revocation.keepUntilMs > nowMs) this.take(revocation);
      }
      if (this.#stopped) return;
      if (page.length < PAGE) break;
    }
    this.#isKnown = true;
    this.#complete();
  }
}
