/**
 * The crash drill: people talk in several rooms while the server is killed by SIGKILL at random moments,
 * during its start too, and is started again on the same data folder. At the end the checker compares what
 * everybody sent, was promised and saw with the archive.
 */
import { check, type Item, type Violation } from "./checker.ts";
import {
  call,
  eventually,
  type HistoryItem,
  makeRoom,
  type Server,
  startServer,
  tokenFor,
  wholeHistory,
} from "./harness.ts";
import { digest } from "./items.ts";
import { Participant } from "./participant.ts";
import { Random } from "./random.ts";
import { Report, sceneOfOne } from "./report.ts";

/** How hard a crash drill is. */
export interface CrashOptions {
  readonly seed: number;
  readonly people: number;
  /** SIGKILLs of a server that listens; kills during a start come on top. */
  readonly kills: number;
  readonly say: (line: string) => void;
}

/** Longest life between two kills, ms. */
const LIFE_MS = 5_000;

/** How long everybody may take to be answered and to catch up at the end, ms. */
const SETTLE_MS = 60_000;

/** A room of a drill, and who talks in it. */
export interface Room {
  readonly id: string;
  readonly members: readonly string[];
}

/** Resolves after so many ms. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Two public rooms for all, `general`, two private ones and a direct one. */
export async function makeRooms(server: Server, people: readonly string[]): Promise<Room[]> {
  const token = tokenFor(people[0] as string);
  const half = people.slice(0, Math.ceil(people.length / 2));
  const third = people.filter((_, at) => at % 3 === 0);
  const pair = people.slice(0, 2);
  const make = async (
    name: string,
    type: "public" | "private" | "direct",
    members: readonly string[],
  ): Promise<Room> => {
    const others = type === "public" ? [] : members.filter((id) => id !== people[0]);
    const named = type === "direct" ? {} : { name };
    return { id: await makeRoom(server, token, { ...named, type, members: others }), members };
  };
  return [
    { id: "general", members: people },
    await make("square", "public", people),
    await make("market", "public", people),
    await make("cellar", "private", half),
    await make("attic", "private", third),
    await make("bench", "direct", pair),
  ];
}

function itemOf(stored: HistoryItem): Item {
  const { id, offset, term, event, sender, count } = stored;
  const body =
    stored.bodyBase64 === undefined ? Buffer.from(stored.body ?? "") : Buffer.from(stored.bodyBase64, "base64");
  return {
    id,
    offset,
    term,
    event,
    sender,
    count,
    key: stored.clientMessageId ?? "",
    body: digest(body),
    atMs: Date.parse(stored.at),
  };
}

/** Kills the server while it starts, and starts it again; answers the new process, not yet ready. */
export async function killAtStart(server: Server, random: Random, say: (line: string) => void): Promise<Server> {
  const delayMs = random.whole(0, 600);
  await Promise.race([pause(delayMs), server.exited]);
  say(`  killed again ${delayMs} ms after its start began`);
  await server.kill();
  return server.restart();
}

/** Lets the server live and die until it was killed often enough; answers the last, living one. */
async function livesAndDeaths(first: Server, options: CrashOptions, random: Random): Promise<Server> {
  let server = first;
  for (let kill = 1; kill <= options.kills; kill++) {
    const lifeMs = random.whole(0, LIFE_MS);
    const graceful = random.chance(0.1);
    await Promise.race([pause(lifeMs), server.exited]);
    const exit = await server.stop(graceful ? "SIGTERM" : "SIGKILL");
    if (exit.signal !== "SIGKILL" && !(graceful && exit.code === 0)) {
      throw new Error(
        `The server ended by itself (${exit.code ?? exit.signal}):\n${server.lines.slice(-20).join("\n")}`,
      );
    }
    // A graceful stop comes on top of the kills.
    if (graceful) kill--;
    server = server.restart();
    if (random.chance(0.25)) server = await killAtStart(server, random, options.say);
    await server.ready();
    const word = graceful ? "stopped by SIGTERM" : `kill ${kill}`;
    options.say(`  ${word} after ${lifeMs} ms; listens again after ${Math.round(server.startMs)} ms`);
  }
  return server;
}

/** Where and by whom a drill of one node is settled. */
export interface Settling {
  readonly server: Server;
  readonly rooms: readonly Room[];
  readonly people: readonly Participant[];
  /** Told of a room in which it took too long: the checker decides whether anybody is behind. */
  readonly late: (what: string) => void;
}

/** Waits until all is answered, stored and seen by everybody. */
export async function settle({ server, rooms, people, late }: Settling): Promise<void> {
  await eventually(
    async () => people.every((person) => person.settled) || undefined,
    SETTLE_MS,
    "An answer to every message",
  );
  for (const room of rooms) {
    const token = tokenFor(room.members[0] as string);
    const ask = async (): Promise<true | undefined> => {
      const request = `GET /api/rooms/${room.id}`;
      const { status, body: view } = await call<{ headOffset: number; storedOffset: number }>(server, request, {
        token,
      });
      // A store may just be coming back.
      if (status !== 200) return undefined;
      const members = people.filter((person) => room.members.includes(person.id));
      const all = members.every((person) => person.position(room.id)?.offset === view.headOffset);
      return (all && view.storedOffset === view.headOffset) || undefined;
    };
    await eventually(ask, SETTLE_MS, `Everybody's arrival at the head of ${room.id}`).catch((error: Error) =>
      late(error.message),
    );
  }
}

/** The whole archive of the rooms, as REST pages it. */
export async function readArchive(server: Server, rooms: readonly Room[]): Promise<Map<string, Item[]>> {
  const archive = new Map<string, Item[]>();
  for (const room of rooms) {
    const history = await wholeHistory(server, tokenFor(room.members[0] as string), room.id);
    archive.set(room.id, history.map(itemOf));
  }
  return archive;
}

/** Says what was sent, stored, seen and refused. */
export function tell(
  people: readonly Participant[],
  archive: ReadonlyMap<string, readonly Item[]>,
  say: (line: string) => void,
): void {
  const sum = (of: (person: Participant) => number): number => people.reduce((total, person) => total + of(person), 0);
  const refusals = new Map<string, number>();
  for (const person of people) {
    for (const [code, times] of person.refusals) refusals.set(code, (refusals.get(code) ?? 0) + times);
  }
  const entries = [...archive.values()].reduce((total, log) => total + log.length, 0);
  const seen = sum((person) =>
    person.streams.reduce((total, { events }) => total + events.filter(({ kind }) => kind === "entry").length, 0),
  );
  say(`  ${sum((person) => person.sendings.length)} messages sent, ${entries} entries in the archive, ${seen} seen`);
  say(
    `  ${sum((person) => person.connections)} connections, ${sum((person) => person.notRecovered)} times recovered: false`,
  );
  say(`  refusals: ${JSON.stringify(Object.fromEntries(refusals))}`);
}

/** Runs the drill; answers the broken promises, none when all is well. */
export async function crashDrill(options: CrashOptions): Promise<Violation[]> {
  const random = new Random(options.seed);
  const ids = Array.from({ length: options.people }, (_, at) => `person-${at}`);
  const first = await startServer({ env: { LOG_LEVEL: "warn" } });
  options.say(`Crash drill, seed ${options.seed}: ${options.people} people, ${options.kills} kills.`);
  try {
    const rooms = await makeRooms(first, ids);
    const address = { url: first.url, wsUrl: first.wsUrl };
    const people = ids.map((id) => {
      const own = rooms.filter((room) => room.members.includes(id)).map((room) => room.id);
      return new Participant({ id, rooms: own, address, random: random.fork() });
    });
    const testimonies = () => people.map(({ testimony }) => testimony);
    const scene = () => sceneOfOne(first, { people: testimonies(), rooms: rooms.map(({ id }) => id) });
    const report = new Report(scene, options.say);
    return await report.watch(async () => {
      for (const person of people) person.start();
      const server = await livesAndDeaths(first, options, random);
      for (const person of people) person.hush();
      await settle({ server, rooms, people, late: (what) => report.broke("late", what) });
      return judge(server, { rooms, people, say: options.say });
    });
  } finally {
    await first.remove();
  }
}

/** Judges what a new process reads of the archive, with everything receipted. */
async function judge(
  last: Server,
  seen: Pick<Settling, "rooms" | "people"> & Pick<CrashOptions, "say">,
): Promise<Violation[]> {
  const { rooms, people, say } = seen;
  await Promise.all(people.map((person) => person.stop()));
  await last.kill();
  const server = await last.restart().ready();
  const archive = await readArchive(server, rooms);
  tell(people, archive, say);
  const faults = people.flatMap((person) => person.faults.map((what) => ({ rule: "fault", what })));
  const story = {
    archive,
    streams: people.flatMap((person) => person.streams),
    sendings: people.flatMap((person) => person.sendings),
  };
  return [...faults, ...check(story)];
}
