/**
 * SENDs of this node to rooms that other nodes own: one first-in-first-out line per room (protocol, rule 8).
 *
 *   post ─→ line ─(end of turn)→ sends ─→ owner's landings ─→ room
 *   reply ←── accepted, stored, refused ←── answers ←──┘
 *
 * Why sending again never changes the order in which new ones are decided:
 * 1. A parcel is a run of numbers of one line. The owner gives its room number n only after it gave it n − 1, or
 *    where the parcel begins with the oldest number that has no last answer: what is before it is stored, or
 *    refused for good. So a room is given a line in order, and nothing of it is given to a room before all that
 *    is older was given to it, is on the log, or is refused for good.
 * 2. A room decides in the order it is given, and decides again in that order what the hot log did not take. So
 *    what is on the log of a line, or given to the room, has no gap but for what was refused for good.
 * 3. What is sent again is known to the owner by its number, and then only answered; or, where the owner knows
 *    nothing of the line (another owner, or one that forgot it), the line begins again with all that is
 *    unanswered: what of it is on the log or given to the room is met by its key, and by 2 comes before the rest.
 * 4. A word that comes late decides nothing: of a number the owner had (only answered), of a line that ended (not
 *    heard), under another term than the owner's, or of a line that the owner forgot: then the line begins anew
 *    under another number, and what is answered for the one before is not heard by its edge.
 * 5. A refusal that is not for good (the room reopens, or there is no place or store to find out whether what may
 *    be on the log is) sets the owner back to that number, unless its room has later ones in hand: nothing later
 *    is given to the room before it.
 * 6. A line has one source: what an owner that lost its room has of other nodes' lines it leaves to them.
 * 7. A refusal for good that the edge does not hear before its line begins anew is lost. But by 2 what has no
 *    place, and stood before what has one, was refused: the edge notes it (`passed`), and an owner sees it of what
 *    comes again together (`resent`). It is refused again, and never decided after what followed it.
 * What remains: of a line of which more than one word comes again, unheard, an owner sees 7 in each word alone.
 */
import type { Bus } from "./bus.ts";
import type { Clock, Timer } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Counters } from "./counters.ts";
import { isRoomId, type Position } from "./entry.ts";
import { Landed } from "./landings.ts";
import type { Limits } from "./limits.ts";
import { entryOf, Line, type LineItem, lineItem } from "./line.ts";
import { LinesOutbox } from "./lines.outbox.ts";
import type { Log } from "./log.ts";
import {
  answerAccepted,
  answerRefused,
  answerStored,
  type Draft,
  type Posting,
  type Reply,
  repliesOf,
} from "./posting.ts";
import { ReopeningRefusal } from "./reopening.ts";
import type { Answer, Answers } from "./words.ts";

/** What the lines need of their node. */
export interface LinesHost {
  readonly name: string;
  readonly bus: Pick<Bus, "tell">;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly counters: Counters;
  /** The owner of a room, this node's own name included; undefined while nobody is known. */
  ownerOf(room: string): string | undefined;
  shardIndexOf(room: string): number;
  /** The highest term heard of under which a shard is owned. */
  ownerTerm(shard: number): number;
  /** Gives postings to the room that is owned here now, in order, before anything new. */
  repostHere(room: string, postings: readonly Posting[]): void;
}

/** How often lines are looked after, ms. */
const SWEEP_MS = 100;
/** Pause before what was not accepted is sent again, ms; it doubles up to the longest. */
const RETRY_MS = { first: 500, longest: 4_000 } as const;
/** The same before the owner gets again what it asked for a second time, ms. */
const BACK_MS = 100;
/** Pause before a missing `stored` is asked for, ms; it doubles up to the longest. */
const ASK_MS = { first: 2_000, longest: 10_000 } as const;

/** All lines of one node. */
export class Lines {
  readonly #host: LinesHost;
  readonly #lines = new Map<string, Line>();
  readonly #shards = new Map<number, Set<Line>>();
  #touched: Line[] = [];
  /** Number of the last line; above those of an earlier process of this name. */
  #number: number;
  #sweeping: Timer | undefined;
  /** SENDs in all lines without their last answer, and their bytes. */
  waiting = 0;
  bytes = 0;

  constructor(host: LinesHost) {
    this.#host = host;
    this.#number = host.clock.now();
  }

  /** SENDs that were sent more than once, each time counted. */
  get resent(): number {
    return this.#host.counters.resent;
  }

  /** Rooms with a line. */
  get size(): number {
    return this.#lines.size;
  }

  /** Whether postings of the room are unanswered here: what is new must not overtake them. */
  has(room: string): boolean {
    return this.#lines.has(room);
  }

  /** Forwards a posting to the room's owner; its reply hears the outcome. Refused with `queue-full` beyond the bound. */
  post(room: string, posting: Posting): void {
    if (!isRoomId(room)) return answerRefused(posting, new Refusal("room-not-found"));
    const { limits, name } = this.#host;
    const item = lineItem(posting, { again: false });
    const line = this.#lines.get(room);
    if (!line && this.#host.ownerOf(room) === name) return this.#host.repostHere(room, [posting]);
    if (this.waiting >= limits.lineEntries || this.bytes + item.bytes > limits.lineBytes) {
      return answerRefused(posting, new Refusal("queue-full", undefined, 1_000));
    }
    this.#count(item);
    const to = line ?? this.#begin(room);
    to.push(item);
    this.#touch(to);
  }

  /**
   * Takes back postings of a room that was closed here, in order, before anything new. Their places in the
   * writer's bound were given back; here they have one beyond any bound, as they may be on the log. What
   * another node forwarded to this one stays in that node's line, which leads to the next owner: one order.
   */
  repost(room: string, postings: readonly Posting[]): void {
    const items: LineItem[] = [];
    for (const posting of postings) {
      const ours = ownOf(posting);
      if (ours) items.push(lineItem(cleared(ours), { again: true }));
    }
    if (items.length === 0) return;
    const line = this.#lines.get(room) ?? this.#begin(room);
    for (const item of items) this.#count(item);
    line.restart(++this.#number, line.to, items);
    this.#turnTo(line, this.#host.ownerOf(room));
  }

  /** The owner of a shard is another, owns it anew, or is not known any more. */
  ownerChanged(shard: number): void {
    for (const line of [...(this.#shards.get(shard) ?? [])]) this.#turnTo(line, this.#host.ownerOf(line.room));
  }

  /** Answers of an owner. */
  onAnswers(from: string, lines: readonly Answers[]): void {
    for (const { room, line: number, answers, expected, astray } of lines) {
      const line = this.#lines.get(room);
      if (line?.number !== number || line.to !== from) continue;
      for (const answer of answers) this.#answered(line, answer);
      if (astray) this.#hold(line);
      else if (expected !== undefined) this.#expected(line, expected);
      if (line.empty) this.#end(line);
      else if (line.open) this.#touch(line);
    }
  }

  /** Forgets all lines without an answer; the process ends. */
  stop(): void {
    if (this.#sweeping) this.#host.clock.cancel(this.#sweeping);
    this.#sweeping = undefined;
    for (const line of [...this.#lines.values()]) this.#end(line);
  }

  // ─── The life of a line ───

  #begin(room: string): Line {
    const shardIndex = this.#host.shardIndexOf(room);
    const line = new Line(room, shardIndex, ++this.#number, () => this.#host.ownerTerm(shardIndex));
    line.to = this.#host.ownerOf(room);
    this.#lines.set(room, line);
    const shard = this.#shards.get(line.shard);
    if (shard) shard.add(line);
    else this.#shards.set(line.shard, new Set([line]));
    this.#sweeping ??= this.#host.clock.after(SWEEP_MS, () => this.#sweep());
    return line;
  }

  #end(line: Line): void {
    for (const item of line.unanswered()) this.#uncount(item);
    this.#lines.delete(line.room);
    const shard = this.#shards.get(line.shard);
    shard?.delete(line);
    if (shard?.size === 0) this.#shards.delete(line.shard);
  }

  #count(item: LineItem): void {
    this.waiting++;
    this.bytes += item.bytes;
  }

  #uncount(item: LineItem): void {
    this.waiting--;
    this.bytes -= item.bytes;
  }

  /** All that is unanswered goes to another owner, in order; to the room itself when that is this node. */
  #turnTo(line: Line, owner: string | undefined): void {
    if (owner === this.#host.name) {
      const items = line.leftOver();
      this.#end(line);
      // What was found in a hot log, or came from other nodes that are gone, is in no order with what is our own.
      const own = (item: LineItem) => item.again && repliesOf(item.posting).some((one) => !(one instanceof Landed));
      const resent = items.filter(own).map(({ posting }) => posting.draft);
      // What nobody was sent is on no log.
      const postings = items.map((item) =>
        item.again ? cleared(item.posting, own(item) ? resent : undefined) : item.posting,
      );
      return this.#host.repostHere(line.room, postings);
    }
    line.restart(++this.#number, owner);
    this.#touch(line);
  }

  // ─── Sending ───

  #touch(line: Line): void {
    if (line.touched) return;
    line.touched = true;
    this.#touched.push(line);
    if (this.#touched.length === 1) this.#host.clock.endOfTurn(() => this.#flush());
  }

  /** One word to each owner with the parcels of all lines, or as many as their bytes need. */
  #flush(): void {
    const lines = this.#touched;
    this.#touched = [];
    const { bus, clock, counters } = this.#host;
    const outbox = new LinesOutbox(bus, counters);
    const now = clock.monotonic();
    for (const line of lines) {
      line.touched = false;
      if (line.to === undefined || line.heldUntil > 0 || this.#lines.get(line.room) !== line) continue;
      if (!line.oldestSent()) line.quietAt = now;
      for (let next = line.take(); next; next = line.take()) outbox.put(line.to, next);
    }
    outbox.leave();
  }

  // ─── Answers ───

  #answered(line: Line, answer: Answer): void {
    const item = line.at(answer.at);
    if (!item) return;
    const { clock } = this.#host;
    const { posting } = item;
    if (answer.what !== "refused") line.place(item);
    if (answer.what === "accepted") {
      if (!line.accept(item, clock.monotonic())) return;
      this.#news(line);
      return this.#tellAccepted(item, line.room, answer);
    }
    line.finish(item);
    this.#uncount(item);
    this.#news(line);
    if (answer.what === "refused") {
      const { code, detail, retryAfterMs } = answer;
      return this.#guard(() => answerRefused(posting, new Refusal(code, detail, retryAfterMs)));
    }
    line.asks = 0;
    this.#tellAccepted(item, line.room, answer);
    this.#guard(() => answerStored(posting));
  }

  #tellAccepted(item: LineItem, room: string, { offset, term }: Position): void {
    const { posting } = item;
    const { entry } = posting;
    if (entry?.offset !== offset || entry.term !== term) {
      posting.entry = entryOf(posting, room, { offset, term, at: this.#host.clock.now() });
    }
    if (item.told) return;
    item.told = true;
    this.#guard(() => answerAccepted(posting));
  }

  /** A fault of ours in the answer to one posting costs the others nothing. */
  #guard(answer: () => void): void {
    try {
      answer();
    } catch (error) {
      this.#host.log.error({ err: error }, "what became of a forwarded posting could not be told");
    }
  }

  /** The owner lives and goes on. */
  #news(line: Line): void {
    line.quietAt = this.#host.clock.monotonic();
    line.tries = 0;
  }

  /** The owner says that it is none: the right one will be known, or this one was too early to say so. */
  #hold(line: Line): void {
    line.heldUntil = this.#host.clock.monotonic() + pauseMs(RETRY_MS, line.tries++);
  }

  /** The owner has nothing from a number on; at first it gets it at once, then after pauses. */
  #expected(line: Line, number: number): void {
    if (number >= line.cursor) return;
    const now = this.#host.clock.monotonic();
    const to = line.at(number) ? number : 0;
    line.backTo = Math.min(to, line.backTo ?? to);
    if (line.tries === 0) return this.#back(line);
    line.backAt = line.quietAt + pauseMs({ first: BACK_MS, longest: RETRY_MS.longest }, line.tries - 1);
    if (line.backAt <= now) this.#back(line);
  }

  /** Goes back to what the owner asked for; it is answered meanwhile, or never was in the line: all begins anew. */
  #back(line: Line): void {
    const { tries } = line;
    const number = line.backTo as number;
    if (line.at(number)) line.goBack(number, { forgotten: true });
    else line.restart(++this.#number, line.to);
    this.#sentAgain(line, tries);
  }

  #sentAgain(line: Line, tries: number): void {
    line.backTo = undefined;
    line.tries = tries + 1;
    line.quietAt = this.#host.clock.monotonic();
    this.#touch(line);
  }

  // ─── Looking after them ───

  #sweep(): void {
    this.#sweeping = undefined;
    const { bus, clock, counters } = this.#host;
    const outbox = new LinesOutbox(bus, counters);
    const now = clock.monotonic();
    for (const line of [...this.#lines.values()]) this.#look(line, now, outbox);
    outbox.leave();
    if (this.#lines.size > 0) this.#sweeping = clock.after(SWEEP_MS, () => this.#sweep());
  }

  #look(line: Line, now: number, outbox: LinesOutbox): void {
    const owner = this.#host.ownerOf(line.room);
    if (owner !== line.to) return this.#turnTo(line, owner);
    if (owner === undefined) return;
    if (line.heldUntil > 0) {
      if (now < line.heldUntil) return;
      line.heldUntil = 0;
      line.goBack(0, { forgotten: true });
      return this.#sentAgain(line, line.tries);
    }
    if (line.backTo !== undefined) {
      if (now >= line.backAt) this.#back(line);
      return;
    }
    const sent = line.oldestSent();
    if (sent && now - line.quietAt >= pauseMs(RETRY_MS, line.tries)) {
      line.goBack(sent.number, { forgotten: false });
      this.#sentAgain(line, line.tries);
    }
    this.#askStored(line, now, outbox);
  }

  /** What was accepted long ago is asked about by its number, and where that is not known any more by its key. */
  #askStored(line: Line, now: number, outbox: LinesOutbox): void {
    const item = line.oldestAccepted();
    if (!item || now - Math.max(item.acceptedAt, line.askedAt) < pauseMs(ASK_MS, line.asks)) return;
    line.askedAt = now;
    line.asks++;
    const asked = line.ask();
    if (asked) outbox.put(line.to as string, asked);
  }
}

function pauseMs({ first, longest }: { readonly first: number; readonly longest: number }, doubled: number): number {
  return Math.min(longest, first * 2 ** Math.min(doubled, 16));
}

/** The posting as far as it came from this node; what lives in another node's line is set back there. */
export function ownOf(posting: Posting): Posting | undefined {
  const own: Reply[] = [];
  let forwarded = false;
  for (const reply of repliesOf(posting)) {
    if (reply instanceof Landed && reply.kept) {
      forwarded = true;
      reply.refused(new ReopeningRefusal());
    } else own.push(reply);
  }
  if (!forwarded) return posting;
  const [reply, ...joined] = own;
  return reply && { ...posting, reply, joined };
}

/** A posting as one that was decided before, or may have been. */
function cleared(posting: Posting, resent?: readonly Draft[]): Posting {
  posting.keyed = true;
  posting.again = true;
  posting.resent = resent;
  posting.entry = undefined;
  posting.derived = undefined;
  posting.bytes = 0;
  return posting;
}
