/**
 * Drills of MongoDB's faults on the wire, on a real node: slow answers, a connection dropped in the middle of a
 * batch, a lost answer, a write-concern error, and a place that another has taken. Each is counted as it happens:
 * a fault that met no insert fails the drill.
 */
import { Redis } from "ioredis";
import { type Collection, MongoClient, MongoServerError } from "mongodb";
import type { InsertChoice } from "../stores/mongo.proxy.ts";
import type { Violation } from "./checker.ts";
import { pause } from "./crash.ts";
import { call, eventually, within } from "./harness.ts";
import { digest } from "./items.ts";
import { type StoresOptions, StoresWorld } from "./stores.world.ts";

/** What is read of an entry's document (protocol, "Data"). */
interface EntryDocument {
  readonly _id: string;
  readonly room: string;
  readonly term: number;
  readonly prevTerm: number;
  readonly event: string;
  readonly count: number;
  readonly at: number;
}

type Batch = readonly EntryDocument[];

/** A few lanes, so that one that waits for a slow answer is not the whole writer. */
const SETTING = { mongoProxied: true, env: { LIMIT_LANES: "4" } } as const;
/** How long an insert that fits a fault may take to come by, over a restart too, and a repeated one to be told so, ms. */
const MEET_MS = 30_000;
/** An answer that the driver waits for, and one for which it does not: it gives up after 6 s. */
const SLOW = { lowMs: 200, highMs: 1_000 } as const;
const SLOWEST_MS = 8_000;
/** How long a store may be so slow until a breaker opens, and well again until nothing is degraded, ms. */
const OPENS_MS = 30_000;
const READY_MS = 15_000;
/** Of reads or of writes: after an unclear answer the writer reads first, and writes nothing while it can not. */
const OPEN_BREAKER = /^confab_store_breaker_state\{store="archive",calls="\w+"\} 2$/m;
/** What the node logs of a place that another has taken. */
const CONFLICT = "another entry stands where ours was to be stored";
const DUPLICATE_KEY = 11_000;
const DIGITS = 16;
const RIVAL = "rival";

/** The number at the end of the `_id` of an entry or a term. */
const numberOf = (id: string): number => Number(id.slice(-DIGITS));

/** A node that is not there, which stores entries under terms of its own. */
class Rival {
  readonly #world: StoresWorld;
  readonly #client: MongoClient;
  /** Room → shard, as Redis names the keys of its log. */
  readonly #shards: ReadonlyMap<string, number>;
  #stored = 0;

  private constructor(world: StoresWorld, client: MongoClient, shards: ReadonlyMap<string, number>) {
    this.#world = world;
    this.#client = client;
    this.#shards = shards;
  }

  /** Every room must have been talked in lately. */
  static async open(world: StoresWorld): Promise<Rival> {
    const { ferretdb, redis: server } = world.stores;
    const redis = new Redis(server.url);
    const shards = new Map<string, number>();
    for (const key of await redis.keys("*:log:*")) {
      const [, shard, room] = /\{(\d+)\}:log:(.+)$/.exec(key) ?? [];
      shards.set(room as string, Number(shard));
    }
    redis.disconnect();
    return new Rival(world, new MongoClient(ferretdb.url), shards);
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  /** Claims a term of a room's shard above all others, as an owner does first (protocol, rule 1). */
  async claim(room: string): Promise<number> {
    const shard = this.#shards.get(room);
    const terms = this.#collection<{ _id: string; node: string; nonce: string }>("terms");
    for (;;) {
      const [last] = await terms
        .find({ _id: { $gt: `${shard}.`, $lt: `${shard}/` } })
        .sort({ _id: -1 })
        .limit(1)
        .toArray();
      const term = numberOf(last?._id ?? "0") + 1;
      const _id = `${shard}.${String(term).padStart(DIGITS, "0")}`;
      if (await inserted(terms, { _id, node: RIVAL, nonce: RIVAL })) return term;
    }
  }

  /** Stores an entry of its own at the place of one of the node's, which may be shown; false when that stands there. */
  async displace(ours: EntryDocument, how: { readonly term: number; readonly shown: boolean }): Promise<boolean> {
    const { term } = how;
    const { _id, room, prevTerm, at, event } = ours;
    const order = ++this.#stored;
    const key = `${RIVAL}-${order}`;
    const body = `${key}: this place is taken.`;
    const document = {
      ...{ _id, room, term, prevTerm, at, event: "message", sender: RIVAL, senderName: "Rival", key: `c/${key}` },
      ...{ count: event === "message" ? ours.count : ours.count + 1, body: Buffer.from(body), text: true },
    };
    if (!(await inserted(this.#collection<typeof document>("entries"), document))) return false;
    const place = { offset: numberOf(_id), term };
    const sending = { room, sender: RIVAL, key, bodies: [digest(body)], order, stored: [place], accepted: [] };
    this.#world.foreign.push({ sending, place, displaced: how.shown ? ours.term : undefined });
    return true;
  }

  #collection<T extends { _id: string }>(name: string): Collection<T> {
    return this.#client.db("confab").collection<T>(name);
  }
}

/** Inserts a document; false when its `_id` is taken. */
async function inserted<T extends { _id: string }>(collection: Collection<T>, document: T): Promise<boolean> {
  try {
    await collection.insertOne(document as Parameters<Collection<T>["insertOne"]>[0]);
    return true;
  } catch (error) {
    if (error instanceof MongoServerError && error.code === DUPLICATE_KEY) return false;
    throw error;
  }
}

/** The faults of one drill, and how often each has happened. */
class MongoFaults {
  readonly happened = new Map<string, number>();
  readonly #world: StoresWorld;
  readonly #rival: Rival;

  constructor(world: StoresWorld, rival: Rival) {
    this.#world = world;
    this.#rival = rival;
  }

  #count(fault: string): void {
    this.happened.set(fault, (this.happened.get(fault) ?? 0) + 1);
  }

  /** Waits until an insert has met the fault that is chosen for it; undefined when none did. */
  async #meet(fault: string, choose: InsertChoice): Promise<Batch | undefined> {
    const { mongoProxy } = this.#world;
    try {
      const documents = await within(mongoProxy.spoil(choose), MEET_MS, `An insert for the fault "${fault}"`);
      return documents as unknown as Batch;
    } catch (error) {
      mongoProxy.disarm();
      this.#world.break("no-fault", (error as Error).message);
      return undefined;
    }
  }

  /** Waits until the node was told that these places are taken: that is the duplicate key. */
  async #told(fault: string, ids: readonly string[]): Promise<void> {
    const all = async (): Promise<true | undefined> =>
      ids.every((id) => this.#world.mongoProxy.met.includes(id)) || undefined;
    await eventually(all, MEET_MS, `A duplicate key after the fault "${fault}"`).then(
      () => this.#count(fault),
      (error: Error) => this.#world.break("no-fault", error.message),
    );
  }

  /** An answer comes late; meanwhile the lane's next batch grows. */
  async slow(): Promise<void> {
    const { random } = this.#world;
    const delayMs = random.whole(SLOW.lowMs, SLOW.highMs);
    if (await this.#meet("slow", () => ({ kind: "slow", delayMs }))) this.#count("slow");
  }

  // Where an answer is lost or unclear the writer reads back what stands before it inserts the rest (rule 3): nothing
  // is told to be taken. That the fault was met is what is counted, and the archive is compared at the end.

  /** The connection is dropped in the middle of a batch: the first of it landed, and the rest is missing. */
  async middle(): Promise<void> {
    const { random } = this.#world;
    await this.slow();
    const met = await this.#meet("middle", ({ length }) =>
      length < 2 ? undefined : { kind: "drop", landed: random.whole(1, length - 1) },
    );
    if (met) this.#count("middle");
  }

  /** All land and the answer is lost. */
  async lost(): Promise<void> {
    if (await this.#meet("lost", ({ length }) => ({ kind: "drop", landed: length }))) this.#count("lost");
  }

  /** The majority has not confirmed a batch, and all, some or none of it stays. */
  async majority(): Promise<void> {
    const { random } = this.#world;
    const share = random.pick([0, random.fraction(), 1]);
    const unconfirmed: InsertChoice = ({ length }) => ({ kind: "write-concern", landed: Math.round(share * length) });
    if (await this.#meet("majority", unconfirmed)) this.#count("majority");
  }

  /** Another owner has claimed a higher term and stored an entry where one of ours was to stand. */
  async claimed(): Promise<void> {
    await this.slow();
    await this.#displace("claimed", { pick: (batch) => this.#world.random.pick(batch), term: this.#claim });
  }

  /** The same in the middle of a batch whose connection is dropped: what landed is ours, what follows is not. */
  async overtaken(): Promise<void> {
    await this.slow();
    const pick = (batch: Batch) => (batch.length < 2 ? undefined : this.#world.random.pick(batch.slice(1)));
    await this.#displace("overtaken", { pick, term: this.#claim, dropped: true });
  }

  /** The owner before had one more batch on its way, which lands before our first entry under our own term. */
  async stale(): Promise<void> {
    const displaced = this.#displace("stale", { pick: firstOfTerm, term: beforeIt });
    await this.#world.restartNode("SIGTERM");
    await displaced;
  }

  /** The same where that first entry is stored alone, before it is shown: a room that another's term has unsealed. */
  async sealing(): Promise<void> {
    await this.slow();
    const before = await this.#take("claimed", { pick: (batch) => this.#world.random.pick(batch), term: this.#claim });
    // Awaited from here on: it comes as soon as the shard is owned again.
    const pick = (batch: Batch) => (batch.length === 1 ? firstOfTerm(batch) : undefined);
    const sealing = this.#take("sealing", { pick, term: beforeIt, unshown: true });
    if (before) await this.#told("claimed", [before]);
    const taken = await sealing;
    if (taken) await this.#told("sealing", [taken]);
  }

  readonly #claim = ({ room }: EntryDocument): Promise<number> => this.#rival.claim(room);

  /** An entry of another stands where ours was to stand, and the node is told so, or reads it back. */
  async #displace(fault: string, how: Displacing): Promise<void> {
    const taken = await this.#take(fault, how);
    if (taken && how.dropped) this.#count(fault);
    else if (taken) await this.#told(fault, [taken]);
  }

  /** Lets another take a place; answers its `_id`, undefined when nothing came of it. */
  async #take(fault: string, { pick, term, dropped, unshown }: Displacing): Promise<string | undefined> {
    let taken: string | undefined;
    await this.#meet(fault, (documents) => {
      const batch = documents as unknown as Batch;
      const ours = pick(batch);
      if (!ours) return undefined;
      const work = async (): Promise<void> => {
        if (await this.#rival.displace(ours, { term: await term(ours), shown: !unshown })) taken = ours._id;
        else this.#world.break("no-fault", `${ours._id} was ours before another could take it.`);
      };
      return { kind: dropped ? "drop" : "between", landed: batch.indexOf(ours), work };
    });
    return taken;
  }

  /** Every answer is later than the driver waits for it, until a breaker opens; then all is well. */
  async outage(): Promise<void> {
    const world = this.#world;
    const { heard } = world;
    world.mongoProxy.slow(SLOWEST_MS);
    const open = async (): Promise<true | undefined> =>
      OPEN_BREAKER.test(String((await call(world.node, "GET /metrics")).body)) || undefined;
    await eventually(open, OPENS_MS, "An open breaker").then(
      () => this.#count("outage"),
      (error: Error) => world.break("no-fault", error.message),
    );
    await world.expectDegraded("while MongoDB answered late");
    if (world.heard === heard) world.break("not-shown", "Nothing was shown while MongoDB answered late.");
    else world.say(`${world.heard - heard} entries shown while MongoDB answered late`);
    world.mongoProxy.slow(0);
    const ready = async (): Promise<true | undefined> =>
      (await call<{ status: string }>(world.node, "GET /health/ready")).body.status === "ok" || undefined;
    await eventually(ready, READY_MS, "Readiness").catch((error: Error) => world.break("readiness", error.message));
  }
}

/** Which entry of a batch another takes the place of, under which term, and what else happens to the batch. */
interface Displacing {
  readonly pick: (batch: Batch) => EntryDocument | undefined;
  readonly term: (ours: EntryDocument) => Promise<number>;
  /** The connection is cut then. */
  readonly dropped?: true;
  /** The node must not have shown what it was about to store. */
  readonly unshown?: true;
}

/** The first entry of a term in a room that had entries before. */
function firstOfTerm(batch: Batch): EntryDocument | undefined {
  return batch.find(({ term, prevTerm }) => prevTerm > 0 && prevTerm < term);
}

const beforeIt = async ({ prevTerm }: EntryDocument): Promise<number> => prevTerm;

/** How often each fault is made; some are part of others. */
const TIMES = {
  ...{ slow: 2, middle: 3, lost: 4, majority: 4 },
  ...{ claimed: 2, overtaken: 2, stale: 2, sealing: 2, outage: 1 },
} as const;
/** Faults after which the load must go on before the next; the others come as close as it happens. */
const GRAVE: readonly string[] = ["claimed", "overtaken", "stale", "sealing", "outage"];
/** Longest pause between two faults, ms. */
const PAUSE_MS = 400;

async function mongoFaults(world: StoresWorld): Promise<void> {
  const rival = await Rival.open(world);
  try {
    const faults = new MongoFaults(world, rival);
    const names = Object.keys(TIMES) as (keyof typeof TIMES)[];
    const left = names.flatMap((name) => Array.from({ length: TIMES[name] }, () => name));
    for (let made = 1; left.length > 0; made++) {
      const [name] = left.splice(world.random.whole(0, left.length - 1), 1) as [keyof typeof TIMES];
      await pause(world.random.whole(0, PAUSE_MS));
      await faults[name]();
      if (GRAVE.includes(name) || left.length === 0) await world.goesOn(`fault ${made}, ${name}`);
    }
    const { happened } = faults;
    world.say(`faults that happened: ${JSON.stringify(Object.fromEntries(happened))}`);
    for (const name of names) {
      if ((happened.get(name) ?? 0) < TIMES[name])
        world.break("no-fault", `"${name}" happened ${happened.get(name) ?? 0} of ${TIMES[name]} times.`);
    }
    const conflicts = world.logged(CONFLICT);
    if (conflicts > world.foreign.length)
      world.break("conflict", `${conflicts} conflicts, and another stored only ${world.foreign.length} entries.`);
    const told = world.people.reduce((total, { notRecovered }) => total + notRecovered, 0);
    if (told === 0) world.break("no-fault", "Nothing that was shown was displaced by another's entry.");
  } finally {
    await rival.close();
  }
}

/** The drill; answers the broken promises, or rejects with `StoreMissing`. */
export function mongoDrill(options: StoresOptions): Promise<Violation[]> {
  return StoresWorld.run(options, mongoFaults, SETTING);
}
