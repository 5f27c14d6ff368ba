/**
 * Build step: copies what the engine reads beside its code (`engine/**` with the endings `.sql` and `.lua`) from
 * the sources to the output tree that this built file lies in, and removes what the sources have no more. Run at
 * the root of the repository: `node dist/ops/assets.js`.
 */
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCES = "engine";
const ASSET = /\.(sql|lua)$/;

/** Paths of the assets of a folder, from it. */
async function assetsOf(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).filter((path) => ASSET.test(path));
}

const output = join(dirname(dirname(fileURLToPath(import.meta.url))), SOURCES);
const assets = await assetsOf(SOURCES);
for (const path of assets) {
  await mkdir(dirname(join(output, path)), { recursive: true });
  await copyFile(join(SOURCES, path), join(output, path));
}
// One that was deleted would still be read, as a migration of this build for one.
for (const path of await assetsOf(output)) {
  if (!assets.includes(path)) await rm(join(output, path));
}
