import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeAdministration } from "./administration.ts";
import { CALL_SHAPES } from "./bus.shapes.calls.ts";
import { ChatService } from "./messages.ts";
import { caller, Stage } from "./node.fixture.ts";
import { Remote } from "./remote.ts";
import { RoutedChat } from "./routed.ts";
import { roomAt, twoNodes } from "./two.fixture.ts";

test("Every method that a node offers to others has a shape, and no other has.", async () => {
  const stage = await Stage.open();
  const offered = new Set<string>();
  const offer = (services: object): void => {
    for (const method of Object.keys(services)) offered.add(method);
  };
  const host = Object.create(stage.node, { services: { value: { offer } } }) as Stage["node"];
  new Remote(host);
  new RoutedChat(host, new ChatService(stage.node, () => "id"));
  new NodeAdministration(host, async () => {});
  assert.deepEqual([...offered].sort(), [...CALL_SHAPES.keys()].sort());
});

test("Crowds, presence and calls between nodes have their shapes, whatever is said; a hub refuses what has not.", async () => {
  const { a, b } = await twoNodes();
  const room = await roomAt(b, "public", "root");
  const alice = a.connect("alice");
  alice.subscribe("log", room);
  await a.clock.advance(2_000);
  const { users } = await a.run(a.chat.presence(caller("root"), room));
  assert.deepEqual(
    users.map(({ id }) => id),
    ["alice"],
  );
  const crowd = { room, came: [{}], went: [], whole: true, count: 1, digest: 0, believed: [] };
  assert.throws(() => a.node.bus.tell("b", { kind: "crowds", crowds: [crowd as never] }), RangeError);
  assert.throws(() => a.node.bus.notify({ kind: "owner", node: "x", shards: [[1]] as never }), RangeError);
});
