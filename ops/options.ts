/** Command lines of the scripts of `ops/`: `--help`, and a sentence instead of a stack for an option that is wrong. */
import { type ParseArgsConfig, parseArgs } from "node:util";

/**
 * What the command line says, by `parseArgs` of Node. With `--help` prints `usage` and ends with 0; with an option
 * that there is not, or one without its value, says which, prints `usage` and ends with 2.
 * @param usage - the lines that explain the command.
 */
export function optionsOf<const T extends ParseArgsConfig>(usage: string, config: T): ReturnType<typeof parseArgs<T>> {
  if (process.argv.slice(2).includes("--help")) {
    process.stdout.write(`${usage.trim()}\n`);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage.trim()}\n`);
    process.exit(2);
  }
}

/** A whole number of an option; else says so and ends with 2. */
export function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0 && text.trim() !== "") return value;
  process.stderr.write(`--${name} takes a whole number, and ${JSON.stringify(text)} is none\n`);
  process.exit(2);
}
