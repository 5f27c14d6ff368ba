import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** The commands of `package.json` that take options of these scripts. */
const COMMANDS = { drills: "./drills/main.js", simulate: "./simulate.js", stores: "./stores/main.js" } as const;

function run(name: keyof typeof COMMANDS, ...args: readonly string[]) {
  const file = fileURLToPath(new URL(COMMANDS[name], import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

for (const name of Object.keys(COMMANDS) as (keyof typeof COMMANDS)[]) {
  test(`The command ${name} explains itself when it is asked for help.`, () => {
    const { status, stdout, stderr } = run(name, "--help");
    assert.deepEqual([status, stderr], [0, ""]);
    assert.ok(stdout.startsWith(`npm run ${name}`), stdout);
  });

  test(`The command ${name} says which option it does not know, without a stack.`, () => {
    const { status, stdout, stderr } = run(name, "--nonsense");
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, /--nonsense/);
    assert.match(stderr, new RegExp(`npm run ${name}`));
    assert.doesNotMatch(stderr, /^ {4}at /m);
  });
}

test("A number that is none is refused with a sentence.", () => {
  for (const args of [
    ["--runs", "many"],
    ["--seed", "x1"],
    ["--from", ""],
    ["--minutes", "0"],
  ]) {
    const { status, stderr } = run("simulate", ...args);
    assert.equal(status, 2);
    assert.match(stderr, /takes a (whole number|number above 0), and /);
  }
  const { status, stderr } = run("simulate", "--runs", "1", "--kinds", "nonsense");
  assert.equal(status, 2);
  assert.match(stderr, /no fault nonsense; there are crash, end,/);
});
