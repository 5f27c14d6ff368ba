/** Hostile input: every wrong thing gets its own code, ends only what must end, and leaves nothing behind. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { type CodeWord, codeOf } from "../actors/codes.ts";
import { LIMITS } from "../actors/limits.ts";
import { call, makeRoom, type Server, signToken, startServer, tokenFor, within } from "../ops/drills/harness.ts";
import { Random } from "../ops/drills/random.ts";
import { encodeFrame, StompClient } from "../ops/drills/stomp.ts";

let server: Server;
let hidden: string;

before(async () => {
  server = await startServer({ env: { LOG_LEVEL: "warn" } });
  hidden = await makeRoom(server, tokenFor("owner"), { name: "hidden", type: "private" });
});

after(async () => {
  await server.remove();
});

/** One hostile thing. `ends`: an ERROR and the close of its code; else a refusal, and the connection lives. */
interface Hostile {
  readonly what: string;
  readonly code: CodeWord;
  readonly ends: boolean;
  /** False: it is sent before CONNECT. */
  readonly connected: boolean;
  /** What is sent, message by message. */
  readonly send: () => readonly (string | Uint8Array)[];
}

const frame = encodeFrame;
const general = "/topic/room.general";
const repeat = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));
const nowS = Math.floor(Date.now() / 1_000);

const early = (what: string, code: CodeWord, ...sent: (string | Uint8Array)[]): Hostile => ({
  what,
  code,
  ends: true,
  connected: false,
  send: () => sent,
});
const fault = (what: string, code: CodeWord, ...sent: (string | Uint8Array)[]): Hostile => ({
  what,
  code,
  ends: true,
  connected: true,
  send: () => sent,
});
const refused = (what: string, code: CodeWord, ...sent: (string | Uint8Array)[]): Hostile => ({
  what,
  code,
  ends: false,
  connected: true,
  send: () => sent,
});

const connectWith = (token: string | undefined, headers: Readonly<Record<string, string>> = {}): Buffer =>
  frame("CONNECT", { "accept-version": "1.2", ...(token === undefined ? {} : { passcode: token }), ...headers });

const BEFORE_CONNECT: readonly Hostile[] = [
  early("a SEND before CONNECT", "wrong-state", frame("SEND", { destination: general }, "x")),
  early("a command that is none", "unknown-command", frame("FETCH", {})),
  early("HTTP instead of STOMP", "bad-frame", "GET / HTTP/1.1\nhost:here\n\n\0"),
  early("a header without a colon", "bad-frame", "CONNECT\nno colon here\n\n\0"),
  early("CONNECT without a token", "token-missing", connectWith(undefined)),
  early("CONNECT with an empty token", "token-missing", connectWith("")),
  early("CONNECT with nonsense for a token", "token-bad", connectWith("nonsense")),
  early("CONNECT with three parts of nonsense", "token-bad", connectWith("a.b.c")),
  early("a token that has expired", "token-expired", connectWith(signToken({ sub: "late", exp: nowS - 60 }))),
  early("a token without a signature", "token-bad", connectWith(signToken({ sub: "none" }, { alg: "none" }))),
  early("a token of another algorithm", "token-bad", connectWith(signToken({ sub: "other" }, { alg: "HS512" }))),
  early(
    "a token of another secret",
    "token-bad",
    connectWith(signToken({ sub: "forged" }, { secret: "another secret of more than 32 bytes" })),
  ),
  early("a token without sub", "token-bad", connectWith(signToken({}))),
  early(
    "a token without exp",
    "token-bad",
    connectWith(signToken({ sub: "forever", exp: undefined as unknown as number })),
  ),
  early("a token whose sub is too long", "token-bad", connectWith(signToken({ sub: "x".repeat(129) }))),
  early("a version that nobody speaks", "version-unsupported", connectWith(tokenFor("v"), { "accept-version": "2.0" })),
  early(
    "a heart-beat that is no pair of numbers",
    "bad-header",
    connectWith(tokenFor("v"), { "heart-beat": "soon,never" }),
  ),
  early("a header line that is too long", "header-too-long", connectWith("x".repeat(LIMITS.headerBytes + 1))),
];

const FAULTS: readonly Hostile[] = [
  fault("a second CONNECT", "wrong-state", connectWith(tokenFor("hostile"))),
  fault("a command of the server", "unknown-command", frame("MESSAGE", { destination: general }, "x")),
  fault("an empty command", "bad-frame", "\0"),
  fault("a header without a colon", "bad-frame", "SEND\ndestination\n\nx\0"),
  fault("an escape that is none", "bad-escape", "SEND\ndestination:/topic/\\troom\n\nx\0"),
  fault("an escape that is cut off", "bad-escape", "SEND\ndestination:/topic/room\\\n\nx\0"),
  fault("SEND without a destination", "missing-header", frame("SEND", {}, "x")),
  fault("SUBSCRIBE without an id", "missing-header", frame("SUBSCRIBE", { destination: general })),
  fault("SUBSCRIBE without a destination", "missing-header", frame("SUBSCRIBE", { id: "s" })),
  fault("UNSUBSCRIBE without an id", "missing-header", frame("UNSUBSCRIBE", {})),
  fault("ACK without an id", "missing-header", frame("ACK", {})),
  fault("BEGIN without a transaction", "missing-header", frame("BEGIN", {})),
  fault("an ack mode that is none", "bad-header", frame("SUBSCRIBE", { id: "s", destination: general, ack: "maybe" })),
  fault(
    "a header line that is too long",
    "header-too-long",
    frame("SEND", { destination: general, long: "x".repeat(LIMITS.headerBytes) }, "x"),
  ),
  fault(
    "a header line that never ends",
    "header-too-long",
    ...repeat(4, () => `SEND\nlong:${"x".repeat(LIMITS.headerBytes)}`),
  ),
  fault(
    "too many headers",
    "too-many-headers",
    frame("SEND", [["destination", general], ...repeat(LIMITS.headers, (at) => [`h${at}`, "x"] as const)], "x"),
  ),
  fault(
    "a header block that is too large",
    "frame-too-large",
    frame("SEND", { destination: general, a: "x".repeat(7_000), b: "x".repeat(7_000), c: "x".repeat(7_000) }, "x"),
  ),
  fault(
    "a body that is too large, over many messages",
    "body-too-large",
    "SEND\ndestination:/topic/room.general\n\n",
    ...repeat(18, () => "x".repeat(65_536)),
  ),
  fault(
    "a content-length that is too large",
    "body-too-large",
    `SEND\ndestination:${general}\ncontent-length:${LIMITS.bodyBytes + 1}\n\n`,
  ),
  fault(
    "a content-length that is no number",
    "bad-content-length",
    `SEND\ndestination:${general}\ncontent-length:many\n\nx\0`,
  ),
  fault("a negative content-length", "bad-content-length", `SEND\ndestination:${general}\ncontent-length:-1\n\nx\0`),
  fault(
    "a content-length that is shorter than the body",
    "bad-content-length",
    `SEND\ndestination:${general}\ncontent-length:1\n\nxyz\0`,
  ),
  fault(
    "a subscription id twice",
    "duplicate-subscription",
    ...repeat(2, () => frame("SUBSCRIBE", { id: "s", destination: general })),
  ),
  fault("COMMIT of an unknown transaction", "unknown-transaction", frame("COMMIT", { transaction: "t" })),
  fault(
    "SEND in an unknown transaction",
    "unknown-transaction",
    frame("SEND", { destination: general, transaction: "t" }, "x"),
  ),
  fault("BEGIN twice", "duplicate-transaction", ...repeat(2, () => frame("BEGIN", { transaction: "t" }))),
  fault(
    "too many transactions",
    "transaction-too-large",
    ...repeat(LIMITS.transactions + 1, (at) => frame("BEGIN", { transaction: `t${at}` })),
  ),
  fault(
    "too many frames in a transaction",
    "transaction-too-large",
    frame("BEGIN", { transaction: "t" }),
    ...repeat(LIMITS.transactionFrames + 1, () => frame("SEND", { destination: general, transaction: "t" }, "x")),
  ),
];

const send = (destination: string, body = "x", headers: Readonly<Record<string, string>> = {}): Buffer =>
  frame("SEND", { destination, receipt: "r", ...headers }, body);
const subscribe = (destination: string, headers: Readonly<Record<string, string>> = {}): Buffer =>
  frame("SUBSCRIBE", { id: "s", destination, receipt: "r", ...headers });

const REFUSALS: readonly Hostile[] = [
  refused("SEND to no destination of ours", "bad-destination", send("/topic/prices")),
  refused("SEND to a general broker's queue", "bad-destination", send("/queue/jobs")),
  refused("SEND to an application destination that is none", "bad-destination", send("/app/room.general.dance")),
  refused("SEND to a room id that cannot be", "bad-destination", send("/topic/room.NO_SUCH")),
  refused("SUBSCRIBE to no destination of ours", "bad-destination", subscribe("/exchange/all")),
  refused("SEND to a room that is not there", "room-not-found", send("/topic/room.there-is-none")),
  refused("SUBSCRIBE to a room that is not there", "room-not-found", subscribe("/topic/room.there-is-none")),
  refused("SUBSCRIBE to another's queue", "forbidden", subscribe("/queue/user.owner")),
  refused(
    "more headers than are stored",
    "too-many-headers",
    send(general, "x", Object.fromEntries(repeat(LIMITS.userHeaders + 1, (at) => [`h${at}`, "x"]))),
  ),
  refused("an ack-level that is none", "bad-header", send(general, "x", { "ack-level": "maybe" })),
  refused("an empty client-message-id", "bad-header", send(general, "x", { "client-message-id": "" })),
  refused("half a position", "bad-position", subscribe(general, { "after-offset": "1" })),
  refused("typing without JSON", "bad-body", send("/app/room.general.typing", "{not json")),
  refused("typing with a list", "bad-body", send("/app/room.general.typing", "[1]")),
  refused("typing with more than it takes", "bad-body", send("/app/room.general.typing", '{"state":"start","x":1}')),
  refused("typing in a state that is none", "bad-body", send("/app/room.general.typing", '{"state":"dancing"}')),
  refused("a read marker that is no offset", "bad-body", send("/app/room.general.read", '{"offset":-1}')),
  refused("auth.refresh with a bad token", "token-bad", send("/app/auth.refresh", "", { Authorization: "Bearer x" })),
  refused(
    "too many subscriptions",
    "too-many-subscriptions",
    ...repeat(LIMITS.subscriptions, (at) =>
      frame("SUBSCRIBE", { id: `s${at}`, destination: general, receipt: `r${at}` }),
    ),
  ),
];

/** Sends one hostile thing on a connection of its own, and checks what comes of it. */
async function provoke(hostile: Hostile): Promise<void> {
  const client = await StompClient.open(server.wsUrl);
  if (hostile.connected) {
    await client.connect(tokenFor("hostile"));
    await client.must("SUBSCRIBE", { id: "errors", destination: "/user/queue/errors" });
  }
  for (const sent of hostile.send()) client.raw(sent, typeof sent !== "string");
  if (hostile.ends) {
    const error = await client.next({ command: "ERROR" });
    assert.equal(error.headers.code, hostile.code, `${hostile.what}: ${error.headers.message}`);
    assert.notEqual(error.headers.message ?? "", "");
    const closing = await within(client.closed, 5_000, `The close after ${hostile.what}`);
    assert.equal(closing.code, codeOf(hostile.code).close, hostile.what);
    return;
  }
  const refusal = await client.next((found) => found.headers.event === "refused" || found.command === "ERROR");
  assert.equal(refusal.headers.code, hostile.code, hostile.what);
  assert.equal(refusal.command, "MESSAGE", `${hostile.what} must not end the connection`);
  await client.must("UNSUBSCRIBE", { id: "errors" });
  await client.cut();
}

const ALL = [...BEFORE_CONNECT, ...FAULTS, ...REFUSALS];

for (const hostile of ALL) {
  const end = hostile.ends ? "ends with" : "is refused with";
  test(`On the wire, ${hostile.what} ${end} ${hostile.code}.`, () => provoke(hostile));
}

test("ERROR over a frame that cannot be read to its end names the receipt it asked for.", async () => {
  const client = await StompClient.connected(server.wsUrl, tokenFor("hostile"));
  client.raw(`SEND\ndestination:${general}\nreceipt:send.1\ncontent-length:1\n\nxyz\0`);
  const error = await client.next({ command: "ERROR" });
  assert.deepEqual([error.headers.code, error.headers["receipt-id"]], ["bad-content-length", "send.1"]);
});

test("A room that may not be seen is refused like one that is not there.", async () => {
  await provoke(refused("SUBSCRIBE to a hidden room", "room-not-found", subscribe(`/topic/room.${hidden}`)));
  await provoke(refused("SEND to a hidden room", "room-not-found", send(`/topic/room.${hidden}`)));
});

test("A text message that is no UTF-8, and a message over the frame limit, end without ERROR.", async () => {
  const bad = await StompClient.connected(server.wsUrl, tokenFor("hostile"));
  bad.raw(Buffer.from([83, 69, 0xff, 0xfe]), false);
  await within(bad.closed, 5_000, "The end after bad UTF-8");
  const large = await StompClient.connected(server.wsUrl, tokenFor("hostile"));
  large.raw("x".repeat(LIMITS.bodyBytes + LIMITS.frameOverheadBytes + 65_536));
  await within(large.closed, 5_000, "The end after a message that is too large");
  for (const client of [bad, large]) assert.equal(client.waiting({ command: "ERROR" }).length, 0);
});

/** A wrong REST request: method and path, body (as it is when text), and what it gets. */
type Wrong = readonly [request: string, body: unknown, status: number, code: CodeWord, token?: string];

const WRONG: readonly Wrong[] = [
  ["GET /api/nothing", undefined, 404, "not-found"],
  ["GET /ws/chat", undefined, 426, "upgrade-required"],
  ["POST /api/rooms", { name: "x", type: "secret" }, 400, "bad-request"],
  ["POST /api/rooms", { name: "x", type: "public", color: "red" }, 400, "bad-request"],
  ["POST /api/rooms", { name: 7, type: "public" }, 400, "bad-request"],
  ["POST /api/rooms", { type: "public" }, 400, "bad-request"],
  ["POST /api/auth/login", { email: ["a"], password: "b" }, 400, "bad-request"],
  ["POST /api/rooms/general/messages", { body: "x", bodyBase64: "eA==" }, 400, "bad-request"],
  ["POST /api/rooms/general/messages", { body: "x".repeat(LIMITS.bodyBytes * 2 + 1) }, 413, "body-too-large"],
  ["GET /api/rooms/general/messages?limit=201", undefined, 400, "bad-request"],
  ["GET /api/rooms/general/messages?after=-1", undefined, 400, "bad-request"],
  ["GET /api/rooms/there-is-none", undefined, 404, "room-not-found"],
  ["GET /api/rooms", undefined, 401, "token-bad", "nonsense"],
  ["GET /api/rooms", undefined, 401, "token-bad", signToken({ sub: "x" }, { alg: "none" })],
  ["GET /api/rooms", undefined, 401, "token-bad", signToken({ sub: "x" }, { alg: "HS512" })],
  ["GET /api/rooms", undefined, 401, "token-expired", signToken({ sub: "x", exp: nowS - 60 })],
];

for (const [request, body, status, code, token] of WRONG) {
  const shown = JSON.stringify(body ?? token ?? "")?.slice(0, 40);
  test(`Over REST, ${request} with ${shown} is answered ${status} ${code}.`, async () => {
    const answer = await call<{ code: string; status: number; title: string; type: string }>(server, request, {
      token: token ?? tokenFor("rest"),
      ...(body === undefined ? {} : { body }),
    });
    assert.deepEqual([answer.status, answer.body.code, answer.body.status], [status, code, status]);
    assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/);
    assert.notEqual(answer.body.title ?? "", "");
  });
}

test("A plain request of the WebSocket's address names the protocol, on a connection that lives on.", async () => {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  let got = "";
  socket.setEncoding("latin1").on("data", (part: string) => {
    got += part;
  });
  const plain = "GET /ws/chat HTTP/1.1\r\nHost: a\r\n";
  // The second has no key, and is no handshake either.
  socket.write(`${plain}\r\n${plain}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`);
  while (got.split("upgrade-required").length < 5) await once(socket, "data");
  socket.destroy();
  assert.equal(got.match(/HTTP\/1\.1 426 Upgrade Required\r\n/g)?.length, 2);
  assert.equal(got.match(/\r\nupgrade: websocket\r\n/g)?.length, 2);
  assert.equal(got.match(/\r\nconnection: upgrade\r\n/gi)?.length, 2);
  assert.equal(got.match(/\r\nconnection:/gi)?.length, 2);
});

test("Over REST, a request without a token, with broken JSON, or of another media type is refused by its code.", async () => {
  assert.equal((await call<{ code: string }>(server, "GET /api/rooms")).body.code, "token-missing");
  const post = async (type: string, body: string): Promise<unknown> => {
    const headers = { "content-type": type, authorization: `Bearer ${tokenFor("rest")}` };
    const response = await fetch(`${server.url}/api/rooms`, { method: "POST", headers, body });
    return ((await response.json()) as { code: string }).code;
  };
  assert.equal(await post("application/json", '{"name":'), "bad-request");
  assert.equal(await post("text/plain", "name"), "unsupported-media-type");
});

/** A frame that was right once: some bytes changed, cut, doubled or put in. */
function mutated(random: Random): Uint8Array {
  const commands = [
    "CONNECT",
    "SEND",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "ACK",
    "BEGIN",
    "COMMIT",
    "ABORT",
    "DISCONNECT",
    "STOMP",
  ];
  const headers = { id: "s", destination: general, transaction: "t", receipt: "r", "content-length": "3" };
  const bytes = [...frame(random.pick(commands), headers, "abc")];
  for (let change = random.whole(0, 6); change > 0; change--) {
    const at = random.whole(0, bytes.length);
    bytes.splice(at, random.whole(0, 3), ...random.bytes(random.whole(0, 3)));
  }
  return Uint8Array.from(bytes);
}

async function fuzz(random: Random): Promise<void> {
  const client = await StompClient.open(server.wsUrl);
  if (random.chance(0.8)) await client.connect(tokenFor("fuzz"));
  for (let message = random.whole(1, 30); message > 0; message--) {
    const bytes = random.chance(0.3) ? random.bytes(random.whole(0, 400)) : mutated(random);
    client.raw(bytes, random.chance(0.9));
  }
  await client.cut();
}

test("Random bytes and mutated frames on many connections change nothing for others.", async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 15; round++) await Promise.all(repeat(20, () => fuzz(random.fork())));
  assert.equal((await call(server, "GET /health/ready")).status, 200, `seed ${seed}`);
});

test("After the whole table, again and again, the process is alive, serves, and its memory is flat.", async (t) => {
  const round = async (): Promise<void> => {
    for (const hostile of ALL) await provoke(hostile);
  };
  await round();
  const before = await server.ownBytes();
  for (let again = 0; again < 4; again++) await round();
  const grown = (await server.ownBytes()) - before;
  t.diagnostic(`${Math.round(grown / 1_024)} KiB more after ${4 * ALL.length} hostile connections`);
  assert.ok(grown < 40 * 1_048_576, `${grown} bytes more`);
  const client = await StompClient.connected(server.wsUrl, tokenFor("sound"));
  await client.subscribe("general", "s");
  await client.post("general", "still here");
  await client.next({ event: "message", body: "still here" });
  assert.equal((await client.disconnect()).code, 1000);
});
