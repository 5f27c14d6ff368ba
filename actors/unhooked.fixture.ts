/** Tests of millions of promises, without the hooks that node:test lays on each promise. */
import { type TestContext, test } from "node:test";

/** The body of each test under its title. */
export type Bodies = Readonly<Record<string, () => Promise<void>>>;

/**
 * Runs the bodies one after the other and only then registers a test for each, which fails with what its body threw
 * and says how long it took. From its first test on node:test follows every promise of the process, to know which
 * test an error belongs to; that took more than half of the time of simulators. So call this, with `await`, before any
 * `test`. A rejection that nobody hears ends the process meanwhile, which fails the file.
 */
export async function unhooked(bodies: Bodies): Promise<void> {
  const tests: [string, (context: TestContext) => void][] = [];
  for (const [title, body] of Object.entries(bodies)) {
    const startedAt = performance.now();
    const failure = await body().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    const tell = (context: TestContext): void => {
      context.diagnostic(`${title} ${seconds} s, before the tests`);
      if (failure) throw failure.error;
    };
    tests.push([title, tell]);
  }
  for (const [title, tell] of tests) test(title, tell);
}
