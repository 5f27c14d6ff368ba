import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { PeerMissing } from "./peer.ts";
import { cached, has, sourceFile } from "./tools.ts";

/** Runs with an empty cache of its own. */
async function withCache(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "confab-peers-test-"));
  const before = process.env["XDG_CACHE_HOME"];
  process.env["XDG_CACHE_HOME"] = folder;
  try {
    await work(join(folder, "confab", "peers"));
  } finally {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = before;
    rmSync(folder, { recursive: true });
  }
}

test("A peer is built once and found in the cache afterwards.", async () => {
  await withCache(async (cache) => {
    let builds = 0;
    const recipe = {
      name: "thing-1",
      build: async ({ write, copy, run }: Parameters<Parameters<typeof cached>[0]["build"]>[0]) => {
        builds += 1;
        await write("a/b.txt", "text");
        await copy("bench/peers/spring/pom.xml", "c/pom.xml");
        await run("sh", ["-c", 'printf %s "$WORD" > d.txt'], { WORD: "said" });
      },
    };
    const folder = await cached(recipe);
    assert.equal(folder, join(cache, "thing-1"));
    assert.equal(await cached(recipe), folder);
    assert.equal(builds, 1);
    assert.equal(readFileSync(join(folder, "a/b.txt"), "utf8"), "text");
    assert.equal(readFileSync(join(folder, "d.txt"), "utf8"), "said");
    assert.ok(existsSync(join(folder, "c/pom.xml")));
  });
});

test("A build that fails says why in its last line, and leaves nothing that looks built.", async () => {
  await withCache(async (cache) => {
    const build = cached({
      name: "thing-2",
      build: async ({ write, run }) => {
        await write("half.txt", "half");
        await run("sh", ["-c", "echo first >&2; echo no such module >&2; exit 3"]);
      },
    });
    await assert.rejects(build, (error) => {
      assert.ok(error instanceof PeerMissing);
      assert.equal(error.message, "thing-2 cannot be had here: no such module");
      return true;
    });
    assert.deepEqual(readdirSync(cache), []);
  });
});

test("A command that is not there is not had, and files of the tree are found from the build.", () => {
  assert.equal(has("confab-no-such-command", "--version"), false);
  assert.equal(has("node", "--version"), true);
  assert.match(readFileSync(sourceFile("bench/peers/spring/Broker.java"), "utf8"), /enableSimpleBroker/);
});
