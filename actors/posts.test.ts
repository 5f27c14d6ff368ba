import assert from "node:assert/strict";
import { test } from "node:test";
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
