/**
 * Runs the tests: every `*.test.ts` of the tree, or those whose path holds one of the words given as
 * arguments, as built in this folder's tree. Ends with each failure once more, `N passed, N failed, N skipped`
 * and exit code 1 when one failed, none ran, or, with `CI=true` or `REQUIRE_ALL=1`, one was skipped.
 */
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";

/** A test file that takes longer hangs. */
const FILE_MS_MAX = 240_000;
/** Files at once: tests start servers and clients of their own, so no more than cores, and a few at most. */
const FILES_AT_ONCE_MAX = 4;
/** Characters of a failure that are shown again at the end. */
const FAILURE_CHARS_MAX = 4_000;
const FOLDERS = ["actors", "engine", "api", "ops", "bench"] as const;

/** What a run of the tests came to. */
interface Tally {
  passed: number;
  readonly failed: string[];
  readonly skipped: string[];
}

/** The built files of the tests that stand in the sources; a leftover of a deleted test is not among them. */
function testFiles(words: readonly string[]): string[] {
  const built = dirname(dirname(fileURLToPath(import.meta.url)));
  return FOLDERS.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((path) => /\.test\.tsx?$/.test(path))
      .map((path) => join(folder, path)),
  )
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
    .sort()
    .map((path) => join(built, path.replace(/\.tsx?$/, ".js")));
}

/** Runs the files, prints as they go, and counts. */
async function tally(files: string[]): Promise<Tally> {
  const result: Tally = { passed: 0, failed: [], skipped: [] };
  const concurrency = Math.min(availableParallelism(), FILES_AT_ONCE_MAX);
  const tests = run({ files, concurrency, timeout: FILE_MS_MAX });
  tests.on("test:fail", (event) => {
    const { name, file = "", todo, details } = event;
    if (todo === undefined) result.failed.push(`${name} (${file})\n${cause(details.error)}`);
  });
  tests.on("test:pass", (event) => {
    if (event.skip !== undefined) result.skipped.push(`${event.name}${reason(event.skip)}`);
    else if (event.details.type !== "suite") result.passed++;
  });
  const printed = tests.compose(new spec());
  printed.pipe(process.stdout, { end: false });
  await new Promise((resolve, reject) => printed.on("end", resolve).on("error", reject));
  return result;
}

/** What went wrong, without the runner's own wrapping. */
function cause(error: Error): string {
  return inspect(error.cause ?? error).slice(0, FAILURE_CHARS_MAX);
}

function reason(skip: string | boolean): string {
  return typeof skip === "string" && skip !== "" ? `: ${skip}` : "";
}

const files = testFiles(process.argv.slice(2));
const { passed, failed, skipped } = await tally(files);
const complete = process.env["CI"] === "true" || process.env["REQUIRE_ALL"] === "1";
for (const failure of failed) process.stdout.write(`failed: ${failure}\n`);
for (const test of skipped) process.stdout.write(`skipped: ${test}\n`);
process.stdout.write(`\n${files.length} files: ${passed} passed, ${failed.length} failed, ${skipped.length} skipped\n`);
if (complete && skipped.length > 0) process.stdout.write("Nothing may be skipped here (CI or REQUIRE_ALL).\n");
process.exitCode = failed.length > 0 || passed === 0 || (complete && skipped.length > 0) ? 1 : 0;
