import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { signToken, text } from "./frames.ts";

/** Reads a client's message back as a server would; returns payload bytes. */
function unmask(bytes: Buffer): Buffer {
  const short = bytes.readUInt8(1);
  assert.equal(short & 0x80, 0x80, "a client masks");
  const length = short & 0x7f;
  const header = length < 126 ? 2 : length === 126 ? 4 : 10;
  const size = length < 126 ? length : length === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  const mask = bytes.subarray(header, header + 4);
  const payload = Buffer.from(bytes.subarray(header + 4));
  assert.equal(payload.length, size);
  for (let i = 0; i < payload.length; i += 1) payload[i] = (payload[i] ?? 0) ^ (mask[i % 4] ?? 0);
  return payload;
}

test("A text message of any length class is masked and says its length in bytes.", () => {
  for (const size of [0, 1, 125, 126, 65_535, 65_536, 70_000]) {
    assert.equal(unmask(text("y".repeat(size))).toString(), "y".repeat(size));
  }
  assert.equal(unmask(text("é".repeat(100))).toString(), "é".repeat(100));
});

test("A token carries subject, name and an expiry in the future, signed with HS256.", () => {
  const [head = "", claims = "", signature] = signToken("secret", "user-1").split(".");
  assert.equal(createHmac("sha256", "secret").update(`${head}.${claims}`).digest("base64url"), signature);
  assert.deepEqual(JSON.parse(Buffer.from(head, "base64url").toString()), { alg: "HS256", typ: "JWT" });
  const read = JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
  assert.equal(read["sub"], "user-1");
  assert.equal(read["name"], "user-1");
  assert.equal(Number(read["exp"]) - Number(read["iat"]), 3_600);
});
