import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { caller, message, Stage } from "./node.fixture.ts";

/** A draft about the first message of a room whose body says nothing that can follow from it. */
const BROKEN = {
  event: "reaction",
  sender: "alice",
  senderName: "Alice",
  ref: 2,
  contentType: "application/json",
  headers: [],
  body: Buffer.from("no JSON"),
  text: true,
} as const;

test("A fault of ours in what follows from an entry costs neither its offset nor a place in the writer's bound.", async () => {
  const stage = await Stage.open({ limits: { pendingEntries: 2 } });
  await stage.run(stage.chat.post(caller("alice"), "general", message("one")));
  const room = stage.node.room("general");
  for (const broken of [BROKEN, { ...BROKEN, event: "member", ref: 0 } as const]) {
    await assert.rejects(stage.run(room.ask(() => room.append(broken, undefined))), SyntaxError);
    assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes, room.state.offset], [0, 0, 2]);
    assert.equal(room.still, true);
  }
  const { entry } = await stage.run(stage.chat.post(caller("alice"), "general", message("two")));
  assert.equal(entry.offset, 3);
  await stage.run(stage.chat.react(caller("bob"), "general", 2, { reaction: "+", on: true }));
  assert.deepEqual(
    (await stage.log("general")).map(({ offset, event }) => `${offset} ${event}`),
    ["1 member", "2 message", "3 message", "4 reaction"],
  );
});

test("A posting for which the writer has no place changes nothing.", async () => {
  const stage = await Stage.open({ limits: { pendingEntries: 1 } });
  const room = stage.node.room("general");
  const state = await stage.run(room.ask((known) => known));
  const { entries, bytes } = stage.node.writer;
  await assert.rejects(
    stage.run(
      room.ask(() => {
        room.join("alice", "Alice");
        room.join("bob", "Bob");
      }),
    ),
    { code: "queue-full" },
  );
  assert.deepEqual([state.offset, [...state.members.keys()]], [1, ["alice"]]);
  await stage.clock.advance(500);
  assert.deepEqual([stage.node.writer.entries, stage.node.writer.bytes], [entries, bytes]);
});

test("A node that cannot be told of a new member does not cost the member its join.", async () => {
  const stage = await Stage.open();
  const errors: string[] = [];
  const { host } = stage.node.room("general");
  const log = { ...host.log, error: (_: object, text: string): void => void errors.push(text) };
  const joined = (): never => {
    throw new TypeError("a fault of ours");
  };
  Object.assign(host, { log, joined });
  const { entry } = await stage.run(stage.chat.post(caller("alice"), "general", message("one")));
  assert.deepEqual([entry.offset, errors], [2, ["a new member met a fault of ours"]]);
});
