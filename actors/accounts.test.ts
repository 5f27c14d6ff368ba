import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Accounts, type Secrets, type Throttle } from "./accounts.ts";
import { SimulatedClock } from "./clock.ts";
import { type CodeWord, Refusal } from "./codes.ts";
import { MemoryDirectory } from "./directory.memory.ts";
import type { Revocation } from "./directory.ts";
import type { Claims } from "./identity.ts";
import { LIMITS } from "./limits.ts";
import { SILENT } from "./log.ts";
import { Revocations } from "./revocations.ts";

const HOUR_S = 3_600;
const FROM = { address: "192.0.2.1", agent: "test" };
const ANN = { email: "ann@example.org", password: "correct horse", name: "Ann" };

/** Numbered secrets: `name.n`, whose hash is written out. */
function countedSecrets(): Secrets {
  let number = 0;
  const tokenOf = (name: string) => {
    const token = `${name}.${++number}`;
    return { token, handle: `h(${name})`, hash: `h(${token})` };
  };
  return {
    uuid: () => `id-${++number}`,
    refreshToken: () => tokenOf(`session-${++number}`),
    nextRefreshToken: (token) => tokenOf(token.split(".")[0] ?? ""),
    readRefreshToken: (token) =>
      token.includes(".") ? { handle: `h(${token.split(".")[0]})`, hash: `h(${token})` } : undefined,
    fingerprint: (text) => `f(${text})`,
  };
}

/** Accounts whose access tokens are JSON of their claims, and whose password hashes are the passwords. */
function setUp(changes: { signs?: boolean; limits?: { sessionsPerUser: number; usersFound: number } } = {}) {
  const directory = new MemoryDirectory();
  const clock = new SimulatedClock();
  const revocations = new Revocations(LIMITS);
  const told: Revocation[] = [];
  const tries: string[] = [];
  const compared: (string | undefined)[] = [];
  const state = { limited: false, busy: false };
  const note = (word: string) => async (account: string) => {
    tries.push(`${word} ${account}`);
    if (state.limited && word !== "back") throw new Refusal("rate-limited", "x", 5_000);
  };
  const throttle: Throttle = { attempt: note("try"), giveBack: note("back"), signup: note("signup") };
  const accounts = new Accounts({
    directory,
    throttle,
    passwords: {
      hash: async (password) => `#${password}`,
      verify: async (password, hash) => {
        compared.push(hash);
        if (state.busy) throw new Refusal("busy");
        return hash === `#${password}`;
      },
    },
    signer: {
      signs: changes.signs ?? true,
      sign: ({ sub, name, groups, sid, issuedAtMs }) => {
        const expiresAtMs = clock.now() + HOUR_S * 1_000;
        const claims: Claims = { sub, name, groups, sid, jti: undefined, issuedAtMs, expiresAtMs };
        return { token: JSON.stringify(claims), expiresInS: HOUR_S };
      },
    },
    secrets: countedSecrets(),
    clock,
    log: SILENT,
    limits: changes.limits ?? LIMITS,
    accessTokenS: HOUR_S,
    refreshTokenS: 30 * 24 * HOUR_S,
    onRevoked: (revocation) => {
      told.push(revocation);
      revocations.add(revocation);
    },
  });
  const claimsOf = (token: string): Claims => ({ jti: undefined, ...JSON.parse(token) }) as Claims;
  const alive = (token: string): boolean => !revocations.isRevoked(claimsOf(token));
  const login = (password = ANN.password) => accounts.login({ email: ANN.email, password }, FROM);
  return { accounts, directory, clock, told, tries, compared, state, claimsOf, alive, login };
}

const refusedWith = (code: CodeWord) => (error: unknown) => {
  assert.ok(error instanceof Refusal, String(error));
  assert.equal(error.code, code);
  return true;
};

test("An account is made once per email, whatever its case, and opens with its password.", async () => {
  const { accounts, login, claimsOf } = setUp();
  const user = await accounts.signup({ ...ANN, email: "  Ann@Example.ORG ", name: " Ann " }, FROM);
  assert.deepEqual(user, { id: user.id, name: "Ann", email: "ann@example.org" });
  await assert.rejects(accounts.signup({ ...ANN, email: "ANN@example.org" }, FROM), refusedWith("email-taken"));
  const session = await login();
  assert.deepEqual(session.user, user);
  assert.equal(session.expiresIn, HOUR_S);
  assert.equal(claimsOf(session.accessToken).sub, user.id);
});

test("What no account can be made of is refused, and the field is named.", async () => {
  const { accounts, tries } = setUp();
  const wrong: [Partial<typeof ANN>, RegExp][] = [
    [{ email: "" }, /email/],
    [{ email: "ann" }, /email/],
    [{ email: "a@b@c" }, /email/],
    [{ email: "an n@example.org" }, /email/],
    [{ email: "ann\u0000@example.org" }, /email/],
    [{ email: `${"a".repeat(251)}@b.c` }, /email/],
    [{ name: " \t " }, /name/],
    [{ name: "a\u0007b" }, /name/],
    [{ name: "a\u202eb" }, /name/],
    [{ name: "\ud800" }, /name/],
    [{ name: "é".repeat(65) }, /name/],
    [{ password: "seven 7" }, /password/],
    [{ password: "😀😀😀😀" }, /password/],
    [{ password: "é".repeat(513) }, /password/],
  ];
  for (const [change, field] of wrong) {
    await assert.rejects(accounts.signup({ ...ANN, ...change }, FROM), (error) => {
      refusedWith("bad-request")(error);
      assert.match((error as Refusal).message, field);
      return true;
    });
  }
  assert.deepEqual(tries, [], "what is refused at sight counts for no limit");
});

test("Unknown email and wrong password are refused alike, after the same work, and are audited.", async () => {
  const { accounts, directory, compared, tries, clock, login } = setUp();
  const { id } = await accounts.signup(ANN, FROM);
  const refusals: unknown[] = [];
  await login("wrong password").catch((error: unknown) => refusals.push(error));
  await accounts.login({ ...ANN, email: "Bob@example.org" }, FROM).catch((error: unknown) => refusals.push(error));
  const [one, two] = refusals as Refusal[];
  refusedWith("credentials-wrong")(one);
  assert.deepEqual({ ...one, message: one?.message }, { ...two, message: two?.message });
  assert.deepEqual(compared, ["#correct horse", undefined]);
  await login();
  const at = clock.now();
  assert.deepEqual(await directory.logins(undefined, 10), [
    { at, success: true, account: id, ...FROM },
    { at, success: false, account: "f(bob@example.org)", ...FROM },
    { at, success: false, account: id, ...FROM },
  ]);
  assert.deepEqual(tries, [
    "signup 192.0.2.1",
    "try ann@example.org",
    "try bob@example.org",
    "try ann@example.org",
    "back ann@example.org",
  ]);
});

test("A try that ends as busy is taken back, and one over the limit is not even made.", async () => {
  const { accounts, state, tries, compared, login } = setUp();
  await accounts.signup(ANN, FROM);
  state.busy = true;
  await assert.rejects(login(), refusedWith("busy"));
  assert.deepEqual(tries.slice(1), ["try ann@example.org", "back ann@example.org"]);
  state.limited = true;
  await assert.rejects(login(), refusedWith("rate-limited"));
  await assert.rejects(accounts.signup(ANN, FROM), refusedWith("rate-limited"));
  assert.equal(compared.length, 1);
});

test("A refresh token is exchanged once; using it again ends the session and its tokens.", async () => {
  const { accounts, alive, told, claimsOf, login } = setUp();
  await accounts.signup(ANN, FROM);
  const first = await login();
  const second = await accounts.refresh(first.refreshToken);
  assert.notEqual(second.refreshToken, first.refreshToken);
  assert.equal(claimsOf(second.accessToken).sid, claimsOf(first.accessToken).sid);
  assert.ok(alive(second.accessToken));
  await assert.rejects(accounts.refresh(first.refreshToken), refusedWith("token-bad"));
  assert.ok(!alive(first.accessToken) && !alive(second.accessToken));
  assert.equal(told.length, 1);
  for (const token of [second.refreshToken, "none", "session-x.1"]) {
    await assert.rejects(accounts.refresh(token), (error) => {
      refusedWith("token-bad")(error);
      assert.equal((error as Refusal).detail, undefined, "no hint");
      return true;
    });
  }
});

test("An expired session cannot be refreshed.", async () => {
  const { accounts, clock, login } = setUp();
  await accounts.signup(ANN, FROM);
  const { refreshToken } = await login();
  await clock.advance(30 * 24 * HOUR_S * 1_000);
  await assert.rejects(accounts.refresh(refreshToken), refusedWith("token-bad"));
});

test("Logging out ends this session alone, by access token or by refresh token.", async () => {
  const { accounts, alive, claimsOf, login } = setUp();
  await accounts.signup(ANN, FROM);
  const [one, two, three] = [await login(), await login(), await login()];
  await accounts.logout(claimsOf(one.accessToken));
  await accounts.logoutByRefreshToken(two.refreshToken);
  assert.deepEqual(
    [one, two, three].map(({ accessToken }) => alive(accessToken)),
    [false, false, true],
  );
  await assert.rejects(accounts.refresh(one.refreshToken), refusedWith("token-bad"));
  await assert.rejects(accounts.refresh(two.refreshToken), refusedWith("token-bad"));
  await assert.rejects(accounts.logoutByRefreshToken(two.refreshToken), refusedWith("token-bad"));
  await accounts.refresh(three.refreshToken);
});

test("Logging out everywhere ends all tokens so far, and one from the same millisecond after it lives.", async () => {
  const { accounts, alive, claimsOf, told, clock, login } = setUp();
  await accounts.signup(ANN, FROM);
  const before = [await login(), await login()];
  await accounts.logoutAll(claimsOf(before[0]?.accessToken ?? ""));
  const after = await login();
  assert.deepEqual(
    before.map(({ accessToken }) => alive(accessToken)),
    [false, false],
  );
  assert.ok(alive(after.accessToken));
  assert.ok(alive((await accounts.refresh(after.refreshToken)).accessToken));
  for (const { refreshToken } of before) await assert.rejects(accounts.refresh(refreshToken), refusedWith("token-bad"));
  assert.ok((told[0]?.keepUntilMs ?? 0) >= clock.now() + HOUR_S * 1_000, "kept until the tokens have expired");
});

test("A changed password ends the other sessions and leaves this one.", async () => {
  const { accounts, alive, claimsOf, tries, login } = setUp();
  await accounts.signup(ANN, FROM);
  const [mine, other] = [await login(), await login()];
  const claims = claimsOf(mine.accessToken);
  const change = (current: string, next: string) => accounts.changePassword(claims, { current, next }, FROM);
  await assert.rejects(change("wrong password", "another horse"), refusedWith("credentials-wrong"));
  assert.equal(tries.at(-1), "try ann@example.org", "a wrong one counts");
  await assert.rejects(change(ANN.password, "short"), refusedWith("bad-request"));
  await change(ANN.password, "another horse");
  assert.ok(alive(mine.accessToken) && !alive(other.accessToken));
  await accounts.refresh(mine.refreshToken);
  await assert.rejects(accounts.refresh(other.refreshToken), refusedWith("token-bad"));
  await assert.rejects(login(), refusedWith("credentials-wrong"));
  await login("another horse");
});

test("A deleted account is gone but for id and name, its tokens end, and its email is free.", async () => {
  const { accounts, alive, claimsOf, login } = setUp();
  const { id } = await accounts.signup(ANN, FROM);
  const session = await login();
  const claims = claimsOf(session.accessToken);
  await accounts.remove(claims);
  assert.ok(!alive(session.accessToken));
  await assert.rejects(login(), refusedWith("credentials-wrong"));
  await assert.rejects(accounts.profile(claims), refusedWith("user-not-found"));
  await assert.rejects(accounts.remove(claims), refusedWith("user-not-found"));
  await assert.rejects(accounts.rename(claims, "An"), refusedWith("user-not-found"));
  assert.deepEqual(await accounts.user(id), { id, name: "Ann", deleted: true });
  assert.deepEqual(await accounts.findUsers("ann", 10), []);
  assert.notEqual((await accounts.signup(ANN, FROM)).id, id);
});

test("A user of another issuer has the profile of its token, and its tokens can be revoked.", async () => {
  const { accounts, told, clock } = setUp();
  const claims = { sub: "guest", name: "Guest", groups: [], sid: undefined, jti: "j1", issuedAtMs: 1, expiresAtMs: 2 };
  assert.deepEqual(await accounts.profile(claims), { id: "guest", name: "Guest" });
  await assert.rejects(accounts.rename(claims, "G"), refusedWith("user-not-found"));
  await assert.rejects(accounts.user("guest"), refusedWith("user-not-found"));
  await accounts.logout(claims);
  await accounts.revoke("guest", undefined);
  assert.deepEqual(
    told.map(({ user, token }) => [user, token]),
    [
      ["guest", "j1"],
      ["guest", undefined],
    ],
  );
  assert.ok((told[1]?.keepUntilMs ?? 0) > clock.now() + 29 * 24 * HOUR_S * 1_000);
});

test("A name is changed for everybody, from the next token on.", async () => {
  const { accounts, claimsOf, login } = setUp();
  const { id, email } = await accounts.signup(ANN, FROM);
  const session = await login();
  assert.deepEqual(await accounts.rename(claimsOf(session.accessToken), " Zoë "), { id, name: "Zoë", email });
  assert.deepEqual(await accounts.findUsers("ZO", 10), [{ id, name: "Zoë" }]);
  assert.deepEqual(await accounts.findUsers(`zoë\n${id.slice(0, 2)}`, 10), []);
  assert.deepEqual(await accounts.findUsers(" ", 10), []);
  assert.equal(claimsOf((await accounts.refresh(session.refreshToken)).accessToken).name, "Zoë");
});

test("The oldest session ends when a user opens too many.", async () => {
  const { accounts, alive, clock, login } = setUp({ limits: { sessionsPerUser: 2, usersFound: 10 } });
  await accounts.signup(ANN, FROM);
  const sessions: string[] = [];
  for (let i = 0; i < 3; i++) {
    sessions.push((await login()).accessToken);
    await clock.advance(10);
  }
  assert.deepEqual(sessions.map(alive), [false, true, true]);
});

test("A server that only verifies tokens has no accounts to offer.", async () => {
  const { accounts, login } = setUp({ signs: false });
  await assert.rejects(accounts.signup(ANN, FROM), refusedWith("not-found"));
  await assert.rejects(login(), refusedWith("not-found"));
  await assert.rejects(accounts.refresh("session-1.1"), refusedWith("not-found"));
});

test("After any doings, a token lives if and only if its session does.", async () => {
  const doing = fc.constantFrom("login", "refresh", "reuse", "logout", "logout-all", "password", "wait");
  const property = fc.asyncProperty(fc.array(fc.tuple(doing, fc.nat(9)), { maxLength: 25 }), async (doings) => {
    const { accounts, alive, claimsOf, clock, login } = setUp();
    await accounts.signup(ANN, FROM);
    let password = ANN.password;
    const open: { tokens: string[]; refresh: string[]; over: boolean }[] = [];
    const endAllBut = (kept: object | undefined) => {
      for (const session of open) if (session !== kept) session.over = true;
    };
    for (const [what, pick] of doings) {
      const living = open.filter(({ over }) => !over);
      const session = living[pick % Math.max(1, living.length)];
      if (what === "login") {
        const { accessToken, refreshToken } = await login(password);
        open.push({ tokens: [accessToken], refresh: [refreshToken], over: false });
      } else if (what === "wait") await clock.advance(pick);
      else if (session !== undefined) {
        const claims = claimsOf(session.tokens.at(-1) ?? "");
        if (what === "refresh") {
          const { accessToken, refreshToken } = await accounts.refresh(session.refresh.at(-1) ?? "");
          session.tokens.push(accessToken);
          session.refresh.push(refreshToken);
        } else if (what === "reuse" && session.refresh.length > 1) {
          await assert.rejects(accounts.refresh(session.refresh[0] ?? ""), refusedWith("token-bad"));
          session.over = true;
        } else if (what === "logout") {
          await accounts.logout(claims);
          session.over = true;
        } else if (what === "logout-all") {
          await accounts.logoutAll(claims);
          endAllBut(undefined);
        } else if (what === "password") {
          await accounts.changePassword(claims, { current: password, next: `${password}+` }, FROM);
          password += "+";
          endAllBut(session);
        }
      }
      for (const { tokens, over } of open) for (const token of tokens) assert.equal(alive(token), !over, what);
    }
  });
  await fc.assert(property, { numRuns: 60 });
});
