/**
 * Builds the page into `dist/page`: one script, one style sheet, and the files that need no building, each
 * also as `.gz` and `.br` for servers that send those. Run from the repository's root, after `tsc`.
 */
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const SOURCE = join("api", "page");
const TARGET = join("dist", "page");
const COPIED = ["index.html", "icon.svg", "manifest.webmanifest"];

await rm(TARGET, { recursive: true, force: true });
await mkdir(TARGET, { recursive: true });
await build({
  entryPoints: { app: join(SOURCE, "main.tsx") },
  outdir: TARGET,
  bundle: true,
  format: "esm",
  target: ["es2022", "safari16.4"],
  minify: true,
  sourcemap: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
});
await build({
  entryPoints: { app: join(SOURCE, "styles.css") },
  outdir: TARGET,
  bundle: true,
  minify: true,
  logLevel: "warning",
});
for (const name of COPIED) await copyFile(join(SOURCE, name), join(TARGET, name));
for (const name of await readdir(TARGET)) {
  if (name.endsWith(".map")) continue;
  const bytes = await readFile(join(TARGET, name));
  await writeFile(join(TARGET, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  const params = { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.byteLength };
  await writeFile(join(TARGET, `${name}.br`), brotliCompressSync(bytes, { params }));
}
