/** One room of 1,000 and one publisher: deliveries a second, against a bare topic with frames of the same size. */
import { compare } from "../compare.ts";
import { Crowd, type CrowdShape } from "../crowd.ts";
import type { Figure } from "../report.ts";
import { startBare, startConfab } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const SUBSCRIBERS = 1_000;
const BODY_BYTES = 128;
const WINDOWS = [1, 16, 64];
const RATIO_LEAST = 0.9;

const SHAPE: CrowdShape = {
  rooms: 1,
  perRoom: SUBSCRIBERS,
  frontPerRoom: 8,
  frontSampleEvery: 4,
  audienceSampleEvery: 250,
  napMs: 20,
};

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const common = { until: "returned", bodyBytes: BODY_BYTES } as const;
  progress(`fanout: opening ${SUBSCRIBERS} connections each`);
  const confab = new Crowd(await startConfab(), SHAPE);
  await confab.open();
  // The first SEND of a user makes a member of him, which is an entry of its own; so the first messages do not count.
  // They also warm the server up and show how long its frames are.
  const first = await confab.run({ ...common, window: 16, warmSeconds: 0, seconds: 1 });
  const bare = new Crowd(await startBare(first.tally.messageBytes, 0), SHAPE);
  await bare.open();
  await bare.run({ ...common, window: 16, warmSeconds: 0, seconds: 1 });
  const figures: Figure[] = [];
  for (const window of WINDOWS) {
    progress(`fanout: window ${window}`);
    figures.push(
      await compare(confab, bare, {
        scenario: "fanout",
        name: `window ${window}`,
        unit: "deliveries/s",
        run: { ...common, window, warmSeconds: quick ? 0.3 : 0.5, seconds: quick ? 1 : 2 },
        rounds: quick ? 3 : 7,
        weight: SUBSCRIBERS,
        bar: { on: "ratio", least: RATIO_LEAST },
      }),
    );
  }
  return figures;
}

export const fanout: Scenario = { name: "fanout", about: "one room of 1,000, windows 1, 16 and 64", run };
