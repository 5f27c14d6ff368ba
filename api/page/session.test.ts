import assert from "node:assert/strict";
import { test } from "node:test";
import { RestError, Session } from "./session.ts";

/** A server of accounts that rotates refresh tokens and never takes one twice, as a `fetch`. */
class Accounts {
  refreshes = 0;
  valid = "r0";
  readonly bearers: string[] = [];
  refuseNext = false;

  readonly fetch: typeof fetch = async (input, init) => {
    const path = String(input);
    const body = JSON.parse(String(init?.body ?? "{}")) as { refreshToken?: string };
    if (path === "/api/auth/login") return this.#grant();
    if (path === "/api/auth/refresh") {
      if (body.refreshToken !== this.valid) return answer(401, { code: "token-bad" });
      this.refreshes++;
      return this.#grant();
    }
    if (path === "/api/auth/logout") return new Response(null, { status: 204 });
    this.bearers.push(new Headers(init?.headers).get("authorization") ?? "");
    if (!this.refuseNext) return answer(200, { items: [] });
    this.refuseNext = false;
    return answer(401, { code: "token-expired" });
  };

  #grant(): Response {
    this.valid = `r${Number(this.valid.slice(1)) + 1}`;
    const user = { id: "u", name: "Ann" };
    return answer(200, { accessToken: `a-${this.valid}`, refreshToken: this.valid, expiresIn: 3600, user });
  }
}

function answer(status: number, body: object): Response {
  return new Response(JSON.stringify(body), { status });
}

function storage(): Pick<Storage, "getItem" | "setItem" | "removeItem"> {
  const kept = new Map<string, string>();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}

function setUp() {
  const accounts = new Accounts();
  const time = { now: 0 };
  const shared = storage();
  let turn: Promise<unknown> = Promise.resolve();
  const alone = <T>(task: () => Promise<T>): Promise<T> => {
    const mine = turn.then(task, task);
    turn = mine.catch(() => undefined);
    return mine;
  };
  const parts = { fetch: accounts.fetch, storage: shared, now: () => time.now, alone };
  return { accounts, time, parts, session: new Session(parts) };
}

const credentials = { email: "ann@example.org", password: "correct horse" };

test("A token near its end is replaced before it is used, once for all who ask.", async () => {
  const { accounts, time, session } = setUp();
  await session.login(credentials);
  time.now = 3_590_000;
  await Promise.all([session.rest("GET", "/api/rooms"), session.rest("GET", "/api/rooms")]);
  assert.equal(accounts.refreshes, 1);
  assert.deepEqual(accounts.bearers, ["Bearer a-r2", "Bearer a-r2"]);
});

test("A call whose token the server no longer takes is made once more with a new one.", async () => {
  const { accounts, session } = setUp();
  await session.login(credentials);
  accounts.refuseNext = true;
  await session.rest("GET", "/api/rooms");
  assert.deepEqual(accounts.bearers, ["Bearer a-r1", "Bearer a-r2"]);
});

test("Two tabs that refresh at once never use the same refresh token.", async () => {
  const { accounts, parts, session } = setUp();
  await session.login(credentials);
  const other = new Session(parts);
  await Promise.all([session.refresh(), other.refresh()]);
  assert.equal(accounts.refreshes, 2);
});

test("A refused refresh token is forgotten; one that got no answer is kept.", async () => {
  const { accounts, parts, session } = setUp();
  await session.login(credentials);
  const cut = new Session({ ...parts, fetch: () => Promise.reject(new TypeError("no network")) });
  await assert.rejects(cut.refresh(), (error: unknown) => error instanceof RestError && error.status === 0);
  assert.ok(cut.remembered);
  accounts.valid = "another";
  await assert.rejects(session.refresh(), (error: unknown) => error instanceof RestError && error.code === "token-bad");
  assert.ok(!session.remembered);
});

test("Signing out forgets the tokens even when the server cannot be reached.", async () => {
  const { parts, session } = setUp();
  await session.login(credentials);
  const cut = new Session({ ...parts, fetch: () => Promise.reject(new TypeError("no network")) });
  await cut.logout();
  assert.ok(!cut.remembered);
});
