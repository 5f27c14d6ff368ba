import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "../actors/codes.ts";
import { BcryptPasswords } from "./passwords.ts";

const limits = { hashesWaiting: 64 };

test("A password verifies against its own hash and no other does.", async () => {
  const passwords = new BcryptPasswords({ cost: 4, limits });
  const hash = await passwords.hash("correct horse");
  assert.match(hash, /^\$2b\$04\$/);
  assert.equal(await passwords.verify("correct horse", hash), true);
  assert.equal(await passwords.verify("correct horse ", hash), false);
  assert.equal(await passwords.verify("", hash), false);
  assert.notEqual(await passwords.hash("correct horse"), hash, "salted");
});

test("Every byte of a long password counts, also after a NUL, and spellings of one letter are one.", async () => {
  const passwords = new BcryptPasswords({ cost: 4, limits });
  const long = await passwords.hash(`${"x".repeat(1_000)}1`);
  assert.equal(await passwords.verify(`${"x".repeat(1_000)}1`, long), true);
  assert.equal(await passwords.verify(`${"x".repeat(1_000)}2`, long), false);
  const nul = await passwords.hash("before\0after");
  assert.equal(await passwords.verify("before\0other", nul), false);
  const accented = await passwords.hash("caf\u00e9-caf\u00e9");
  assert.equal(await passwords.verify("cafe\u0301-cafe\u0301", accented), true);
});

test("Without a hash nothing verifies, and it takes the work that a real one takes.", async () => {
  const passwords = new BcryptPasswords({ cost: 9, limits, atOnce: 1 });
  const hash = await passwords.hash("real password");
  const timeOf = async (given: string | undefined): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const startedAt = performance.now();
      assert.equal(await passwords.verify("guess", given), false);
      times.push(performance.now() - startedAt);
    }
    return Math.min(...times);
  };
  const [real, none] = [await timeOf(hash), await timeOf(undefined)];
  // A compare that gave up early would take a hundredth.
  assert.ok(none > real * 0.5 && none < real * 2, `${none} ms against ${real} ms`);
});

test("Hashes run in a bounded number in order, and beyond the queue's bound they are refused as busy.", async () => {
  const passwords = new BcryptPasswords({ cost: 4, limits: { hashesWaiting: 2 }, atOnce: 1 });
  const done: number[] = [];
  const tries = [0, 1, 2].map((i) => passwords.hash(`password ${i}`).then(() => done.push(i)));
  assert.equal(passwords.waiting, 2);
  await assert.rejects(passwords.hash("one too many"), (error) => {
    assert.ok(error instanceof Refusal);
    assert.equal(error.code, "busy");
    assert.ok((error.retryAfterMs ?? 0) > 0);
    return true;
  });
  await Promise.all(tries);
  assert.deepEqual(done, [0, 1, 2]);
  assert.equal(passwords.waiting, 0);
  assert.equal(await passwords.verify("password 0", undefined), false, "places are free again");
});

test("A hash that cannot be read verifies nothing, and its place is free again.", async () => {
  const passwords = new BcryptPasswords({ cost: 4, limits, atOnce: 1 });
  assert.equal(await passwords.verify("password", "not a hash"), false);
  assert.match(await passwords.hash("password"), /^\$2b\$/);
});
