/** Who is who, in one process: tokens, revocations, accounts, wired from the settings. */
import { Accounts } from "../actors/accounts.ts";
import type { Clock } from "../actors/clock.ts";
import { StoreFailure } from "../actors/codes.ts";
import type { Directory, Revocation } from "../actors/directory.ts";
import type { TokenVerifier } from "../actors/identity.ts";
import type { Log } from "../actors/log.ts";
import { DirectoryPruner } from "../actors/pruner.ts";
import { RevocationFollower, Revocations, refusingRevoked } from "../actors/revocations.ts";
import type { Config } from "./config.ts";
import { keptSecret } from "./keys.ts";
import { BcryptPasswords } from "./passwords.ts";
import { secrets } from "./secrets.ts";
import { MemoryThrottle } from "./throttle.ts";
import { createTokens, type Tokens } from "./tokens.ts";

/** The wired parts. */
export interface Identity {
  readonly tokens: Tokens;
  /** Refuses revoked tokens too, and every token until the revocations are known. */
  readonly verifier: TokenVerifier;
  readonly accounts: Accounts;
  /** Follows revocations, after a first look at the directory; each one new here is told once. */
  follow(onRevoked: (revocation: Revocation) => void): Promise<void>;
  /** Resolves when all revocations were read once; until then no token is accepted. */
  readonly known: Promise<void>;
  /** The name of a user that the directory knows. */
  readonly nameOf: (user: string) => Promise<string | undefined>;
  readonly hashesWaiting: () => number;
  stop(): void;
}

/** Wires identity. Rejects with an `Error` in a full sentence when a key is none. */
export async function openIdentity(
  config: Config,
  { log, clock, directory }: { log: Log; clock: Clock; directory: Directory },
): Promise<Identity> {
  const given =
    config.jwt.secret !== undefined || config.jwt.privateKey !== undefined || config.jwt.publicKey !== undefined;
  const keys = given ? config.jwt : { ...config.jwt, secret: await keptSecret(config.dataDir) };
  const tokens = createTokens({ ...keys, lifetimeS: config.accessTokenSeconds, clock, limits: config.limits });
  const revocations = new Revocations(config.limits);
  let told: (revocation: Revocation) => void = () => undefined;
  const follower = new RevocationFollower({
    directory,
    revocations,
    clock,
    limits: config.limits,
    log,
    onRevoked: (revocation) => told(revocation),
  });
  const pruner = new DirectoryPruner({ directory, clock, limits: config.limits, log });
  const passwords = new BcryptPasswords({ cost: config.bcryptCost, limits: config.limits });
  const accounts = new Accounts({
    directory,
    passwords,
    signer: tokens,
    secrets,
    throttle: new MemoryThrottle(config.limits),
    clock,
    log,
    limits: config.limits,
    accessTokenS: config.accessTokenSeconds,
    refreshTokenS: config.refreshTokenSeconds,
    onRevoked: (revocation) => follower.take(revocation),
  });
  return {
    tokens,
    verifier: refusingRevoked(tokens, revocations, () => follower.isKnown),
    accounts,
    follow: (onRevoked) => {
      told = onRevoked;
      pruner.start();
      return follower.start();
    },
    known: follower.known,
    nameOf: async (user) => {
      try {
        const found = await directory.user(user);
        return found === undefined || found.deletedAt !== undefined ? undefined : found.name;
      } catch (error) {
        // Chat goes on without the directory; a member is called by the id until the next token names them.
        if (!(error instanceof StoreFailure)) throw error;
        log.warn({ err: error }, "a name was not found, as the directory did not answer");
        return undefined;
      }
    },
    hashesWaiting: () => passwords.waiting,
    stop: () => {
      follower.stop();
      pruner.stop();
    },
  };
}
