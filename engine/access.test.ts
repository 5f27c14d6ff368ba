/** Who may do what on the running server, and how soon it ends: tokens, revocation, removal, refusals, private messages. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  call,
  makeRoom,
  must,
  type Server,
  signToken,
  signUp,
  startServer,
  tokenFor,
  within,
} from "../ops/drills/harness.ts";
import { StompClient } from "../ops/drills/stomp.ts";

let server: Server;

before(async () => {
  server = await startServer();
});

after(async () => {
  await server.remove();
});

const connected = (user: string): Promise<StompClient> => StompClient.connected(server.wsUrl, tokenFor(user));
const errorsOf = (client: StompClient) => client.must("SUBSCRIBE", { id: "errors", destination: "/user/queue/errors" });
const code = (frame: { headers: Readonly<Record<string, string>> }): string | undefined => frame.headers.code;

test("A token is taken from the CONNECT frame, the handshake's header or its query; CONNECT wins.", async () => {
  const bearer = (user: string) => ({ authorization: `Bearer ${tokenFor(user)}` });
  const inHeader = await StompClient.connected(server.wsUrl, undefined, { headers: bearer("header") });
  const inQuery = await StompClient.connected(server.wsUrl, undefined, { query: `?access_token=${tokenFor("query")}` });
  const inFrame = await StompClient.open(server.wsUrl, { headers: bearer("loser") });
  await inFrame.connect(undefined, bearer("winner"));
  const emptyInFrame = await StompClient.open(server.wsUrl, { headers: bearer("kept") });
  await emptyInFrame.connect("");
  for (const [client, user] of [
    [inHeader, "header"],
    [inQuery, "query"],
    [inFrame, "winner"],
    [emptyInFrame, "kept"],
  ] as const) {
    assert.equal((await client.ask("SUBSCRIBE", { id: "q", destination: `/queue/user.${user}` })).command, "RECEIPT");
    await client.cut();
  }
});

test("Logging out everywhere ends the live connections of a user within a second, and nobody else's.", async () => {
  const [one, other] = [await signUp(server, "Revoked"), await signUp(server, "Kept")];
  const clients = [
    await StompClient.connected(server.wsUrl, one.accessToken),
    await StompClient.connected(server.wsUrl, one.accessToken),
  ];
  const kept = await StompClient.connected(server.wsUrl, other.accessToken);
  const startedAt = performance.now();
  await must(server, "POST /api/auth/logout-all", { token: one.accessToken });
  for (const client of clients) {
    const closing = await within(client.closed, 5_000, "The end of a revoked connection");
    assert.equal(closing.code, 4401);
    assert.ok(client.waiting({ command: "ERROR" }).some((frame) => code(frame) === "token-revoked"));
  }
  assert.ok(performance.now() - startedAt < 1_500);
  await assert.rejects(StompClient.connected(server.wsUrl, one.accessToken), /token-revoked/);
  assert.equal((await call(server, "GET /api/auth/me", { token: one.accessToken })).status, 401);
  assert.equal(
    (await call(server, "POST /api/auth/refresh", { body: { refreshToken: one.refreshToken } })).status,
    401,
  );
  await kept.post("general", "still here");
  await kept.cut();
});

test("A connection ends within a second of its token's expiry.", async () => {
  const exp = Math.floor(Date.now() / 1_000) + 2;
  const client = await StompClient.connected(server.wsUrl, signToken({ sub: "brief", exp }));
  const closing = await within(client.closed, 5_000, "The end of the connection");
  assert.equal(closing.code, 4401);
  assert.equal(code(await client.next({ command: "ERROR" })), "token-expired");
  assert.ok(Date.now() >= exp * 1_000 - 50 && Date.now() < exp * 1_000 + 1_500);
});

test("A new token over /app/auth.refresh prolongs the connection; a bad one is refused and the old one holds.", async () => {
  const exp = Math.floor(Date.now() / 1_000) + 2;
  const client = await StompClient.connected(server.wsUrl, signToken({ sub: "longer", exp }));
  await errorsOf(client);
  const refresh = (token: string) =>
    client.ask("SEND", { destination: "/app/auth.refresh", Authorization: `Bearer ${token}` });
  assert.equal(code(await refresh("nonsense")), "token-bad");
  assert.equal(code(await refresh(tokenFor("somebody-else"))), "subject-mismatch");
  assert.equal((await refresh(tokenFor("longer"))).command, "RECEIPT");
  const witness = await StompClient.connected(server.wsUrl, signToken({ sub: "witness", exp }));
  await within(witness.closed, 6_000, "The end of a connection with the same expiry");
  await client.post("general", "alive after the first token's end");
  await client.cut();
});

test("A removed member is told so, and receives nothing that is logged after the removal.", async () => {
  const admin = tokenFor("remover");
  const room = await makeRoom(server, admin, { name: "vault", type: "private", members: ["removed"] });
  const [owner, victim] = [await connected("remover"), await connected("removed")];
  await victim.must("SUBSCRIBE", { id: "own", destination: "/user/queue/messages" });
  await victim.subscribe(room, "s");
  await victim.must("SUBSCRIBE", { id: "signals", destination: `/topic/room.${room}.signals` });
  await owner.post(room, "before");
  await victim.next({ subscription: "s", body: "before" });
  await must(server, `DELETE /api/rooms/${room}/members/removed`, { token: admin });
  await owner.post(room, "after");
  const ended = await victim.next({ subscription: "s", event: "ended" });
  assert.equal(code(ended), "removed");
  assert.equal((await victim.next({ event: "removed" })).headers.room, room);
  await errorsOf(victim);
  assert.equal(
    code(await victim.ask("SUBSCRIBE", { id: "again", destination: `/topic/room.${room}` })),
    "room-not-found",
  );
  assert.equal(code(await victim.ask("SEND", { destination: `/topic/room.${room}` }, "let me in")), "room-not-found");
  assert.equal(victim.waiting({ body: "after" }).length, 0);
  assert.equal((await call(server, `GET /api/rooms/${room}/messages`, { token: tokenFor("removed") })).status, 404);
  await Promise.all([owner.cut(), victim.cut()]);
});

test("A deleted room ends its subscriptions, and is not found any more.", async () => {
  const room = await makeRoom(server, tokenFor("deleter"), { name: "doomed", type: "public" });
  const client = await connected("guest");
  await errorsOf(client);
  await client.subscribe(room, "s");
  await must(server, `DELETE /api/rooms/${room}`, { token: tokenFor("deleter") });
  assert.equal(code(await client.next({ subscription: "s", event: "ended" })), "room-deleted");
  assert.equal(code(await client.ask("SEND", { destination: `/topic/room.${room}` }, "anyone?")), "room-not-found");
  await client.cut();
});

test("A private message reaches all connections of both users, from the room that it made.", async () => {
  const [ann, bobs] = [await connected("ann"), [await connected("bob"), await connected("bob")]];
  for (const [at, client] of bobs.entries()) {
    await client.must("SUBSCRIBE", { id: "q", destination: at === 0 ? "/user/queue/messages" : "/queue/user.bob" });
  }
  await ann.must("SUBSCRIBE", { id: "q", destination: "/user/queue/messages" });
  const receipt = await ann.must("SEND", { destination: "/queue/user.bob" }, "psst");
  for (const client of bobs) {
    const heard = await client.next({ subscription: "q", event: "message" });
    assert.equal(heard.body.toString(), "psst");
    assert.equal(heard.headers.sender, "ann");
    assert.equal(heard.headers["message-id"], receipt.headers["message-id"]);
    const room = heard.headers.room ?? "";
    const view = await must<{ type: string; name: string }>(server, `GET /api/rooms/${room}`, {
      token: tokenFor("bob"),
    });
    assert.equal(view.type, "direct");
  }
  const { room } = (await ann.next({ subscription: "q", event: "message" })).headers;
  assert.equal(await makeRoom(server, tokenFor("bob"), { type: "direct", members: ["ann"] }), room);
  await errorsOf(ann);
  assert.equal(code(await ann.ask("SUBSCRIBE", { id: "spy", destination: "/queue/user.bob" })), "forbidden");
  await Promise.all([ann, ...bobs].map((client) => client.cut()));
});

test("A member who is added to a private room is told on their own queue.", async () => {
  const room = await makeRoom(server, tokenFor("host"), { name: "club", type: "private" });
  const client = await connected("invited");
  await client.must("SUBSCRIBE", { id: "q", destination: "/user/queue/messages" });
  await must(server, `POST /api/rooms/${room}/members`, { token: tokenFor("host"), body: { user: "invited" } });
  assert.equal((await client.next({ subscription: "q", event: "added" })).headers.room, room);
  await client.subscribe(room, "s");
  await client.cut();
});

test("A refusal goes to /user/queue/errors if it is subscribed, and the connection lives; else ERROR and close.", async () => {
  const room = await makeRoom(server, tokenFor("closed"), { name: "closed", type: "private" });
  const [careful, plain] = [await connected("careful"), await connected("plain")];
  await errorsOf(careful);
  const headers = { destination: `/topic/room.${room}`, "client-message-id": "c-1", receipt: "r-1" };
  careful.send("SEND", headers, "hello?");
  const refused = await careful.next({ command: "MESSAGE", event: "refused" });
  assert.equal(code(refused), "room-not-found");
  assert.equal(refused.headers["receipt-id"], "r-1");
  assert.equal(refused.headers["client-message-id"], "c-1");
  await careful.post("general", "alive");
  plain.send("SEND", headers, "hello?");
  const error = await plain.next({ command: "ERROR" });
  assert.equal(code(error), "room-not-found");
  assert.equal(error.headers["receipt-id"], "r-1");
  assert.notEqual(error.headers.message, undefined);
  await within(plain.closed, 5_000, "The close after ERROR");
  await careful.cut();
});

test("A room that is not there and one that may not be seen are refused in the same words.", async () => {
  const room = await makeRoom(server, tokenFor("secret"), { name: "secret", type: "private" });
  const client = await connected("curious");
  await errorsOf(client);
  const answers = await Promise.all(
    [room, "there-is-no-such-room"].map(async (id) => {
      const { headers } = await client.ask("SUBSCRIBE", { id, destination: `/topic/room.${id}` });
      const rest = await call<{ code: string; detail?: string }>(server, `GET /api/rooms/${id}`, {
        token: tokenFor("curious"),
      });
      return [
        headers.code,
        headers.message?.replaceAll(id, "ROOM"),
        rest.status,
        rest.body.code,
        rest.body.detail?.replaceAll(id, "ROOM"),
      ];
    }),
  );
  assert.deepEqual(answers[0], answers[1]);
  assert.deepEqual(answers[0]?.[0], "room-not-found");
  await client.cut();
});

test("A sender that is too fast is told to wait, and how long.", async () => {
  const client = await connected("fast");
  await errorsOf(client);
  for (let at = 0; at < 400; at++) client.send("SEND", { destination: "/topic/room.general", receipt: `f${at}` }, "!");
  const refused = await client.next({ event: "refused", code: "rate-limited" });
  assert.ok(Number(refused.headers["retry-after"]) > 0);
  await client.cut();
});
