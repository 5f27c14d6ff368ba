/**
 * Every setting of Confab, in one literal, and the only code that reads the environment. A wrong setting
 * stops the start with a full sentence; `--help` is printed from the same literal (design 5).
 */
import { resolve } from "node:path";
import { BOUNDS, type Limits } from "../actors/limits.ts";
import {
  oneOf,
  origins,
  type Parse,
  privateKey,
  publicKey,
  publicKeyOf,
  publicKeys,
  redisUrl,
  secret,
  secrets,
  type TrustProxy,
  text,
  trustProxy,
  Unfit,
  url,
  whole,
} from "./config.parse.ts";

/** What `process.env` looks like. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A setting that is wrong; the message is a full sentence for the operator. */
export class ConfigError extends Error {
  constructor(sentence: string) {
    super(sentence);
    this.name = "ConfigError";
  }
}

/** One setting. `T` is the type of its value; it may be absent when it has no default. */
interface Setting<T> {
  /** As the environment would give it; undefined when the setting may be absent. */
  readonly default: string | undefined;
  readonly unit: string;
  readonly reason: string;
  readonly parse: Parse<T>;
}

const given = <T>(value: string, unit: string, reason: string, parse: Parse<T>): Setting<T> =>
  Object.freeze({ default: value, unit, reason, parse });
const optional = <T>(unit: string, reason: string, parse: Parse<T>): Setting<T | undefined> =>
  Object.freeze({ default: undefined, unit, reason, parse });

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

/** Every setting but the limits: name, default, unit, reason, parser. */
const SETTINGS = Object.freeze({
  PORT: given("8080", "TCP port", "page, REST and WebSocket; 0 takes a free one", whole(0, 65_535)),
  HOST: given("127.0.0.1", "address", "where to listen; 0.0.0.0 for every interface", text),
  DATA_DIR: given("./data", "folder", "the embedded stores and the signing key made at first start", (path) =>
    resolve(path),
  ),
  DATABASE_URL: optional("URL", "accounts in PostgreSQL instead of the data folder", url("postgres", "postgresql")),
  MONGODB_URL: optional(
    "URL",
    "rooms and messages in MongoDB instead of the data folder; without REDIS_URL one process at a time",
    url("mongodb", "mongodb+srv"),
  ),
  REDIS_URL: optional(
    "URL",
    "the hot log and the locks in Redis, which must not evict keys; without MONGODB_URL one process at a time",
    redisUrl,
  ),
  SHARDS: given(
    "256",
    "shards",
    "of a new data set, the unit of ownership; one that is there keeps its number",
    whole(1, 4_096),
  ),
  JWT_SECRET: optional("at least 32 bytes", "signs tokens with HS256; made at first start when no key is set", secret),
  JWT_PRIVATE_KEY: optional("PEM or path", "signs tokens with EdDSA or RS256, in place of JWT_SECRET", privateKey),
  JWT_PUBLIC_KEY: optional("PEM or path", "alone: tokens are made elsewhere and only verified here", publicKey),
  JWT_PREVIOUS_SECRETS: given("", "comma list", "former secrets whose tokens are still taken, for rotation", secrets),
  JWT_PREVIOUS_PUBLIC_KEYS: given("", "PEM or paths", "former public keys whose tokens are still taken", (list) =>
    list === "" ? Object.freeze([]) : publicKeys(list),
  ),
  JWT_ISSUER: optional("text", "iss of our tokens, required of every token when set", text),
  JWT_AUDIENCE: optional("text", "aud of our tokens, required of every token when set", text),
  ADMIN_GROUP: given("confab-admin", "group", "users whose token has this group may administrate", text),
  LOG_LEVEL: given("info", "level", `one of ${LOG_LEVELS.join(", ")}`, oneOf(LOG_LEVELS)),
  TRUST_PROXY: given("false", "proxies", "false, how many proxies, or their addresses and CIDR ranges", trustProxy),
  ALLOWED_ORIGINS: given("", "comma list", "pages of other origins that may use REST and WebSocket", origins),
  BCRYPT_COST: given("10", "log2 of rounds", "of a password hash; each step doubles the work", whole(4, 15)),
  ACCESS_TOKEN_SECONDS: given("3600", "seconds", "life of an access token", whole(1, 31_536_000)),
  REFRESH_TOKEN_SECONDS: given("2592000", "seconds", "life of a refresh token", whole(1, 315_360_000)),
});

type SettingName = keyof typeof SETTINGS;
type Value<N extends SettingName> = (typeof SETTINGS)[N] extends Setting<infer T> ? T : never;

/** The name of the setting of a bound: `bodyBytes` is `LIMIT_BODY_BYTES`; `PerMinute` is left out as in the design. */
export function limitName(bound: string): string {
  const words = bound.replace(/PerMinute$/, "").replace(/[A-Z]/g, (letter) => `_${letter}`);
  return `LIMIT_${words.toUpperCase()}`;
}

const LIMIT_NAMES: ReadonlyMap<string, keyof Limits> = new Map(
  (Object.keys(BOUNDS) as (keyof Limits)[]).map((bound) => [limitName(bound), bound]),
);

/** Names of all settings, as `--help` lists them. */
export function settingNames(): readonly string[] {
  return [...Object.keys(SETTINGS), ...LIMIT_NAMES.keys()];
}

/** How tokens are signed and verified. With neither secret nor keys, a secret is made in the data folder. */
export interface TokenConfig {
  /** HS256. Never together with keys. */
  readonly secret: string | undefined;
  /** PKCS #8 PEM. */
  readonly privateKey: string | undefined;
  /** SPKI PEM; that of the private key when only that is set. Alone: tokens are only verified. */
  readonly publicKey: string | undefined;
  readonly previousSecrets: readonly string[];
  /** SPKI PEM. */
  readonly previousPublicKeys: readonly string[];
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
}

/** The settings of one process, frozen. */
export interface Config {
  readonly port: number;
  readonly host: string;
  /** Absolute path. */
  readonly dataDir: string;
  readonly databaseUrl: string | undefined;
  readonly mongodbUrl: string | undefined;
  readonly redisUrl: string | undefined;
  /** Shards of a new data set. */
  readonly shards: number;
  readonly jwt: TokenConfig;
  readonly adminGroup: string;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly trustProxy: TrustProxy;
  readonly allowedOrigins: readonly string[];
  readonly bcryptCost: number;
  readonly accessTokenSeconds: number;
  readonly refreshTokenSeconds: number;
  readonly limits: Limits;
}

/**
 * Reads the settings. An empty one counts as absent. Arguments are only checked: `--help` is the one there is.
 * @throws ConfigError on a wrong value, an unknown `LIMIT_` name, or settings that do not fit together.
 */
export function readConfig(env: Environment = process.env, argv: readonly string[] = process.argv.slice(2)): Config {
  for (const argument of argv) {
    if (argument !== "--help") throw new ConfigError(`There is no argument "${argument}"; --help lists the settings.`);
  }
  refuseUnknownLimits(env);
  const value = <N extends SettingName>(name: N): Value<N> => read<unknown>(env, name, SETTINGS[name]) as Value<N>;
  const config: Config = Object.freeze({
    port: value("PORT"),
    host: value("HOST"),
    dataDir: value("DATA_DIR"),
    databaseUrl: value("DATABASE_URL"),
    mongodbUrl: value("MONGODB_URL"),
    redisUrl: value("REDIS_URL"),
    shards: value("SHARDS"),
    jwt: Object.freeze({
      secret: value("JWT_SECRET"),
      privateKey: value("JWT_PRIVATE_KEY"),
      publicKey: value("JWT_PUBLIC_KEY") ?? derivedPublicKey(value("JWT_PRIVATE_KEY")),
      previousSecrets: value("JWT_PREVIOUS_SECRETS"),
      previousPublicKeys: value("JWT_PREVIOUS_PUBLIC_KEYS"),
      issuer: value("JWT_ISSUER"),
      audience: value("JWT_AUDIENCE"),
    }),
    adminGroup: value("ADMIN_GROUP"),
    logLevel: value("LOG_LEVEL"),
    trustProxy: value("TRUST_PROXY"),
    allowedOrigins: value("ALLOWED_ORIGINS"),
    bcryptCost: value("BCRYPT_COST"),
    accessTokenSeconds: value("ACCESS_TOKEN_SECONDS"),
    refreshTokenSeconds: value("REFRESH_TOKEN_SECONDS"),
    limits: readLimits(env),
  });
  for (const [holds, sentence] of relations(config)) if (!holds) throw new ConfigError(sentence);
  return config;
}

/** Whether the arguments ask for `helpText()` instead of a start. */
export function asksForHelp(argv: readonly string[] = process.argv.slice(2)): boolean {
  return argv.includes("--help");
}

function read<T>(env: Environment, name: string, setting: Setting<T>): T | undefined {
  const found = env[name];
  const chosen = found === undefined || found === "" ? setting.default : found;
  if (chosen === undefined) return undefined;
  try {
    return setting.parse(chosen);
  } catch (error) {
    if (!(error instanceof Unfit)) throw error;
    throw new ConfigError(`${name} must be ${error.message}${error.shown ? `, not "${chosen}"` : ""}.`);
  }
}

function limitSetting(bound: keyof Limits): Setting<number> {
  const { value, unit, why, min, max } = BOUNDS[bound];
  return given(String(value), unit, min === 0 ? `${why}; 0 is off` : why, whole(min, max));
}

function readLimits(env: Environment): Limits {
  const pairs = [...LIMIT_NAMES].map(([name, bound]) => [bound, read(env, name, limitSetting(bound))]);
  return Object.freeze(Object.fromEntries(pairs)) as Limits;
}

function derivedPublicKey(pem: string | undefined): string | undefined {
  return pem === undefined ? undefined : publicKeyOf(pem);
}

/** A misspelt limit would silently be none: it is refused, with the name that was probably meant. */
function refuseUnknownLimits(env: Environment): void {
  for (const name of Object.keys(env)) {
    if (!name.startsWith("LIMIT_") || LIMIT_NAMES.has(name)) continue;
    const nearest = [...LIMIT_NAMES.keys()].sort((a, b) => distance(a, name) - distance(b, name))[0];
    throw new ConfigError(`${name} is not a setting; the nearest one is ${nearest}.`);
  }
}

/** Edit distance (Levenshtein), over names of a few dozen letters. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** Twice this, with headers and reactions, fits a document of MongoDB. */
const MONGODB_BODY_BYTES = 8_000_000;

/** What must hold between settings, and the sentence when it does not. */
function relations(config: Config): readonly (readonly [boolean, string])[] {
  const { jwt, limits } = config;
  const keys = jwt.privateKey !== undefined || jwt.publicKey !== undefined;
  const atMost = (low: keyof Limits, high: keyof Limits, why: string): readonly [boolean, string] => [
    limits[low] <= limits[high],
    `${limitName(low)} (${limits[low]}) must be at most ${limitName(high)} (${limits[high]}): ${why}.`,
  ];
  const url = Object.entries({
    DATABASE_URL: config.databaseUrl,
    MONGODB_URL: config.mongodbUrl,
    REDIS_URL: config.redisUrl,
  }).find(([, value]) => value !== undefined)?.[0];
  return [
    [
      !(jwt.secret !== undefined && keys),
      "JWT_SECRET and a JWT key are both set; choose one of them to sign tokens with.",
    ],
    [
      jwt.privateKey === undefined || derivedPublicKey(jwt.privateKey) === jwt.publicKey,
      "JWT_PUBLIC_KEY does not belong to JWT_PRIVATE_KEY; leave it out, as it follows from the private key.",
    ],
    [
      config.accessTokenSeconds <= config.refreshTokenSeconds,
      "ACCESS_TOKEN_SECONDS must be at most REFRESH_TOKEN_SECONDS: a refresh token outlives the access tokens it buys.",
    ],
    atMost("sendsPerSecond", "sendsBurst", "a burst holds at least the SENDs of one second"),
    atMost("connectsPerSecond", "connectsBurst", "a burst holds at least the handshakes of one second"),
    atMost("userHeaders", "headers", "stored headers are headers of the frame"),
    atMost("headerBytes", "frameOverheadBytes", "one header line is part of the header block"),
    atMost("bodyBytes", "transactionBytes", "one SEND fits a transaction"),
    atMost("bodyBytes", "pendingBytes", "one SEND fits what may wait for the store"),
    [
      limits.bodyBytes * 2 <= limits.backpressureBytes,
      `LIMIT_BODY_BYTES (${limits.bodyBytes}) must be at most half of LIMIT_BACKPRESSURE_BYTES (${limits.backpressureBytes}): one message does not make its readers too slow.`,
    ],
    atMost("transactionFrames", "pendingSends", "the SENDs of one COMMIT may wait together"),
    atMost("batchEntries", "pendingEntries", "a batch is made of what waits for the store"),
    atMost("batchBytes", "pendingBytes", "a batch is made of what waits for the store"),
    atMost("batchReceiptMs", "batchIdleMs", "a batch with a waiting RECEIPT leaves no later than one without"),
    atMost("batchReceiptMs", "batchLoggedMs", "a batch with a waiting RECEIPT leaves no later than one without"),
    atMost("replayKeep", "replayEntries", "what is kept for replay may be replayed"),
    atMost("historyPage", "replayEntries", "a replay is read from the archive in such pages"),
    atMost("presenceMembers", "membersPerRoom", "it is a number of members of one room"),
    [
      url === undefined || jwt.secret !== undefined || keys,
      `${url} is set, so nodes must share a signing key: set JWT_SECRET or JWT_PRIVATE_KEY.`,
    ],
    [
      config.mongodbUrl === undefined || limits.bodyBytes <= MONGODB_BODY_BYTES,
      `LIMIT_BODY_BYTES (${limits.bodyBytes}) must be at most ${MONGODB_BODY_BYTES} with MONGODB_URL: a message and its edited body share one document of 16 MiB.`,
    ],
  ];
}

/** The text of `--help`: every setting with default, unit and reason. */
export function helpText(): string {
  const row = (name: string, setting: Setting<unknown>): readonly [string, string, string] => [
    name,
    setting.default === undefined ? "not set" : setting.default === "" ? "empty" : setting.default,
    `${setting.unit}: ${setting.reason}`,
  ];
  const settings = Object.entries(SETTINGS).map(([name, setting]) => row(name, setting));
  const limits = [...LIMIT_NAMES].map(([name, bound]) => row(name, limitSetting(bound)));
  const width = (column: 0 | 1) => Math.max(...[...settings, ...limits].map((cells) => cells[column].length));
  const line = ([name, value, what]: readonly [string, string, string]) =>
    `  ${name.padEnd(width(0))}  ${value.padEnd(width(1))}  ${what}`;
  return [
    "Confab, a real-time chat engine: STOMP 1.2 over WebSocket, REST, Prometheus metrics.",
    "",
    "  npm start            build and start with nothing configured",
    "  npm start -- --help  this text",
    "",
    "Settings are read from the environment. Name, default, meaning:",
    "",
    ...settings.map(line),
    "",
    "Limits:",
    "",
    ...limits.map(line),
    "",
  ].join("\n");
}
