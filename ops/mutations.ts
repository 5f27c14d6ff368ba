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
  /** Faults to draw from; the simulator's own choice when left out. */
  readonly kinds?: string;
  /** It is caught within so many seeds. */
  readonly runs: number;
  /** Why no seed caught it so far; the drill hunts it all the same, and tells. */
  readonly open?: string;
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
    edits: [edit("writer", "if (this.#inFlight || (this.#timer &&", "if ((this.#timer &&")],
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
        "first.offset !== here.offset + 1 || first.prevTerm !== here.term)",
        "first.offset !== here.offset + 1)",
      ),
    ],
    kinds: "wipe,forget,crash",
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
    kinds: "loss,crash,end",
    runs: 200,
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
    name: "lease margin removed",
    edits: [
      edit(
        "holding",
        "return this.#lease !== undefined && this.#host.clock.monotonic() < this.#lease.untilMs;",
        "return this.#lease !== undefined;",
      ),
    ],
    kinds: "cutRedis,stand",
    runs: 300,
    open: "the term fences a stale owner; what it may still grant was not seen in a run",
  },
  {
    name: "window forgotten on takeover",
    edits: [edit("duplicates", "while (before > oldest + 1) {", "while (false) {")],
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
    name: "a room asleep before it is stored",
    edits: [
      edit("room", 'this.status === "open" && this.pending === 0 &&', 'this.status === "open" &&'),
      edit("bus.memory", "if (this.#hub.shard(shardId).dirty.has(roomId)) return false;", ""),
    ],
    kinds: "mongoDown,cutMongo,crash",
    runs: 300,
    open: "rooms of a simulated owner are seldom idle and unstored at once",
  },
  {
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
    runs: 300,
    open: "a stale owner trims what is stored, which harms nothing until data is lost, too",
  },
  {
    name: "an absent head taken for a fitting one",
    edits: [edit("bus.memory", 'return pack.opening ? "ok" : "lost";', 'return "ok";')],
    kinds: "forget,wipe,crash",
    runs: 300,
    open: "a rollback mostly takes back the term as well",
  },
  {
    name: "ours by term alone",
    edits: [
      edit(
        "writer.batch",
        "there.entry.term === entry.term && there.entry.key === entry.key)",
        "there.entry.term === entry.term)",
      ),
      edit(
        "room.seal",
        "there.entry.term === entry.term && there.entry.key === entry.key;",
        "there.entry.term === entry.term;",
      ),
    ],
    kinds: "wipe,forget,failures,mongoDown",
    runs: 300,
    open: "an offset is hardly ever given to two messages under one term",
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
  return MUTATIONS.flatMap(({ name, edits }) => {
    const texts = new Map<string, string>();
    return edits.flatMap((one) => {
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
 * engine as it is shows nothing of the mutation, and is passed over.
 */
export async function hunt(mutation: Mutation, runs = mutation.runs): Promise<Catch | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "confab-mutation-"));
  try {
    cpSync(join(TREE, "actors"), join(folder, "actors"), {
      recursive: true,
      filter: (path) => !/\.(test\.js|map)$/.test(path),
    });
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
    symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
    for (const one of mutation.edits) {
      const path = join(folder, "actors", `${one.file}.js`);
      writeFileSync(path, edited(readFileSync(path, "utf8"), one));
    }
    for (let from = 1; from <= runs; ) {
      const caught = await simulated(folder, mutation.kinds, { from, runs: runs - from + 1 });
      if (!caught || !(await simulated(TREE, mutation.kinds, { from: caught.seed, runs: 1 }))) return caught;
      from = caught.seed + 1;
    }
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
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
