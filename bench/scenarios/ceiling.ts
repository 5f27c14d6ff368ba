/** What the load client itself can take: the bare server sends, and the client's own CPU per delivery is the answer. */
import { Crowd, type CrowdShape, type Outcome, ROOM_OF_1000, SUBSCRIBERS } from "../crowd.ts";
import { type Figure, median } from "../report.ts";
import { startBare } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const BODY_BYTES = 128;
/** Near what Confab's MESSAGE frames have with such a body. */
const MESSAGE_BYTES = 330;
const WINDOWS = [1, 16, 64, 256];

/** Nothing is read in full: only what counting costs is asked. */
const SHAPE: CrowdShape = { ...ROOM_OF_1000, frontSampleEvery: 0, audienceSampleEvery: 0 };

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const bare = new Crowd(await startBare(MESSAGE_BYTES, 0), SHAPE);
  await bare.open();
  const figures: Figure[] = [];
  for (const window of WINDOWS) {
    progress(`ceiling: window ${window}`);
    const outcomes: Outcome[] = [];
    const seconds = quick ? 1 : 2;
    for (let round = 0; round < (quick ? 1 : 2); round += 1) {
      outcomes.push(await bare.run({ until: "returned", window, bodyBytes: BODY_BYTES, warmSeconds: 0.3, seconds }));
    }
    const deliveries = ({ load }: Outcome): number => load.messages * SUBSCRIBERS;
    const of = (what: (outcome: Outcome) => number): number => median(outcomes.map(what));
    const lost = outcomes.reduce((sum, { tally }) => sum + tally.lost + tally.doubled, 0);
    figures.push({
      scenario: "ceiling",
      name: `window ${window}`,
      unit: "deliveries per client core and s",
      confab: null,
      bare: of((outcome) => deliveries(outcome) / outcome.load.clientCpuSeconds),
      ratio: null,
      bar: null,
      faults: lost > 0 ? [`${lost} lost or doubled`] : [],
      facts: {
        barePerSecond: of((outcome) => deliveries(outcome) / outcome.load.seconds),
        bareServerShare: of(({ load }) => load.serverCpuSeconds / load.seconds),
        bareClientShare: of(({ load }) => load.clientCpuSeconds / load.seconds),
        bareServerUs: of((outcome) => (outcome.load.serverCpuSeconds / deliveries(outcome)) * 1e6),
        clientUs: of((outcome) => (outcome.load.clientCpuSeconds / deliveries(outcome)) * 1e6),
      },
    });
  }
  return figures;
}

export const ceiling: Scenario = { name: "ceiling", about: "what the load client itself can take", run };
