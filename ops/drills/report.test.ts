import assert from "node:assert/strict";
import { readdir, readFile, rm } from "node:fs/promises";
import { test } from "node:test";
import type { Item, StreamEvent } from "./checker.ts";
import { type Server, spawnServer } from "./harness.ts";
import { disagreements } from "./report.nodes.ts";
import { Report, type Said, type Scene, type Testimony } from "./report.ts";

const entry = (offset: number, term: number): StreamEvent => {
  const item: Item = {
    ...{ offset, term, id: `r1.${term}.${offset}`, event: "message", sender: "ann", key: `ann-${offset}` },
    ...{ body: "b", count: offset, atMs: offset },
  };
  return { kind: "entry", item };
};

const ORIGIN: StreamEvent = { kind: "subscribe", after: { offset: 0, term: 0 } };

const said = (key: string, saidAtMs: number, answeredAtMs?: number): Said => ({
  ...{ room: "r1", sender: "ann", key, bodies: [], order: 1, accepted: [], saidAtMs, answeredAtMs },
  stored: answeredAtMs === undefined ? [] : [{ offset: 3, term: 2 }],
});

const ann = (change: Partial<Testimony> = {}): Testimony => ({
  ...{ id: "ann", node: 1, sinceMs: performance.now() - 4_000, connections: 1, notes: [] },
  streams: [{ client: "ann", room: "r1", events: [ORIGIN, entry(1, 1), entry(2, 1), entry(3, 2)] }],
  said: [said("ann-3", performance.now() - 2_000, performance.now() - 1_000), said("ann-4", performance.now() - 3_000)],
  ...change,
});

/** The lines of a drill that breaks by `drill`, those of the kept logs left out. */
async function told(scene: Partial<Scene>, drill: (report: Report) => Promise<unknown>): Promise<string[]> {
  const lines: string[] = [];
  const whole = { people: [], rooms: ["r1", "r2"], nodes: [], notes: [], ...scene };
  const report = new Report(
    () => whole,
    (line) => lines.push(line),
  );
  await report.watch(async () => {
    await drill(report);
    return [];
  });
  const kept = lines.at(-1)?.split(" is kept in ")[1];
  if (kept !== undefined) await rm(kept, { recursive: true });
  return kept === undefined ? lines : lines.slice(0, -1);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("A drill that keeps every promise is told nothing of.", async () => {
  assert.deepEqual(await told({ people: [ann()] }, async () => undefined), []);
});

test("A failure tells who is where, what is outstanding since when, and what was shown where it points.", async () => {
  const ben = ann({ id: "ben", node: undefined, said: [], notes: ["end 1006 at node 1", "end 1006 at node 1"] });
  const text = (
    await told({ people: [ann(), ben] }, async (report) => {
      report.broke("gap", "ann in r1 got (3, term 2) after (1, term 1).");
    })
  ).join("\n");
  for (const part of [
    "gap: ann in r1 got (3, term 2) after (1, term 1).",
    "2 people by node: node 1: 1, away: 1",
    "longest away, left: ben for 4.0 s",
    "what they met: end 1006 at node 1: 2",
    "room r1: 2 people, 0 without an answer to SUBSCRIBE; they stand at (3, term 2): 2",
    "shown at 3: (3, term 2) message ann-3: 2",
    "shown at 1: (1, term 1) message ann-1: 2",
    "ann at node 1 for 4.0 s, stands at (3, term 2), 1 messages unanswered for 3.0 s",
    "heard last: SUBSCRIBE after (0, term 0); (1, term 1) to (2, term 1); (3, term 2)",
    "1 messages without an answer, by room: r1: 1",
    "ann-4 in r1, said 3.0 s ago",
    "named: ann-3 in r1, said 2.0 s ago, answered 1.0 s ago (3, term 2)",
  ])
    assert.ok(text.includes(part), `${part} is not in\n${text}`);
  assert.ok(!text.includes("room r2"), "a room that nobody named");
});

test("Failures of one turn make one report, later ones of the same rule none, and of all rules three at most.", async () => {
  const lines = await told({ people: [ann()] }, async (report) => {
    for (let room = 1; room <= 9; room++) report.broke("not-taken", `nothing in r${room}`);
    for (const rule of ["not-taken", "late", "stalled", "unanswered", "lost"]) {
      await turn();
      await turn();
      report.broke(rule, "later");
    }
  });
  const heads = lines.filter((line) => line.includes("What was known when this broke"));
  assert.equal(heads.length, 3);
  assert.equal(lines.filter((line) => line.includes("not-taken: ")).length, 3);
  assert.ok(lines.includes("  | and 6 more"));
});

test("What a drill is broken off by is told, and thrown on.", async () => {
  const lines: string[] = [];
  const scene = { people: [], rooms: [], nodes: [], notes: ["redis does not run"] };
  const report = new Report(
    () => scene,
    (line) => lines.push(line),
  );
  await assert.rejects(
    report.watch(() => Promise.reject(new Error("Readiness did not happen."))),
    /Readiness/,
  );
  assert.ok(lines.includes("  | broken off: Readiness did not happen."), lines.join("\n"));
  assert.ok(lines.includes("  | redis does not run"));
  await rm(lines.at(-1)?.split(" is kept in ")[1] ?? "", { recursive: true });
});

test("However many people, rooms and messages there are, a report has at most 150 lines.", async () => {
  const many = Array.from({ length: 400 }, (_, at) =>
    ann({ id: `p-${at}`, said: Array.from({ length: 50 }, (_, of) => said(`p-${at}-${of}`, at)), notes: [`${at}`] }),
  );
  const lines = await told(
    { people: many, notes: Array.from({ length: 300 }, (_, at) => `note ${at}`) },
    async (report) => report.broke("lost", many.map(({ id }) => `${id} in r1`).join(" ")),
  );
  assert.equal(lines.length, 151);
  assert.ok(lines.every((line) => line.length <= 364));
});

test("A node that has ended says so, with what it logged last, each message once.", async () => {
  const server: Server = await spawnServer({ env: { LOG_LEVEL: "no such level" } });
  try {
    await server.exited;
    const json = (time: string) => JSON.stringify({ level: "warn", time, pid: 1, msg: "again", shard: 7 });
    const lives = [[json("2020-01-01T10:00:00Z"), json("2020-01-01T10:00:01Z")], server.lines];
    const node = { label: "2, abc", server, lives };
    const text = (await told({ nodes: [node] }, async (report) => report.broke("ended", "by itself"))).join("\n");
    assert.match(text, /node 2, abc\n {2}\| {3}its process has ended: 1\n/);
    assert.match(text, /10:00:01Z warn again \{"shard":7\} \(and 1 before\)/);
    assert.match(text, /-- process 2 at this place --/);
  } finally {
    await server.remove();
  }
});

test("Where nodes know different owners of a shard, or one that is not there, it is told.", () => {
  const shard = (at: number, owner: string, term: number) => ({ shard: at, owner, term, state: "free" });
  const views = [
    [shard(0, "a", 1), shard(1, "a", 2), shard(2, "gone", 1)],
    [shard(0, "a", 1), shard(1, "b", 3), shard(2, "gone", 1)],
  ];
  const told = disagreements(views, new Set(["a", "b"]));
  assert.equal(told, "1: a term 2 | b term 3; 2: gone term 1 | gone term 1");
});

test("All that nodes wrote is kept in files, one for each process.", async () => {
  const lines: string[] = [];
  const server: Server = await spawnServer({ env: { LOG_LEVEL: "no such level" } });
  try {
    await server.exited;
    const scene = { people: [], rooms: [], notes: [], nodes: [{ label: "0", server, lives: [["one"], ["two"]] }] };
    const report = new Report(
      () => scene,
      (line) => lines.push(line),
    );
    await report.watch(async () => [{ rule: "lost", what: "something" }]);
    const folder = lines.at(-1)?.split(" is kept in ")[1] ?? "";
    assert.deepEqual((await readdir(folder)).sort(), ["node-0.0.log", "node-0.1.log"]);
    assert.equal(await readFile(`${folder}/node-0.1.log`, "utf8"), "two\n");
    await rm(folder, { recursive: true });
  } finally {
    await server.remove();
  }
});
