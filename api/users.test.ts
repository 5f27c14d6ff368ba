import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { StoreFailure } from "../actors/codes.ts";
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

test("Users are found by the beginning of their name, never by email, and only by users.", async () => {
  const { email, user, accessToken } = await newPerson(setting, "Quentin Quick");
  await newPerson(setting, "quentina");
  const find = async (query: string) => ask(accessToken, "GET", `/api/users?${query}`);
  const names = async (query: string) => (await find(query)).json.items.map(({ name }: { name: string }) => name);
  assert.deepEqual(await names("q=QUENT"), ["Quentin Quick", "quentina"]);
  assert.deepEqual(await names("q=QUENT&limit=1"), ["Quentin Quick"]);
  assert.deepEqual(await names(`q=${encodeURIComponent(email)}`), []);
  assert.deepEqual(Object.keys((await find("q=quentin%20q")).json.items[0]), ["id", "name"]);
  for (const query of ["", "q=", `q=${"x".repeat(129)}`, "q=a&limit=0", "q=a&limit=51", "q=a&email=b"]) {
    isProblem(await find(query), 400, "bad-request");
  }
  isProblem(await ask(undefined, "GET", "/api/users?q=a"), 401, "token-missing");
  isProblem(await ask(undefined, "GET", `/api/users/${user.id}`), 401, "token-missing");
  isProblem(await ask(accessToken, "GET", "/api/users/nobody%2Fat%20all"), 404, "user-not-found");
  isProblem(await ask(accessToken, "GET", "/api/users/a%0Ab"), 400, "bad-request");
});

test("A deleted account is known as such for a room; a user of another issuer, or a directory away, hinders none.", async () => {
  const { accessToken } = await newPerson(setting);
  const gone = await newPerson(setting);
  const direct = (other: string) => ask(accessToken, "POST", "/api/rooms", { type: "direct", members: [other] });
  assert.equal((await ask(gone.accessToken, "DELETE", "/api/auth/me", { password: PASSWORD })).status, 204);
  isProblem(await direct(gone.user.id), 404, "user-not-found");
  assert.equal((await direct("somebody-of-another-issuer")).status, 201);
  const { directory } = setting;
  const user = directory.user.bind(directory);
  directory.user = () => Promise.reject(new StoreFailure("away"));
  assert.equal((await direct("somebody-else")).status, 201);
  directory.user = user;
});
