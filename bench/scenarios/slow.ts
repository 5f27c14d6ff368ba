/** One of 1,001 in a room stops reading: what the other 1,000 notice of it. A slow reader should cost only itself. */
import type { Pace, Paced, Woken } from "../client/messages.ts";
import { versusP99 } from "../compare.ts";
import { Crowd, type Outcome, ROOM_OF_1000, SUBSCRIBERS, type Wish } from "../crowd.ts";
import { LoadClient } from "../load.ts";
import { type Figure, median } from "../report.ts";
import { startConfab } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "slow";
/**
 * Some 440 KB a second to each. The kernel was seen to take 4 MB for one that does not read; with the server's bound for
 * a socket he is cut after about 15 seconds, which is within the timed part.
 */
const BODY_BYTES = 4_096;
const SENDS_PER_SECOND = 100;
const SLOW_GROUP = 19;

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
  const crowd = new Crowd(await startConfab(), ROOM_OF_1000);
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
  return [
    versusP99({
      scenario: NAME,
      name: "p99 of the others, one is slow",
      rival: "nobody slow",
      sides: ["one slow", "nobody slow"],
      ours: slow,
      theirs: none,
      weight: SUBSCRIBERS,
      facts: {
        offeredPerSecond: SENDS_PER_SECOND * SUBSCRIBERS,
        slowReadersCut: woken.reduce((sum, { cut }) => sum + cut, 0),
        slowReaderBytesUnread: median(woken.map(({ bytes }) => bytes)),
      },
    }),
  ];
}

export const slow: Scenario = { name: NAME, about: "what 1,000 notice of one that stops reading", run };
