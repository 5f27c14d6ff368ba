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

/** A whole number of an option, 0 too; else says so and ends with 2. */
export function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  return Number.isSafeInteger(value) && value >= 0 && text.trim() !== "" ? value : refuse(name, text, "a whole number");
}

/** A number above 0 of an option, such as 0.5; else says so and ends with 2. */
export function positiveNumber(name: string, text: string): number {
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : refuse(name, text, "a number above 0");
}

function refuse(name: string, text: string, what: string): never {
  process.stderr.write(`--${name} takes ${what}, and ${JSON.stringify(text)} is none\n`);
  process.exit(2);
}
