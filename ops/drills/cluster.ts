/**
 * Drills of many nodes: each fault that issue 5 names, on three real processes with Redis, PostgreSQL and FerretDB
 * behind them and hundreds of connections spread over them. Every promise is judged at the end; what is measured
 * is printed as one line that begins with `figure`.
 */
import type { Violation } from "./checker.ts";
import { cutOff, pauses, redisRestarts } from "./cluster.faults.ts";
import { figure, type Heard, PauseMeter, percentile, TakeoverMeter } from "./cluster.figures.ts";
import { judge } from "./cluster.judge.ts";
import type { Person } from "./cluster.person.ts";
import { type ClusterOptions, ClusterWorld, type Place, type Shape } from "./cluster.world.ts";
import { pause } from "./crash.ts";
import { eventually } from "./harness.ts";

/** Kills in one drill [issue 5]. */
const KILLS = 10;
/** From a kill to the next broadcast in the dead owner's rooms, p99, ms [issue 5]. */
const TAKEOVER_MS = 5_000;
/** How long a takeover is waited for before it counts as none, ms. */
const TAKEN_MS = 12_000;
/** The pause of a room in a planned move, p99, ms [issue 5]. */
const MOVE_MS = 300;
/** How long somebody speaks every few ms before and after what is measured, ms. */
const AROUND_MS = 600;

/**
 * People who fled from a node are connected to it again, now that a process stands at its place. Without them all
 * would come together at one node after a few deaths, and with that one nobody would be left elsewhere to see a
 * takeover of its rooms.
 */
async function comeBack(people: readonly Person[], place: Place): Promise<void> {
  const all = async (): Promise<true | undefined> => {
    const away = people.filter(({ node }) => node !== place.at);
    // One who was on the way to another node just now is asked again there.
    for (const person of away) if (person.node !== undefined) person.reconnect(place.at);
    return away.length === 0 || undefined;
  };
  await eventually(all, TAKEN_MS, `The return of ${people.length} people to node ${place.at}`);
}

/** SIGKILL of an owner, again and again; a new process takes its place at once or later. */
async function kills(world: ClusterWorld): Promise<void> {
  const took: number[] = [];
  for (let kill = 1; kill <= KILLS; kill++) {
    await world.balanced();
    const { place, rooms } = await world.anyOwner();
    const fleeing = world.peopleAt(place);
    const sinceMs = performance.now();
    const killed = place.server.kill();
    const elsewhere = (person: Person): boolean => person.node !== place.at && person.sinceMs < sinceMs;
    const meter = new TakeoverMeter(world.ledger, rooms, elsewhere);
    // What waits for the next owner: a takeover is over when it is shown.
    for (const room of rooms.keys()) world.inside(room, (node) => node !== place.at).say(room);
    const exit = await killed;
    if (exit.signal !== "SIGKILL") world.break("ended", `A node ended by itself: ${exit.code ?? exit.signal}.`);
    const again = world.rest({ lowMs: 0, highMs: 3_000 }).then(() => world.replace(place));
    while (meter.waiting.length > 0 && performance.now() - sinceMs < TAKEN_MS) await pause(20);
    for (const room of meter.waiting) {
      const hearing = world.people.filter((person) => person.rooms.includes(room) && elsewhere(person)).length;
      const what = `nothing above term ${rooms.get(room)} in ${room} to ${hearing} people elsewhere`;
      world.break("not-taken", `${TAKEN_MS} ms after kill ${kill}, of node ${place.at}: ${what}.`);
    }
    const each = meter.stop();
    took.push(...each);
    world.say(`kill ${kill}, of node ${place.at} with ${rooms.size} rooms: ${figure(each)}`);
    await again;
    await comeBack(fleeing, place);
  }
  await world.goesOn("the last kill");
  world.say(`figure: from a kill to the next broadcast elsewhere, ${figure(took)}`);
  world.bar("a takeover", percentile(took, 0.99), TAKEOVER_MS);
}

/** What people hear in the rooms of the probes while something is done: those who are at nodes that stay. */
async function heardAt(world: ClusterWorld, staying: readonly Place[], act: () => Promise<void>): Promise<Heard> {
  const nodes = new Set(staying.map(({ at }) => at));
  const people = new Set(world.people.filter(({ node }) => node !== undefined && nodes.has(node)));
  const hush = world.probe(staying);
  const meter = new PauseMeter(world.ledger, (person, room) => people.has(person) && world.probes.includes(room));
  await pause(AROUND_MS);
  await act();
  const sinceMs = performance.now();
  await pause(AROUND_MS);
  const all = async () => meter.since(sinceMs) || undefined;
  await eventually(all, TAKEN_MS, "Something new in every room").catch((error: Error) =>
    world.break("stalled", error.message),
  );
  hush();
  return meter.stop();
}

/** Says what was heard, and breaks when a planned move took too long. */
function judgePauses(world: ClusterWorld, what: string, heard: readonly Heard[]): void {
  const moved = heard.flatMap((each) => each.moved);
  const quiet = heard.flatMap((each) => each.quiet);
  world.say(`figure: ${what}: pause of a moved room, ${figure(moved)}`);
  world.say(`figure: ${what}: longest pause under one owner, for comparison, ${figure(quiet)}`);
  world.bar(`a move in ${what}`, percentile(moved, 0.99), MOVE_MS);
}

/** SIGTERM of each node in turn, a new process in its place; pauses as those see it whose node stays. */
async function rolling(world: ClusterWorld): Promise<void> {
  const heard: Heard[] = [];
  for (const place of world.places) {
    await world.balanced();
    const staying = world.places.filter((other) => other !== place);
    heard.push(await heardAt(world, staying, () => world.stopNode(place)));
    await world.replace(place);
    await world.goesOn(`the restart of node ${place.at}`);
  }
  judgePauses(world, "restarts", heard);
}

/** From one node to three and back. */
async function growth(world: ClusterWorld): Promise<void> {
  const [first] = world.places as [Place];
  const grown: Heard[] = [];
  const kept = world.keepsConnected(world.people);
  for (let more = 0; more < 2; more++) {
    const join = async (): Promise<void> => {
      await world.addNode();
      await world.balanced();
    };
    grown.push(await heardAt(world, [first], join));
  }
  kept("growth");
  judgePauses(world, "growth", grown);
  for (const person of world.people) if (world.random.chance(0.7)) person.reconnect();
  await world.goesOn("a reconnect of most people");
  const shrunk: Heard[] = [];
  while (world.places.length > 1) {
    await world.balanced();
    const last = world.places.at(-1) as Place;
    shrunk.push(await heardAt(world, [first], () => world.removeNode(last)));
    await world.goesOn(`the end of node ${last.at}`);
  }
  judgePauses(world, "shrinking", shrunk);
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
  "cluster-pause": drill(THREE, pauses),
  "cluster-rolling": drill({ ...THREE, probes: true }, rolling),
  "cluster-grow": drill({ nodes: 1, probes: true }, growth),
  "cluster-redis": drill(THREE, redisRestarts),
  "cluster-cut": drill({ ...THREE, proxies: true }, cutOff),
};
