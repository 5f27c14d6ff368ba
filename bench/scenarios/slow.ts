/** One of 1,001 in a room stops reading: what the other 1,000 notice of it. A slow reader should cost only itself. */
import { barOf } from "../bars.ts";
import type { Pace, Paced, Woken } from "../client/messages.ts";
import { factsOf, faultsAtRate, ratiosOf } from "../compare.ts";
import { Crowd, type CrowdShape, type Outcome, type Wish } from "../crowd.ts";
import { LoadClient } from "../load.ts";
import { type Figure, median, spread } from "../report.ts";
import { startConfab } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "slow";
const SUBSCRIBERS = 1_000;
/**
 * Some 440 KB a second to each. The kernel was seen to take 4 MB for one that does not read; with the server's bound for
 * a socket he is cut after about 15 seconds, which is within the timed part.
 */
const BODY_BYTES = 4_096;
const SENDS_PER_SECOND = 100;
const SLOW_GROUP = 19;

const SHAPE: CrowdShape = {
  rooms: 1,
  perRoom: SUBSCRIBERS,
  frontPerRoom: 8,
  frontSampleEvery: 4,
  audienceSampleEvery: 250,
  napMs: 20,
};

/** The run with one more in the room, who reads nothing while it lasts; and what became of him. */
async function withSlow(crowd: Crowd, pace: Wish<Pace>): Promise<[Outcome<Paced>, Woken]> {
  const client = new LoadClient();
  const { port, dialect, pid, secret } = crowd.target;
  const place = { port, dialect, serverPid: pid, secret, rooms: crowd.rooms, perRoom: 1, group: SLOW_GROUP };
  await client.run({ kind: "open", ...place, inFlight: 1, sampleEvery: 0 });
  await client.run({ kind: "stall" });
  const outcome = await crowd.pace(pace);
  const woken = await client.run({ kind: "wake" });
  await client.end();
  return [outcome, woken];
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const rounds = quick ? 1 : 2;
  const pace: Wish<Pace> = {
    until: "returned",
    rate: SENDS_PER_SECOND,
    bodyBytes: BODY_BYTES,
    warmSeconds: quick ? 0.5 : 5,
    seconds: quick ? 3 : 12,
  };
  const crowd = new Crowd(await startConfab(), SHAPE);
  await crowd.open();
  await crowd.pace({ ...pace, warmSeconds: 0, seconds: 1 });
  const [none, slow, woken]: [Outcome<Paced>[], Outcome<Paced>[], Woken[]] = [[], [], []];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${NAME}: nobody is slow, round ${round} of ${rounds}`);
    none.push(await crowd.pace(pace));
    progress(`${NAME}: one is slow, round ${round} of ${rounds}`);
    const [outcome, fate] = await withSlow(crowd, pace);
    slow.push(outcome);
    woken.push(fate);
  }
  const p99s = (outcomes: readonly Outcome<Paced>[]): number[] => outcomes.map(({ load }) => load.p99Ms);
  const ratios = ratiosOf(p99s(slow), p99s(none));
  const name = "p99 of the others, one is slow";
  return [
    {
      scenario: NAME,
      name,
      unit: "ms",
      rival: "nobody slow",
      confab: median(p99s(slow)),
      bare: median(p99s(none)),
      ratio: median(ratios),
      spread: { confab: spread(p99s(slow)), ratio: spread(ratios) },
      bar: barOf(NAME, name),
      faults: [...faultsAtRate("one slow", slow), ...faultsAtRate("nobody slow", none)],
      facts: {
        ...factsOf(slow, none, SUBSCRIBERS),
        deliveriesPerSecond: SENDS_PER_SECOND * SUBSCRIBERS,
        slowReadersCut: woken.reduce((sum, { cut }) => sum + cut, 0),
        slowReaderBytesUnread: median(woken.map(({ bytes }) => bytes)),
      },
    },
  ];
}

export const slow: Scenario = { name: NAME, about: "what 1,000 notice of one that stops reading", run };
