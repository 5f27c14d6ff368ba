/** Tests of millions of promises, without the hooks that node:test lays on each promise. */
import { test } from "node:test";

/** The body of each test under its title. */
export type Bodies = Readonly<Record<string, () => Promise<void>>>;

/**
 * Runs the bodies one after the other and only then registers a test for each, which fails with what its body threw.
 * From its first test on node:test follows every promise of the process, to know which test an error belongs to; that
 * took up to half of the time of simulators. So call this, with `await`, before any `test`. A rejection that nobody
 * hears ends the process meanwhile, which fails the file.
 */
export async function unhooked(bodies: Bodies): Promise<void> {
  const tests: [string, () => void][] = [];
  for (const [title, body] of Object.entries(bodies)) {
    const failure = await body().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const tell = (): void => {
      if (failure) throw failure.error;
    };
    tests.push([title, tell]);
  }
  for (const [title, tell] of tests) test(title, tell);
}
