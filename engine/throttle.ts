/** Rate limits of logins and signups (design 4), per node and in memory. */
import { createHmac, randomBytes } from "node:crypto";
import { isIPv6 } from "node:net";
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import type { Throttle } from "../actors/accounts.ts";
import { Refusal } from "../actors/codes.ts";
import type { Limits } from "../actors/limits.ts";

/** Window of all limits, seconds. */
const WINDOW_S = 60;

type ThrottleLimits = Pick<
  Limits,
  "loginsPerAccountPerMinute" | "loginsPerAddressPerMinute" | "signupsPerAddressPerMinute" | "throttleBuckets"
>;

/**
 * One limit. Whoever invents accounts or addresses must not fill our memory, so they are spread over a
 * fixed number of counters by a hash that nobody outside can foresee. Two may share a counter; with
 * 65,536 of them a stranger under attack shares yours once in 65,536 times.
 */
class Limit {
  /** Undefined: off. */
  readonly #limiter: RateLimiterMemory | undefined;
  readonly #buckets: number;
  readonly #what: string;
  readonly #seed = randomBytes(32);

  constructor(options: { points: number; buckets: number; what: string }) {
    const { points, buckets, what } = options;
    this.#limiter = points === 0 ? undefined : new RateLimiterMemory({ points, duration: WINDOW_S });
    this.#buckets = buckets;
    this.#what = what;
  }

  async take(key: string): Promise<void> {
    const bucket = this.#bucketOf(key);
    try {
      await this.#limiter?.consume(bucket);
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      // What was refused is no failure of its own.
      await this.#limiter?.reward(bucket);
      throw new Refusal("rate-limited", this.#what, Math.max(1_000, refused.msBeforeNext));
    }
  }

  async giveBack(key: string): Promise<void> {
    const bucket = this.#bucketOf(key);
    const counted = await this.#limiter?.get(bucket);
    // When the window has ended meanwhile there is nothing to give back.
    if (counted && counted.consumedPoints > 0) await this.#limiter?.reward(bucket);
  }

  #bucketOf(key: string): string {
    const hash = createHmac("sha256", this.#seed).update(key).digest();
    return String(hash.readUInt32BE(0) % this.#buckets);
  }
}

/** The limits of one node. */
export class MemoryThrottle implements Throttle {
  readonly #perAccount: Limit;
  readonly #perAddress: Limit;
  readonly #signups: Limit;

  constructor(limits: ThrottleLimits) {
    const buckets = limits.throttleBuckets;
    const what = "Too many failed logins of this account.";
    this.#perAccount = new Limit({ points: limits.loginsPerAccountPerMinute, buckets, what });
    const from = "Too many failed logins from this address.";
    this.#perAddress = new Limit({ points: limits.loginsPerAddressPerMinute, buckets, what: from });
    const signups = "Too many signups from this address.";
    this.#signups = new Limit({ points: limits.signupsPerAddressPerMinute, buckets, what: signups });
  }

  async attempt(account: string, address: string): Promise<void> {
    const key = networkOf(address);
    await this.#perAddress.take(key);
    try {
      await this.#perAccount.take(account);
    } catch (refused) {
      await this.#perAddress.giveBack(key);
      throw refused;
    }
  }

  async giveBack(account: string, address: string): Promise<void> {
    await this.#perAccount.giveBack(account);
    await this.#perAddress.giveBack(networkOf(address));
  }

  signup(address: string): Promise<void> {
    return this.#signups.take(networkOf(address));
  }
}

/** What counts as one address: an IPv4 address, also written as IPv6, or the /64 that an IPv6 host has to itself. */
export function networkOf(address: string): string {
  const plain = address.split("%")[0] ?? "";
  if (!isIPv6(plain)) return plain;
  const dotted = /(?:^|:)((?:\d{1,3}\.){3}\d{1,3})$/.exec(plain)?.[1];
  if (dotted !== undefined && plain.toLowerCase().startsWith("::ffff:")) return dotted;
  const [head = "", tail] = plain.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length - (dotted === undefined ? 0 : 1);
  const groups = [...first, ...new Array<string>(Math.max(0, zeros)).fill("0"), ...last];
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(":")}::/64`;
}
