import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { SimulatedClock } from "./clock.ts";
import { Refusal, StoreFailure } from "./codes.ts";
import { Latch } from "./latch.fixture.ts";
import { SILENT } from "./log.ts";
import { Mailbox } from "./mailbox.ts";
import { Stage } from "./node.fixture.ts";
import { type Posting, posting } from "./posting.ts";

/** A posting; what it is refused with is kept in `refused`. */
function sample(key: string, refused: string[]): Posting {
  const reply = {
    urgent: false,
    accepted() {},
    stored() {},
    refused: (refusal: Refusal) => void refused.push(`${key} ${refusal.code}`),
  };
  const body = Buffer.from(key);
  const draft = { event: "message", sender: "alice", senderName: "Alice", key, ref: 0, contentType: "" } as const;
  return posting({ ...draft, headers: [], body, text: true }, reply);
}

test("What is decided again goes past the bound that new postings and questions meet, and before them.", () => {
  const decided: string[] = [];
  const refused: string[] = [];
  const decide = ({ draft }: Posting): boolean => decided.push(draft.key) > 0;
  const clock = new SimulatedClock();
  const mailbox = new Mailbox({ room: "general", most: 2, log: SILENT, clock, barred: () => undefined, decide });
  const again = ["e/1", "e/2", "e/3", "e/4"];
  for (const key of again) mailbox.repost(sample(key, refused));
  mailbox.post(sample("e/5", refused));
  mailbox.ask({ run() {}, fail: ({ code }) => void refused.push(`ask ${code}`) });
  assert.deepEqual(refused, ["e/5 queue-full", "ask queue-full"]);
  mailbox.open();
  mailbox.post(sample("e/6", refused));
  assert.deepEqual(decided, [...again, "e/6"]);
});

test("While the store does not say whether a posting is on the log, it keeps its place; one that cannot be is refused.", async () => {
  const clock = new SimulatedClock();
  const decided: string[] = [];
  const refused: string[] = [];
  let failures = 3;
  const decide = (item: Posting): boolean => {
    if (item.keyed && failures-- > 0) mailbox.hold(Promise.reject(new StoreFailure("away")), item);
    else return decided.push(item.draft.key) > 0;
    return false;
  };
  const told: string[] = [];
  const log = { ...SILENT, warn: (_: object, line: string) => void told.push(line) };
  const mailbox = new Mailbox({ room: "general", most: 9, log, clock, barred: () => undefined, decide });
  const first = Object.assign(sample("e/1", refused), { keyed: true, again: true });
  mailbox.repost(first);
  mailbox.repost(sample("e/2", refused));
  mailbox.open();
  await clock.advance(1_000);
  assert.deepEqual([decided, refused], [["e/1", "e/2"], []]);
  assert.deepEqual(told, ["a room's store did not answer"], "told once, however often it is asked again");
  failures = 1;
  mailbox.post(Object.assign(sample("c/3", refused), { keyed: true }));
  await clock.advance(1_000);
  assert.deepEqual(refused, ["c/3 store-unavailable"]);
});

test("While a room may not decide, it answers nothing either: another owner may have removed who asks.", async () => {
  let held: Latch | undefined;
  const answered: string[] = [];
  const refused: string[] = [];
  const clock = new SimulatedClock();
  const barred = (): Promise<void> | undefined => held?.opened;
  const mailbox = new Mailbox({ room: "general", most: 2, log: SILENT, clock, barred, decide: () => true });
  const read = (name: string): void =>
    mailbox.read({ run: () => void answered.push(name), fail: ({ code }) => void refused.push(`${name} ${code}`) });
  mailbox.open();
  held = new Latch();
  for (const name of ["one", "two", "three"]) read(name);
  assert.deepEqual([answered, refused], [[], ["three queue-full"]]);
  const { open } = held;
  held = undefined;
  open();
  await new Promise(setImmediate);
  read("four");
  assert.deepEqual(answered, ["one", "two", "four"]);
  held = new Latch();
  read("five");
  mailbox.refuse(new Refusal("store-unavailable"));
  read("six");
  await clock.advance(2_000);
  assert.deepEqual(refused, ["three queue-full", "five store-unavailable", "six store-unavailable"]);
  read("seven");
  const again = held;
  held = undefined;
  again.open();
  await new Promise(setImmediate);
  assert.deepEqual(answered, ["one", "two", "four", "seven"]);
});

test("SENDs that an owner change finds undecided in the hot log are all decided again, however small the mailbox.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true, limits: { roomMailbox: 2 } });
  const alice = stage.connect("alice");
  alice.send("general", "joins");
  await stage.clock.advance(100);
  stage.hub.wipe();
  const bodies = ["one", "two", "three", "four", "five"];
  const receipts = bodies.map((body) => alice.send("general", body));
  await stage.clock.advance(3_000);
  assert.deepEqual(alice.all("refused"), []);
  for (const receipt of receipts) assert.ok(alice.receiptOf(receipt));
  const log = await stage.log("general");
  assert.deepEqual(
    log.slice(2).map((entry) => Buffer.from(entry.body).toString()),
    bodies,
  );
});
