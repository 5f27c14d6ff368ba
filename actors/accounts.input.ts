/** What an account may be made of: each function gives the value as it is kept, or refuses with `bad-request`. */
import { Refusal } from "./codes.ts";
import { normalEmail } from "./directory.ts";

const NAME_BYTES = 128;
const EMAIL_BYTES = 254; // RFC 5321 4.5.3.1.3, without the angle brackets
const PASSWORD_CHARACTERS = 8;
const PASSWORD_BYTES = 1_024;

/** One at-sign between two parts without spaces or invisible characters: who can receive there is not ours to know. */
const EMAIL = /^[^\s@\p{C}]+@[^\s@\p{C}]+$/u;
/** Control characters, lone surrogates, and those that turn the direction of the text around a name; of rooms, too. */
export const NOT_IN_NAMES = /[\p{Cc}\p{Surrogate}\u202a-\u202e\u2066-\u2069]/u;

const bytesOf = (text: string): number => new TextEncoder().encode(text).byteLength;

/** An email in its one spelling. */
export function emailOf(text: string): string {
  const email = normalEmail(text);
  if (!EMAIL.test(email) || bytesOf(email) > EMAIL_BYTES) {
    throw new Refusal("bad-request", `body.email is not an email address of at most ${EMAIL_BYTES} bytes.`);
  }
  return email;
}

/** A name, trimmed, NFC. */
export function nameOf(text: string): string {
  const name = text.trim().normalize("NFC");
  if (name === "" || bytesOf(name) > NAME_BYTES || NOT_IN_NAMES.test(name)) {
    const what = `must have 1 to ${NAME_BYTES} bytes and no control characters`;
    throw new Refusal("bad-request", `body.name ${what}.`);
  }
  return name;
}

/** A password that is to be kept, as it is. */
export function newPasswordOf(text: string): string {
  if ([...text].length < PASSWORD_CHARACTERS || bytesOf(text) > PASSWORD_BYTES) {
    const what = `must have at least ${PASSWORD_CHARACTERS} characters and at most ${PASSWORD_BYTES} bytes`;
    throw new Refusal("bad-request", `The new password ${what}.`);
  }
  return text;
}
