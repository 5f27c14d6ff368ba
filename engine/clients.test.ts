/** Clients that people already use, unchanged, against the running server. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import type { Duplex, Writable } from "node:stream";
import { after, before, test } from "node:test";
import { RxStomp } from "@stomp/rx-stomp";
import { Client, type IMessage, type IStompSocket, type StompHeaders } from "@stomp/stompjs";
import { firstValueFrom } from "rxjs";
import webstomp, {
  type SubscribeHeaders,
  type Client as WebstompClient,
  type Frame as WebstompFrame,
} from "webstomp-client";
import WebSocket, { createWebSocketStream } from "ws";
import {
  call,
  makeRoom,
  must,
  type Server,
  type Session,
  signUp,
  startServer,
  tokenFor,
  wholeHistory,
  within,
} from "../ops/drills/harness.ts";

let server: Server;

before(async () => {
  // Short heart-beats, so that a test sees several of them.
  server = await startServer({ env: { LIMIT_HEARTBEAT_MS: "1000" } });
});

after(async () => {
  await server.remove();
});

/** A promise with its handle outside. */
function later<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** What a callback was called with, to be awaited one by one. */
class Arrivals<T> {
  readonly all: T[] = [];
  #waiting: { count: number; resolve: (all: T[]) => void }[] = [];

  readonly push = (value: T): void => {
    this.all.push(value);
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (this.all.length < count) return true;
      resolve(this.all);
      return false;
    });
  };

  /** All of them, once there are so many. */
  async first(count: number): Promise<T[]> {
    if (this.all.length >= count) return this.all;
    const { promise, resolve } = later<T[]>();
    this.#waiting.push({ count, resolve });
    return within(promise, 5_000, `The arrival of ${count} (of ${this.all.length} so far)`);
  }
}

const socketTo = (protocols: readonly string[] = []): WebSocket => new WebSocket(server.wsUrl, [...protocols]);

function stompjs(token: string, more: object = {}): Client {
  return new Client({
    webSocketFactory: () => socketTo(["v10.stomp", "v11.stomp", "v12.stomp"]) as unknown as IStompSocket,
    connectHeaders: { passcode: token },
    reconnectDelay: 0,
    ...more,
  });
}

async function activated(client: Client): Promise<StompHeaders> {
  const { promise, resolve, reject } = later<StompHeaders>();
  client.onConnect = (frame) => resolve(frame.headers);
  client.onStompError = (frame) => reject(new Error(`ERROR ${frame.headers.code}`));
  client.activate();
  return within(promise, 5_000, "CONNECTED");
}

async function receipted(client: Client, id: string, act: () => void): Promise<StompHeaders> {
  const { promise, resolve } = later<StompHeaders>();
  client.watchForReceipt(id, (frame) => resolve(frame.headers));
  act();
  return within(promise, 5_000, `The RECEIPT ${id}`);
}

/** A listener that keeps only what people said. */
const saidTo =
  (arrivals: Arrivals<IMessage>) =>
  (message: IMessage): void => {
    if (message.headers.event === "message") arrivals.push(message);
  };

const bodies = (messages: readonly { body: string }[]): string[] => messages.map(({ body }) => body);

test("A stompjs client connects, subscribes, sends with a receipt, hears itself and another, and leaves with a receipt.", async () => {
  const room = await makeRoom(server, tokenFor("js-1"), { name: "js", type: "public" });
  const destination = `/topic/room.${room}`;
  const [one, two] = [stompjs(tokenFor("js-1")), stompjs(tokenFor("js-2"))];
  const connected = await activated(one);
  assert.equal(connected.version, "1.2");
  await activated(two);
  const heard = [new Arrivals<IMessage>(), new Arrivals<IMessage>()] as const;
  for (const [at, client] of [one, two].entries()) {
    const listen = () => client.subscribe(destination, saidTo(heard[at as 0 | 1]), { receipt: "subscribed" });
    const head = await receipted(client, "subscribed", listen);
    assert.match(head["head-offset"] ?? "", /^\d+$/);
    assert.match(head["head-term"] ?? "", /^\d+$/);
  }
  const stored = await receipted(one, "sent", () =>
    one.publish({ destination, body: "hello: \\ ünï\n", headers: { receipt: "sent", "x-mood": "a:b" } }),
  );
  await receipted(two, "sent", () => two.publish({ destination, body: "answer", headers: { receipt: "sent" } }));
  for (const arrivals of heard) {
    const messages = await arrivals.first(2);
    assert.deepEqual(bodies(messages), ["hello: \\ ünï\n", "answer"]);
    const [first] = messages as [IMessage];
    assert.equal(first.headers["message-id"], stored["message-id"]);
    assert.equal(first.headers.offset, stored.offset);
    assert.equal(first.headers.sender, "js-1");
    assert.equal(first.headers["sender-name"], "Name of js-1");
    assert.equal(first.headers["x-mood"], "a:b");
  }
  const left = later<void>();
  one.onDisconnect = () => left.resolve();
  await one.deactivate();
  await within(left.promise, 5_000, "The receipt of DISCONNECT");
  await two.deactivate();
});

test("A stompjs client and the server keep each other alive by heart-beats.", async () => {
  const client = stompjs(tokenFor("js-beats"), { heartbeatIncoming: 1_000, heartbeatOutgoing: 1_000 });
  const beats = new Arrivals<string>();
  client.onHeartbeatReceived = () => beats.push("beat");
  const headers = await activated(client);
  assert.equal(headers["heart-beat"], "1000,1000");
  // Four beats are longer than the 2.5 intervals after which a silent client would be ended.
  await beats.first(4);
  assert.equal(client.connected, true);
  await client.deactivate();
});

test("A stompjs client that lost its connection resumes from its position without gap or repeat.", async () => {
  const room = await makeRoom(server, tokenFor("js-r1"), { name: "resume", type: "public" });
  const destination = `/topic/room.${room}`;
  const [away, other] = [stompjs(tokenFor("js-r1")), stompjs(tokenFor("js-r2"))];
  await activated(away);
  await activated(other);
  const say = (body: string) =>
    receipted(other, body, () => other.publish({ destination, body, headers: { receipt: body } }));
  const live = new Arrivals<IMessage>();
  await receipted(away, "subscribed", () => away.subscribe(destination, live.push, { receipt: "subscribed" }));
  await say("one");
  const seen = await live.first(1);
  const last = seen.at(-1) as IMessage;
  const closed = later<void>();
  away.onWebSocketClose = () => closed.resolve();
  away.forceDisconnect();
  await within(closed.promise, 5_000, "The close");
  await away.deactivate();
  await say("two");
  await say("three");
  await activated(away);
  const resumed = new Arrivals<IMessage>();
  const position = { "after-offset": last.headers.offset ?? "", "after-term": last.headers.term ?? "" };
  await receipted(away, "again", () => away.subscribe(destination, resumed.push, { receipt: "again", ...position }));
  await say("four");
  const expected = Number(last.headers.offset);
  const missing =
    Number(
      (await must<{ headOffset: number }>(server, `GET /api/rooms/${room}`, { token: tokenFor("js-r1") })).headOffset,
    ) - expected;
  const [announcement, ...entries] = await resumed.first(missing + 1);
  assert.equal(announcement?.headers.event, "resumed");
  assert.equal(announcement?.headers.recovered, "true");
  assert.equal(announcement?.headers.offset, undefined);
  assert.deepEqual(
    entries.map(({ headers }) => Number(headers.offset)),
    entries.map((_, at) => expected + 1 + at),
  );
  assert.deepEqual(bodies(entries.filter(({ headers }) => headers.event === "message")).slice(-3), [
    "two",
    "three",
    "four",
  ]);
  await away.deactivate();
  await other.deactivate();
});

test("An rx-stomp client watches a room, publishes, and awaits its receipt.", async () => {
  const room = await makeRoom(server, tokenFor("rx"), { name: "rx", type: "public" });
  const destination = `/topic/room.${room}`;
  const rx = new RxStomp();
  rx.configure({
    webSocketFactory: () => socketTo(["v12.stomp"]) as unknown as IStompSocket,
    connectHeaders: { passcode: tokenFor("rx") },
    reconnectDelay: 0,
  });
  rx.activate();
  const heard = new Arrivals<IMessage>();
  const subscribed = rx.asyncReceipt("rx-subscribed");
  const watching = rx.watch({ destination, subHeaders: { receipt: "rx-subscribed" } }).subscribe(saidTo(heard));
  await within(subscribed, 5_000, "The RECEIPT of SUBSCRIBE");
  const stored = rx.asyncReceipt("rx-sent");
  rx.publish({ destination, body: "reactive", headers: { receipt: "rx-sent" } });
  const receipt = await within(stored, 5_000, "The RECEIPT of SEND");
  const [message] = await heard.first(1);
  assert.equal(message?.body, "reactive");
  assert.equal(message?.headers.offset, receipt.headers.offset);
  watching.unsubscribe();
  await rx.deactivate();
  await within(firstValueFrom(rx.connectionState$), 1_000, "The last state");
});

for (const version of ["1.0", "1.1", "1.2"]) {
  test(`A webstomp client talks and acknowledges in STOMP ${version}.`, async () => {
    const user = `web-${version}`;
    const room = await makeRoom(server, tokenFor(user), { name: user, type: "public" });
    const protocol = `v${version.replace(".", "")}.stomp`;
    const socket = socketTo([protocol]);
    const client: WebstompClient = webstomp.over(socket, { debug: false, heartbeat: false });
    const connected = later<WebstompFrame>();
    client.connect(
      { passcode: tokenFor(user) },
      (frame) => connected.resolve(frame as WebstompFrame),
      (error) => connected.reject(new Error(String(error))),
    );
    const frame = await within(connected.promise, 5_000, "CONNECTED");
    assert.equal(frame.headers.version, version);
    const receipts = new Arrivals<WebstompFrame>();
    client.onreceipt = receipts.push;
    const heard = new Arrivals<string>();
    const onMessage = (message: { body: string; ack: () => void }): void => {
      message.ack();
      heard.push(message.body);
    };
    client.subscribe(`/topic/room.${room}`, onMessage, { ack: "client", receipt: "subscribed" } as SubscribeHeaders);
    await receipts.first(1);
    client.send(`/topic/room.${room}`, "plain words", { receipt: "sent" });
    const [, sent] = await receipts.first(2);
    assert.equal(sent?.headers["receipt-id"], "sent");
    assert.ok((await heard.first(1)).includes("plain words"));
    const closed = once(socket, "close");
    client.disconnect();
    await within(closed, 5_000, "The close");
  });
}

interface Stompit {
  Client: new (stream: Duplex, options?: object) => StompitClient;
}
interface StompitMessage {
  readonly headers: Readonly<Record<string, string>>;
  readString(encoding: string, callback: (error: Error | null, body: string) => void): void;
}
interface StompitClient {
  connect(headers: object, callback: (error: Error | null) => void): void;
  subscribe(headers: object, listener: (error: Error | null, message: StompitMessage) => void): { unsubscribe(): void };
  send(headers: object, options: { onReceipt: () => void }): Writable;
  ack(message: StompitMessage): void;
  disconnect(callback: (error: Error | null) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
}

test("A stompit client over a WebSocket stream connects, sends in pieces, acknowledges and disconnects gracefully.", async () => {
  const { Client: StompitClient } = createRequire(import.meta.url)("stompit") as Stompit;
  const room = await makeRoom(server, tokenFor("it"), { name: "it", type: "public" });
  const socket = socketTo(["v12.stomp"]);
  const client = new StompitClient(createWebSocketStream(socket));
  const settled = (act: (callback: (error: Error | null) => void) => void): Promise<void> =>
    within(
      new Promise((resolve, reject) => act((error) => (error ? reject(error) : resolve()))),
      5_000,
      "stompit's callback",
    );
  await settled((callback) => client.connect({ host: "confab", passcode: tokenFor("it") }, callback));
  const heard = new Arrivals<string>();
  const listening = { destination: `/topic/room.${room}`, ack: "client-individual" };
  const subscription = client.subscribe(listening, (error, message) => {
    if (error) return;
    message.readString("utf-8", (fault, body) => {
      if (fault) return;
      client.ack(message);
      if (message.headers.event === "message") heard.push(body);
    });
  });
  const stored = new Promise<void>((resolve) => {
    const frame = client.send(
      { destination: `/topic/room.${room}`, "content-type": "text/plain" },
      { onReceipt: resolve },
    );
    frame.write("in ");
    frame.write("pieces");
    frame.end();
  });
  await within(stored, 5_000, "The RECEIPT");
  assert.deepEqual(await heard.first(1), ["in pieces"]);
  subscription.unsubscribe();
  const closed = once(socket, "close");
  await settled((callback) => client.disconnect(callback));
  await within(closed, 5_000, "The close");
});

test("Two people sign up, talk in rooms, lose the line, resume, and read the same history.", async () => {
  const [ann, bob]: Session[] = [await signUp(server, "Ann"), await signUp(server, "Bob")];
  assert.ok(ann && bob);
  const room = await makeRoom(server, ann.accessToken, { name: "kitchen", type: "private", members: [bob.user.id] });
  const mine = await must<{ items: { id: string; name: string }[] }>(server, "GET /api/rooms", {
    token: bob.accessToken,
  });
  assert.ok(mine.items.some(({ id, name }) => id === room && name === "kitchen"));
  const destination = `/topic/room.${room}`;
  const [annClient, bobClient] = [stompjs(ann.accessToken), stompjs(bob.accessToken)];
  const [annHeard, bobHeard] = [new Arrivals<IMessage>(), new Arrivals<IMessage>()];
  await activated(annClient);
  await activated(bobClient);
  const origin = { receipt: "s", "after-offset": "0", "after-term": "0" };
  await receipted(annClient, "s", () => annClient.subscribe(destination, annHeard.push, origin));
  await receipted(bobClient, "s", () => bobClient.subscribe(destination, bobHeard.push, origin));
  let said = 0;
  const say = (client: Client, body: string) => {
    const receipt = `say-${++said}`;
    return receipted(client, receipt, () =>
      client.publish({ destination, body, headers: { receipt, "client-message-id": receipt } }),
    );
  };
  for (let turn = 0; turn < 5; turn++) await say(turn % 2 === 0 ? annClient : bobClient, `turn ${turn}`);
  const head = await must<{ headOffset: number }>(server, `GET /api/rooms/${room}`, { token: ann.accessToken });
  // One more than the entries: the announcement of the replay.
  await bobHeard.first(head.headOffset + 1);
  bobClient.forceDisconnect();
  await bobClient.deactivate();
  await say(annClient, "are you there?");
  const last = bobHeard.all.at(-1) as IMessage;
  const position = { "after-offset": last.headers.offset ?? "", "after-term": last.headers.term ?? "" };
  await activated(bobClient);
  await receipted(bobClient, "again", () =>
    bobClient.subscribe(destination, bobHeard.push, { receipt: "again", ...position }),
  );
  await say(bobClient, "back again");
  const total = head.headOffset + 2;
  await annHeard.first(total + 1);
  await bobHeard.first(total + 2);
  const entries = (arrivals: Arrivals<IMessage>) =>
    arrivals.all
      .filter(({ headers }) => headers.event !== "resumed")
      .map(({ headers, body }) => `${headers.offset} ${headers.event} ${body}`);
  const history = await wholeHistory(server, bob.accessToken, room);
  const written = history.map(({ offset, event, body }) => `${offset} ${event} ${body ?? ""}`);
  assert.equal(history.length, total);
  assert.deepEqual(entries(annHeard), written);
  assert.deepEqual(entries(bobHeard), written);
  const stranger = await signUp(server, "Eve");
  assert.equal((await call(server, `GET /api/rooms/${room}/messages`, { token: stranger.accessToken })).status, 404);
  await annClient.deactivate();
  await bobClient.deactivate();
});
