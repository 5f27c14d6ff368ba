/** A sender's own copy of what it says, which may wait a moment for its RECEIPT: never out of order, never for long. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { makeRoom, type Server, startServer, tokenFor } from "../ops/drills/harness.ts";
import { StompClient, type StompFrame } from "../ops/drills/stomp.ts";

const BATCH_MS = 1_000;
const ROUNDS = 40;

let server: Server;
/** A server whose commits take so long that no RECEIPT comes in time. */
let slow: Server;

before(async () => {
  server = await startServer({ env: { LIMIT_SENDS_PER_SECOND: "0" } });
  const batch = String(BATCH_MS);
  slow = await startServer({
    env: { LIMIT_BATCH_RECEIPT_MS: batch, LIMIT_BATCH_IDLE_MS: batch, LIMIT_BATCH_LOGGED_MS: batch },
  });
});

after(async () => {
  await server.remove();
  await slow.remove();
});

const said = (client: StompClient, subscription: string): StompFrame[] =>
  client.waiting({ command: "MESSAGE", subscription });

test("A room is heard in its order by all who talk in it at once, and each hears itself before its RECEIPT.", async () => {
  const room = await makeRoom(server, tokenFor("kept-0"), { name: "kept", type: "public" });
  const destination = `/topic/room.${room}`;
  const clients: StompClient[] = [];
  for (const at of [0, 1, 2]) {
    const client = await StompClient.connected(server.wsUrl, tokenFor(`kept-${at}`));
    await client.post(room, "join");
    clients.push(client);
  }
  const start = new Map<StompClient, number>();
  for (const client of clients) {
    const head = await client.subscribe(room, "s");
    await client.subscribe(room, "twice");
    start.set(client, Number(head.headers["head-offset"]));
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [at, client] of clients.entries()) {
      const receipt = (round + at) % 4 === 0 ? {} : { receipt: `r-${round}` };
      const body = (round + at) % 5 === 0 ? Uint8Array.of(0xff, round) : `${at} says ${round}`;
      client.send("SEND", { destination, "content-length": String(body.length), ...receipt }, body);
      // What others say then meets copies that are kept, in all ways.
      if (round % 3 === at) await client.post(room, "pause");
    }
  }
  for (const client of clients) await client.post(room, "last");
  for (const client of clients) {
    // The owner's answer comes after all that was published before it.
    await client.subscribe(room, "fence");
    for (const subscription of ["s", "twice"]) {
      const offsets = said(client, subscription).map(({ headers }) => Number(headers.offset));
      const first = (start.get(client) ?? 0) + 1;
      assert.ok(offsets.length >= ROUNDS * 3);
      assert.deepEqual(
        offsets,
        offsets.map((_, i) => first + i),
      );
    }
    const frames = client.waiting();
    const receipts = frames.filter(
      ({ command, headers }) => command === "RECEIPT" && headers["receipt-id"]?.startsWith("r-"),
    );
    assert.equal(receipts.length, ROUNDS * 0.75);
    for (const receipt of receipts) {
      const own = frames.findIndex(
        ({ command, headers }) => command === "MESSAGE" && headers["message-id"] === receipt.headers["message-id"],
      );
      assert.ok(own >= 0 && own < frames.indexOf(receipt), "a RECEIPT came before the message");
    }
    await client.cut();
  }
});

test("A sender hears itself long before a RECEIPT that is late, and whatever it asks next finds that sent.", async () => {
  const room = await makeRoom(slow, tokenFor("late"), { name: "late", type: "public" });
  const client = await StompClient.connected(slow.wsUrl, tokenFor("late"));
  await client.subscribe(room, "s");
  const destination = `/topic/room.${room}`;
  client.send("SEND", { destination, receipt: "late" }, "heard");
  await client.next({ command: "MESSAGE", body: "heard" });
  assert.equal(client.waiting({ "receipt-id": "late" }).length, 0);
  const watcher = await StompClient.connected(slow.wsUrl, tokenFor("watches"));
  await watcher.subscribe(room, "s");
  client.send("SEND", { destination, receipt: "gone" }, "before the end");
  await watcher.next({ command: "MESSAGE", body: "before the end" });
  await client.must("UNSUBSCRIBE", { id: "s" });
  assert.equal(client.waiting({ command: "MESSAGE", body: "before the end" }).length, 1);
  await watcher.cut();
  await client.cut();
});

test("Who is subscribed to nothing is heard by others, with a RECEIPT asked for.", async () => {
  const room = await makeRoom(server, tokenFor("mute"), { name: "mute", type: "public" });
  const [talker, listener] = [
    await StompClient.connected(server.wsUrl, tokenFor("mute")),
    await StompClient.connected(server.wsUrl, tokenFor("ears")),
  ];
  await talker.post(room, "join");
  await listener.subscribe(room, "s");
  await talker.post(room, "hello");
  await listener.next({ command: "MESSAGE", body: "hello" });
  await Promise.all([talker.cut(), listener.cut()]);
});
