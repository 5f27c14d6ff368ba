import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "../../actors/codes.ts";
import { readDestination } from "./destinations.ts";

test("A room is named by its topic and by its application destination, and shown as its topic.", () => {
  const named = { kind: "room", room: "general", topic: "/topic/room.general" };
  assert.deepEqual(readDestination("/topic/room.general", "me"), named);
  assert.deepEqual(readDestination("/app/room.general", "me"), named);
  assert.deepEqual(readDestination("/topic/room.general.signals", "me"), { kind: "signals", room: "general" });
  assert.deepEqual(readDestination("/app/room.general.typing", "me"), { kind: "typing", room: "general" });
  assert.deepEqual(readDestination("/app/room.general.read", "me"), { kind: "read", room: "general" });
});

test("One's own queue is read for who asks, whoever asked before.", () => {
  assert.deepEqual(readDestination("/user/queue/messages", "ann"), { kind: "queue", user: "ann" });
  assert.deepEqual(readDestination("/user/queue/messages", "bob"), { kind: "queue", user: "bob" });
});

test("What is no destination is refused each time that it comes.", () => {
  const wrong = ["", "/topic/room.", "/topic/room.UPPER", "/topic/room.a.typing", "/app/room.a.signals", "/topic/x"];
  for (const text of [...wrong, ...wrong])
    assert.throws(
      () => readDestination(text, "me"),
      (error) => error instanceof Refusal && error.code === "bad-destination",
    );
});

test("More rooms than are remembered are read as well as the first.", () => {
  for (let at = 0; at < 40_000; at++) {
    const room = `room-${at}`;
    assert.deepEqual(readDestination(`/topic/room.${room}`, "me"), {
      kind: "room",
      room,
      topic: `/topic/room.${room}`,
    });
  }
  const again = readDestination("/topic/room.room-0", "me");
  assert.equal(readDestination("/topic/room.room-0", "me"), again);
  assert.deepEqual(again, { kind: "room", room: "room-0", topic: "/topic/room.room-0" });
});
