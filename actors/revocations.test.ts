import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SimulatedClock } from "./clock.ts";
import { Refusal, StoreFailure } from "./codes.ts";
import { ending } from "./directory.conformance.samples.ts";
import { MemoryDirectory } from "./directory.memory.ts";
import type { Revocation } from "./directory.ts";
import type { Claims } from "./identity.ts";
import { LIMITS } from "./limits.ts";
import { RevocationFollower, Revocations, refusingRevoked } from "./revocations.ts";

function claims(sub: string, changes: Partial<Claims> = {}): Claims {
  const rest = { name: sub, groups: [], jti: "j", sid: "s", issuedAtMs: 1_000, expiresAtMs: 9_000 };
  return { sub, ...rest, ...changes };
}

function revocation(id: number, user: string, changes: Partial<Revocation> = {}): Revocation {
  return { id, user, token: undefined, beforeMs: 1_001, keepUntilMs: 9_000, ...changes };
}

test("A user's revocation refuses tokens issued before it, and none issued at its time or later.", () => {
  const set = new Revocations(LIMITS);
  assert.equal(set.isRevoked(claims("ann")), false);
  assert.equal(set.add(revocation(1, "ann")), true);
  assert.equal(set.isRevoked(claims("ann")), true);
  assert.equal(set.isRevoked(claims("ann", { issuedAtMs: 1_001 })), false);
  assert.equal(set.isRevoked(claims("bob")), false);
});

test("A token's revocation refuses that jti or session of that user alone, whenever issued.", () => {
  const set = new Revocations(LIMITS);
  set.add(revocation(1, "ann", { token: "s1" }));
  assert.equal(set.isRevoked(claims("ann", { sid: "s1", issuedAtMs: 5_000 })), true);
  assert.equal(set.isRevoked(claims("ann", { jti: "s1" })), true);
  assert.equal(set.isRevoked(claims("ann", { sid: "s2" })), false);
  assert.equal(set.isRevoked(claims("ann", { sid: undefined, jti: undefined })), false);
  assert.equal(set.isRevoked(claims("bob", { sid: "s1" })), false);
});

test("The same revocation is new once, a later one of the user widens it, an earlier one does not narrow it.", () => {
  const set = new Revocations(LIMITS);
  assert.equal(set.add(revocation(1, "ann")), true);
  assert.equal(set.add(revocation(1, "ann")), false);
  assert.equal(set.add(revocation(3, "ann", { beforeMs: 3_000, keepUntilMs: 5_000 })), true);
  assert.equal(set.add(revocation(2, "ann", { beforeMs: 2_000 })), false);
  assert.equal(set.isRevoked(claims("ann", { issuedAtMs: 2_999 })), true);
  assert.equal(set.size, 1);
  assert.equal(set.prune(8_999), 0);
  assert.equal(set.prune(9_000), 1);
  assert.equal(set.isRevoked(claims("ann")), false);
});

test("A full set forgets the oldest, and refuses all tokens from before it instead.", () => {
  const set = new Revocations({ revocationsHeld: 2 });
  for (const [i, user] of ["ann", "bob", "cid"].entries()) set.add(revocation(i, user, { beforeMs: 1_000 * (i + 1) }));
  assert.equal(set.size, 2);
  assert.equal(set.horizons, 1);
  assert.equal(set.isRevoked(claims("ann", { issuedAtMs: 999 })), true);
  assert.equal(set.isRevoked(claims("zoe", { issuedAtMs: 999 })), true, "the price of the bound");
  assert.equal(set.isRevoked(claims("zoe", { issuedAtMs: 1_000 })), false);
  assert.equal(set.isRevoked(claims("cid", { issuedAtMs: 2_999 })), true);
});

test("No revoked token ever passes, whatever the bound.", () => {
  const one = fc.record({
    user: fc.constantFrom("ann", "bob", "cid"),
    token: fc.constantFrom(undefined, "s1", "s2"),
    beforeMs: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 30 }), fc.integer({ min: 1, max: 5 }), (list, bound) => {
      const set = new Revocations({ revocationsHeld: bound });
      for (const [id, made] of list.entries()) set.add({ id, keepUntilMs: 1_000, ...made });
      assert.ok(set.size <= bound);
      for (const { user, token, beforeMs } of list) {
        const sid = token ?? "other";
        assert.ok(set.isRevoked(claims(user, { sid, issuedAtMs: beforeMs - 1 })));
      }
    }),
  );
});

test("A verifier refuses what the set has.", () => {
  const set = new Revocations(LIMITS);
  const verifier = refusingRevoked({ verify: (token) => claims(token) }, set);
  assert.equal(verifier.verify("ann").sub, "ann");
  set.add(revocation(1, "ann"));
  assert.throws(
    () => verifier.verify("ann"),
    (error) => error instanceof Refusal && error.code === "token-revoked",
  );
});

/** A follower of a directory in memory, whose reads a test can make fail. */
function follow() {
  const directory = new MemoryDirectory();
  const clock = new SimulatedClock();
  const revocations = new Revocations(LIMITS);
  const told: number[] = [];
  const lines: string[] = [];
  const state = { away: false, pages: Number.POSITIVE_INFINITY };
  const log = { debug() {}, info: note, warn: note, error: note };
  function note(_fields: object, message: string): void {
    lines.push(message);
  }
  const follower = new RevocationFollower({
    directory: {
      revocationsAfter: async (id, limit) => {
        if (state.away || state.pages-- === 0) throw new StoreFailure("away");
        return directory.revocationsAfter(id, limit);
      },
    },
    revocations,
    clock,
    limits: LIMITS,
    log,
    onRevoked: ({ id }) => told.push(id),
  });
  return { directory, clock, revocations, told, lines, state, follower };
}

test("A follower loads what is there, and tells of what comes later within half a second, once.", async () => {
  const { directory, clock, told, revocations, follower } = follow();
  for (let i = 0; i < 1_001; i++) await directory.revoke(`user ${i}`, undefined, ending(0));
  await follower.start();
  assert.equal(revocations.size, 1_001);
  assert.equal(told.length, 1_001);
  const local = await directory.revoke("ann", "s1", ending(0));
  follower.take(local);
  await directory.revoke("bob", undefined, ending(0));
  assert.deepEqual(told.slice(1_001), [1_002]);
  await clock.advance(500);
  assert.deepEqual(told.slice(1_001), [1_002, 1_003]);
  await clock.advance(5_000);
  assert.equal(told.length, 1_003);
  follower.stop();
  await directory.revoke("cid", undefined, ending(0));
  await clock.advance(5_000);
  assert.equal(told.length, 1_003);
});

test("A follower goes on when the directory was away, and says so once.", async () => {
  const { directory, clock, told, lines, state, follower } = follow();
  await follower.start();
  state.away = true;
  await clock.advance(5_000);
  await directory.revoke("ann", undefined, ending(0));
  state.away = false;
  await clock.advance(500);
  assert.deepEqual(told, [1]);
  assert.deepEqual(lines, ["revocations cannot be read", "revocations are read again"]);
  follower.stop();
});

test("A follower forgets revocations whose tokens have expired.", async () => {
  const { directory, clock, revocations, follower } = follow();
  await directory.revoke("ann", undefined, { nowMs: clock.now(), keepUntilMs: clock.now() + 60_000 });
  await follower.start();
  assert.equal(revocations.size, 1);
  await clock.advance(61_000);
  assert.equal(revocations.size, 0);
  follower.stop();
});

test("Until the revocations were read once every sound token is refused for now, and then judged by them.", async () => {
  const { directory, clock, lines, revocations, state, follower } = follow();
  for (let i = 0; i < 1_001; i++) await directory.revoke(`user ${i}`, undefined, ending(0));
  const sound = { verify: (token: string) => claims(token, { issuedAtMs: 1 }) };
  const verifier = refusingRevoked(sound, revocations, () => follower.isKnown);
  const refusal = (token: string): string => {
    try {
      verifier.verify(token);
      return "none";
    } catch (error) {
      assert.ok(error instanceof Refusal);
      return error.code;
    }
  };
  state.away = true;
  await follower.start();
  await clock.advance(5_000);
  assert.equal(follower.isKnown, false);
  assert.equal(refusal("ann"), "store-unavailable");
  assert.deepEqual(lines, ["revocations cannot be read"]);
  state.pages = 1;
  state.away = false;
  await clock.advance(500);
  assert.equal(revocations.size, 1_000, "a part was read");
  assert.equal(refusal("user 0"), "token-revoked");
  assert.equal(refusal("user 1000"), "store-unavailable");
  state.pages = Number.POSITIVE_INFINITY;
  await clock.advance(500);
  await follower.known;
  assert.equal(refusal("ann"), "none");
  assert.equal(refusal("user 1000"), "token-revoked");
  state.away = true;
  await clock.advance(5_000);
  assert.equal(refusal("ann"), "none", "what is known stays known");
  follower.stop();
});
