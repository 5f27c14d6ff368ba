import assert from "node:assert/strict";
import { test } from "node:test";
import { type CodeWord, Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import { LIMITS } from "./limits.ts";
import { Client, caller, message, Stage, type Told, tokenOf } from "./node.fixture.ts";
import type { CommitGroup, SendRequest } from "./sends.ts";

const code = (word: CodeWord) => (error: unknown) => error instanceof Refusal && error.code === word;

/** Receipts in the order they came, and the close. */
function outcomes(client: Client): string[] {
  const name = (told: Told): string[] => {
    if (told.kind === "receipt") return [told.id];
    if (told.kind === "refused" || told.kind === "fault") return [`${told.kind} ${told.code}`];
    return told.kind === "closed" ? [`closed ${told.code}`] : [];
  };
  return client.told.flatMap(name);
}

function request(room: string, receipt: string): SendRequest {
  return {
    to: { room },
    headers: [],
    contentType: "",
    body: new Uint8Array(1),
    text: true,
    clientMessageId: undefined,
    receipt,
    level: "stored",
  };
}

/** A SEND inside of a transaction. */
function keep(connection: Connection, id: string, room: string, receipt: string): void {
  connection.transactions.keep(id, 100, (group: CommitGroup) => connection.send(request(room, receipt), group));
}

test("DISCONNECT is answered after the outcome of everything before it, then the connection closes.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  stage.faults.delayMs = 200;
  alice.send("general", "slow");
  alice.subscribe("log", "general", { id: "sub" });
  alice.send("nowhere", "refused");
  alice.send({ user: "bob" }, "private");
  alice.connection.disconnect("bye");
  alice.connection.disconnect("bye again");
  await stage.clock.advance(10);
  assert.equal(alice.receiptOf("bye"), undefined);
  await stage.clock.advance(10_000);
  const order = outcomes(alice);
  assert.deepEqual(order.slice(-2), ["bye", "closed done"]);
  const before = ["errors", "refused room-not-found", "send-0", "send-2", "sub"];
  assert.deepEqual(order.slice(0, -2).sort(), before);
  assert.deepEqual([alice.connection.state, stage.node.registry.size, stage.fanout.size], ["closed", 0, 0]);
});

test("DISCONNECT with nothing under way is answered at once.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  alice.connection.disconnect(undefined);
  assert.deepEqual(outcomes(alice), ["errors", "closed done"]);
});

test("A sound frame that is refused ends a connection without a subscription for refusals, and no other.", async () => {
  const stage = await Stage.open();
  const [plain, listening] = [stage.connect("alice", { errors: false }), stage.connect("alice")];
  for (const client of [plain, listening]) client.send("nowhere", "x");
  await stage.clock.advance(100);
  assert.deepEqual(outcomes(plain), ["fault room-not-found"]);
  assert.deepEqual(outcomes(listening), ["errors", "refused room-not-found"]);
  assert.equal(stage.node.registry.size, 1);
});

test("SENDs beyond the rate are refused with the time to come back.", async () => {
  const stage = await Stage.open({ limits: { sendsPerSecond: 10, sendsBurst: 3 } });
  const alice = stage.connect("alice");
  for (let i = 0; i < 5; i++) alice.send("general", "x");
  assert.deepEqual(
    alice.all("refused").map((told) => [told.code, told.retryAfterMs]),
    [
      ["rate-limited", 100],
      ["rate-limited", 100],
    ],
  );
  await stage.clock.advance(101);
  alice.send("general", "x");
  assert.equal(alice.all("refused").length, 2);
});

test("SENDs that wait for their outcome are bounded per connection.", async () => {
  const stage = await Stage.open({ limits: { pendingSends: 2 } });
  const alice = stage.connect("alice");
  for (let i = 0; i < 3; i++) alice.send("general", "x");
  assert.deepEqual(outcomes(alice).slice(1), ["refused queue-full"]);
  await stage.clock.advance(100);
  assert.equal(alice.connection.pending, 0);
});

test("A transaction runs in order at COMMIT, which is answered after all of its SENDs.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  const { connection } = alice;
  stage.faults.delayMs = 50;
  connection.transactions.begin("t");
  for (const receipt of ["a", "b", "c"]) keep(connection, "t", "general", receipt);
  await stage.clock.advance(1_000);
  assert.deepEqual(outcomes(alice), ["errors"]);
  connection.transactions.commit("t", "commit");
  connection.disconnect("bye");
  await stage.clock.advance(5_000);
  assert.deepEqual(outcomes(alice), ["errors", "a", "b", "c", "commit", "bye", "closed done"]);
});

test("COMMIT is answered also when a SEND of it is refused, and when there is none.", async () => {
  const stage = await Stage.open();
  const alice = stage.connect("alice");
  const { transactions } = alice.connection;
  transactions.begin("empty");
  transactions.commit("empty", "nothing");
  transactions.begin("t");
  keep(alice.connection, "t", "nowhere", "refused");
  keep(alice.connection, "t", "general", "taken");
  transactions.commit("t", "commit");
  await stage.clock.advance(1_000);
  assert.deepEqual(outcomes(alice), ["errors", "nothing", "refused room-not-found", "taken", "commit"]);
});

test("Unknown and used transaction ids are refused, and transactions are bounded.", async () => {
  const limits = { transactions: 2, transactionFrames: 2, transactionBytes: 350 };
  const stage = await Stage.open({ limits });
  const { connection } = stage.connect("alice");
  const { transactions } = connection;
  assert.throws(() => transactions.commit("t", undefined), code("unknown-transaction"));
  assert.throws(() => transactions.abort("t"), code("unknown-transaction"));
  assert.throws(() => keep(connection, "t", "general", "r"), code("unknown-transaction"));
  transactions.begin("t");
  assert.throws(() => transactions.begin("t"), code("duplicate-transaction"));
  transactions.begin("u");
  assert.throws(() => transactions.begin("v"), code("transaction-too-large"));
  for (const receipt of ["a", "b"]) keep(connection, "t", "general", receipt);
  assert.throws(() => keep(connection, "t", "general", "c"), code("transaction-too-large"));
  keep(connection, "u", "general", "d");
  assert.throws(() => keep(connection, "u", "general", "e"), code("transaction-too-large"), "bytes of all of them");
  transactions.abort("t");
  keep(connection, "u", "general", "e");
  transactions.begin("t");
  transactions.abort("t");
  assert.throws(() => transactions.commit("t", undefined), code("unknown-transaction"));
});

test("An expired token ends its connection within a second, and a fresh one keeps it.", async () => {
  const stage = await Stage.open();
  const expiresAtMs = stage.clock.now() + 10_000;
  const token = tokenOf({ sub: "alice", expiresAtMs });
  const [ends, stays] = [stage.connect(token), stage.connect(token)];
  await stage.clock.advance(9_000);
  const longer = tokenOf({ sub: "alice", expiresAtMs: expiresAtMs + 60_000 });
  stays.connection.refresh(tokenOf({ sub: "bob" }), { receipt: "other" });
  stays.connection.refresh(longer, { receipt: "fresh" });
  assert.deepEqual(outcomes(stays), ["errors", "refused subject-mismatch", "fresh"]);
  await stage.clock.advance(2_000);
  assert.deepEqual(outcomes(ends), ["errors", "fault token-expired"]);
  assert.equal(stays.open, true);
});

test("A revocation ends the connections it is about at once, and no others.", async () => {
  const stage = await Stage.open();
  const of = (sub: string, more: object): Client => stage.connect(tokenOf({ sub, ...more }));
  const clients = {
    old: of("alice", { issuedAtMs: 5, jti: "one", sid: "s" }),
    fresh: of("alice", { issuedAtMs: 20, jti: "two", sid: "t" }),
    other: of("bob", { issuedAtMs: 5, jti: "one" }),
  };
  const open = (): string[] =>
    Object.entries(clients)
      .filter(([, client]) => client.open)
      .map(([name]) => name);
  stage.node.registry.revoke("alice", undefined, 10);
  assert.deepEqual(open(), ["fresh", "other"]);
  stage.node.registry.revoke("alice", "one", 100);
  assert.deepEqual(open(), ["fresh", "other"]);
  stage.node.bus.notify({ kind: "revoked", user: "alice", token: "t", beforeMs: 100 });
  assert.deepEqual(open(), ["other"]);
  assert.deepEqual(outcomes(clients.fresh), ["errors", "fault token-revoked"]);
  assert.deepEqual(stage.node.registry.ofUser("alice"), []);
});

test("A connection that says no CONNECT in time, or is silent too long, is ended; beats go out before that.", async () => {
  const stage = await Stage.open();
  const mute = new Client(stage, "mute");
  const silent = stage.connect("alice");
  const { connection } = silent;
  Object.assign(connection, { silenceMs: 25_000, beatMs: 8_000, beatAt: stage.clock.monotonic() + 8_000 });
  await stage.clock.advance(LIMITS.connectMs + 1_000);
  assert.deepEqual(outcomes(mute), ["fault connect-timeout"]);
  assert.equal(silent.all("beat").length, 1);
  await stage.clock.advance(13_000);
  assert.equal(silent.open, true);
  await stage.clock.advance(1_500);
  assert.deepEqual(outcomes(silent), ["errors", "fault heartbeat-lost"]);
  assert.equal(silent.all("beat").length, 3);
});

test("A connection without a good token is not signed in, and a second CONNECT is refused.", async () => {
  const stage = await Stage.open();
  const client = new Client(stage, "c");
  assert.throws(() => client.connection.connect(undefined), code("token-missing"));
  assert.throws(() => client.connection.requireReady(), code("wrong-state"));
  assert.equal(stage.node.registry.users, 0);
  const alice = stage.connect("alice");
  assert.throws(() => alice.connection.connect("alice"), code("wrong-state"));
});

test("The connections of a user are kept apart, in whatever order they end.", async () => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 0, 2],
    [1, 2, 0],
  ]) {
    const stage = await Stage.open();
    const clients = [0, 1, 2].map(() => stage.connect("alice"));
    for (const [gone, at] of order.entries()) {
      assert.equal(stage.node.registry.ofUser("alice").length, 3 - gone);
      clients[at]?.lose();
      clients[at]?.lose();
    }
    assert.equal(stage.node.registry.users, 0);
    assert.equal(stage.node.registry.isOnline("alice"), true, "within the grace");
    await stage.clock.advance(LIMITS.presenceGraceMs + 1_000);
    assert.equal(stage.node.registry.isOnline("alice"), false);
  }
});

test("A private message comes to all connections of both users, once, and to nobody else.", async () => {
  const stage = await Stage.open();
  const [alice, bob, phone, eve] = ["alice", "bob", "bob", "eve"].map((user) => stage.connect(user)) as [
    Client,
    Client,
    Client,
    Client,
  ];
  for (const client of [alice, bob, phone, eve]) client.subscribe("queue", client.connection.user);
  eve.subscribe("queue", "bob");
  for (const body of ["one", "two"]) alice.send({ user: "bob" }, body);
  bob.send({ user: "alice" }, "three");
  await stage.clock.advance(1_000);
  for (const client of [alice, bob, phone]) {
    const entries = client.all("notice").filter(({ notice }) => notice.kind === "entry");
    assert.equal(entries.length, 3, client.connection.user);
  }
  assert.deepEqual([eve.all("notice").length, outcomes(eve).includes("refused forbidden")], [0, true]);
  alice.send({ user: "alice" }, "to myself");
  await stage.clock.advance(100);
  assert.equal(alice.all("refused").at(-1)?.code, "forbidden");
  const { items } = await stage.run(stage.chat.myRooms(caller("bob"), { limit: 10 }));
  assert.equal(items.length, 1);
  await stage.run(stage.chat.post(caller("bob"), items[0]?.id ?? "", message("over REST")));
  assert.equal(alice.all("notice").filter(({ notice }) => notice.kind === "entry").length, 4);
});
