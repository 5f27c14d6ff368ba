/** The promises of design 2, as one process can keep them, under random interleavings, faults and crashes. */
import fc from "fast-check";
import { World, type WorldOptions } from "./promises.fixture.ts";
import { unhooked } from "./unhooked.fixture.ts";

/** One thing that happens; named so that a counterexample can be read. */
class Act {
  readonly #name: string;
  readonly run: (world: World) => void | Promise<void>;

  constructor(name: string, run: (world: World) => void | Promise<void>) {
    this.#name = name;
    this.run = run;
  }

  toString(): string {
    return this.#name;
  }
}

/** Acts of one kind, from what they are made of. */
function acted<T>(name: string, made: fc.Arbitrary<T>, run: (world: World, made: T) => void | Promise<void>) {
  return made.map((what) => new Act(`${name} ${JSON.stringify(what)}`, (world) => run(world, what)));
}

const slot = fc.nat({ max: 3 });
const room = fc.nat({ max: 1 });

const ids = fc.array(fc.option(fc.nat({ max: 6 }), { nil: undefined, freq: 2 }), { minLength: 1, maxLength: 5 });
const how = fc.oneof(fc.constantFrom("now" as const, "resume" as const), fc.nat({ max: 12 }));
const changed = {
  user: fc.nat({ max: 2 }),
  room,
  offset: fc.integer({ min: 1, max: 12 }),
  what: fc.constantFrom("edit" as const, "delete" as const, "react" as const, "post" as const),
};
const trouble = { delayMs: fc.constantFrom(0, 3, 40), rate: fc.constantFrom(0, 0, 0.1, 0.4) };

const send = acted("send", fc.record({ slot, room, ids, early: fc.boolean() }), (world, act) =>
  world.send(act.slot, act.room, act.ids, act.early),
);
const subscribe = acted("subscribe", fc.record({ slot, room, how }), (world, act) =>
  world.subscribe(act.slot, act.room, act.how),
);
const unsubscribe = acted("unsubscribe", fc.record({ slot, pick: fc.nat({ max: 5 }) }), (world, act) =>
  world.unsubscribe(act.slot, act.pick),
);
const reconnect = acted("reconnect", slot, (world, at) => world.reconnect(at));
const member = acted("member", fc.record({ user: fc.nat({ max: 1 }), on: fc.boolean() }), (world, act) =>
  world.member(act.user, act.on),
);
const change = acted("change", fc.record(changed), (world, act) => world.change(act));
const wait = acted("wait", fc.constantFrom(0, 1, 5, 30, 200, 1_500), (world, ms) => world.stage.clock.advance(ms));
/** Long enough for rooms to sleep. */
const sleep = acted("sleep", fc.constant(34_000), (world, ms) => world.stage.clock.advance(ms));
const faults = acted("faults", fc.record(trouble), (world, act) => void Object.assign(world.stage.faults, act));
const away = acted("archive", fc.record({ archiveAway: fc.boolean() }), (world, act) => {
  Object.assign(world.stage.faults, act);
});
const wipe = acted("wipe", fc.constant("the hot log"), (world) => world.wipe());
const crash = acted("crash", fc.constant({ keepHub: false }), (world, act) => world.crash(act));
/** The hot log outlives its owner, as in a cluster. */
const failover = acted("crash", fc.constant({ keepHub: true }), (world, act) => world.crash(act));

/** Runs the acts with a seed of the faults; the small bounds make every overflow happen. */
async function run(seed: number, acts: readonly Act[], options: WorldOptions = {}): Promise<void> {
  const world = await World.open(seed, options);
  for (const act of acts) {
    await act.run(world);
    world.check();
  }
  await world.end();
}

const plain = [
  { arbitrary: send, weight: 10 },
  { arbitrary: subscribe, weight: 6 },
  { arbitrary: unsubscribe, weight: 2 },
  { arbitrary: reconnect, weight: 1 },
  { arbitrary: member, weight: 2 },
  { arbitrary: change, weight: 3 },
  { arbitrary: wait, weight: 8 },
  { arbitrary: sleep, weight: 1 },
];
const troubled = [
  ...plain,
  { arbitrary: faults, weight: 2 },
  { arbitrary: away, weight: 1 },
  { arbitrary: wipe, weight: 1 },
];
const failing = [
  ...plain,
  { arbitrary: faults, weight: 2 },
  { arbitrary: away, weight: 1 },
  { arbitrary: failover, weight: 1 },
];
const mortal = [...troubled, { arbitrary: crash, weight: 1 }, { arbitrary: failover, weight: 1 }];

const acts = (kinds: typeof plain): fc.Arbitrary<Act[]> =>
  fc.array(fc.oneof(...kinds), { minLength: 5, maxLength: 50, size: "max" });
const SMALL = { replayKeep: 4, batchEntries: 4, pendingEntries: 40, windowBytes: 1_000 };

/** Whether every promise holds in 200 stories of such acts. */
const holds = (kinds: typeof plain, seed: number, options?: WorldOptions) => (): Promise<void> =>
  fc.assert(
    fc.asyncProperty(fc.nat(), acts(kinds), (story, all) => run(story, all, options)),
    { numRuns: 200, seed },
  );

await unhooked({
  "Without faults every promise holds, and nobody is ever told of a loss.": holds(plain, 1),
  "While stores are slow, fail, or forget the hot log, every promise holds without a told loss.": holds(troubled, 2),
  "Over crashes what was receipted stays, and every loss is told.": holds(mortal, 3),
  "When the hot log outlives its owner, nothing that was shown is lost.": holds(failing, 5),
  "With small bounds every promise holds.": holds(mortal, 4, { limits: SMALL }),
  "On a hot log that others share, nobody is told of a loss while it loses nothing.": holds(failing, 6, {
    shared: true,
  }),
  "On a hot log that others share and that forgets, what was receipted stays, and every loss is told.": holds(
    mortal,
    7,
    { shared: true },
  ),
});
