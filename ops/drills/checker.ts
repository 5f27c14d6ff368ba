/**
 * Judges what happened in a drill: compares all that clients sent, were promised and saw with the archive
 * at the end. Each rule is a promise of the design that one process can keep under SIGKILL.
 */

/** A place in a room's log. */
export interface Place {
  readonly offset: number;
  readonly term: number;
}

/** An entry as the archive shows it at the end, or as a client saw it. */
export interface Item extends Place {
  /** `message-id`. */
  readonly id: string;
  readonly event: string;
  readonly sender: string;
  /** The client's message id; empty when it has none. */
  readonly key: string;
  /** Digest of the body. */
  readonly body: string;
  readonly count: number;
  /** ms since 1970. */
  readonly atMs: number;
}

/** What a subscription told its client, in the order it came. */
export type StreamEvent =
  /** SUBSCRIBE was sent: from a place, or from now on. */
  | { readonly kind: "subscribe"; readonly after: Place | undefined }
  /** The RECEIPT of a SUBSCRIBE that started from now on. */
  | { readonly kind: "head"; readonly head: Place }
  | { readonly kind: "resumed"; readonly recovered: boolean; readonly head: Place }
  | { readonly kind: "entry"; readonly item: Item };

/** All that one client heard of one room, over all its connections. */
export interface Stream {
  readonly client: string;
  readonly room: string;
  readonly events: readonly StreamEvent[];
}

/** One message of a client, over all its tries. */
export interface Sending {
  readonly room: string;
  readonly sender: string;
  readonly key: string;
  /** Digests of the bodies sent under this key; the first that was decided is the message. */
  readonly bodies: readonly string[];
  /** Place among the sender's messages in the room, where order is promised. */
  readonly order: number | undefined;
  /** Answers that promised a place in the archive. */
  readonly stored: readonly Place[];
  /** Answers that promised a place in the order and no more. */
  readonly accepted: readonly Place[];
}

/** Everything there is to judge. */
export interface Story {
  /** Room → its whole archive, as REST pages it. */
  readonly archive: ReadonlyMap<string, readonly Item[]>;
  readonly streams: readonly Stream[];
  readonly sendings: readonly Sending[];
}

/** A broken promise. */
export interface Violation {
  /** A word per rule. */
  readonly rule: string;
  readonly what: string;
}

type Report = (rule: string, what: string) => void;

/** The duplicate window (promise 4). */
const WINDOW_MS = 600_000;
const WINDOW_MESSAGES = 10_000;

const show = (place: Place | undefined): string => (place ? `(${place.offset}, term ${place.term})` : "nothing");
const same = (a: Place | undefined, b: Place | undefined): boolean => a?.offset === b?.offset && a?.term === b?.term;
const keyOf = (room: string, sender: string, key: string): string => `${room}\n${sender}\n${key}`;

/** All broken promises of a story; empty when there is none. */
export function check(story: Story): Violation[] {
  const violations: Violation[] = [];
  const report: Report = (rule, what) => violations.push({ rule, what });
  for (const [room, log] of story.archive) checkLog(room, log, report);
  checkSendings(story, report);
  checkOrder(story, report);
  for (const stream of story.streams) checkStream(stream, story.archive.get(stream.room) ?? [], report);
  return violations;
}

/** Offsets without gap, terms and times that never fall, honest counts, one effect per key in the window. */
function checkLog(room: string, log: readonly Item[], report: Report): void {
  const keys = new Map<string, Item>();
  let messages = 0;
  for (const [at, item] of log.entries()) {
    const before = log[at - 1];
    const where = `${room} ${show(item)}`;
    if (item.offset !== at + 1) report("gap", `${where} stands at place ${at + 1}.`);
    if (before && item.term < before.term) report("term", `${where} follows ${show(before)}.`);
    if (before && item.atMs < before.atMs) report("time", `${where} is older than the entry before it.`);
    if (item.id !== `${room}.${item.term}.${item.offset}`) report("id", `${where} has the message-id ${item.id}.`);
    if (item.event === "message") messages++;
    if (item.count !== messages) report("count", `${where} says ${item.count} messages where ${messages} are.`);
    if (item.key === "") continue;
    const key = keyOf(room, item.sender, item.key);
    const first = keys.get(key);
    if (first && item.atMs - first.atMs < WINDOW_MS && item.count - first.count < WINDOW_MESSAGES) {
      report("doubled", `${where} repeats ${show(first)}: ${item.key} of ${item.sender}.`);
    }
    keys.set(key, first ?? item);
  }
}

/** What was receipted as stored is there, as sent and where it was said to be; nothing else is there. */
function checkSendings(story: Story, report: Report): void {
  const known = new Map<string, Sending>();
  for (const sending of story.sendings) {
    known.set(keyOf(sending.room, sending.sender, sending.key), sending);
    const log = story.archive.get(sending.room) ?? [];
    for (const place of sending.stored) {
      const item = log[place.offset - 1];
      const ours = item?.sender === sending.sender && item.key === sending.key;
      if (!same(item, place) || !ours) {
        report(
          "lost",
          `${sending.room} ${show(place)} was receipted for ${sending.key}; there is ${show(item)} ${item?.key ?? ""}.`,
        );
      }
    }
  }
  for (const [room, log] of story.archive) {
    for (const item of log) {
      if (item.event !== "message") continue;
      const sending = known.get(keyOf(room, item.sender, item.key));
      if (!sending) report("invented", `${room} ${show(item)} was sent by nobody: ${item.key} of ${item.sender}.`);
      else if (!sending.bodies.includes(item.body))
        report("body", `${room} ${show(item)} has a body that ${item.sender} never sent.`);
    }
  }
}

/** Messages of one sender to one room stand in the order they were sent. */
function checkOrder(story: Story, report: Report): void {
  const orders = new Map<string, number>();
  for (const { room, sender, key, order } of story.sendings) {
    if (order !== undefined) orders.set(keyOf(room, sender, key), order);
  }
  for (const [room, log] of story.archive) {
    const last = new Map<string, number>();
    for (const item of log) {
      const order = orders.get(keyOf(room, item.sender, item.key));
      if (order === undefined) continue;
      const before = last.get(item.sender) ?? -1;
      if (order < before)
        report("sender-order", `${room} ${show(item)}: number ${order} of ${item.sender} stands after ${before}.`);
      last.set(item.sender, Math.max(before, order));
    }
  }
}

/** Walks one stream; the state says what must come next. */
class StreamCheck {
  /** Where the client stands; undefined while it subscribes from now on and has heard nothing. */
  #at: Place | undefined;
  #resuming = false;
  /** First entry of this run that is not what the archive has: shown, lost, and so to be announced. */
  #astray: Place | undefined;
  readonly #where: string;
  readonly #log: readonly Item[];
  readonly #report: Report;

  constructor(stream: Stream, log: readonly Item[], report: Report) {
    this.#where = `${stream.client} in ${stream.room}`;
    this.#log = log;
    this.#report = report;
  }

  take(event: StreamEvent): void {
    if (event.kind === "entry") this.#entry(event.item);
    else if (event.kind === "resumed") this.#resumed(event.recovered, event.head);
    else if (event.kind === "head") this.#head(event.head);
    else {
      // The origin is on every log: a client that has heard nothing may start there.
      if (event.after?.offset === 0) this.#at ??= event.after;
      if (!same(event.after, this.#at))
        this.#report("position", `${this.#where} asked after ${show(event.after)} at ${show(this.#at)}.`);
      this.#resuming = event.after !== undefined;
    }
  }

  #entry(item: Item): void {
    const at = this.#at;
    if (this.#resuming) this.#report("unannounced", `${this.#where} got ${show(item)} before event: resumed.`);
    if (at && item.offset !== at.offset + 1) {
      const rule = item.offset <= at.offset ? "repeat" : "gap";
      this.#report(rule, `${this.#where} got ${show(item)} after ${show(at)}.`);
    }
    if (at && item.term < at.term) this.#report("term", `${this.#where} got ${show(item)} after ${show(at)}.`);
    const stored = this.#log[item.offset - 1];
    if (!same(stored, item)) this.#astray ??= item;
    else if (this.#astray) {
      this.#report(
        "silent-loss",
        `${this.#where} saw ${show(this.#astray)}, which is not in the log, and went on to ${show(item)} untold.`,
      );
      this.#astray = undefined;
    } else if (stored && !equal(stored, item)) {
      this.#report("differs", `${this.#where} saw ${show(item)} otherwise than the archive has it.`);
    }
    this.#at = { offset: item.offset, term: item.term };
  }

  #resumed(recovered: boolean, head: Place): void {
    const at = this.#at;
    const kept = at !== undefined && (at.offset === 0 || same(this.#log[at.offset - 1], at));
    // A loss is announced to live subscriptions as well, unasked (protocol, rule 6).
    if (!this.#resuming && recovered) this.#report("unannounced", `${this.#where} was resumed without asking.`);
    if (recovered && !kept)
      this.#report("silent-loss", `${this.#where} was recovered from ${show(at)}, which is not in the log.`);
    if (!recovered && kept)
      this.#report("false-alarm", `${this.#where} was not recovered from ${show(at)}, which is in the log.`);
    if (recovered && at && head.offset < at.offset)
      this.#report("head", `${this.#where} at ${show(at)} was told the head ${show(head)}.`);
    this.#resuming = false;
    if (recovered) return;
    this.#astray = undefined;
    this.#at = head;
  }

  #head(head: Place): void {
    if (this.#at === undefined) this.#at = head;
  }

  /** At the end every client stands at the head of the log. */
  end(): void {
    const last = this.#log.at(-1);
    if (this.#astray)
      this.#report(
        "silent-loss",
        `${this.#where} saw ${show(this.#astray)}, which is not in the log, and was never told.`,
      );
    if (last && !same(this.#at, last))
      this.#report("behind", `${this.#where} ended at ${show(this.#at)}; the log at ${show(last)}.`);
  }
}

function equal(a: Item, b: Item): boolean {
  return (
    a.id === b.id &&
    a.event === b.event &&
    a.sender === b.sender &&
    a.key === b.key &&
    a.body === b.body &&
    a.count === b.count
  );
}

/** One stream rises without gap or repeat, agrees with the archive, and every loss in it was announced. */
function checkStream(stream: Stream, log: readonly Item[], report: Report): void {
  const walk = new StreamCheck(stream, log, report);
  for (const event of stream.events) walk.take(event);
  walk.end();
}
