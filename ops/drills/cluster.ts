/**
 * Drills of many nodes: each fault that issue 5 names, on three real processes with Redis, PostgreSQL and FerretDB
 * behind them and hundreds of connections spread over them. Every promise is judged at the end; what is measured
 * is printed as one line that begins with `figure`.
 */
import type { Violation } from "./checker.ts";
import { CLUSTER_FAULTS } from "./cluster.faults.ts";
import { figure, PauseMeter, percentile, TakeoverMeter } from "./cluster.figures.ts";
import { judge } from "./cluster.judge.ts";
import { type ClusterOptions, ClusterWorld, type Place, type Shape } from "./cluster.world.ts";
import { pause } from "./crash.ts";

/** Kills in one drill [issue 5]. */
const KILLS = 11;
/** From a kill to the next broadcast in the dead owner's rooms, p99, ms [issue 5]. */
const TAKEOVER_MS = 5_000;
/** How long a takeover is waited for before it counts as none, ms. */
const TAKEN_MS = 12_000;
/** Time that a stopping node has, ms (design 6). */
const STOP_MS = 10_000;
/** The pause of a room in a planned move, p99, ms [issue 5]. */
const MOVE_MS = 300;
/** How long somebody speaks every few ms before and after what is measured, ms. */
const AROUND_MS = 700;

/** SIGKILL of an owner, again and again; a new process takes its place at once or later. */
async function kills(world: ClusterWorld): Promise<void> {
  const took: number[] = [];
  for (let kill = 1; kill <= KILLS; kill++) {
    await world.balanced();
    const victim = await ownerOf(world);
    const { rooms } = victim;
    const sinceMs = performance.now();
    const killed = victim.place.server.kill();
    const elsewhere = (person: { node: number | undefined; sinceMs: number }): boolean =>
      person.node !== victim.place.at && person.sinceMs < sinceMs;
    const meter = new TakeoverMeter(world.ledger, rooms, elsewhere);
    // What waits for the next owner: a takeover is over when it is shown.
    for (const room of rooms.keys()) world.inside(room, (node) => node !== victim.place.at).say(room);
    const exit = await killed;
    if (exit.signal !== "SIGKILL") world.break("ended", `A node ended by itself: ${exit.code ?? exit.signal}.`);
    const again = world.rest({ lowMs: 0, highMs: 3_000 }).then(() => world.replace(victim.place));
    while (meter.waiting.length > 0 && performance.now() - sinceMs < TAKEN_MS) await pause(20);
    for (const room of meter.waiting) world.break("not-taken", `${TAKEN_MS} ms after kill ${kill}: nothing in ${room}.`);
    const each = meter.stop();
    took.push(...each);
    world.say(`kill ${kill}, of node ${victim.place.at} with ${rooms.size} rooms: ${figure(each)}`);
    await again;
  }
  await world.goesOn("the last kill");
  world.say(`figure: from a kill to the next broadcast elsewhere, ${figure(took)}`);
  if (percentile(took, 0.99) > TAKEOVER_MS) world.break("takeover", `Slower than ${TAKEOVER_MS} ms: ${figure(took)}.`);
}

/** Any node that owns rooms. */
async function ownerOf(world: ClusterWorld): Promise<{ place: Place; rooms: Map<string, number> }> {
  for (;;) {
    const place = world.random.pick(world.places);
    const rooms = await world.roomsOf(place);
    if (rooms.size > 0) return { place, rooms };
  }
}

/** SIGTERM of each node in turn, a new process in its place; pauses as those see it whose node stays. */
async function rolling(world: ClusterWorld): Promise<void> {
  const pauses: number[] = [];
  const quiet: number[] = [];
  for (const place of world.places) {
    await world.balanced();
    const staying = world.places.filter((other) => other !== place);
    const stay = new Set(staying.map(({ at }) => at));
    const people = new Set(world.people.filter(({ node }) => node !== undefined && stay.has(node)));
    const going = world.peopleAt(place);
    const before = going.map(({ endings }) => endings.length);
    const hush = world.probe(staying);
    const meter = new PauseMeter(world.ledger, (person, room) => people.has(person) && world.probes.includes(room));
    await pause(AROUND_MS);
    const sinceMs = performance.now();
    const exit = await place.server.stop("SIGTERM", STOP_MS + 5_000);
    const tookMs = Math.round(performance.now() - sinceMs);
    await pause(AROUND_MS);
    hush();
    const heard = meter.stop();
    pauses.push(...heard.moved);
    quiet.push(...heard.quiet);
    if (exit.code !== 0) world.break("exit", `SIGTERM ended node ${place.at} with ${exit.code ?? exit.signal}.`);
    if (tookMs > STOP_MS) world.break("slow-stop", `SIGTERM of node ${place.at} took ${tookMs} ms.`);
    const told = going.filter((person, at) => person.endings.slice(before[at]).some(({ code }) => code === 1012));
    world.say(`node ${place.at}: exit ${exit.code} after ${tookMs} ms, ${told.length} of ${going.length} told 1012`);
    if (told.length < going.length) world.break("untold", `${going.length - told.length} people were not told 1012.`);
    await world.replace(place);
    await world.goesOn(`the restart of node ${place.at}`);
  }
  tellPauses(world, { moved: pauses, quiet });
}

/** Says what was measured, and breaks when a planned move took too long. */
export function tellPauses(
  world: ClusterWorld,
  { moved, quiet }: { readonly moved: readonly number[]; readonly quiet: readonly number[] },
): void {
  world.say(`figure: pause of a moved room, ${figure(moved)}`);
  world.say(`figure: longest pause of one owner for comparison, ${figure(quiet)}`);
  if (moved.length === 0) world.break("unmoved", "No room in which pauses are measured was moved.");
  if (percentile(moved, 0.99) > MOVE_MS) world.break("pause", `Longer than ${MOVE_MS} ms: ${figure(moved)}.`);
}

const THREE: Shape = { nodes: 3 };

const drill =
  (shape: Shape, faults: (world: ClusterWorld) => Promise<void>) =>
  (options: ClusterOptions): Promise<Violation[]> =>
    ClusterWorld.run(options, shape, async (world) => {
      await faults(world);
      return judge(world);
    });

/** The drills by name; each answers the broken promises, or rejects with `StoreMissing`. */
export const CLUSTER_DRILLS: Readonly<Record<string, (options: ClusterOptions) => Promise<Violation[]>>> = {
  "cluster-kill": drill(THREE, kills),
  "cluster-rolling": drill({ ...THREE, probes: true }, rolling),
  ...Object.fromEntries(Object.entries(CLUSTER_FAULTS).map(([name, faults]) => [`cluster-${name}`, drill(THREE, faults)])),
};
