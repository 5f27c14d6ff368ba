import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { test } from "node:test";
import { BOUNDS, LIMITS } from "../actors/limits.ts";
import { asksForHelp, ConfigError, type Environment, helpText, limitName, readConfig, settingNames } from "./config.ts";

const read = (env: Environment) => readConfig(env, []);
const SECRET = "0123456789abcdef0123456789abcdef";

function pair(kind: "ed25519" | "rsa", bits = 2048): { secret: string; open: string } {
  const keys = kind === "rsa" ? generateKeyPairSync("rsa", { modulusLength: bits }) : generateKeyPairSync("ed25519");
  return {
    secret: keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    open: keys.publicKey.export({ type: "spki", format: "pem" }).toString(),
  };
}

function refused(env: Environment, sentence: string | RegExp): void {
  assert.throws(
    () => read(env),
    (error) => {
      assert.ok(error instanceof ConfigError);
      if (typeof sentence === "string") assert.equal(error.message, sentence);
      else assert.match(error.message, sentence);
      assert.match(error.message, /^[A-Z][\s\S]*\.$/, "a refusal is a full sentence");
      return true;
    },
  );
}

test("With nothing set, the defaults of the design hold and the configuration is frozen.", () => {
  const config = read({});
  assert.equal(config.port, 8080);
  assert.equal(config.host, "127.0.0.1");
  assert.ok(isAbsolute(config.dataDir));
  assert.equal(config.databaseUrl, undefined);
  assert.equal(config.jwt.secret, undefined);
  assert.equal(config.trustProxy, false);
  assert.deepEqual(config.allowedOrigins, []);
  assert.equal(config.bcryptCost, 10);
  assert.equal(config.accessTokenSeconds, 3600);
  assert.equal(config.refreshTokenSeconds, 2_592_000);
  assert.deepEqual(config.limits, LIMITS);
  for (const part of [config, config.jwt, config.limits, config.allowedOrigins]) assert.ok(Object.isFrozen(part));
});

test("The limits that the design names have the names and defaults of the design.", () => {
  const named = {
    LIMIT_LOGINS_PER_ACCOUNT: 10,
    LIMIT_LOGINS_PER_ADDRESS: 60,
    LIMIT_SIGNUPS_PER_ADDRESS: 60,
    LIMIT_SENDS_PER_SECOND: 50,
    LIMIT_SENDS_BURST: 200,
    LIMIT_BODY_BYTES: 1_048_576,
    LIMIT_SUBSCRIPTIONS: 128,
    LIMIT_REPLAY_ENTRIES: 10_000,
  };
  const byName = new Map(Object.entries(BOUNDS).map(([bound, row]) => [limitName(bound), row.value]));
  for (const [name, value] of Object.entries(named)) assert.equal(byName.get(name), value, name);
  assert.equal(new Set(settingNames()).size, settingNames().length, "no two settings share a name");
});

test("Every limit is read from the setting of its name.", () => {
  for (const [bound, row] of Object.entries(BOUNDS)) {
    const name = limitName(bound);
    const limits: Readonly<Record<string, number>> = read({ [name]: String(row.value) }).limits;
    assert.equal(limits[bound], row.value);
    refused(
      { [name]: String(row.max + 1) },
      `${name} must be a whole number between ${row.min} and ${row.max}, not "${row.max + 1}".`,
    );
  }
});

test("A wrong setting is refused with a sentence that says what it must be.", () => {
  refused({ PORT: "abc" }, 'PORT must be a whole number between 0 and 65535, not "abc".');
  refused({ PORT: "65536" }, 'PORT must be a whole number between 0 and 65535, not "65536".');
  refused({ PORT: "-1" }, /^PORT must be/);
  refused({ PORT: "1e3" }, /^PORT must be/);
  refused({ LOG_LEVEL: "loud" }, /^LOG_LEVEL must be one of fatal, error, .*not "loud"\.$/);
  refused({ TRUST_PROXY: "true" }, /^TRUST_PROXY must be false, a number/);
  refused({ TRUST_PROXY: "10.0.0.0/33" }, /^TRUST_PROXY must be/);
  refused({ ALLOWED_ORIGINS: "https://a.example/" }, /^ALLOWED_ORIGINS must be origins/);
  refused({ ALLOWED_ORIGINS: "*" }, /^ALLOWED_ORIGINS must be origins/);
  refused({ BCRYPT_COST: "3" }, /^BCRYPT_COST must be/);
  refused({ LIMIT_BODY_BYTES: "0" }, /^LIMIT_BODY_BYTES must be a whole number between 1 and/);
});

test("An empty setting counts as absent.", () => {
  assert.equal(read({ PORT: "", JWT_SECRET: "" }).port, 8080);
});

test("A secret or a URL with a password is never shown in a refusal.", () => {
  refused({ JWT_SECRET: "hunter2" }, "JWT_SECRET must be at least 32 bytes long, not 7.");
  refused({ JWT_PREVIOUS_SECRETS: `${SECRET},hunter2` }, "JWT_PREVIOUS_SECRETS must be at least 32 bytes long, not 7.");
  refused(
    { DATABASE_URL: "mysql://me:hunter2@db" },
    "DATABASE_URL must be a URL that begins with postgres:// or postgresql://.",
  );
});

test("A URL of Redis names a database that locks know, and no options of the client.", () => {
  const sentence =
    "REDIS_URL must be of the form redis://user:password@host:6379/0, with a database from 0 to 15 and no parameter but family.";
  const bad = ["/abc", "/16", "/0/1", "?db=3", "/?keyPrefix=a:", "?enableOfflineQueue=true", "#/1"];
  for (const end of bad) refused({ REDIS_URL: `redis://:hunter2@h:1${end}`, JWT_SECRET: SECRET }, sentence);
  refused({ REDIS_URL: "redis://:hunt#er2@h:1", JWT_SECRET: SECRET }, sentence);
  for (const end of ["", "/", "/0", "/15", "?family=6", "/3?family=0"]) {
    const given = `rediss://me:hunter2@[::1]:1${end}`;
    assert.equal(read({ REDIS_URL: given, JWT_SECRET: SECRET }).redisUrl, given);
  }
});

test("A limit that does not exist is refused with the nearest name that does.", () => {
  refused({ LIMIT_BODY_BYTE: "5" }, "LIMIT_BODY_BYTE is not a setting; the nearest one is LIMIT_BODY_BYTES.");
  refused({ LIMIT_LOGINS_PER_ACOUNT: "5" }, /the nearest one is LIMIT_LOGINS_PER_ACCOUNT\.$/);
});

test("An unknown argument is refused, and --help is seen.", () => {
  assert.throws(() => readConfig({}, ["--prot=80"]), ConfigError);
  assert.equal(asksForHelp(["--help"]), true);
  assert.equal(asksForHelp([]), false);
});

test("Limits that contradict each other are refused.", () => {
  refused({ LIMIT_SENDS_BURST: "10" }, /^LIMIT_SENDS_PER_SECOND \(50\) must be at most LIMIT_SENDS_BURST \(10\): /);
  refused({ LIMIT_BATCH_ENTRIES: "60000" }, /^LIMIT_BATCH_ENTRIES \(60000\) must be at most LIMIT_PENDING_ENTRIES/);
  refused(
    { LIMIT_BODY_BYTES: "2000000" },
    /^LIMIT_BODY_BYTES \(2000000\) must be at most half of LIMIT_BACKPRESSURE_BYTES/,
  );
  refused({ ACCESS_TOKEN_SECONDS: "100", REFRESH_TOKEN_SECONDS: "99" }, /^ACCESS_TOKEN_SECONDS must be at most/);
  assert.equal(read({ LIMIT_SENDS_PER_SECOND: "0", LIMIT_SENDS_BURST: "1" }).limits.sendsPerSecond, 0);
});

test("Bodies so large that one and its edit do not fit a document of MongoDB are refused with MONGODB_URL alone.", () => {
  const larger = (bytes: number) => ({
    LIMIT_BODY_BYTES: String(bytes),
    LIMIT_TRANSACTION_BYTES: "20000000",
    LIMIT_BACKPRESSURE_BYTES: "20000000",
  });
  const mongo = { MONGODB_URL: "mongodb://h/db", JWT_SECRET: SECRET };
  refused(
    { ...larger(8_000_001), ...mongo },
    "LIMIT_BODY_BYTES (8000001) must be at most 8000000 with MONGODB_URL: a message and its edited body share one document of 16 MiB.",
  );
  assert.equal(read({ ...larger(8_000_000), ...mongo }).limits.bodyBytes, 8_000_000);
  assert.equal(read(larger(8_000_001)).limits.bodyBytes, 8_000_001);
});

test("A store URL stops the start without a shared key, and each alone is enough with one.", () => {
  refused(
    { REDIS_URL: "redis://h" },
    "REDIS_URL is set, so nodes must share a signing key: set JWT_SECRET or JWT_PRIVATE_KEY.",
  );
  const urls = {
    DATABASE_URL: "postgres://u:p@h/db",
    MONGODB_URL: "mongodb://a:1,b:2/db",
    REDIS_URL: "rediss://h:1",
  };
  const config = read({ ...urls, JWT_SECRET: SECRET });
  assert.deepEqual([config.databaseUrl, config.mongodbUrl, config.redisUrl], Object.values(urls));
  for (const [name, value] of Object.entries(urls)) {
    const { databaseUrl, mongodbUrl, redisUrl } = read({ [name]: value, JWT_SECRET: SECRET });
    assert.deepEqual(
      [databaseUrl, mongodbUrl, redisUrl].filter((url) => url !== undefined),
      [value],
    );
  }
});

test("Keys are taken as PEM text, with escaped line ends, or from files; the public key follows from the private one.", () => {
  const folder = mkdtempSync(join(tmpdir(), "confab-config-"));
  try {
    for (const kind of ["ed25519", "rsa"] as const) {
      const { secret, open } = pair(kind);
      const file = join(folder, `${kind}.pem`);
      writeFileSync(file, secret);
      for (const JWT_PRIVATE_KEY of [secret, secret.replaceAll("\n", "\\n"), file]) {
        const { jwt } = read({ JWT_PRIVATE_KEY });
        assert.equal(jwt.privateKey, secret);
        assert.equal(jwt.publicKey, open);
      }
      assert.equal(read({ JWT_PUBLIC_KEY: open }).jwt.privateKey, undefined);
      assert.equal(read({ JWT_PRIVATE_KEY: secret, JWT_PUBLIC_KEY: open }).jwt.publicKey, open);
    }
    const [first, second] = [pair("ed25519").open, pair("rsa").open];
    const files = [join(folder, "1.pem"), join(folder, "2.pem")] as const;
    writeFileSync(files[0], first);
    writeFileSync(files[1], second);
    assert.deepEqual(read({ JWT_PREVIOUS_PUBLIC_KEYS: `${first}${second}` }).jwt.previousPublicKeys, [first, second]);
    assert.deepEqual(read({ JWT_PREVIOUS_PUBLIC_KEYS: files.join(",") }).jwt.previousPublicKeys, [first, second]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("Keys that cannot be used are refused without being shown.", () => {
  const { secret, open } = pair("ed25519");
  refused({ JWT_PRIVATE_KEY: open }, /^JWT_PRIVATE_KEY must be an Ed25519 key, or an RSA key/);
  refused({ JWT_PRIVATE_KEY: pair("rsa", 1024).secret }, /at least 2048 bits, in PEM\.$/);
  refused({ JWT_PUBLIC_KEY: secret }, "JWT_PUBLIC_KEY must be a public key, not a private one.");
  refused({ JWT_PRIVATE_KEY: "/nowhere/key.pem" }, /"\/nowhere\/key\.pem" is neither\.$/);
  refused({ JWT_PRIVATE_KEY: secret, JWT_PUBLIC_KEY: pair("ed25519").open }, /^JWT_PUBLIC_KEY does not belong to/);
  refused({ JWT_PRIVATE_KEY: secret, JWT_SECRET: SECRET }, /^JWT_SECRET and a JWT key are both set/);
});

test("Proxies are trusted by number or by address, and origins are kept as browsers send them.", () => {
  assert.equal(read({ TRUST_PROXY: "2" }).trustProxy, 2);
  assert.equal(read({ TRUST_PROXY: "0" }).trustProxy, false);
  assert.deepEqual(read({ TRUST_PROXY: "10.0.0.0/8, ::1" }).trustProxy, ["10.0.0.0/8", "::1"]);
  assert.deepEqual(read({ ALLOWED_ORIGINS: "https://a.example, http://b.example:81" }).allowedOrigins, [
    "https://a.example",
    "http://b.example:81",
  ]);
});

test("The help names every setting with its default, and no limit twice.", () => {
  const lines = helpText().split("\n");
  for (const name of settingNames()) {
    assert.equal(lines.filter((line) => line.startsWith(`  ${name} `)).length, 1, name);
  }
  assert.ok(lines.some((line) => /^ {2}PORT +8080 +TCP port/.test(line)));
  assert.ok(lines.some((line) => /^ {2}LIMIT_SENDS_PER_SECOND +50 +SENDs a second: .*0 is off$/.test(line)));
});
