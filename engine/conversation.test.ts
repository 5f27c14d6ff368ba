/** STOMP as the running server speaks it: versions, framing, bodies, transactions, acknowledgements, signals. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { makeRoom, must, type Server, startServer, tokenFor, wholeHistory, within } from "../ops/drills/harness.ts";
import { encodeFrame, StompClient, type StompFrame } from "../ops/drills/stomp.ts";

let server: Server;

before(async () => {
  server = await startServer({
    env: { LIMIT_HEARTBEAT_MS: "1000", LIMIT_TYPING_MS: "300", LIMIT_PRESENCE_GRACE_MS: "200" },
  });
});

after(async () => {
  await server.remove();
});

let rooms = 0;

/** A public room of its own for a test, and its member's connection, subscribed as `s`. */
async function setUp(
  user: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ room: string; client: StompClient }> {
  const room = await makeRoom(server, tokenFor(user), { name: `room ${++rooms}`, type: "public" });
  const client = await StompClient.connected(server.wsUrl, tokenFor(user));
  await client.subscribe(room, "s", headers);
  return { room, client };
}

const message = (body: string) => ({ command: "MESSAGE", event: "message", body });
const offsetOf = (frame: StompFrame): number => Number(frame.headers.offset);

for (const [offered, chosen] of [
  ["1.0", "1.0"],
  ["1.1", "1.1"],
  ["1.2", "1.2"],
  ["1.0,1.1", "1.1"],
  ["1.1,1.2,9.9", "1.2"],
] as const) {
  test(`A client that offers STOMP ${offered} is answered in ${chosen} and talks in it.`, async () => {
    const room = await makeRoom(server, tokenFor("version"), { name: "versions", type: "public" });
    const client = await StompClient.open(server.wsUrl);
    const connected = await client.connect(tokenFor("version"), { "accept-version": offered });
    assert.equal(connected.headers.version, chosen);
    await client.subscribe(room, "s");
    const receipt = await client.post(room, "hello");
    const heard = await client.next(message("hello"));
    assert.equal(heard.headers["message-id"], receipt.headers["message-id"]);
    assert.equal((await client.disconnect()).code, 1000);
  });
}

test("A client without accept-version is a client of STOMP 1.0, and STOMP means CONNECT.", async () => {
  const client = await StompClient.open(server.wsUrl);
  client.send("STOMP", { passcode: tokenFor("old") });
  const connected = await client.next({ command: "CONNECTED" });
  assert.equal(connected.headers.version, "1.0");
  await client.cut();
});

test("The server answers the highest sub-protocol that it knows, and none when none is offered.", async () => {
  const many = await StompClient.open(server.wsUrl, { protocols: ["v10.stomp", "v12.stomp", "v11.stomp"] });
  assert.equal(many.socket.protocol, "v12.stomp");
  const none = await StompClient.open(server.wsUrl);
  assert.equal(none.socket.protocol, "");
  await Promise.all([many.cut(), none.cut()]);
});

test("A frame may come byte by byte over many messages, and many frames in one message.", async () => {
  const { room, client } = await setUp("split");
  const destination = `/topic/room.${room}`;
  for (const byte of encodeFrame("SEND", { destination, receipt: "bytes" }, "byte by byte: ü"))
    client.raw(Buffer.of(byte), true);
  await client.next({ command: "RECEIPT", "receipt-id": "bytes" });
  await client.next(message("byte by byte: ü"));
  const frames = Array.from({ length: 20 }, (_, at) =>
    encodeFrame("SEND", { destination, receipt: `many-${at}` }, `many ${at}`),
  );
  client.raw(Buffer.concat(frames.flatMap((frame) => [Buffer.from("\r\n\n"), frame])), true);
  const heard: StompFrame[] = [];
  for (let at = 0; at < 20; at++) {
    await client.next({ command: "RECEIPT", "receipt-id": `many-${at}` });
    heard.push(await client.next(message(`many ${at}`)));
  }
  const first = offsetOf(heard[0] as StompFrame);
  assert.deepEqual(
    heard.map(offsetOf),
    heard.map((_, at) => first + at),
  );
  await client.cut();
});

test("A body of any bytes goes out as it came: text as text, anything else as binary.", async () => {
  const { room, client } = await setUp("bytes");
  const any = Uint8Array.from({ length: 256 }, (_, at) => at);
  await client.post(room, any, { "content-length": "256", "content-type": "application/octet-stream" });
  const binary = await client.next({ command: "MESSAGE", event: "message" });
  assert.equal(binary.binary, true);
  assert.deepEqual(new Uint8Array(binary.body), any);
  assert.equal(binary.headers["content-type"], "application/octet-stream");
  await client.post(room, Buffer.from("a\0b\0"), { "content-length": "4" });
  const zeros = await client.next({ command: "MESSAGE", event: "message" });
  assert.equal(zeros.binary, false);
  assert.equal(zeros.body.toString(), "a\0b\0");
  const [last, before] = (await wholeHistory(server, tokenFor("bytes"), room)).reverse();
  assert.equal(last?.body, "a\0b\0");
  assert.equal(before?.bodyBase64, Buffer.from(any).toString("base64"));
  await client.cut();
});

test("Headers of a SEND are stored, replayed and shown; the engine's own names are never copied.", async () => {
  const { room, client } = await setUp("heads");
  const forged = {
    offset: "99",
    term: "99",
    sender: "eve",
    "sender-name": "Eve",
    timestamp: "1",
    event: "member",
    count: "7",
    "message-id": "x",
  };
  const receipt = await client.post(room, "with headers", { "x-topic": "a:b\\c\nd", ...forged });
  const heard = await client.next(message("with headers"));
  assert.equal(heard.headers["x-topic"], "a:b\\c\nd");
  assert.equal(heard.headers.sender, "heads");
  assert.equal(heard.headers.offset, receipt.headers.offset);
  assert.equal(heard.headers.receipt, undefined);
  const stored = (await wholeHistory(server, tokenFor("heads"), room)).at(-1);
  assert.deepEqual(stored?.headers, { "x-topic": "a:b\\c\nd" });
  await client.subscribe(room, "replay", { last: "1" });
  const replayed = await client.next({ subscription: "replay", body: "with headers" });
  assert.equal(replayed.headers["x-topic"], "a:b\\c\nd");
  await client.cut();
});

test("A retry with the same client-message-id is answered with the first RECEIPT and not heard again.", async () => {
  const { room, client } = await setUp("twice");
  const id = { "client-message-id": "only-once" };
  const first = await client.post(room, "first", id);
  const again = await client.post(room, "said otherwise", id);
  assert.equal(again.headers["message-id"], first.headers["message-id"]);
  assert.equal(again.headers.offset, first.headers.offset);
  await client.post(room, "fence");
  await client.next(message("fence"));
  const heard = await client.next(message("first"));
  assert.equal(heard.headers["client-message-id"], "only-once");
  assert.equal(client.waiting({ command: "MESSAGE" }).length, 0);
  await client.cut();
});

test("The frames of a transaction run at COMMIT, in order; those of an aborted one never do.", async () => {
  const { room, client } = await setUp("tx");
  const destination = `/topic/room.${room}`;
  await client.must("BEGIN", { transaction: "t1" });
  await client.must("BEGIN", { transaction: "t2" });
  client.send("SEND", { destination, transaction: "t1", receipt: "in-1" }, "one");
  client.send("SEND", { destination, transaction: "t2" }, "never");
  client.send("SEND", { destination, transaction: "t1", receipt: "in-2" }, "two");
  await client.post(room, "outside");
  await client.next(message("outside"));
  assert.equal(client.waiting({ command: "MESSAGE" }).length, 0);
  assert.equal(client.waiting({ "receipt-id": "in-1" }).length, 0);
  await client.must("ABORT", { transaction: "t2" });
  await client.must("COMMIT", { transaction: "t1" });
  assert.deepEqual(
    client.waiting({ command: "RECEIPT" }).map(({ headers }) => headers["receipt-id"]),
    ["in-1", "in-2"],
  );
  const [one, two] = [await client.next(message("one")), await client.next(message("two"))];
  assert.equal(offsetOf(two), offsetOf(one) + 1);
  assert.equal(client.waiting(message("never")).length, 0);
  await client.cut();
});

for (const ack of ["client", "client-individual"]) {
  test(`An ACK of a subscription in mode ${ack} moves the delivered marker, which others see; a NACK does not.`, async () => {
    const { room, client } = await setUp(`acked-${ack}`);
    const watcher = await StompClient.connected(server.wsUrl, tokenFor(`acking-${ack}`));
    await watcher.post(room, "join");
    await client.must("SUBSCRIBE", { id: "signals", destination: `/topic/room.${room}.signals` });
    await watcher.subscribe(room, "a", { ack });
    await client.post(room, "first");
    await client.post(room, "second");
    await watcher.next(message("first"));
    const second = await watcher.next(message("second"));
    assert.equal(second.headers.ack, `a.${second.headers.offset}`);
    await watcher.must("NACK", { id: second.headers.ack ?? "" });
    await watcher.must("ACK", { id: second.headers.ack ?? "" });
    await watcher.must("ACK", { id: "no-such-id" });
    const signal = await client.next({ command: "MESSAGE", event: "delivered" });
    assert.deepEqual(JSON.parse(signal.body.toString()), { user: `acking-${ack}`, offset: offsetOf(second) });
    await client.cut();
    await watcher.cut();
  });
}

test("Typing, presence and read markers reach those who watch a room's signals.", async () => {
  const { room, client } = await setUp("watcher");
  await client.must("SUBSCRIBE", { id: "signals", destination: `/topic/room.${room}.signals` });
  const signal = async (event: string, wanted: object): Promise<void> => {
    const text = JSON.stringify(wanted);
    await client.next(
      (frame) => frame.headers.event === event && JSON.stringify(JSON.parse(frame.body.toString())) === text,
    );
  };
  const other = await StompClient.connected(server.wsUrl, tokenFor("other"));
  await other.post(room, "I join");
  await other.subscribe(room, "s");
  await signal("presence", { user: "other", state: "join" });
  await other.must("SEND", { destination: `/app/room.${room}.typing` }, '{"state":"start"}');
  await signal("typing", { user: "other", state: "start" });
  // Typing ends by itself.
  await signal("typing", { user: "other", state: "stop" });
  // One's own messages are read by being sent.
  const { headers } = await client.post(room, "read this");
  await other.must(
    "SEND",
    { destination: `/app/room.${room}.read` },
    JSON.stringify({ offset: Number(headers.offset) }),
  );
  await signal("read", { user: "other", offset: Number(headers.offset) });
  await other.cut();
  await signal("presence", { user: "other", state: "leave" });
  await signal("presence", { user: "other", state: "offline" });
  const back = await StompClient.connected(server.wsUrl, tokenFor("other"));
  await signal("presence", { user: "other", state: "online" });
  await back.cut();
  await client.cut();
});

test("A connection that falls silent is ended after 2.5 heart-beat intervals, one that beats is not.", async () => {
  const beat = { "heart-beat": "1000,1000" };
  const silent = await StompClient.open(server.wsUrl, { pong: false });
  const alive = await StompClient.open(server.wsUrl, { pong: false });
  await silent.connect(tokenFor("silent"), beat);
  await alive.connect(tokenFor("alive"), beat);
  const beating = setInterval(() => alive.raw("\n"), 500);
  const error = await silent.next({ command: "ERROR" }, 5_000);
  assert.equal(error.headers.code, "heartbeat-lost");
  await within(silent.closed, 2_000, "The close");
  assert.ok(silent.heartbeats >= 2);
  await alive.must("SUBSCRIBE", { id: "s", destination: "/topic/room.general" });
  clearInterval(beating);
  await alive.cut();
});

test("UNSUBSCRIBE's RECEIPT comes after the last MESSAGE of its subscription, DISCONNECT's after all outcomes.", async () => {
  const { room, client } = await setUp("order");
  client.send("SEND", { destination: `/topic/room.${room}`, receipt: "x" }, "last words");
  await client.must("UNSUBSCRIBE", { id: "s" });
  await client.next({ "receipt-id": "x" });
  await client.post(room, "unheard");
  assert.equal(client.waiting(message("unheard")).length, 0);
  for (let at = 0; at < 50; at++)
    client.send("SEND", { destination: `/topic/room.${room}`, receipt: `last-${at}` }, "bye");
  await client.must("DISCONNECT");
  const answered = client.waiting({ command: "RECEIPT" }).map(({ headers }) => headers["receipt-id"]);
  assert.deepEqual(
    answered,
    Array.from({ length: 50 }, (_, at) => `last-${at}`),
  );
  assert.equal((await client.closed).code, 1000);
  const view = await must<{ storedOffset: number; headOffset: number }>(server, `GET /api/rooms/${room}`, {
    token: tokenFor("order"),
  });
  assert.equal(view.storedOffset, view.headOffset);
});

test("A position that was never on the log, or is half given, is refused or told, never replayed in part.", async () => {
  const { room, client } = await setUp("position");
  const { headers } = await client.post(room, "one");
  await client.must("SUBSCRIBE", { id: "errors", destination: "/user/queue/errors" });
  const at = (more: object) => ({ id: "p", destination: `/topic/room.${room}`, ...more });
  const bad = [{ "after-offset": "1" }, { "after-term": "1" }, { "after-offset": "1", "after-term": "1", last: "3" }];
  for (const position of bad) assert.equal((await client.ask("SUBSCRIBE", at(position))).headers.code, "bad-position");
  const wrong = { "after-offset": headers.offset ?? "", "after-term": String(Number(headers.term) + 7) };
  await client.must("SUBSCRIBE", at(wrong));
  const told = await client.next({ subscription: "p", event: "resumed" });
  assert.equal(told.headers.recovered, "false");
  assert.equal(told.headers["head-offset"], headers.offset);
  await client.post(room, "two");
  const live = await client.next({ subscription: "p", event: "message" });
  assert.equal(live.body.toString(), "two");
  await client.cut();
});
