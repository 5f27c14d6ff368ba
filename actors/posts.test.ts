import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "./codes.ts";
import { draftOf, Ear, Owner, PlainRoom, Wire } from "./lines.fixture.ts";
import { seeded } from "./node.fixture.faults.ts";
import { Stage } from "./node.fixture.ts";
import { type Posting, posting } from "./posting.ts";

test("A room that opens anew takes back its own node's SENDs, and leaves those of other nodes to their lines.", async () => {
  const stage = await Stage.open({ shards: 1, shared: true });
  const wire = new Wire(stage.clock, seeded(1));
  const held = Object.assign(new PlainRoom(), { held: true });
  const owner = new Owner({ name: "o", wire, post: held.post });
  const line = { room: "general", line: 1, again: 0, term: 0, urgent: [], passed: [] };
  owner.landings.onSends("e", [{ ...line, first: 1, oldest: 1, drafts: [draftOf("e/e/1"), draftOf("e/e/2")] }]);
  const [landed, joined] = held.items as [Posting, Posting];
  const [own, retry] = [new Ear(), new Ear()];
  joined.joined = [retry];
  stage.node.posts.repost("general", [landed, posting(draftOf("e/o/1"), own), joined]);
  await stage.clock.advance(100);
  const log = (await stage.log("general")).filter(({ event }) => event === "message");
  assert.deepEqual(
    log.map(({ key }) => key),
    ["e/o/1", "e/e/2"],
  );
  assert.deepEqual(
    [own, retry].map(({ heard }) => heard),
    [
      ["accepted", "stored"],
      ["accepted", "stored"],
    ],
  );
  assert.deepEqual(
    wire.answers().map(({ answers, expected }) => [answers.length, expected]),
    [[0, 1]],
  );
});

test("Beyond the pairs remembered the oldest is asked for again, and the newest is not.", async () => {
  const { node } = await Stage.open({ shards: 1 });
  const made: string[] = [];
  node.posts.makeDirect = async (_from, to) => {
    made.push(to);
    return `d-${to}`;
  };
  const most = 10_000;
  const ask = (to: string): Promise<string> => node.posts.directRoom({ id: "me", name: "Me" }, to);
  for (let at = 0; at <= most; at++) await ask(`u${at}`);
  assert.equal(made.length, most + 1);
  assert.deepEqual([await ask(`u${most}`), await ask("u1")], [`d-u${most}`, "d-u1"]);
  assert.equal(made.length, most + 1);
  assert.equal(await ask("u0"), "d-u0");
  assert.deepEqual(made.slice(most + 1), ["u0"]);
});

test("A direct room that could not be made is asked for again.", async () => {
  const { node } = await Stage.open({ shards: 1 });
  let tries = 0;
  node.posts.makeDirect = async () => {
    if (++tries === 1) throw new Refusal("store-unavailable");
    return "d-1";
  };
  const ask = (): Promise<string> => node.posts.directRoom({ id: "me", name: "Me" }, "you");
  await assert.rejects(ask(), Refusal);
  assert.deepEqual([await ask(), await ask(), tries], ["d-1", "d-1", 2]);
});
