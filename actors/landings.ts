/**
 * SENDs of other nodes to rooms that this node owns: the other end of `lines.ts` (protocol, rule 8).
 *
 *   sends ─→ next in its line? ─→ room ─→ accepted, stored, refused ─(end of turn)→ answers
 *                 ├ had before: answered with what became of it
 *                 └ something is missing before it: expected
 *
 * Every posting is known by its key here, the edge's own included: what an edge sends may have been decided by
 * an owner before this one. Why the order of a line holds is written in `lines.ts`.
 */
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Refusal } from "./codes.ts";
import type { Counters } from "./counters.ts";
import type { Entry } from "./entry.ts";
import { type Draft, type Posting, posting, type Reply } from "./posting.ts";
import { mayPass, ReopeningRefusal } from "./reopening.ts";
import { type Answer, type Answers, isDraft, type Parcel } from "./words.ts";

/** What the landings need of their node. */
export interface LandingsHost {
  readonly name: string;
  readonly bus: Pick<Bus, "tell">;
  readonly clock: Clock;
  readonly counters: Counters;
  /** Whether this node owns the room's shard. */
  owns(room: string): boolean;
  /** The term under which it does. */
  termHere(room: string): number;
  /** Gives a posting to the room; its reply hears the outcome. */
  post(room: string, item: Posting): void;
}

/** How long what is known of a silent line is kept, ms: longer than an edge pauses before it asks again. */
const IDLE_MS = 60_000;

/** Edges whose last line is remembered; of more all are forgotten. */
const EDGES_MOST = 10_000;

/** One line as the owner of its room knows it. */
interface Landing {
  readonly edge: string;
  readonly room: string;
  readonly line: number;
  /** The next number. */
  expected: number;
  /** One above the highest that the room was given. */
  top: number;
  /** What the room was given and the edge may ask about, by number. */
  readonly landed: Map<number, Landed>;
  /** Monotonic ms of the last parcel. */
  usedAt: number;
  /** What leaves at the end of this turn. */
  leaving: Leaving | undefined;
  /** In this turn some of it was refused, and not for good. */
  passing: boolean;
  /** All that is known of it is said again in this turn. */
  repeated: boolean;
  /** Its edge lives no more, and will not send again. */
  gone: boolean;
}

type Leaving = { -readonly [name in keyof Answers]: Answers[name] } & { answers: Answer[] };

/** Answers for one edge, and the lines whose they are. */
interface Gathered {
  readonly lines: Leaving[];
  readonly landings: Landing[];
}

/** What the reply of a landed posting needs. */
interface LandedHost {
  say(landing: Landing, answer: Answer): void;
  /** Nothing came of a number, and something may: what follows it waits. */
  setBack(landing: Landing, number: number): void;
}

/** One posting of a line: hears what becomes of it, and remembers it for an edge that asks again. */
export class Landed implements Reply {
  readonly urgent: boolean;
  readonly patient = true;
  /** The last thing that was answered. */
  answer: Answer | undefined;
  /** It was refused, and not for good. */
  passing: Refusal | undefined;
  readonly #host: LandedHost;
  readonly #landing: Landing;
  readonly #number: number;
  readonly #again: boolean;

  constructor(host: LandedHost, landing: Landing, of: { number: number; urgent: boolean; again: boolean }) {
    this.#host = host;
    this.#landing = landing;
    this.#number = of.number;
    this.#again = of.again;
    this.urgent = of.urgent;
  }

  /** Whether its edge has it still, and sends it to the next owner by itself. */
  get kept(): boolean {
    return !this.#landing.gone;
  }

  get #done(): boolean {
    return this.answer !== undefined && this.answer.what !== "accepted";
  }

  accepted({ offset, term }: Entry): void {
    this.#say({ what: "accepted", at: this.#number, offset, term });
  }

  stored({ offset, term }: Entry): void {
    this.#say({ what: "stored", at: this.#number, offset, term });
  }

  refused(refusal: Refusal): void {
    if (this.#done) return;
    if (mayPass(refusal, this.#again)) {
      this.passing = refusal;
      this.#host.setBack(this.#landing, this.#number);
    } else this.#refuse(refusal);
  }

  /** Its number can not be expected again. */
  giveUp(): void {
    if (this.passing) this.#refuse(this.passing);
    this.passing = undefined;
  }

  #refuse({ code, detail, retryAfterMs }: Refusal): void {
    this.#say({ what: "refused", at: this.#number, code, detail, retryAfterMs });
  }

  #say(answer: Answer): void {
    if (this.#done) return;
    this.answer = answer;
    this.#host.say(this.#landing, answer);
  }
}

/** All lines that lead to this node. */
export class Landings implements LandedHost {
  readonly #host: LandingsHost;
  /** By room, then by edge: an edge has one line to a room. */
  readonly #rooms = new Map<string, Map<string, Landing>>();
  /** The highest number of any line that began here, by edge: an edge numbers all of its lines in one row. */
  readonly #begun = new Map<string, number>();
  /** By edge. */
  #leaving = new Map<string, Gathered>();
  #sweeping = false;

  constructor(host: LandingsHost) {
    this.#host = host;
  }

  /** Lines that are known here. */
  get size(): number {
    let size = 0;
    for (const edges of this.#rooms.values()) size += edges.size;
    return size;
  }

  /** SENDs of an edge. */
  onSends(from: string, parcels: readonly Parcel[]): void {
    for (const parcel of parcels) {
      // The room would ask for ever whether such a one was logged.
      if (parcel.drafts.every(isDraft)) this.#land(from, parcel);
    }
  }

  /** The room is not awake here any more. What was given to it is answered all the same. */
  forget(room: string): void {
    this.#rooms.delete(room);
  }

  /** A node lives no more. */
  gone(node: string): void {
    for (const [room, edges] of this.#rooms) {
      const landing = edges.get(node);
      if (landing) landing.gone = true;
      if (edges.delete(node) && edges.size === 0) this.#rooms.delete(room);
    }
  }

  #land(from: string, parcel: Parcel): void {
    const { room, first, oldest } = parcel;
    const termHere = this.#host.termHere(room);
    if (!this.#host.owns(room) || parcel.term > termHere) {
      this.#rooms.delete(room);
      this.#leave(from, parcel).astray = true;
      return;
    }
    // Others may have owned the room since, and decided or refused what this brings.
    if (parcel.term < termHere) return this.#anew(from, parcel);
    const landing = this.#find(from, parcel);
    if (!landing) return;
    if (first > landing.expected) {
      if (first > oldest) {
        this.#expect(landing);
        return;
      }
      landing.expected = first;
      landing.top = Math.max(landing.top, first);
    }
    for (const number of landing.landed.keys()) {
      if (number >= oldest) break;
      landing.landed.delete(number);
    }
    if (first < landing.expected) this.#repeat(landing);
    this.#take(landing, parcel);
  }

  /** A word that may be late decides nothing: what its edge still waits for comes again, in a line of another number. */
  #anew(from: string, parcel: Parcel): void {
    this.#leave(from, parcel).expected = 0;
  }

  /** The line as it is known here. One that is not begins with a fresh parcel; one that ended is not heard. */
  #find(from: string, parcel: Parcel): Landing | undefined {
    const { room, line, first, oldest } = parcel;
    let edges = this.#rooms.get(room);
    const known = edges?.get(from);
    const now = this.#host.clock.monotonic();
    if (known && known.line > line) return undefined;
    if (known?.line === line) {
      known.usedAt = now;
      return known;
    }
    // It may have begun before and been forgotten, with what it was refused, and this may be a late word of that time.
    if (line <= (this.#begun.get(from) ?? 0)) return void this.#anew(from, parcel);
    if (first > oldest) {
      this.#leave(from, { room, line }).expected = 1;
      return undefined;
    }
    const landing = landingOf(from, { room, line }, first);
    landing.usedAt = now;
    if (this.#begun.size >= EDGES_MOST) this.#begun.clear();
    this.#begun.set(from, line);
    if (!edges) {
      edges = new Map();
      this.#rooms.set(room, edges);
    }
    edges.set(from, landing);
    this.#sweepLater();
    return landing;
  }

  /** Gives the room what is next, as long as nothing of it is expected again. */
  #take(landing: Landing, { room, first, drafts, again, urgent, passed }: Parcel): void {
    // Among it may be what the edge found in a hot log as an owner: other edges' SENDs, in no order with its own.
    const resent = drafts
      .slice(0, again)
      .filter(({ key }) => !key.startsWith("e/") || key.startsWith(`e/${landing.edge}/`));
    let hurried = 0;
    for (const [at, draft] of drafts.entries()) {
      const number = first + at;
      const hurry = urgent[hurried] === at;
      if (hurry) hurried++;
      if (number < landing.expected) continue;
      if (number > landing.expected) return;
      landing.expected++;
      landing.top = Math.max(landing.top, landing.expected);
      const landed = new Landed(this, landing, { number, urgent: hurry, again: at < again });
      landing.landed.set(number, landed);
      this.#host.counters.landed++;
      const item = postingOf(draft, landed, at < again);
      item.passed = passed.includes(at);
      if (resent.includes(draft)) item.resent = resent;
      this.#host.post(room, item);
      // Where the line was set back the room may have some of what follows.
      if (landing.expected === number + 1) skipGiven(landing);
    }
  }

  /** The edge did not hear what became of some: all that is known of the line is said again. */
  #repeat(landing: Landing): void {
    if (landing.repeated) return;
    landing.leaving ??= this.#leave(landing.edge, landing, landing);
    landing.repeated = true;
    for (const { answer } of landing.landed.values()) if (answer) this.say(landing, answer);
  }

  setBack(landing: Landing, number: number): void {
    landing.expected = Math.min(landing.expected, number);
    landing.passing = true;
    this.#answersOf(landing);
  }

  /**
   * At the end of the turn it is seen what else was refused with it: what has nothing later in its room's hands
   * is expected again; else that would be decided first. Of a room that reopens nothing later is in its hands
   * but what is on the log.
   */
  #judge(landing: Landing): void {
    let expected = Math.min(landing.top, Math.max(landing.expected - 1, ...landing.landed.keys()) + 1);
    let free = true;
    for (let number = expected - 1; number >= landing.expected; number--) {
      const landed = landing.landed.get(number);
      if (!landed) expected = number;
      else if (!landed.passing) free &&= landed.answer?.what === "refused";
      else if (free || landed.passing instanceof ReopeningRefusal) {
        landing.landed.delete(number);
        expected = number;
      } else landed.giveUp();
    }
    landing.expected = expected;
    landing.passing = false;
    this.#expect(landing);
  }

  #expect(landing: Landing): void {
    this.#answersOf(landing).expected = landing.expected;
  }

  say(landing: Landing, answer: Answer): void {
    this.#answersOf(landing).answers.push(answer);
  }

  #answersOf(landing: Landing): Leaving {
    landing.leaving ??= this.#leave(landing.edge, landing, landing);
    return landing.leaving;
  }

  /** Answers for a line that leave at the end of this turn, with all others to the edge in one word. */
  #leave(edge: string, { room, line }: Pick<Answers, "room" | "line">, landing?: Landing): Leaving {
    const leaving: Leaving = { room, line, answers: [], expected: undefined, astray: false };
    let gathered = this.#leaving.get(edge);
    if (!gathered) {
      gathered = { lines: [], landings: [] };
      this.#leaving.set(edge, gathered);
      if (this.#leaving.size === 1) this.#host.clock.endOfTurn(() => this.#flush());
    }
    gathered.lines.push(leaving);
    if (landing) gathered.landings.push(landing);
    return leaving;
  }

  #flush(): void {
    const all = this.#leaving;
    this.#leaving = new Map();
    for (const [edge, { lines, landings }] of all) {
      for (const landing of landings) {
        if (landing.passing) this.#judge(landing);
        landing.leaving = undefined;
        landing.repeated = false;
      }
      this.#host.bus.tell(edge, { kind: "answers", lines });
    }
  }

  #sweepLater(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#host.clock.after(IDLE_MS / 2, () => this.#sweep());
  }

  /** Forgets lines that nothing came of for long; an edge that still waits begins anew. */
  #sweep(): void {
    this.#sweeping = false;
    const before = this.#host.clock.monotonic() - IDLE_MS;
    for (const [room, edges] of this.#rooms) {
      for (const [edge, { usedAt }] of edges) if (usedAt <= before) edges.delete(edge);
      if (edges.size === 0) this.#rooms.delete(room);
    }
    if (this.#rooms.size > 0) this.#sweepLater();
  }
}

function landingOf(edge: string, { room, line }: Pick<Parcel, "room" | "line">, expected: number): Landing {
  return {
    edge,
    room,
    line,
    expected,
    top: expected,
    landed: new Map(),
    usedAt: 0,
    leaving: undefined,
    passing: false,
    repeated: false,
    gone: false,
  };
}

/** The next number that is expected of a line that was set back: what the room has is not. */
function skipGiven(landing: Landing): void {
  for (;;) {
    const given = landing.landed.get(landing.expected);
    if (!given || given.passing) return;
    landing.expected++;
  }
}

function postingOf(draft: Draft, reply: Reply, again: boolean): Posting {
  const item = posting(draft, reply);
  item.keyed = true;
  // What the edge knew of the message that this is about did not travel.
  item.again = again || draft.ref > 0;
  return item;
}
