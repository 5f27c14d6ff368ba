/**
 * One room of 1,000 and one publisher, against a bare topic with frames of the same size: deliveries a second at a
 * window, then latency at rates of which the highest window has shown that they can be held.
 */
import { reasonOf, unmeasured } from "../bars.ts";
import { compare, compareLatency } from "../compare.ts";
import { Crowd, ROOM_OF_1000, SUBSCRIBERS, warmUp } from "../crowd.ts";
import type { Figure } from "../report.ts";
import { startBare, startConfab } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const BODY_BYTES = 128;
const WINDOWS = [1, 16, 64];
/** Deliveries a second at which design 9 asks for the latency. */
const STATED_RATE = 100_000;
const SHARES = [0.25, 0.5, 0.75];

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const common = { until: "returned", bodyBytes: BODY_BYTES } as const;
  progress(`fanout: opening ${SUBSCRIBERS} connections each`);
  const confab = new Crowd(await startConfab(), ROOM_OF_1000);
  await confab.open();
  // Shows how long its frames are.
  const first = await confab.run({ ...common, window: 16, warmSeconds: 0, seconds: 1 });
  const bare = new Crowd(await startBare(first.tally.messageBytes, 0), ROOM_OF_1000);
  await bare.open();
  progress("fanout: warming both up");
  await warmUp([confab, bare], quick);
  const figures: Figure[] = [];
  for (const window of WINDOWS) {
    progress(`fanout: window ${window}`);
    figures.push(
      await compare(confab, bare, {
        scenario: "fanout",
        name: `window ${window}`,
        unit: "deliveries/s",
        run: { ...common, window, warmSeconds: quick ? 0.3 : 0.5, seconds: quick ? 1 : 2 },
        rounds: quick ? 3 : 11,
        weight: SUBSCRIBERS,
      }),
    );
  }
  const saturation = figures.at(-1)?.confab ?? 0;
  const stated = { name: "p99 at 100,000 deliveries/s", rate: STATED_RATE, rounds: 5, seconds: 4 };
  const shares = SHARES.map((share) => {
    return { name: `p99 at ${share * 100}% of saturation`, rate: share * saturation, rounds: 5, seconds: 3 };
  });
  for (const { name, rate, rounds, seconds } of [stated, ...shares]) {
    progress(`fanout: ${name}`);
    const pace = { ...common, rate: rate / SUBSCRIBERS, warmSeconds: 0.5, seconds: quick ? 1 : seconds };
    const wish = { scenario: "fanout", name, pace, rounds: quick ? 1 : rounds, weight: SUBSCRIBERS };
    // A server that refuses load or falls behind by too much owes this figure, not those before it.
    const failed = (error: unknown): Figure => unmeasured("fanout", name, reasonOf(error));
    figures.push(await compareLatency(confab, bare, wish).catch(failed));
  }
  return figures;
}

export const fanout: Scenario = {
  name: "fanout",
  about: "one room of 1,000, windows 1, 16 and 64; latency at rates",
  split: "window 16",
  run,
};
