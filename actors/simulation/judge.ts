/**
 * What a cluster promised (design 2, protocol), judged on what its stores and clients saw. The first breach
 * stays; nothing is thrown into the engine, which might take it for a fault of its own.
 */
import { Buffer } from "node:buffer";
import type { Pack } from "../bus.ts";
import type { Entry, Position } from "../entry.ts";
import { type Asked, checkLog, checkOnce, checkOrder, checkStored, place } from "../promises.checks.ts";
import { memberOf } from "../room.state.ts";
import { accessBreach } from "./judge.access.ts";
import type { Stream } from "./judge.stream.ts";
import type { Witness } from "./redis.handle.ts";
import type { Story } from "./story.ts";

/** A SEND, and what became of it. */
export interface Sent extends Asked {
  /** When it was sent, ms of the world. */
  readonly sentMs: number;
  /** Whether a RECEIPT was asked for. */
  readonly receipted: boolean;
  /** Of a private message: whom it is for. Its room is known from its RECEIPT on. */
  readonly other: string | undefined;
  room: string;
  refused: string | undefined;
}

/** Judges one run. */
export class Judge implements Witness {
  readonly #story: Story;
  readonly #claims = new Map<string, string>();
  readonly #accepted = new Set<string>();
  /** Keys of what was ever decided, by place. */
  readonly #keys = new Map<string, string>();
  readonly #logs = new Map<string, Entry[]>();
  readonly #streams: Stream[] = [];
  readonly #sent: Sent[] = [];
  /** The direct rooms, by their users. */
  readonly #directs = new Map<string, string>();
  /** When members were first decided, by place, ms of the world. */
  readonly #membersMs = new Map<string, number>();
  /** Private rooms: only members may write there. */
  readonly closedRooms = new Set<string>();
  /** The hot log lost data. */
  lossy = false;
  /** The first breach. */
  breach: string | undefined;

  constructor(story: Story) {
    this.#story = story;
  }

  /** A promise is broken. */
  breaks(what: string): void {
    if (this.breach !== undefined) return;
    this.breach = what;
    this.#story.say("judge", `BROKEN: ${what}`);
  }

  #require(holds: boolean, what: () => string): void {
    if (!holds) this.breaks(what());
  }

  // ─── What the stores see ───

  claimed(node: string, shard: number, term: number): void {
    this.#story.say(node, `claims term ${term} of shard ${shard}`);
    this.#require(!this.#claims.has(`${shard}/${term}`), () => `term ${term} of shard ${shard} was given twice`);
    this.#claims.set(`${shard}/${term}`, node);
  }

  fenced(node: string, shard: number, term: number): void {
    this.#story.say(node, `takes shard ${shard} under term ${term}`);
    const claimant = this.#claims.get(`${shard}/${term}`);
    this.#require(claimant === node, () => `${node} took shard ${shard} under term ${term}, claimed by ${claimant}`);
  }

  accepted(node: string, shard: number, packs: readonly Pack[]): void {
    for (const { entries } of packs) {
      const [first, last] = [entries[0] as Entry, entries[entries.length - 1] as Entry];
      this.#story.say(node, `logs ${first.room} ${first.offset}-${last.offset} under term ${last.term}`);
      for (const entry of entries) {
        this.#decidedBy(node, shard, entry);
        this.#decidedOnce(entry);
        this.#accepted.add(place(entry));
      }
    }
  }

  /** What a hot log begins behind is stored: else no owner to come could find it. */
  begun(node: string, { room, prevTerm, entries }: Pack): void {
    const first = entries[0] as Entry;
    const before = { room, offset: first.offset - 1, term: prevTerm };
    const whole = before.offset === 0 || this.isDurable(before);
    this.#require(whole, () => `${node} begins the hot log with ${place(first)}, and what is before is not stored`);
  }

  /** One writer per term: an entry is decided by the node that claimed its term. */
  #decidedBy(node: string, shard: number, entry: Entry): void {
    const claimant = this.#claims.get(`${shard}/${entry.term}`);
    this.#require(claimant === node, () => `${place(entry)} was decided by ${node}, its term claimed by ${claimant}`);
  }

  /** Within a term an offset is never given to another message (protocol, one SEND, step 4). */
  #decidedOnce(entry: Entry): void {
    const key = this.#keys.get(place(entry));
    if (key === undefined) {
      this.#keys.set(place(entry), entry.key);
      if (entry.event === "member") this.#membersMs.set(place(entry), this.#story.nowMs);
    } else this.#require(key === entry.key, () => `${place(entry)} was given to ${key} and to ${entry.key}`);
  }

  /** Told of each entry as the archive takes it; `shard` is the room's. */
  durable(node: string, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const log = this.logOf(entry.room);
      const last = log[log.length - 1];
      log.push(entry);
      this.#decidedOnce(entry);
      this.#require(entry.offset === (last?.offset ?? 0) + 1, () => `${place(entry)} is stored after ${last?.offset}`);
      this.#require(entry.term >= (last?.term ?? 0), () => `the term falls from ${last?.term} at ${place(entry)}`);
      this.#require(entry.prevTerm === (last?.term ?? 0), () => `the chain is broken at ${place(entry)}`);
    }
    const [first, last] = [entries[0], entries[entries.length - 1]];
    if (first && last) this.#story.say(node, `stores ${place(first)} to ${place(last)}, ${entries.length}`);
  }

  /** A room's log as far as it is stored. */
  logOf(room: string): Entry[] {
    let log = this.#logs.get(room);
    if (!log) {
      log = [];
      this.#logs.set(room, log);
    }
    return log;
  }

  /** Rooms with a log. */
  get rooms(): Iterable<string> {
    return this.#logs.keys();
  }

  // ─── What nodes say to clients ───

  isDurable(entry: { readonly room: string } & Position, key?: string): boolean {
    const there = this.#logs.get(entry.room)?.[entry.offset - 1];
    return there?.term === entry.term && (key === undefined || there.key === key);
  }

  #isAccepted(entry: Entry): boolean {
    return this.#accepted.has(place(entry)) || this.isDurable(entry);
  }

  /** A node shows an entry. */
  showing(node: string, entry: Entry): void {
    this.#require(this.#isAccepted(entry), () => `${node} shows ${place(entry)} before it was accepted`);
  }

  /** A node answers a SEND. */
  receipting(node: string, sent: Sent, entry: Entry | undefined): void {
    if (!entry) return this.breaks(`${node} answers a SEND of ${sent.body} with no entry`);
    if (sent.other !== undefined) this.#direct(sent, entry.room);
    const name = (): string => `${node} receipts ${sent.body} as ${place(entry)}`;
    if (sent.level === "accepted") {
      this.#require(this.#isAccepted(entry), () => `${name()} before it was accepted`);
      return;
    }
    const key = sent.id === undefined ? undefined : `c/${sent.id}`;
    this.#require(this.isDurable({ ...entry, room: sent.room }, key), () => `${name()}, which is not stored`);
  }

  /** Two users have one direct room. */
  #direct(sent: Sent, room: string): void {
    const pair = [sent.user, sent.other].sort().join(" ");
    const known = this.#directs.get(pair);
    this.#require(known === undefined || known === room, () => `${pair} have the direct rooms ${known} and ${room}`);
    this.#directs.set(pair, room);
    this.closedRooms.add(room);
    sent.room = room;
  }

  // ─── What clients do ───

  sent(sent: Sent): void {
    this.#sent.push(sent);
  }

  /** SENDs that no answer came for. */
  get unanswered(): readonly Sent[] {
    return this.#sent.filter((one) => one.receipted && one.answers === 0 && one.refused === undefined);
  }

  opened(stream: Stream): void {
    this.#streams.push(stream);
  }

  /** What was sent, for figures. */
  get counts(): { readonly sends: number; readonly streams: number; readonly entries: number } {
    let entries = 0;
    for (const log of this.#logs.values()) entries += log.length;
    return { sends: this.#sent.length, streams: this.#streams.length, entries };
  }

  // ─── What must hold in the end ───

  /** Judges the whole, once everything is stored. `logs` are what the archive holds, by room. */
  end(logs: ReadonlyMap<string, readonly Entry[]>): void {
    for (const [room, log] of logs) {
      const seen = this.#logs.get(room)?.length ?? 0;
      this.#require(seen === log.length, () => `the archive holds ${log.length} entries of ${room}, it took ${seen}`);
      const asked = this.#sent.filter((one) => one.room === room);
      this.#holds(() => checkLog(log));
      this.#holds(() => checkOnce(log, asked));
      this.#holds(() => checkStored(log, asked));
      const refused = refusedBreach(log, asked);
      if (refused !== undefined) this.breaks(refused);
      this.#holds(() => checkOrder(log.filter((entry) => !this.#saidBeforeAdmission(log, entry))));
      const access = this.closedRooms.has(room) ? accessBreach(log) : undefined;
      if (access !== undefined) this.breaks(access);
    }
    for (const stream of this.#streams) {
      const broken = stream.judge(logs.get(stream.room) ?? [], { lossy: this.lossy });
      if (broken !== undefined) this.breaks(broken);
    }
  }

  /**
   * Whether a message was sent before its sender was added to the room (again): the owner may have refused it, and
   * that refusal be lost with the owner. Then the next owner decides it anew, behind what was sent since.
   */
  #saidBeforeAdmission(log: readonly Entry[], { room, offset, event, sender, body }: Entry): boolean {
    if (event !== "message" || !this.closedRooms.has(room)) return false;
    const text = Buffer.from(body).toString();
    const sent = this.#sent.find((one) => one.room === room && one.body === text);
    return log.slice(0, offset - 1).some((entry) => {
      const member = memberOf(entry);
      const added = member?.user === sender && member.role !== "none";
      return added && sent !== undefined && (this.#membersMs.get(place(entry)) ?? 0) > sent.sentMs;
    });
  }

  /** Tells the logs as they are stored, for the story of a run that broke. */
  tellLogs(): void {
    for (const [room, log] of this.#logs) {
      for (const { offset, term, event, sender, key, body } of log) {
        const text = event === "message" || event === "member" ? Buffer.from(body).toString() : event;
        this.#story.say("log", `${room} ${offset}.${term} ${sender} ${key}: ${text}`);
      }
    }
  }

  #holds(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.breaks((error as Error).message.split("\n")[0] as string);
    }
  }
}

/** A SEND that was refused and is on the log all the same. */
function refusedBreach(log: readonly Entry[], asked: readonly Sent[]): string | undefined {
  const bodies = new Map<string, Entry>();
  for (const entry of log) if (entry.event === "message") bodies.set(Buffer.from(entry.body).toString(), entry);
  for (const { refused, body } of asked) {
    const there = refused === undefined ? undefined : bodies.get(body);
    if (there) return `${body} was refused (${refused}) and stands at ${place(there)}`;
  }
  return undefined;
}
