import assert from "node:assert/strict";
import { test } from "node:test";
import { secrets } from "./secrets.ts";

test("A refresh token is read to the hashes it was made with.", () => {
  const made = secrets.refreshToken();
  assert.match(made.token, /^[A-Za-z0-9_-]{64}$/);
  assert.deepEqual(secrets.readRefreshToken(made.token), { handle: made.handle, hash: made.hash });
  assert.notEqual(made.handle, made.hash);
  assert.ok(!made.token.includes(made.handle) && !made.token.includes(made.hash));
});

test("The next token of a session has its handle, and all else is new.", () => {
  const first = secrets.refreshToken();
  const next = secrets.nextRefreshToken(first.token);
  assert.equal(next.handle, first.handle);
  assert.notEqual(next.hash, first.hash);
  assert.notEqual(next.token, first.token);
  assert.notEqual(secrets.refreshToken().handle, first.handle);
});

test("What cannot be a refresh token is none.", () => {
  const { token } = secrets.refreshToken();
  for (const text of ["", "x", token.slice(1), `${token}A`, `${token.slice(1)}=`, `${token.slice(1)} `, `${token}\n`]) {
    assert.equal(secrets.readRefreshToken(text), undefined, JSON.stringify(text));
  }
});
