/** 1,000 rooms of 10: durable SENDs with receipts a second, against a bare server that publishes and answers. */
import { compare } from "../compare.ts";
import { Crowd, type CrowdShape } from "../crowd.ts";
import type { Figure } from "../report.ts";
import { startBare, startConfab } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const BODY_BYTES = 128;
const WINDOWS = [100, 1_000];
/** Of each server: Node compiles the many small steps of a durable SEND for some 15 s under this load. */
const WARM_SECONDS = 15;

const SHAPE: CrowdShape = {
  rooms: 1_000,
  perRoom: 10,
  frontPerRoom: 1,
  frontSampleEvery: 50,
  audienceSampleEvery: 500,
  napMs: 150,
};

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const common = { until: "answered", bodyBytes: BODY_BYTES } as const;
  progress(`chat: opening ${SHAPE.rooms * SHAPE.perRoom} connections each`);
  const warm = { ...common, window: 1_000, warmSeconds: 0, seconds: quick ? 2 : WARM_SECONDS };
  const confab = new Crowd(await startConfab(), SHAPE);
  await confab.open();
  const first = await confab.run(warm);
  const bare = new Crowd(await startBare(first.tally.messageBytes, first.tally.receiptBytes), SHAPE);
  await bare.open();
  await bare.run(warm);
  const figures: Figure[] = [];
  for (const window of WINDOWS) {
    progress(`chat: window ${window}`);
    figures.push(
      await compare(confab, bare, {
        scenario: "chat",
        name: `window ${window.toLocaleString("en")}`,
        unit: "SENDs/s",
        run: { ...common, window, warmSeconds: quick ? 0.3 : 0.5, seconds: quick ? 1 : 3 },
        rounds: quick ? 3 : 7,
        weight: 1,
      }),
    );
  }
  return figures;
}

export const chat: Scenario = {
  name: "chat",
  about: "1,000 rooms of 10, every SEND stored and receipted",
  split: "window 1,000",
  run,
};
