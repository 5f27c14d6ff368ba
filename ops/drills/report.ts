/**
 * What a broken drill believed, printed at its failure, once for each rule that broke: who was connected where, what
 * was seen and is outstanding and since when, and what every node says of itself just then. One failure in many runs
 * has to be judged from its log alone.
 */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Place, Sending, Stream, StreamEvent, Violation } from "./checker.ts";
import type { Server } from "./harness.ts";
import { type NodeSeen, nodeLines } from "./report.nodes.ts";

/** A message of somebody, and when it was said and first answered, by `performance.now()`. */
export interface Said extends Sending {
  readonly saidAtMs: number;
  /** Undefined while it is outstanding. */
  readonly answeredAtMs: number | undefined;
}

/** What somebody in a drill knows. */
export interface Testimony {
  readonly id: string;
  /** The node it is connected to; undefined while it is away. */
  readonly node: number | undefined;
  /** Since when it is there or away, by `performance.now()`. */
  readonly sinceMs: number;
  readonly connections: number;
  readonly streams: readonly Stream[];
  readonly said: readonly Said[];
  /** What else it met: refusals, ends of connections, faults. */
  readonly notes: readonly string[];
}

/** All there is to tell. */
export interface Scene {
  readonly people: readonly Testimony[];
  readonly rooms: readonly string[];
  readonly nodes: readonly NodeSeen[];
  /** Of stores and what stands before them. */
  readonly notes: readonly string[];
}

/** The scene of a drill of one node: its first process, which knows of those restarted from it. */
export function sceneOfOne(first: Server, seen: Partial<Scene>): Scene {
  const nodes = [{ label: "0", server: first.newest, lives: first.lives }];
  return { people: [], rooms: [], notes: [], ...seen, nodes };
}

/** Reports of one drill, lines of each, and characters of a line. */
const REPORTS_MOST = 3;
const LINES_MOST = 150;
const LINE_CHARACTERS = 360;
/** Of these, lines of one room's people and of messages; rooms; places; failures of one rule. */
const PEOPLE_SHOWN = 12;
const SAID_SHOWN = 8;
const ROOMS_SHOWN = 4;
const PLACES_SHOWN = 8;
const WHY_SHOWN = 3;
/** What somebody heard last, steps of a stream. */
const STEPS_SHOWN = 8;

const show = (place: Place | undefined): string => (place ? `(${place.offset}, term ${place.term})` : "nowhere");

/** The report of one drill. */
export class Report {
  readonly #scene: () => Scene;
  readonly #say: (line: string) => void;
  /** Failures of this turn, and rules that were told before. */
  #why: Violation[] = [];
  readonly #rules = new Set<string>();
  #reports = 0;
  #told = Promise.resolve();

  /** `scene` is asked in the turn after a failure. */
  constructor(scene: () => Scene, say: (line: string) => void) {
    this.#scene = scene;
    this.#say = say;
  }

  /** A failure: with those of its turn it makes a report, unless its rule was told before. */
  broke(rule: string, what: string): void {
    if (this.#rules.has(rule) || this.#reports >= REPORTS_MOST) return;
    this.#why.push({ rule, what });
    if (this.#why.length > 1) return;
    const told = new Promise((resolve) => setImmediate(resolve))
      .then(() => this.#tell())
      .catch((error: Error) => this.#say(`  | The report itself failed: ${error.stack}`));
    this.#told = Promise.all([this.#told, told]).then(() => undefined);
  }

  /** Runs a drill on what the report is of; all is told, if anything broke, before this answers or rejects. */
  async watch(drill: () => Promise<Violation[]>): Promise<Violation[]> {
    try {
      const broken = await drill();
      for (const { rule, what } of broken) this.broke(rule, what);
      return broken;
    } catch (error) {
      this.broke("broken off", (error as Error).message);
      throw error;
    } finally {
      await this.#told;
      if (this.#reports > 0) await this.#keepLogs();
    }
  }

  async #tell(): Promise<void> {
    const violations = this.#why;
    this.#why = [];
    this.#reports++;
    for (const { rule } of violations) this.#rules.add(rule);
    const why = chosen(violations);
    const scene = this.#scene();
    const lines = [`What was known when this broke, at ${new Date().toISOString()}:`, ...why];
    if (violations.length > why.length) lines.push(`and ${violations.length - why.length} more`);
    // Everything that this process knows is taken in this turn; the nodes answer later.
    const rooms = concernedRooms(scene, cluesOf(why));
    const stands = rooms.flatMap((room) => roomLines(scene.people, room, cluesOf(why)));
    const said = saidLines(scene, cluesOf([...why, ...stands]));
    lines.push(...peopleLines(scene), ...stands, ...said, ...scene.notes);
    const concerned = asking(scene, rooms);
    const nodes = await Promise.all(scene.nodes.map((node) => nodeLines(node, concerned)));
    lines.push(...nodes.flat());
    for (const line of lines.slice(0, LINES_MOST)) this.#say(`  | ${line.slice(0, LINE_CHARACTERS)}`);
    if (lines.length > LINES_MOST) this.#say(`  | and ${lines.length - LINES_MOST} more lines`);
  }

  /** Keeps all that the nodes wrote in a folder, for whoever can reach it. */
  async #keepLogs(): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "confab-drill-logs-"));
    for (const [at, { lives }] of this.#scene().nodes.entries())
      for (const [life, lines] of lives.entries())
        await writeFile(join(folder, `node-${at}.${life}.log`), `${lines.join("\n")}\n`);
    this.#say(`  what the nodes wrote is kept in ${folder}`);
  }
}

/** Some of each rule: the first thing that is amiss often makes a hundred others so. */
function chosen(violations: readonly Violation[]): readonly string[] {
  const times = new Map<string, number>();
  return violations.flatMap(({ rule, what }) => {
    const before = times.get(rule) ?? 0;
    times.set(rule, before + 1);
    return before < WHY_SHOWN ? [`${rule}: ${what}`] : [];
  });
}

/** Room → somebody who may ask about it. */
function asking(scene: Scene, rooms: readonly string[]): ReadonlyMap<string, string> {
  const inside = (room: string): string | undefined => scene.people.find((one) => streamOf(one, room))?.id;
  return new Map(rooms.flatMap((room) => [[room, inside(room) ?? ""] as const]).filter(([, id]) => id !== ""));
}

const streamOf = ({ streams }: Testimony, room: string): Stream | undefined =>
  streams.find((stream) => stream.room === room);

const outstanding = ({ said }: Testimony): readonly Said[] => said.filter((one) => one.answeredAtMs === undefined);

/** The time since then. */
function since(atMs: number): string {
  return `${((performance.now() - atMs) / 1_000).toFixed(1)} s`;
}

/** How many for each word, the most first. */
function counted(words: readonly string[]): string {
  const times = new Map<string, number>();
  for (const word of words) times.set(word, (times.get(word) ?? 0) + 1);
  const sorted = [...times].sort(([, a], [, b]) => b - a);
  return sorted.map(([word, count]) => `${word}: ${count}`).join(", ") || "none";
}

/** What failures say, and whom and what they name. */
interface Clues {
  readonly texts: readonly string[];
  readonly words: ReadonlySet<string>;
}

/** A word with dashes names its beginnings, too: a message's key its sender. */
function cluesOf(texts: readonly string[]): Clues {
  const words = new Set<string>();
  for (const text of texts)
    for (const [whole] of text.matchAll(/\w[\w-]*/g))
      for (let end = whole.length; end > 0; end = whole.lastIndexOf("-", end - 1)) words.add(whole.slice(0, end));
  return { texts, words };
}

/** Rooms that a failure names, else those with the oldest messages without an answer. */
function concernedRooms(scene: Scene, { words }: Clues): readonly string[] {
  const rooms = scene.rooms.filter((room) => words.has(room));
  if (rooms.length > 0) return rooms.slice(0, ROOMS_SHOWN);
  const waiting = scene.people.flatMap(outstanding).sort((a, b) => a.saidAtMs - b.saidAtMs);
  return [...new Set(waiting.map(({ room }) => room))].slice(0, ROOMS_SHOWN);
}

function peopleLines({ people }: Scene): readonly string[] {
  const away = people.filter(({ node }) => node === undefined).sort((a, b) => a.sinceMs - b.sinceMs);
  const where = people.map(({ node }) => (node === undefined ? "away" : `node ${node}`));
  const longest = away.slice(0, SAID_SHOWN).map(({ id, sinceMs }) => `${id} for ${since(sinceMs)}`);
  return [
    `${people.length} people by node: ${counted(where)}`,
    ...(away.length > 0 ? [`longest away, left: ${longest.join(", ")}`] : []),
    `what they met: ${counted(people.flatMap(({ notes }) => notes))}`,
  ];
}

/** Messages without an answer, the oldest first, and those that a failure names, or a place that it points to. */
function saidLines({ people }: Scene, { words }: Clues): readonly string[] {
  const waiting = people.flatMap(outstanding).sort((a, b) => a.saidAtMs - b.saidAtMs);
  const meant = people
    .flatMap(({ said }) => said.filter(({ key }) => words.has(key)))
    .sort((a, b) => offsetOf(a) - offsetOf(b));
  return [
    `${waiting.length} messages without an answer, by room: ${counted(waiting.map(({ room }) => room))}`,
    ...waiting.slice(0, SAID_SHOWN).map((one) => `  ${one.key} in ${one.room}, said ${since(one.saidAtMs)} ago`),
    ...meant.slice(0, SAID_SHOWN).map((one) => {
      const answers = [...one.stored, ...one.accepted].map(show).join(" ");
      const answered = one.answeredAtMs === undefined ? "not answered" : `answered ${since(one.answeredAtMs)} ago`;
      return `named: ${one.key} in ${one.room}, said ${since(one.saidAtMs)} ago, ${answered} ${answers}`;
    }),
  ];
}

const offsetOf = ({ stored, accepted }: Said): number => (stored[0] ?? accepted[0])?.offset ?? 0;

/** Where everybody in a room stands; and each of them who is named, waits or is behind. */
function roomLines(people: readonly Testimony[], room: string, clues: Clues): readonly string[] {
  const inside = people.flatMap((one) => {
    const stream = streamOf(one, room);
    if (!stream) return [];
    const { events } = stream;
    const waiting = outstanding(one).filter((said) => said.room === room);
    const unanswered = events.at(-1)?.kind === "subscribe";
    return [{ one, events, at: standing(events), waiting, unanswered, meant: clues.words.has(one.id) }];
  });
  const most = inside.reduce((top, { at }) => Math.max(top, at?.offset ?? 0), 0);
  const amiss = inside.flatMap((each) => {
    const behind = most - (each.at?.offset ?? 0);
    const weight = behind + each.waiting.length + (each.unanswered ? 1 : 0) + (each.meant ? 2 * most + 1 : 0);
    return weight > 0 ? [{ ...each, weight }] : [];
  });
  const shown = amiss.sort((a, b) => b.weight - a.weight).slice(0, PEOPLE_SHOWN);
  const silent = inside.filter(({ unanswered }) => unanswered).length;
  return [
    `room ${room}: ${inside.length} people, ${silent} without an answer to SUBSCRIBE; they stand at ${counted(inside.map(({ at }) => show(at)))}`,
    ...placeLines(inside, clues),
    ...shown.flatMap(({ one, events, at, waiting, unanswered, meant }) => {
      const place = one.node === undefined ? "away" : `at node ${one.node}`;
      const oldest = waiting[0] ? `, ${waiting.length} messages unanswered for ${since(waiting[0].saidAtMs)}` : "";
      const asked = unanswered ? ", SUBSCRIBE unanswered" : "";
      const line = `  ${one.id} ${place} for ${since(one.sinceMs)}, stands at ${show(at)}${oldest}${asked}`;
      return meant ? [line, `    heard last: ${steps(events).slice(-STEPS_SHOWN).join("; ")}`] : [line];
    }),
    ...(amiss.length > shown.length ? [`  and ${amiss.length - shown.length} more who wait or are behind`] : []),
  ];
}

/** What people were shown at the offsets that a failure names, the first of which is amiss more often than the others. */
function placeLines(inside: readonly { readonly events: readonly StreamEvent[] }[], { texts }: Clues): string[] {
  const found = texts.flatMap((text) => [...text.matchAll(/\((\d+), term \d+\)/g)].map(([, offset]) => Number(offset)));
  const first = [...new Set(found)].sort((a, b) => a - b).slice(0, PLACES_SHOWN);
  return first.map((offset) => {
    const shown = inside.flatMap(({ events }) =>
      events.flatMap((event) => (event.kind === "entry" && event.item.offset === offset ? [event.item] : [])),
    );
    return `  shown at ${offset}: ${counted(shown.map((item) => `${show(item)} ${item.event} ${item.key}`))}`;
  });
}

/** Where somebody stands after all they heard. */
function standing(events: readonly StreamEvent[]): Place | undefined {
  for (let at = events.length - 1; at >= 0; at--) {
    const event = events[at] as StreamEvent;
    if (event.kind === "entry") return event.item;
    if (event.kind === "head" || (event.kind === "resumed" && !event.recovered)) return event.head;
    if (event.kind === "subscribe" && event.after) return event.after;
  }
  return undefined;
}

/** What somebody heard, entries in a row as one step. */
function steps(events: readonly StreamEvent[]): readonly string[] {
  const told: string[] = [];
  let first: Place | undefined;
  for (const [at, event] of events.entries()) {
    if (event.kind === "subscribe") told.push(`SUBSCRIBE after ${show(event.after)}`);
    else if (event.kind === "head") told.push(`RECEIPT, head ${show(event.head)}`);
    else if (event.kind === "resumed") told.push(`recovered: ${event.recovered}, head ${show(event.head)}`);
    else {
      const { item } = event;
      const next = events[at + 1];
      first ??= item;
      if (next?.kind === "entry" && next.item.offset === item.offset + 1 && next.item.term === item.term) continue;
      told.push(first === item ? show(item) : `${show(first)} to ${show(item)}`);
      first = undefined;
    }
  }
  return told;
}
