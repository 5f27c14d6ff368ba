import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { SimulatedClock } from "../actors/clock.ts";
import { Refusal } from "../actors/codes.ts";
import { LIMITS } from "../actors/limits.ts";
import { createTokens, type TokenOptions, type Tokens } from "./tokens.ts";

const SECRET = "a secret of more than thirty-two bytes";
const FORMER = "another secret, of earlier days, 32+ bytes";

function options(clock: SimulatedClock, changes: Partial<TokenOptions> = {}): TokenOptions {
  return {
    secret: SECRET,
    privateKey: undefined,
    publicKey: undefined,
    previousSecrets: [],
    previousPublicKeys: [],
    issuer: undefined,
    audience: undefined,
    lifetimeS: 3_600,
    clock,
    limits: LIMITS,
    ...changes,
  };
}

interface Pair {
  readonly privateKey: string;
  readonly publicKey: string;
}

function pair(type: "ed25519" | "rsa", modulusLength = 2_048): Pair {
  const publicKeyEncoding = { type: "spki", format: "pem" } as const;
  const privateKeyEncoding = { type: "pkcs8", format: "pem" } as const;
  return type === "ed25519"
    ? generateKeyPairSync("ed25519", { publicKeyEncoding, privateKeyEncoding })
    : generateKeyPairSync("rsa", { modulusLength, publicKeyEncoding, privateKeyEncoding });
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token as another program would make it: HMAC with any key over any header and payload. */
function forge(header: object, payload: unknown, key: string): string {
  const input = `${part(header)}.${part(payload)}`;
  return `${input}.${createHmac("sha256", key).update(input).digest("base64url")}`;
}

function refusedWith(code: string, run: () => unknown): void {
  assert.throws(run, (error) => error instanceof Refusal && error.code === code, `expected ${code}`);
}

const ANN = { sub: "ann", name: "Ann", groups: ["staff"], sid: "s1" };
const HS = { alg: "HS256", typ: "JWT" };

test("A signed token is verified to the claims it was made of.", () => {
  const clock = new SimulatedClock(1_700_000_000_123);
  const tokens = createTokens(options(clock, { issuer: "confab", audience: "chat" }));
  const { token, expiresInS, jti } = tokens.sign(ANN);
  assert.equal(expiresInS, 3_600);
  const claims = tokens.verify(token);
  assert.deepEqual(claims, {
    ...ANN,
    jti,
    issuedAtMs: 1_700_000_000_123,
    expiresAtMs: 1_700_003_600_000,
  });
  assert.deepEqual(tokens.jwks(), { keys: [] });
  assert.notEqual(tokens.sign(ANN).jti, jti);
});

test("A token with only sub and exp is enough: the name is the subject's id.", () => {
  const clock = new SimulatedClock();
  const claims = createTokens(options(clock)).verify(
    forge(HS, { sub: "zoë/1", exp: clock.now() / 1_000 + 9.5 }, SECRET),
  );
  assert.deepEqual(claims, {
    sub: "zoë/1",
    name: "zoë/1",
    groups: [],
    jti: undefined,
    sid: undefined,
    issuedAtMs: 0,
    expiresAtMs: clock.now() + 9_500,
  });
});

test("A token lives to its expiry and no longer, also when it is remembered.", async () => {
  const clock = new SimulatedClock(1_700_000_000_000);
  const tokens = createTokens(options(clock, { lifetimeS: 10 }));
  const { token } = tokens.sign(ANN);
  await clock.advance(9_999);
  tokens.verify(token);
  await clock.advance(1);
  refusedWith("token-expired", () => tokens.verify(token));
  await clock.advance(100_000);
  refusedWith("token-expired", () => tokens.verify(token));
});

test("A token is remembered from its second use on, for a while, and is the only one that gets its claims.", async () => {
  const clock = new SimulatedClock(1_700_000_000_000);
  const tokens = createTokens(options(clock));
  const [ann, ben] = [tokens.sign(ANN).token, tokens.sign({ ...ANN, sub: "ben" }).token];
  const first = tokens.verify(ann);
  const second = tokens.verify(ann);
  assert.notEqual(second, first);
  assert.equal(tokens.verify(ann), second);
  assert.equal(tokens.verify(ben).sub, "ben");
  // The end that it is known by is right, the rest is another's.
  const patched = ben.slice(0, ben.lastIndexOf(".")) + ann.slice(ann.lastIndexOf("."));
  refusedWith("token-bad", () => tokens.verify(patched));
  assert.equal(tokens.verify(ann), second);
  await clock.advance(LIMITS.tokenCacheMs);
  assert.deepEqual(tokens.verify(ann), second);
  assert.notEqual(tokens.verify(ann), second);
});

test("Tokens without a needed claim, or with a wrong one, are refused.", () => {
  const clock = new SimulatedClock();
  const tokens = createTokens(options(clock));
  const exp = clock.now() / 1_000 + 60;
  const good = { sub: "ann", exp };
  tokens.verify(forge(HS, good, SECRET));
  const wrong: unknown[] = [
    { sub: "ann" },
    { exp },
    { ...good, sub: "" },
    { ...good, sub: 7 },
    { ...good, sub: "a\nb" },
    { ...good, sub: "a".repeat(129) },
    { ...good, sub: "\ud800" },
    { ...good, exp: "soon" },
    { ...good, exp: null },
    { ...good, groups: "staff" },
    { ...good, groups: [1] },
    { ...good, name: {} },
    { ...good, jti: 5 },
    { ...good, sid: "x".repeat(257) },
    { ...good, nbf: exp },
    { ...good, iat: "x" },
    [good],
    "text",
    null,
  ];
  for (const payload of wrong) refusedWith("token-bad", () => tokens.verify(forge(HS, payload, SECRET)));
  const endless = `{"sub":"ann","exp":1e999}`;
  const input = `${part(HS)}.${Buffer.from(endless).toString("base64url")}`;
  const signature = createHmac("sha256", SECRET).update(input).digest("base64url");
  refusedWith("token-bad", () => tokens.verify(`${input}.${signature}`));
});

test("Names from elsewhere are made to fit.", () => {
  const clock = new SimulatedClock();
  const tokens = createTokens(options(clock));
  const nameOf = (name: unknown): string =>
    tokens.verify(forge(HS, { sub: "ann", exp: clock.now() / 1_000 + 60, name }, SECRET)).name;
  assert.equal(nameOf("  An\u0007n\n"), "Ann");
  assert.equal(nameOf(" \t "), "ann");
  assert.equal(nameOf("é".repeat(100)), "é".repeat(64));
  assert.equal(nameOf(`x${"😀".repeat(40)}`), `x${"😀".repeat(31)}`);
  assert.equal(nameOf("a\ud800b"), "a\ufffdb");
});

test("Issuer and audience are required when they are configured.", () => {
  const clock = new SimulatedClock();
  const tokens = createTokens(options(clock, { issuer: "us", audience: "chat" }));
  const good = { sub: "ann", exp: clock.now() / 1_000 + 60, iss: "us", aud: ["mail", "chat"] };
  tokens.verify(forge(HS, good, SECRET));
  tokens.verify(forge(HS, { ...good, aud: "chat" }, SECRET));
  for (const payload of [
    { ...good, iss: "them" },
    { ...good, iss: undefined },
    { ...good, aud: "mail" },
    { ...good, aud: [] },
    { ...good, aud: undefined },
  ]) {
    refusedWith("token-bad", () => tokens.verify(forge(HS, payload, SECRET)));
  }
});

test("Unsigned, foreign, cut, over-long and extended tokens are refused.", () => {
  const clock = new SimulatedClock();
  const tokens = createTokens(options(clock));
  const payload = { sub: "ann", exp: clock.now() / 1_000 + 60 };
  const { token } = tokens.sign(ANN);
  refusedWith("token-missing", () => tokens.verify(""));
  const bad = [
    `${part({ alg: "none" })}.${part(payload)}.`,
    `${part({ alg: "none" })}.${part(payload)}.x`,
    `${part(HS)}.${part(payload)}.`,
    forge({ alg: "HS384" }, payload, SECRET),
    forge({ alg: "hs256" }, payload, SECRET),
    forge(HS, payload, FORMER),
    forge({ ...HS, crit: ["exp"] }, payload, SECRET),
    forge({ ...HS, crit: [] }, payload, SECRET),
    forge({ ...HS, crit: null }, payload, SECRET),
    token.slice(0, -1),
    `${token}=`,
    ` ${token}`,
    `${token}.x`,
    "..",
    "a.b.c",
    "x".repeat(LIMITS.tokenBytes + 1),
  ];
  for (const text of bad) refusedWith("token-bad", () => tokens.verify(text));
});

test("A token changed at any place is refused.", () => {
  const clock = new SimulatedClock();
  const tokens = createTokens(options(clock));
  const { token } = tokens.sign(ANN);
  fc.assert(
    fc.property(
      fc.nat(token.length - 1),
      fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 1 }),
      (at, unit) => {
        const changed = token.slice(0, at) + unit + token.slice(at + 1);
        if (changed === token) return;
        // The last character of a base64url text has bits that stand for nothing.
        if (at === token.length - 1) return;
        refusedWith("token-bad", () => tokens.verify(changed));
      },
    ),
  );
});

test("Any text at all is either claims or a refusal.", () => {
  const tokens = createTokens(options(new SimulatedClock()));
  const segment = fc.oneof(
    fc.string(),
    fc.json().map((text) => Buffer.from(text).toString("base64url")),
  );
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 4 }), (parts) => {
      assert.throws(() => tokens.verify(parts.join(".")), Refusal);
    }),
  );
});

for (const [type, algorithm] of [
  ["ed25519", "EdDSA"],
  ["rsa", "RS256"],
] as const) {
  test(`${algorithm} keys sign, are published, and never serve as an HMAC secret.`, () => {
    const clock = new SimulatedClock();
    const keys = pair(type);
    const tokens = createTokens(options(clock, { secret: undefined, ...keys }));
    const { token } = tokens.sign(ANN);
    assert.equal(tokens.verify(token).sub, "ann");
    const [key] = tokens.jwks().keys;
    assert.ok(key);
    assert.equal(key["alg"], algorithm);
    assert.equal(key["use"], "sig");
    assert.equal(key["d"], undefined, "the private part stays private");
    const header = JSON.parse(Buffer.from(token.split(".")[0] as string, "base64url").toString());
    assert.equal(header.kid, key["kid"]);

    const verifying: Tokens = createTokens(options(clock, { secret: undefined, publicKey: keys.publicKey }));
    assert.equal(verifying.signs, false);
    assert.equal(verifying.verify(token).sub, "ann");
    refusedWith("not-found", () => verifying.sign(ANN));

    const payload = { sub: "eve", exp: clock.now() / 1_000 + 60 };
    for (const name of ["HS256", algorithm]) {
      const forged = forge({ alg: name, kid: header.kid }, payload, keys.publicKey);
      refusedWith("token-bad", () => tokens.verify(forged));
    }
  });
}

test("After a rotation the tokens of former keys are taken, with kid, without, and with a foreign one.", () => {
  const clock = new SimulatedClock();
  const former = pair("ed25519");
  const before = createTokens(options(clock, { secret: undefined, ...former })).sign(ANN).token;
  const oldSecret = createTokens(options(clock, { secret: FORMER })).sign(ANN).token;
  const changes = { previousSecrets: [FORMER], previousPublicKeys: [former.publicKey] };
  const now = createTokens(options(clock, changes));
  assert.equal(now.verify(before).sub, "ann");
  assert.equal(now.verify(oldSecret).sub, "ann");
  assert.equal(now.jwks().keys.length, 1);
  const payload = { sub: "ann", exp: clock.now() / 1_000 + 60 };
  assert.equal(now.verify(forge(HS, payload, FORMER)).sub, "ann");
  assert.equal(now.verify(forge({ ...HS, kid: "theirs" }, payload, FORMER)).sub, "ann");
  const ours = createTokens(options(clock)).sign(ANN).token;
  const { kid } = JSON.parse(Buffer.from(ours.split(".")[0] as string, "base64url").toString());
  refusedWith("token-bad", () => now.verify(forge({ ...HS, kid }, payload, FORMER)));
  refusedWith("token-bad", () => createTokens(options(clock)).verify(before));
});

test("Weak, foreign and contradictory keys are refused with a sentence.", () => {
  const clock = new SimulatedClock();
  const [one, two] = [pair("ed25519"), pair("ed25519")];
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" });
  const wrong: [Partial<TokenOptions>, RegExp][] = [
    [{ secret: "short" }, /at least 32 bytes/],
    [{ previousSecrets: ["short"] }, /at least 32 bytes/],
    [{ secret: undefined }, /is needed/],
    [{ privateKey: one.privateKey }, /not with both/],
    [{ secret: undefined, privateKey: "nonsense" }, /private key/],
    [{ secret: undefined, privateKey: one.privateKey, publicKey: two.publicKey }, /does not belong/],
    [{ secret: undefined, publicKey: one.privateKey }, /public key/],
    [{ secret: undefined, publicKey: ec.toString() }, /Ed25519 or RSA/],
    [{ secret: undefined, ...pair("rsa", 1_024) }, /2048 bits/],
    [{ previousSecrets: new Array<string>(16).fill(FORMER) }, /At most 16/],
  ];
  for (const [changes, sentence] of wrong) assert.throws(() => createTokens(options(clock, changes)), sentence);
});

test("Marks tell whose tokens a server takes: key, issuer and audience count, and no secret is in them.", () => {
  const clock = new SimulatedClock();
  const marksOf = (changes: Partial<TokenOptions> = {}) => createTokens(options(clock, changes)).marks;
  const own = marksOf();
  assert.deepEqual(marksOf(), own);
  assert.deepEqual(own.takes, [own.signs]);
  const rotated = marksOf({ secret: FORMER, previousSecrets: [SECRET] });
  assert.equal(rotated.takes[1], own.signs);
  for (const other of [{ secret: FORMER }, { issuer: "confab" }, { audience: "confab" }]) {
    assert.equal(marksOf(other).takes.includes(own.signs as string), false);
  }
  const { privateKey, publicKey } = pair("ed25519");
  const [signing, verifying] = [marksOf({ secret: undefined, privateKey }), marksOf({ secret: undefined, publicKey })];
  assert.deepEqual([verifying.signs, verifying.takes], [undefined, [signing.signs]]);
  assert.equal(JSON.stringify([own, rotated]).includes(SECRET.slice(0, 8)), false);
});
