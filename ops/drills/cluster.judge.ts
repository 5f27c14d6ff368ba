/**
 * The end of every drill of many nodes: everybody is answered and at the head, some go and the presence of every
 * room is right at every node, nothing waits anywhere; then all nodes are killed, a new one reads the archive,
 * and the checker compares it with all that was sent, promised and shown.
 */
import { check, type Violation } from "./checker.ts";
import type { Person } from "./cluster.person.ts";
import { type ClusterWorld, LOOK_MS, type Place } from "./cluster.world.ts";
import { pause, readArchive } from "./crash.ts";
import { call, eventually, must, tokenFor } from "./harness.ts";
import { ADMIN } from "./report.nodes.ts";

/** How long everybody may take to be answered and to catch up, ms. */
const SETTLE_MS = 30_000;
/** How long presence may take after people went: the grace that hides a reconnect is 5 s, and 2 s to converge. */
const PRESENCE_MS = 12_000;
/** Of so many people one goes before presence is looked at. */
const GONE_OF = 7;
/** How long queues may take to be empty, and the archive to be read, ms. */
const EMPTY_MS = 10_000;
const READABLE_MS = 30_000;
/** Memory of its own that a node of a drill stays below, bytes. */
const NODE_BYTES = 400 * 1_048_576;
/** What waits nowhere once everything is answered. */
const EMPTY =
  /^confab_(queue_depth\{queue="(entries|markers|signals)"\}|pending_bytes|lines|forwarding|forwarding_bytes|shards_unowned) (\S+)$/gm;

/** Judges the world; answers the broken promises, none when all is well. */
export async function judge(world: ClusterWorld): Promise<Violation[]> {
  const startedAt = performance.now();
  for (const person of world.people) person.hush();
  await settle(world);
  const gone = await someGo(world);
  for (const place of world.places) await emptied(world, place);
  const staying = world.people.filter((person) => !gone.has(person));
  await Promise.all(staying.map((person) => person.leave("cut")));
  // The archive that is judged is the one a new process reads.
  await Promise.all(world.places.map(({ server }) => server.kill()));
  const [first] = world.places as [Place];
  await world.replace(first);
  const rooms = world.rooms.map((id) => ({ id, members: [memberOf(world, id).id] }));
  const read = () => readArchive(first.server, rooms).catch(() => undefined);
  const archive = await eventually(read, READABLE_MS, "A readable archive");
  const people = world.people;
  const story = {
    archive,
    streams: people.flatMap(({ streams }) => streams),
    sendings: people.flatMap(({ sendings }) => sendings),
  };
  const told = people.filter(({ notRecovered }) => notRecovered > 0);
  if (told.length > 0 && !world.redisLost)
    world.break("not-recovered", `${told.length} people were told recovered: false, and Redis had lost nothing.`);
  tell(
    world,
    [...archive.values()].reduce((total, log) => total + log.length, 0),
    story.sendings.length,
  );
  const faults = people.flatMap((person) => person.faults.map((what) => ({ rule: "fault", what })));
  const broken = [...world.broken, ...faults, ...check(story)];
  world.say(`figure: delay of the clients' own event loop, p99 ${world.lagMs} ms`);
  world.say(`judged in ${Math.round(performance.now() - startedAt)} ms`);
  return broken;
}

function memberOf(world: ClusterWorld, room: string): Person {
  return world.people.find(({ rooms }) => rooms.includes(room)) as Person;
}

/** Waits until all is answered, stored and seen by everybody. */
async function settle(world: ClusterWorld): Promise<void> {
  const { people } = world;
  const connected = async () => people.every(({ settled, node }) => settled && node !== undefined) || undefined;
  await eventually(connected, SETTLE_MS, "An answer to every message").catch((error: Error) => {
    const left = people.flatMap(({ unanswered }) => unanswered);
    const away = people.filter(({ node }) => node === undefined).length;
    const rooms = [...new Set(left.map(({ room }) => room))];
    world.break(
      "unanswered",
      `${error.message} ${left.length} are left in ${rooms.join(", ")}; ${away} people are away.`,
    );
  });
  await Promise.all(world.rooms.map((room) => settleRoom(world, room)));
}

async function settleRoom(world: ClusterWorld, room: string): Promise<void> {
  const inside = world.people.filter(({ rooms }) => rooms.includes(room));
  const token = tokenFor(memberOf(world, room).id);
  const ask = async (): Promise<true | undefined> => {
    await pause(LOOK_MS);
    const { server } = world.random.pick(world.places);
    const request = `GET /api/rooms/${room}`;
    const { status, body } = await call<{ headOffset: number; storedOffset: number }>(server, request, { token });
    if (status !== 200) return undefined;
    const here = inside.every((person) => person.position(room)?.offset === body.headOffset);
    return (here && body.storedOffset === body.headOffset) || undefined;
  };
  // The checker says who is behind; this only says that it took too long.
  await eventually(ask, SETTLE_MS, `Everybody's arrival at the head of ${room}`).catch((error: Error) =>
    world.break("unsettled", error.message),
  );
}

/** Some go, half of them without a word; presence is right at every node soon after. */
async function someGo(world: ClusterWorld): Promise<Set<Person>> {
  const going = world.people.filter((_, at) => at % GONE_OF === 0);
  await Promise.all(going.map((person, at) => person.leave(at % 2 === 0 ? "cut" : "disconnect")));
  const sinceMs = performance.now();
  const gone = new Set(going);
  let wrong = "";
  const ask = async (): Promise<true | undefined> => {
    await pause(LOOK_MS);
    const wrongs = await Promise.all(world.rooms.map((room) => wronglyPresent(world, room, gone)));
    wrong = wrongs.filter((text) => text !== "").join("; ");
    return wrong === "" || undefined;
  };
  try {
    await eventually(ask, PRESENCE_MS, "");
    const tookMs = Math.round(performance.now() - sinceMs);
    world.say(
      `figure: presence of ${world.rooms.length} rooms right at every node ${tookMs} ms after ${going.length} went`,
    );
  } catch {
    world.break("presence", `${PRESENCE_MS} ms after some went: ${wrong}.`);
  }
  return gone;
}

/** Who is shown in a room at any node and is not there, and the other way round; empty when all is right. */
async function wronglyPresent(world: ClusterWorld, room: string, gone: ReadonlySet<Person>): Promise<string> {
  const here = world.people.filter((person) => person.rooms.includes(room) && !gone.has(person)).map(({ id }) => id);
  const token = tokenFor(memberOf(world, room).id);
  const wrong: string[] = [];
  for (const { at, server } of world.places) {
    const request = `GET /api/rooms/${room}/presence`;
    const { status, body } = await call<{ count: number; users: readonly { id: string }[] }>(server, request, {
      token,
    });
    const shown = status === 200 ? body.users.map(({ id }) => id) : [];
    const missing = here.filter((id) => !shown.includes(id));
    const ghosts = shown.filter((id) => !here.includes(id));
    if (status !== 200 || missing.length + ghosts.length > 0 || body.count !== here.length)
      wrong.push(`${room} at node ${at}: ${status}, missing ${missing.join(" ")}, ghosts ${ghosts.join(" ")}`);
  }
  return wrong.join("; ");
}

/** Nothing waits at a node, and its memory is what a node of this size may have. */
async function emptied(world: ClusterWorld, place: Place): Promise<void> {
  let waiting: string[] = [];
  const ask = async (): Promise<true | undefined> => {
    const text = await must<string>(place.server, "GET /metrics", { token: ADMIN });
    waiting = [...text.matchAll(EMPTY)].filter((match) => Number(match[3]) !== 0).map(([line]) => line);
    return waiting.length === 0 || undefined;
  };
  await eventually(ask, EMPTY_MS, "").catch(() =>
    world.break("not-empty", `Node ${place.at} still has ${waiting.join(", ")}.`),
  );
  const bytes = await place.server.ownBytes();
  if (bytes > NODE_BYTES) world.break("memory", `Node ${place.at} has ${Math.round(bytes / 1_048_576)} MiB.`);
}

function tell(world: ClusterWorld, entries: number, sent: number): void {
  const { people } = world;
  const sum = (of: (person: Person) => number): number => people.reduce((total, person) => total + of(person), 0);
  const add = (of: (person: Person) => ReadonlyMap<string, number>): string => {
    const all = new Map<string, number>();
    for (const person of people) for (const [code, times] of of(person)) all.set(code, (all.get(code) ?? 0) + times);
    return JSON.stringify(Object.fromEntries(all));
  };
  const codes = new Map<number, number>();
  for (const { code } of people.flatMap(({ endings }) => endings)) codes.set(code, (codes.get(code) ?? 0) + 1);
  world.say(`${sent} messages sent, ${sum(({ receipts }) => receipts)} receipts, ${entries} entries in the archive`);
  world.say(
    `${sum(({ heard }) => heard)} entries shown, ${sum(({ notRecovered }) => notRecovered)} times recovered: false`,
  );
  world.say(`${sum(({ connections }) => connections)} connections, ended ${JSON.stringify(Object.fromEntries(codes))}`);
  world.say(`turned away ${add(({ turnedAway }) => turnedAway)}, refused ${add(({ refusals }) => refusals)}`);
}
