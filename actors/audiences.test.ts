import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import { Refusal } from "./codes.ts";
import type { Entry, Position } from "./entry.ts";
import { Latch, once } from "./latch.fixture.ts";
import { type Client, Stage } from "./node.fixture.ts";
import { memberDraft } from "./room.state.ts";

/** A private room of alice, bob and carol, to which bob and carol listen. */
interface Scene {
  readonly stage: Stage;
  readonly room: string;
  readonly at: Position;
  readonly bob: Client;
  readonly carol: Client;
}

async function scene(): Promise<Scene> {
  const stage = await Stage.open();
  const room = await stage.makeRoom("private", "alice", ["bob", "carol"]);
  const [bob, carol] = [stage.connect("bob"), stage.connect("carol")];
  for (const client of [bob, carol]) client.subscribe("log", room, { id: "s" });
  await stage.clock.advance(100);
  const at = stage.node.audiences.get(room)?.position;
  assert.ok(at && at.offset > 0);
  return { stage, room, at, bob, carol };
}

/** A message so many offsets after where the scene begins; one that is not on the log there goes before the first. */
function message({ room, at }: Scene, after: number, over: Partial<Entry> = {}): Entry {
  const prevTerm = after === 1 ? at.term + 1 : at.term;
  return sampleEntry(room, at.offset + after, { term: at.term, prevTerm, ...over });
}

/** As `message`, of a member who comes or goes. */
function change(of: Scene, after: number, what: "removed" | "left" | "added", user = "bob"): Entry {
  return message(of, after, memberDraft({ user, change: what, by: "alice" }, "member", user));
}

function take({ stage, room }: Scene, ...entries: readonly Entry[]): void {
  stage.node.onPack({ room, prevTerm: (entries[0] as Entry).prevTerm, entries, opening: false });
}

/** What a client heard of since, as distances to where the scene begins. */
function heard({ at }: Scene, client: Client): number[] {
  return client
    .all("entry")
    .map(({ entry }) => entry.offset - at.offset)
    .filter((after) => after > 0);
}

/** The owner's answers to who may not be here, one after the other; each waits for its latch. */
function answers({ stage }: Scene, ...those: readonly (readonly string[])[]): Latch[] {
  const latches = those.map(() => new Latch());
  const next = (n: number): void =>
    once(stage.node.remote, "strangers", async () => {
      if (n + 1 < those.length) next(n + 1);
      await latches[n]?.opened;
      return those[n];
    });
  next(0);
  return latches;
}

test("Whom a pack removes that breaks the chain is gone before anything after it is shown.", async () => {
  for (const what of ["removed", "left"] as const) {
    const here = await scene();
    const { stage, at, bob, carol } = here;
    const [answer] = answers(here, []);
    take(here, message(here, 1), change(here, 2, what), message(here, 3));
    assert.deepEqual(
      bob.all("ended").map(({ code }) => code),
      ["removed"],
    );
    assert.deepEqual([bob.all("resumed"), carol.all("ended")], [[], []]);
    assert.deepEqual(
      carol.all("resumed").map(({ recovered, head }) => [recovered, head.offset]),
      [[false, at.offset + 3]],
    );
    answer?.open();
    await stage.clock.advance(10);
    take(here, message(here, 4));
    assert.deepEqual([heard(here, bob), heard(here, carol)], [[], [4]]);
  }
});

test("Whom a page removes that breaks the chain is gone, too.", async () => {
  const here = await scene();
  const { stage, room, bob, carol } = here;
  const [answer] = answers(here, []);
  once(stage.node.bus, "log", async () => [message(here, 1), change(here, 2, "removed")]);
  stage.node.audiences.get(room)?.fill();
  await stage.clock.advance(10);
  assert.equal(bob.all("ended").length, 1);
  answer?.open();
  await stage.clock.advance(10);
  take(here, message(here, 3));
  assert.deepEqual([heard(here, bob), heard(here, carol)], [[], [3]]);
});

test("Who was back before where the chain broke may have come after that, and stays.", async () => {
  const here = await scene();
  const { at, bob } = here;
  const over = { term: at.term + 1, prevTerm: at.term + 1 };
  const entries = [change(here, -1, "removed"), change(here, 0, "added"), message(here, 1)];
  take(here, ...entries.map((entry) => ({ ...entry, ...over })));
  assert.deepEqual([bob.all("ended"), bob.all("resumed").length], [[], 1]);
});

test("After a loss nothing is shown until the owner said who may be here; then all of it is.", async () => {
  const here = await scene();
  const { stage, bob, carol } = here;
  const [answer] = answers(here, ["bob"]);
  carol.subscribe("log", "general", { id: "g" });
  await stage.clock.advance(100);
  // Bob's removal was among what never came.
  take(here, message(here, 1));
  const more = [message(here, 2), message(here, 3)];
  await stage.store.insert(more);
  for (const entry of more) take(here, entry);
  carol.send("general", "elsewhere");
  await stage.clock.advance(100);
  assert.deepEqual([heard(here, bob), bob.all("ended")], [[], []]);
  assert.deepEqual(carol.heard("s"), []);
  assert.ok(carol.heard("g").includes("elsewhere"), "no other room waits");
  answer?.open();
  await stage.clock.advance(10);
  assert.equal(bob.all("ended").length, 1);
  assert.deepEqual([heard(here, bob), carol.heard("s").length], [[], 2]);
});

test("What comes while the owner does not answer is shown when it does, in order.", async () => {
  const here = await scene();
  const { stage, carol } = here;
  once(stage.node.remote, "strangers", () => Promise.reject(new Refusal("store-unavailable")));
  take(here, message(here, 1));
  for (const after of [2, 3, 4]) {
    await stage.store.insert([message(here, after)]);
    take(here, message(here, after));
  }
  await stage.clock.advance(20);
  assert.deepEqual(heard(here, carol), []);
  await stage.clock.advance(100);
  take(here, message(here, 5));
  assert.deepEqual(heard(here, carol), [2, 3, 4, 5]);
});

test("Where another position is lost meanwhile, it is the later answer that counts.", async () => {
  const here = await scene();
  const { stage, room, at, bob, carol } = here;
  const [first, second] = answers(here, [], ["bob"]);
  take(here, message(here, 1));
  stage.node.audiences.get(room)?.lost({ offset: at.offset + 2, term: at.term });
  await stage.store.insert([message(here, 3)]);
  take(here, message(here, 3));
  first?.open();
  await stage.clock.advance(100);
  assert.deepEqual([heard(here, bob), heard(here, carol)], [[], []]);
  second?.open();
  await stage.clock.advance(10);
  assert.deepEqual([heard(here, bob), heard(here, carol)], [[], [3]]);
});

test("What was lost before is not asked for again where another position is lost meanwhile.", async () => {
  const here = await scene();
  const { stage, room, at } = here;
  const failing = new Latch();
  let asked = 0;
  stage.node.remote.strangers = async () => {
    asked++;
    if (asked > 1) return [];
    await failing.opened;
    throw new Refusal("store-unavailable");
  };
  take(here, message(here, 1));
  stage.node.audiences.get(room)?.lost({ offset: at.offset + 2, term: at.term });
  failing.open();
  await stage.clock.advance(1_000);
  assert.equal(asked, 2);
});

test("A position that is lost in the moment in which a gap is filled is asked for as any other.", async () => {
  const here = await scene();
  const { stage, room, at, bob, carol } = here;
  const [answer] = answers(here, ["bob"]);
  const audience = stage.node.audiences.get(room);
  const next = message(here, 1, { prevTerm: at.term });
  once(stage.node.bus, "log", async () => [next]);
  audience?.fill();
  take(here, next);
  carol.onHear = ({ kind }) => {
    // Between the last page and the end of the fill.
    if (kind === "entry") queueMicrotask(() => audience?.lost({ offset: at.offset + 2, term: at.term }));
    carol.onHear = undefined;
  };
  await stage.clock.advance(10);
  await stage.store.insert([message(here, 3)]);
  take(here, message(here, 3));
  assert.deepEqual([heard(here, bob), heard(here, carol)], [[1], [1]]);
  answer?.open();
  await stage.clock.advance(10);
  assert.deepEqual([heard(here, bob), heard(here, carol)], [[1], [1, 3]]);
});

test("An owner that another one followed is not asked who may be here.", async () => {
  const here = await scene();
  const { stage, room, at, bob } = here;
  let asked = 0;
  once(stage.node.remote, "strangers", async () => {
    asked++;
    return ["bob"];
  });
  take(here, message(here, 1, { term: at.term + 1 }));
  await stage.clock.advance(200);
  assert.deepEqual([asked, bob.all("ended")], [0, []]);
  stage.node.cluster.owners.learn(stage.node.shardIndexOf(room), stage.node.name, at.term + 1);
  await stage.clock.advance(100);
  assert.deepEqual([asked, bob.all("ended").length], [1, 1]);
});

test("A page that was asked for from a position that is lost meanwhile is not shown.", async () => {
  const here = await scene();
  const { stage, room, at, carol } = here;
  const reading = new Latch();
  once(stage.node.bus, "log", async () => {
    await reading.opened;
    return [message(here, 1, { prevTerm: at.term })];
  });
  const audience = stage.node.audiences.get(room);
  audience?.fill();
  audience?.lost({ offset: at.offset + 1, term: at.term + 1 });
  await stage.store.insert([message(here, 2, { term: at.term + 1, prevTerm: at.term + 1 })]);
  stage.node.cluster.owners.learn(stage.node.shardIndexOf(room), stage.node.name, at.term + 1);
  reading.open();
  await stage.clock.advance(100);
  assert.deepEqual(heard(here, carol), [2]);
});
