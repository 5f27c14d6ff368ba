/** The signing key of a server that was given none: made at first start, kept in the data folder (design 10). */
import { randomBytes } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";

const FILE = "jwt-secret";
const SECRET_BYTES = 48;

/** The secret kept in the folder, made on first use with rights for its owner only. The caller holds the folder's lock. */
export async function keptSecret(folder: string): Promise<string> {
  const path = join(folder, FILE);
  try {
    const kept = (await readFile(path, "utf8")).trim();
    if (kept.length >= SECRET_BYTES) return kept;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const secret = randomBytes(SECRET_BYTES).toString("base64url");
  const file = await open(path, "w", 0o600);
  try {
    await file.writeFile(`${secret}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  return secret;
}
