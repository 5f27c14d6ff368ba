/**
 * Parsers of settings. A parser takes the text of a setting and answers its value, or throws `Unfit` with
 * the end of the sentence "NAME must be …", so that every refusal reads as one full sentence.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";

/** What a setting must be, as the end of "NAME must be …". `shown` adds the text that was given. */
export class Unfit extends Error {
  readonly shown: boolean;

  constructor(must: string, shown = true) {
    super(must);
    this.name = "Unfit";
    this.shown = shown;
  }
}

/** From text to value; throws `Unfit`. */
export type Parse<T> = (text: string) => T;

/** A whole number in a range, both ends included. */
export function whole(min: number, max: number): Parse<number> {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new Unfit(`a whole number between ${min} and ${max}`);
    return value;
  };
}

/** One of some words. */
export function oneOf<T extends string>(words: readonly T[]): Parse<T> {
  return (text) => {
    const word = words.find((known) => known === text);
    if (word === undefined) throw new Unfit(`one of ${words.join(", ")}`);
    return word;
  };
}

/** Any text. */
export const text: Parse<string> = (given) => given;

/** Items between commas, spaces around them dropped, empty ones left out. */
export function items(list: string): readonly string[] {
  return Object.freeze(
    list
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== ""),
  );
}

/** A URL of one of some schemes, kept as given. Never shown in a refusal: it may hold a password. */
export function url(...schemes: readonly string[]): Parse<string> {
  return (given) => {
    // Not `new URL`: MongoDB's URLs may name several hosts.
    const scheme = /^([a-z+]+):\/\/[^\s/]+/.exec(given)?.[1];
    if (scheme === undefined || !schemes.includes(scheme)) {
      throw new Unfit(`a URL that begins with ${schemes.map((known) => `${known}://`).join(" or ")}`, false);
    }
    return given;
  };
}

/**
 * A URL of Redis. The client would take its parameters for options, before ours (a `keyPrefix` would tear scripts and
 * reads apart); and the library of the locks takes a database above 15 for 0.
 */
export const redisUrl: Parse<string> = (given) => {
  url("redis", "rediss")(given);
  const parsed = URL.canParse(given) ? new URL(given) : undefined;
  const database = /^\/?(?:\d|1[0-5])?$/.test(parsed?.pathname ?? "-");
  const parameters = [...(parsed?.searchParams.keys() ?? [])].every((name) => name === "family");
  if (parsed?.hash === "" && database && parameters) return given;
  throw new Unfit(
    "of the form redis://user:password@host:6379/0, with a database from 0 to 15 and no parameter but family",
    false,
  );
};

/** A signing secret: at least 32 bytes, as HS256 asks [RFC 7518 3.2]. Never shown. */
export const secret: Parse<string> = (given) => {
  const bytes = Buffer.byteLength(given);
  if (bytes < 32) throw new Unfit(`at least 32 bytes long, not ${bytes}`, false);
  return given;
};

/** Secrets between commas. */
export const secrets: Parse<readonly string[]> = (given) => Object.freeze(items(given).map(secret));

const PEM = /-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----/g;

/** The PEM blocks that a setting holds, or that the files it names hold. */
function pemBlocks(given: string): readonly string[] {
  // Environment files often cannot hold line ends and write them as \n.
  if (given.includes("-----BEGIN")) return given.replaceAll("\\n", "\n").match(PEM) ?? [];
  return items(given).flatMap((path) => {
    try {
      return readFileSync(path, "utf8").match(PEM) ?? [];
    } catch {
      throw new Unfit(`PEM text or the path of a readable PEM file, and "${path}" is neither`, false);
    }
  });
}

const KEY_KINDS = "an Ed25519 key, or an RSA key of at least 2048 bits, in PEM";

function checked(read: () => KeyObject, type: "spki" | "pkcs8"): string {
  let key: KeyObject;
  try {
    key = read();
  } catch {
    throw new Unfit(KEY_KINDS, false);
  }
  const rsa = key.asymmetricKeyType === "rsa" && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048;
  if (!rsa && key.asymmetricKeyType !== "ed25519") throw new Unfit(KEY_KINDS, false);
  return key.export({ type, format: "pem" }).toString();
}

/** A private key as PKCS #8 PEM, from PEM text or a file of it. */
export const privateKey: Parse<string> = (given) => {
  const [pem, ...more] = pemBlocks(given);
  if (pem === undefined || more.length > 0)
    throw new Unfit("one private key in PEM, or the path of a file with it", false);
  return checked(() => createPrivateKey(pem), "pkcs8");
};

/** Public keys as SPKI PEM, from PEM text or files of it. */
export const publicKeys: Parse<readonly string[]> = (given) => {
  const found = pemBlocks(given);
  if (found.length === 0) throw new Unfit("public keys in PEM, or paths of files with them", false);
  return Object.freeze(
    found.map((pem) => {
      // createPublicKey would derive one from a private key; a private key has no business here.
      if (pem.includes("PRIVATE")) throw new Unfit("a public key, not a private one", false);
      return checked(() => createPublicKey(pem), "spki");
    }),
  );
};

/** One public key as SPKI PEM. */
export const publicKey: Parse<string> = (given) => {
  const [pem, ...more] = publicKeys(given);
  if (pem === undefined || more.length > 0)
    throw new Unfit("one public key in PEM, or the path of a file with it", false);
  return pem;
};

/** The public key of a private one, both PEM. */
export function publicKeyOf(pem: string): string {
  return createPublicKey(pem).export({ type: "spki", format: "pem" }).toString();
}

/** Whose `X-Forwarded-For` is believed: nobody's, that of this many proxies, or that of these addresses. */
export type TrustProxy = false | number | readonly string[];

/** `false`, a number of hops, or addresses and CIDR ranges between commas. */
export const trustProxy: Parse<TrustProxy> = (given) => {
  if (given === "false" || given === "0") return false;
  if (/^\d{1,2}$/.test(given)) return Number(given);
  const addresses = items(given);
  if (addresses.length === 0 || !addresses.every(isAddressRange)) {
    throw new Unfit("false, a number of proxies up to 99, or addresses and CIDR ranges between commas");
  }
  return addresses;
};

function isAddressRange(range: string): boolean {
  const [address = "", bits, ...more] = range.split("/");
  const family = isIP(address);
  if (family === 0 || more.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** Origins between commas, as browsers send them: scheme, host and port, no path. */
export const origins: Parse<readonly string[]> = (given) => {
  const list = items(given);
  for (const origin of list) {
    const parsed = URL.canParse(origin) ? new URL(origin) : undefined;
    const web = parsed?.protocol === "https:" || parsed?.protocol === "http:";
    if (!web || parsed.origin !== origin) {
      throw new Unfit(
        "origins between commas, each like https://chat.example.org with no path and no slash at the end",
      );
    }
  }
  return list;
};
