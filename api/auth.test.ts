import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Refusal } from "../actors/codes.ts";
import { type Answer, startChat } from "./app.fixture.ts";
import { isProblem, newPerson, PASSWORD, type Setting, startAccounts } from "./auth.fixture.ts";

let chat: Awaited<ReturnType<typeof startChat>>;
let setting: Setting;

before(async () => {
  chat = await startChat();
  setting = await startAccounts(chat.chat);
});
after(async () => {
  await setting.app.app.close();
  await chat.stop();
});

const ask = (token: string | undefined, method: string, path: string, body?: unknown): Promise<Answer> =>
  setting.app.ask(token, method, path, body);

test("Signing up answers the user, and a taken email is a conflict.", async () => {
  const account = { email: " New@Example.org", password: PASSWORD, name: "New" };
  const made = await ask(undefined, "POST", "/api/auth/signup", account);
  assert.equal(made.status, 201);
  assert.deepEqual(made.json, { id: made.json.id, name: "New", email: "new@example.org" });
  assert.equal(made.headers["cache-control"], "no-store");
  isProblem(await ask(undefined, "POST", "/api/auth/signup", account), 409, "email-taken");
});

test("Logging in answers tokens and the user; a wrong password and an unknown email answer alike.", async () => {
  const { email, user, accessToken, refreshToken, expiresIn } = await newPerson(setting);
  assert.deepEqual([typeof accessToken, typeof refreshToken, expiresIn], ["string", "string", 3_600]);
  const wrong = await ask(undefined, "POST", "/api/auth/login", { email, password: "wrong password" });
  const unknown = await ask(undefined, "POST", "/api/auth/login", { email: "no@example.org", password: PASSWORD });
  isProblem(wrong, 401, "credentials-wrong");
  assert.equal(wrong.text, unknown.text);
  assert.equal(wrong.headers["www-authenticate"], undefined);
  assert.deepEqual((await ask(accessToken, "GET", "/api/auth/me")).json, user);
});

test("A refresh rotates; every bad refresh token is answered with the same words.", async () => {
  const first = await newPerson(setting);
  const refresh = (refreshToken: unknown) => ask(undefined, "POST", "/api/auth/refresh", { refreshToken });
  const second = await refresh(first.refreshToken);
  assert.equal(second.status, 200);
  assert.deepEqual(second.json.user, first.user);
  const reused = await refresh(first.refreshToken);
  isProblem(reused, 401, "token-bad");
  isProblem(await ask(second.json.accessToken, "GET", "/api/auth/me"), 401, "token-revoked");
  for (const token of [second.json.refreshToken, "", "short", "x".repeat(64)]) {
    assert.equal((await refresh(token)).text, reused.text);
  }
});

test("Logging out ends one session, by either token; logging out everywhere ends all.", async () => {
  const one = await newPerson(setting);
  const [two, three, four] = [await one.login(), await one.login(), await one.login()];
  const status = async (session: { accessToken: string }) =>
    (await ask(session.accessToken, "GET", "/api/auth/me")).status;
  assert.equal((await ask(one.accessToken, "POST", "/api/auth/logout")).status, 204);
  const { refreshToken } = two;
  assert.equal((await ask(undefined, "POST", "/api/auth/logout", { refreshToken })).status, 204);
  const again = await ask("expired", "POST", "/api/auth/logout", { refreshToken });
  isProblem(again, 401, "token-bad");
  assert.deepEqual(await Promise.all([one, two, three, four].map(status)), [401, 401, 200, 200]);
  assert.equal((await ask(three.accessToken, "POST", "/api/auth/logout", {})).status, 204);
  assert.deepEqual(await Promise.all([three, four].map(status)), [401, 200]);
  const five = await one.login();
  assert.equal((await ask(four.accessToken, "POST", "/api/auth/logout-all")).status, 204);
  assert.deepEqual(await Promise.all([four, five].map(status)), [401, 401]);
  assert.equal(await status(await one.login()), 200);
  isProblem(await ask(undefined, "POST", "/api/auth/logout"), 401, "token-missing");
  isProblem(await ask(undefined, "POST", "/api/auth/logout-all"), 401, "token-missing");
});

test("Changing the password needs the present one, and ends other sessions.", async () => {
  const mine = await newPerson(setting);
  const other = await mine.login();
  const change = (currentPassword: string, newPassword: string) =>
    ask(mine.accessToken, "POST", "/api/auth/password", { currentPassword, newPassword });
  isProblem(await change("wrong password", "another horse"), 401, "credentials-wrong");
  isProblem(await change(PASSWORD, "short"), 400, "bad-request");
  assert.equal((await change(PASSWORD, "another horse")).status, 204);
  assert.equal((await ask(mine.accessToken, "GET", "/api/auth/me")).status, 200);
  isProblem(await ask(other.accessToken, "GET", "/api/auth/me"), 401, "token-revoked");
  const login = (password: string) => ask(undefined, "POST", "/api/auth/login", { email: mine.email, password });
  isProblem(await login(PASSWORD), 401, "credentials-wrong");
  assert.equal((await login("another horse")).status, 200);
});

test("The profile is changed and deleted by its owner.", async () => {
  const { email, user, accessToken } = await newPerson(setting);
  const changed = await ask(accessToken, "PATCH", "/api/auth/me", { name: "Zoë" });
  assert.deepEqual(changed.json, { id: user.id, name: "Zoë", email });
  const { accessToken: other } = await newPerson(setting);
  assert.deepEqual((await ask(other, "GET", `/api/users/${user.id}`)).json, { id: user.id, name: "Zoë" });
  assert.equal((await ask(accessToken, "DELETE", "/api/auth/me")).status, 204);
  isProblem(await ask(accessToken, "GET", "/api/auth/me"), 401, "token-revoked");
  const gone = { id: user.id, name: "Zoë", deleted: true };
  assert.deepEqual((await ask(other, "GET", `/api/users/${user.id}`)).json, gone);
  isProblem(await ask(undefined, "GET", "/api/auth/me"), 401, "token-missing");
});

test("Who deletes the account leaves the rooms, but no private room of others without an admin.", async () => {
  const [owner, other] = [await newPerson(setting), await newPerson(setting)];
  const make = async (name: string, members: readonly string[]): Promise<string> =>
    (await ask(owner.accessToken, "POST", "/api/rooms", { name, type: "private", members })).json.id;
  const [alone, shared] = [await make("Alone", []), await make("Shared", [other.user.id])];
  const roomOf = async (token: string, id: string): Promise<number> =>
    (await ask(token, "GET", `/api/rooms/${id}`)).status;

  isProblem(await ask(owner.accessToken, "DELETE", "/api/auth/me"), 409, "last-admin");
  assert.deepEqual([await roomOf(owner.accessToken, alone), await roomOf(owner.accessToken, shared)], [200, 200]);

  const members = `/api/rooms/${shared}/members`;
  await ask(owner.accessToken, "PATCH", `${members}/${other.user.id}`, { role: "admin" });
  assert.equal((await ask(owner.accessToken, "DELETE", "/api/auth/me")).status, 204);
  const left = (await ask(other.accessToken, "GET", members)).json.items.map(({ user }: { user: string }) => user);
  assert.deepEqual(left, [other.user.id]);
  await assert.rejects(chat.chat.room({ id: owner.user.id, name: "" }, alone), { code: "room-not-found" });
});

test("Unknown properties, wrong types and missing ones are refused, and named.", async () => {
  const account = { email: "x@example.org", password: PASSWORD, name: "X" };
  const { accessToken } = await newPerson(setting);
  const wrong: [string, string, unknown, RegExp][] = [
    ["POST", "/api/auth/signup", { ...account, admin: true }, /admin/],
    ["POST", "/api/auth/signup", { ...account, name: 5 }, /name/],
    ["POST", "/api/auth/signup", { ...account, email: "no address" }, /email/],
    ["POST", "/api/auth/signup", { ...account, password: "short" }, /password/],
    ["POST", "/api/auth/signup", { email: "x@example.org" }, /password|name/],
    ["POST", "/api/auth/login", { email: ["a"], password: PASSWORD }, /email/],
    ["POST", "/api/auth/login", undefined, /body/],
    ["POST", "/api/auth/refresh", { refreshToken: 5 }, /refreshToken/],
    ["POST", "/api/auth/refresh", { token: "x" }, /token/],
    ["POST", "/api/auth/logout", { all: true }, /body/],
    ["POST", "/api/auth/password", { currentPassword: PASSWORD }, /newPassword/],
    ["PATCH", "/api/auth/me", { name: "A", email: "b@example.org" }, /email/],
    ["PATCH", "/api/auth/me", {}, /name/],
  ];
  for (const [method, path, body, named] of wrong) {
    const answer = await ask(accessToken, method, path, body);
    isProblem(answer, 400, "bad-request");
    assert.match(answer.json.detail, named, `${method} ${path}`);
  }
  const large = { email: "x@example.org", password: "x".repeat(20_000) };
  isProblem(await ask(undefined, "POST", "/api/auth/login", large), 413, "body-too-large");
});

test("Pressure is answered with its status and when to come back.", async () => {
  const credentials = { email: "x@example.org", password: PASSWORD };
  for (const [refusal, status, seconds] of [
    [new Refusal("rate-limited", "Too many.", 41_500), 429, "42"],
    [new Refusal("busy", undefined, 300), 503, "1"],
  ] as const) {
    setting.state.refuse = refusal;
    for (const [path, body] of [
      ["/api/auth/login", credentials],
      ["/api/auth/signup", { ...credentials, name: "X" }],
    ] as const) {
      const answer = await ask(undefined, "POST", path, body);
      isProblem(answer, status, refusal.code);
      assert.equal(answer.headers["retry-after"], seconds);
    }
  }
  setting.state.refuse = undefined;
});

test("The login audit has the address and the agent.", async () => {
  const { user } = await newPerson(setting);
  const [line] = await setting.directory.logins(user.id, 10);
  assert.equal(line?.address, "127.0.0.1");
  assert.equal(line?.agent, "lightMyRequest");
  assert.equal(line?.success, true);
});

test("Public keys are shown where there are some.", async () => {
  isProblem(await ask(undefined, "GET", "/.well-known/jwks.json"), 404, "not-found");
  const keys = [{ kty: "OKP", crv: "Ed25519", x: "abc", kid: "k1", use: "sig", alg: "EdDSA" }];
  const { app } = await startAccounts(chat.chat, { jwks: () => ({ keys }) });
  const answer = await app.ask(undefined, "GET", "/.well-known/jwks.json");
  assert.deepEqual(answer.json, { keys });
  assert.match(String(answer.headers["cache-control"]), /max-age/);
  await app.app.close();
});

test("Every route of accounts and users is in the documentation.", async () => {
  const { paths } = (await ask(undefined, "GET", "/openapi.json")).json;
  const found = Object.keys(paths).filter((path) => /auth|users|jwks/.test(path) && !path.startsWith("/api/rooms"));
  assert.deepEqual(found.sort(), [
    "/.well-known/jwks.json",
    "/api/auth/login",
    "/api/auth/logout",
    "/api/auth/logout-all",
    "/api/auth/me",
    "/api/auth/password",
    "/api/auth/refresh",
    "/api/auth/signup",
    "/api/users",
    "/api/users/{id}",
  ]);
});
