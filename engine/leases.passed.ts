/** The values of locks that were passed on. */
import { createHmac, randomBytes } from "node:crypto";

/**
 * Makes the value under which a process takes a lock that was passed to it under another: the same each time, so that
 * who asks again, as an answer was lost, finds what it took; and one that no other process can make.
 */
export function passedValues(): (value: string) => string {
  const secret = randomBytes(32);
  return (value) => createHmac("sha256", secret).update(value).digest("hex");
}
