/** The source tree as data, for the tests of style: paths, texts, and who refers to whom. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";

/** The folders that hold sources, in the order of the arrows. */
export const FOLDERS = ["actors", "engine", "api", "ops", "bench"] as const;

/** One source file. */
export interface Source {
  /** From the root of the tree, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** Whether it is a test or the suite of a port. */
  readonly test: boolean;
}

/** All TypeScript files of the tree, by path. The tests run at its root. */
export function readTree(): ReadonlyMap<string, Source> {
  const paths = FOLDERS.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((path) => /\.tsx?$/.test(path))
      .map((path) => join(folder, path)),
  );
  return new Map(
    paths.sort().map((path) => {
      const text = readFileSync(path, "utf8");
      const test = /\.(test|conformance)\./.test(basename(path));
      return [path, { path, text, lines: text.split("\n"), test }];
    }),
  );
}

/** A text file, or nothing when it is not there. */
export function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** Static imports and re-exports, at the start of a line and perhaps over several, and dynamic imports. */
const SPECIFIERS = [/^(?:import|export)\s[^"'`;]*?\bfrom "([^"]+)"/gm, /^import "([^"]+)"/gm, /\bimport\("([^"]+)"\)/g];
const NAMED_FILE = /["'`](?:\$\{[^}]*\})?([\w./-]+\.[jt]sx?)["'`]/g;

/** The relative imports of a source, as paths of the tree. */
export function importsOf(source: Source): readonly string[] {
  return SPECIFIERS.flatMap((specifier) => [...source.text.matchAll(specifier)])
    .map((match) => match[1] as string)
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => normalize(join(dirname(source.path), specifier)));
}

/**
 * The sources that a source brings into use: its imports, and the files it names in a string, such as the
 * script of a process or a worker, relative to itself or to the root, built (`.js`) or not.
 */
export function usesOf(source: Source, tree: ReadonlyMap<string, Source>): readonly string[] {
  const named = [...source.text.matchAll(NAMED_FILE)].flatMap((match) => {
    const path = (match[1] as string).replace(/\.js(x?)$/, ".ts$1");
    return [normalize(join(dirname(source.path), path)), path, path.replace(/^dist\//, "")];
  });
  return [...importsOf(source), ...named.flatMap((path) => [path, `${path}x`])].filter((path) => tree.has(path));
}

/** Every source that is reached from the given ones. */
export function reachedFrom(entries: readonly string[], tree: ReadonlyMap<string, Source>): ReadonlySet<string> {
  const reached = new Set<string>();
  const waiting = entries.filter((path) => tree.has(path));
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    waiting.push(...usesOf(tree.get(path) as Source, tree));
  }
  return reached;
}
