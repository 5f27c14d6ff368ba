import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startServer } from "./drills/harness.ts";

/** The README's example must be done by then, ms. */
const EXAMPLE_MS_MAX = 20_000;

test("The README's example works when pasted: it signs up, talks, is told that its message is stored, and ends.", async (t) => {
  const example = /```js\n([\s\S]*?)```/.exec(readFileSync("README.md", "utf8"))?.[1];
  assert.ok(example, "the README has an example");
  assert.ok(example.includes('"127.0.0.1:8080"'), "it speaks to the default address");
  const server = await startServer();
  t.after(() => server.remove());
  // Beside the built files, as packages are looked for from there upwards.
  const script = join(dirname(fileURLToPath(import.meta.url)), `readme.example.${process.pid}.mjs`);
  t.after(() => rm(script, { force: true }));
  await writeFile(script, example.replace("127.0.0.1:8080", new URL(server.url).host));
  const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: EXAMPLE_MS_MAX });
  assert.match(stdout, /^message Ada Hello!$/m);
});
