import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";

/** Files that each break rules, and the rules. */
const BROKEN: Readonly<Record<string, { readonly text: string; readonly rules: readonly string[] }>> = {
  "actors/a.ts": { text: 'import { x } from "../engine/b.ts";\nexport const a = x;\n', rules: ["noRestrictedImports"] },
  "actors/b.ts": { text: 'import { x } from "node:net";\nexport const a = x;\n', rules: ["noRestrictedImports"] },
  "actors/c.ts": {
    text: 'import type { X } from "../ops/b.ts";\nexport type A = X;\n',
    rules: ["noRestrictedImports"],
  },
  "engine/stomp/a.ts": {
    text: 'import { x } from "../../api/b.ts";\nexport const a = x;\n',
    rules: ["noRestrictedImports"],
  },
  "engine/main.ts": { text: 'import { x } from "../api/b.ts";\nexport const a = x;\n', rules: [] },
  "api/a.ts": { text: 'import { x } from "../engine/b.ts";\nexport const a = x;\n', rules: ["noRestrictedImports"] },
  "ops/a.ts": { text: 'import { x } from "../actors/b.ts";\nexport const a = x;\n', rules: ["noRestrictedImports"] },
  "bench/client/a.ts": {
    text: 'import { x } from "../../ops/b.ts";\nexport const a = x;\n',
    rules: ["noRestrictedImports"],
  },
  "engine/b.ts": {
    text: "export async function b(x: any): Promise<void> {}\nb(1);\nconsole.log(process.env.X);\n",
    rules: ["noExplicitAny", "noFloatingPromises", "noConsole", "noProcessEnv"],
  },
  "engine/c.ts": {
    text: `export function c(): void {\n${"  c();\n".repeat(71)}}\n`,
    rules: ["noExcessiveLinesPerFunction"],
  },
  "engine/d.ts": {
    text: "export const d = (a: 1, b: 1, c: 1, d: 1, e: 1) => [a, b, c, d, e];\n",
    rules: ["useMaxParams"],
  },
  "engine/e.ts": { text: 'import { f } from "./f.ts";\nexport const e = () => f;\n', rules: ["noImportCycles"] },
  "engine/f.ts": { text: 'import { e } from "./e.ts";\nexport const f = () => e;\n', rules: ["noImportCycles"] },
};

test("The lint rules refuse what they are there to refuse, and let main see api.", () => {
  const folder = mkdtempSync(join(tmpdir(), "confab-lint-"));
  try {
    for (const [path, { text }] of Object.entries(BROKEN)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    copyFileSync("ops/lint.jsonc", join(folder, "ops/lint.jsonc"));
    const biome = resolve("node_modules/@biomejs/biome/bin/biome");
    const args = [biome, "lint", "--config-path=ops/lint.jsonc", "--max-diagnostics=none", "--reporter=github", "."];
    const { stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
    for (const [path, { rules }] of Object.entries(BROKEN)) {
      const lines = stdout.split("\n").filter((line) => line.includes(`/${path},`));
      for (const rule of rules)
        assert.ok(
          lines.some((line) => line.includes(`/${rule}`)),
          `${path} passes ${rule}`,
        );
      if (rules.length === 0) assert.ok(!lines.some((line) => line.includes("noRestrictedImports")), path);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
