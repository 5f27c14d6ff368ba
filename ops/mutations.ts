/**
 * Deliberate faults of the engine, each of which the simulator must catch: a piece of the built JavaScript of
 * `actors/` and what stands there instead (issue 5). What is looked for must be there exactly once, whatever
 * white space is in it.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** One change of one file. */
export interface Edit {
  /** In `actors/`, without `.js`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** One deliberate fault. */
export interface Mutation {
  readonly name: string;
  readonly edits: readonly Edit[];
  /**
   * Other rules that would hide it, taken away as well. A seed that breaks a promise for want of these alone shows
   * nothing of the mutation, and is passed over.
   */
  readonly unhidden?: readonly Edit[];
  /** Faults to draw from; the simulator's own choice when left out. */
  readonly kinds?: string;
  /** It is caught within so many seeds. */
  readonly runs: number;
}

/** What caught a mutation. */
export interface Catch {
  readonly seed: number;
  readonly breach: string;
}

/** The built tree that this file stands in. */
const TREE = dirname(dirname(fileURLToPath(import.meta.url)));
/** A run that takes longer hangs, which catches a mutation, too, ms. */
const RUN_MS_MAX = 20_000;

const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace });

/** Those caught within so few seeds are part of `npm test`; the drill hunts all. */
export const QUICK_RUNS = 30;

/** The eighteen of issue 5. */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: "no fence",
    edits: [
      edit("bus.memory", 'if (shard.term > term) return "stale"; if (shard.term < term) return "lost";', ""),
      edit(
        "bus.memory",
        'room.head.offset === first.offset - 1 && room.head.term === pack.prevTerm ? "ok"',
        'true ? "ok"',
      ),
    ],
    kinds: "cutRedis,stand",
    runs: 60,
  },
  {
    name: "unordered insert",
    edits: [edit("archive.memory", ".insert(entry)) return { stored, conflict: true };", ".insert(entry)) continue;")],
    runs: 30,
  },
  {
    name: "two batches of one room in flight",
    edits: [edit("writer", "if (this.#inFlight || this.#hurrying) return;", "if (this.#hurrying) return;")],
    runs: 30,
  },
  {
    name: "read before fence",
    edits: [
      edit(
        "shards",
        "const taken = await bus.take(this.id, { lock: lease.value, term, node: name, lossy: this.#lossy });",
        `this.#gate.shut();
        [this.term, this.#mine, this.ready] = [term, true, Promise.resolve()];
        for (const room of (await bus.heads(this.id)).keys()) this.#host.wake(room);
        await this.#pause(1_000);
        const taken = await bus.take(this.id, { lock: lease.value, term, node: name, lossy: this.#lossy }).finally(() => this.#gate.open());`,
      ),
    ],
    runs: 60,
  },
  {
    name: "receipt before store",
    edits: [edit("sends", "if (!this.#early || this.#told) return;", "if (this.#told) return;")],
    runs: 30,
  },
  {
    name: "broadcast before the append's answer",
    edits: [
      edit(
        "appends",
        "bus.append(this.#shard, term, packs).then(",
        "bus.publish(packs); bus.append(this.#shard, term, packs).then(",
      ),
    ],
    runs: 30,
  },
  {
    name: "no chain check",
    edits: [
      edit(
        "audience",
        "first.offset === here.offset + 1 && pack.prevTerm === here.term)",
        "first.offset === here.offset + 1)",
      ),
      edit(
        "audience",
        "(first.offset !== here.offset + 1 || first.prevTerm !== here.term)",
        "(first.offset !== here.offset + 1)",
      ),
    ],
    kinds: "wipe,stand,loss",
    runs: 300,
  },
  {
    name: "a filled gap dropped by its term",
    edits: [
      edit(
        "audience",
        "this.#deliver(page);",
        "this.#deliver(page.filter(({ term }) => term === page[page.length - 1].term));",
      ),
    ],
    kinds: "cutRedis,crash",
    runs: 600,
  },
  {
    name: "resume compared with the current term",
    edits: [
      edit(
        "resume",
        "return entry ? entry.term === position.term : undefined;",
        "return entry ? head.term === position.term : undefined;",
      ),
    ],
    runs: 200,
  },
  {
    // A node that is cut off from Redis or stood still grants a room from members that are not its to know any more.
    name: "lease margin removed",
    edits: [
      edit(
        "holding",
        "return this.#lease !== undefined && this.#host.clock.monotonic() < this.#lease.untilMs;",
        "return this.#lease !== undefined;",
      ),
    ],
    kinds: "cutRedis,stand",
    runs: 600,
  },
  {
    name: "window forgotten on takeover",
    edits: [edit("window.read", "before > oldest + 1;", "false;")],
    runs: 30,
  },
  {
    name: "no key on forwards",
    edits: [
      edit("landings", "item.keyed = true;", ""),
      edit("landings", "item.again = again || draft.ref > 0;", "item.again = draft.ref > 0;"),
    ],
    runs: 30,
  },
  {
    name: "no head poll",
    edits: [edit("watch", "Promise.all([this.#terms(), this.#heads()])", "Promise.all([this.#terms()])")],
    kinds: "loss",
    runs: 30,
  },
  {
    // The owner closes the room and clears its hot log; woken by the next SEND it goes on behind what is stored, and
    // gives the places of what its writer still holds to other messages. The guard of the dirty ones in Redis, and
    // that the clearing names the head as it is stored, would each refuse that: they are taken away as well.
    name: "a room asleep before it is stored",
    edits: [
      edit("room", 'this.status === "open" && this.pending === 0 &&', 'this.status === "open" &&'),
      edit("bus.memory", "if (this.#hub.shard(shardId).dirty.has(roomId)) return false;", ""),
      edit("sleeper", "bus.sleep(shard.id, term, id, state.stored)", "bus.sleep(shard.id, term, id, state.accepted)"),
    ],
    kinds: "mongoDown,cutMongo,crash",
    runs: 300,
  },
  {
    // The giver of a shard goes on storing what it logged. The receiver reads where the archive ends, then what the
    // hot log has behind that: a trim in between leaves a hole, which looks like a Redis that lost data.
    name: "an unfenced trim",
    edits: [
      edit(
        "bus.memory",
        "if (shard.term !== term) return false; const room = shard.rooms.get(roomId); if (!room) return true; room.stored",
        "const room = shard.rooms.get(roomId); if (!room) return true; room.stored",
      ),
      edit(
        "bus.memory",
        "if (room.head.offset === stored.offset && room.head.term === stored.term) shard",
        "if (room.head.offset <= stored.offset) shard",
      ),
    ],
    kinds: "join,end,mongoDown",
    runs: 200,
  },
  {
    // Redis forgets a room that began in its last second and keeps the term; the owner's next pack then begins the
    // hot log anew, behind entries that are nowhere but in its memory. What an owner to come would make of that hole
    // is refused by its opening (`follows` in room.open.ts), so that the simulator judges the hole itself.
    name: "an absent head taken for a fitting one",
    edits: [edit("bus.memory", 'return pack.opening ? "ok" : "lost";', 'return "ok";')],
    kinds: "forget",
    runs: 300,
  },
  {
    // Under one term a place is given to one message only, which hides this: what stands at a place under the term
    // of a node has its key. Not so once a room gives up the insert that seals it after 50 ms, and the place of its
    // entry to the next one; and every room is sealed so, that there are enough of them. With the key that does no
    // harm: the next one meets the first, and comes behind it.
    name: "ours by term alone",
    edits: [
      edit("writer.batch", "met.term === entry.term && met.key === entry.key", "met.term === entry.term"),
      edit(
        "room.seal",
        "there.entry.term === entry.term && there.entry.key === entry.key;",
        "there.entry.term === entry.term;",
      ),
    ],
    unhidden: [
      edit("shards", "return head.term < this.lossy;", "return head.term < this.term;"),
      edit(
        "room.seal",
        "const { stored } = await archive.insert([entry]);",
        `const late = new Promise((_, fail) => void room.host.clock.after(50, fail));
        const { stored } = await Promise.race([archive.insert([entry]), late]);`,
      ),
      edit("room.seal", "catch (error) { await pause(room, error); }", "catch { return undefined; }"),
      edit(
        "room.order",
        "if (!ours) return room.shard.reload(room, []);",
        `if (ours === undefined) this.#turn.push(this.#turn.shift());
        if (!ours) return room.shard.reload(room, []);`,
      ),
    ],
    kinds: "slowness,crash,end,join",
    runs: 300,
  },
  {
    name: "a cache that grants",
    edits: [
      edit(
        "remote",
        "const grant = await this.#ask(",
        `this.granted ??= new Map();
        const known = this.granted.get(room + user);
        if (known) return once(known), known;
        const grant = await this.#ask(`,
      ),
      edit("remote", "once(grant); return grant;", "once(grant); this.granted.set(room + user, grant); return grant;"),
    ],
    runs: 30,
  },
];

/** The text with an edit made. Throws unless what it looks for is there exactly once. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const pattern = find
    .trim()
    .split(/\s+/)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join("\\s+");
  const found = [...text.matchAll(new RegExp(pattern, "g"))];
  if (found.length !== 1) throw new Error(`${file}.js holds ${found.length} times, not once: ${find}`);
  return text.replace(new RegExp(pattern), () => replace);
}

/** Checks that each edit still finds its place in the built tree; answers those that do not. */
export function unfit(): string[] {
  return MUTATIONS.flatMap(({ name, edits, unhidden = [] }) => {
    const texts = new Map<string, string>();
    return [...unhidden, ...edits].flatMap((one) => {
      try {
        const path = join(TREE, "actors", `${one.file}.js`);
        texts.set(path, edited(texts.get(path) ?? readFileSync(path, "utf8"), one));
        return [];
      } catch (error) {
        return [`${name}: ${(error as Error).message}`];
      }
    });
  });
}

/**
 * Runs the simulator on a mutated copy, seed after seed; undefined when no seed catches it. A seed that breaks the
 * engine without the mutation shows nothing of it, and is passed over.
 */
export async function hunt(mutation: Mutation, runs = mutation.runs): Promise<Catch | undefined> {
  const { kinds, edits, unhidden = [] } = mutation;
  const folder = mkdtempSync(join(tmpdir(), "confab-mutation-"));
  try {
    const mutated = copied(join(folder, "mutated"), [...unhidden, ...edits]);
    const sound = unhidden.length === 0 ? TREE : copied(join(folder, "sound"), unhidden);
    for (let from = 1; from <= runs; ) {
      const caught = await simulated(mutated, kinds, { from, runs: runs - from + 1 });
      if (!caught || !(await simulated(sound, kinds, { from: caught.seed, runs: 1 }))) return caught;
      from = caught.seed + 1;
    }
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A copy of the actors, with edits made. */
function copied(folder: string, edits: readonly Edit[]): string {
  cpSync(join(TREE, "actors"), join(folder, "actors"), {
    recursive: true,
    filter: (path) => !/\.(test\.js|map)$/.test(path),
  });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  for (const one of edits) {
    const path = join(folder, "actors", `${one.file}.js`);
    writeFileSync(path, edited(readFileSync(path, "utf8"), one));
  }
  return folder;
}

/** Runs `simulate.js` over a tree. */
async function simulated(
  tree: string,
  kinds: string | undefined,
  { from, runs }: { readonly from: number; readonly runs: number },
): Promise<Catch | undefined> {
  const more = kinds === undefined ? [] : ["--kinds", kinds];
  const seeds = ["--from", String(from), "--runs", String(runs)];
  const args = [join(TREE, "ops/simulate.js"), "--tree", tree, ...seeds, "--each", ...more];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let seed = from;
  let hung = false;
  const kill = (): void => {
    hung = true;
    child.kill("SIGKILL");
  };
  let timer = setTimeout(kill, RUN_MS_MAX);
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    clearTimeout(timer);
    timer = setTimeout(kill, RUN_MS_MAX);
    said = (said + text).slice(-4_000);
    for (const match of text.matchAll(/^run (\d+)$/gm)) seed = Number(match[1]);
  });
  let faults = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    faults = (faults + text).slice(-4_000);
  });
  const code = await new Promise<number | null>((done) => child.on("close", done));
  clearTimeout(timer);
  if (hung) return { seed, breach: `no end within ${RUN_MS_MAX / 1_000} s` };
  const broken = /^seed (\d+): BROKEN: (.*)$/m.exec(said);
  if (broken) return { seed: Number(broken[1]), breach: broken[2] as string };
  if (code === 0) return undefined;
  throw new Error(`The simulator did not run: ${faults || said}`);
}
