import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { StoreProxy } from "./proxy.ts";

/** A store that answers every piece of bytes with the same in capitals, and remembers what it took. */
let store: Server;
const taken: string[] = [];
const sockets = new Set<Socket>();
let proxy: StoreProxy;

before(async () => {
  store = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      taken.push(bytes.toString());
      socket.write(bytes.toString().toUpperCase());
    });
  });
  store.listen(0, "127.0.0.1");
  await once(store, "listening");
  proxy = await StoreProxy.open((store.address() as { port: number }).port);
});

after(async () => {
  await proxy.close();
  for (const socket of sockets) socket.destroy();
  store.close();
});

async function joined(): Promise<Socket> {
  const socket = connect(proxy.port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

async function asked(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [bytes] = (await once(socket, "data")) as [Buffer];
  return bytes.toString();
}

test("Bytes pass both ways, and a URL is led through the proxy with the rest of it kept.", async () => {
  const socket = await joined();
  assert.equal(await asked(socket, "hello"), "HELLO");
  assert.equal(proxy.through("redis://127.0.0.1:6379"), `redis://127.0.0.1:${proxy.port}`);
  assert.equal(
    proxy.through("postgres://me:secret@localhost:5432/confab?a=b"),
    `postgres://me:secret@127.0.0.1:${proxy.port}/confab?a=b`,
  );
  socket.destroy();
});

test("Held bytes pass once they are released, those of a connection made meanwhile too.", async () => {
  const before = await joined();
  assert.equal(await asked(before, "one"), "ONE");
  proxy.hold();
  const during = await joined();
  const answers = [asked(before, "held two"), asked(during, "held three")];
  // The store has answered another since: what was not held would have come before.
  const direct = connect((store.address() as { port: number }).port, "127.0.0.1");
  for (const text of ["direct one", "direct two"]) await asked(direct, text);
  assert.equal(taken.filter((text) => text.startsWith("held")).length, 0);
  proxy.release();
  assert.deepEqual(await Promise.all(answers), ["HELD TWO", "HELD THREE"]);
  for (const socket of [before, during, direct]) socket.destroy();
});

test("A cut ends every connection, and new ones are taken.", async () => {
  const sockets = [await joined(), await joined()];
  for (const socket of sockets) await asked(socket, "there?");
  const ends = sockets.map((socket) => once(socket, "close"));
  proxy.cut();
  await Promise.all(ends);
  const next = await joined();
  assert.equal(await asked(next, "again"), "AGAIN");
  next.destroy();
});

test("A lost answer: the store took the request, its connection is cut, and others are left alone.", async () => {
  const victim = await joined();
  const other = await joined();
  const lost = proxy.loseAnswer((bytes) => bytes.includes("append"), "cut");
  assert.equal(await asked(victim, "read"), "READ");
  const heard: string[] = [];
  victim.on("data", (bytes) => heard.push(bytes.toString()));
  victim.write("append 1");
  await Promise.all([lost, once(victim, "close")]);
  assert.deepEqual(heard, []);
  assert.equal(taken.at(-1), "append 1");
  assert.equal(await asked(other, "append 2"), "APPEND 2");
  other.destroy();
});

test("A connection that went silent takes requests, stays open and hears nothing more.", async () => {
  const victim = await joined();
  const lost = proxy.loseAnswer((bytes) => bytes.includes("append"), "silent");
  const heard: string[] = [];
  victim.on("data", (bytes) => heard.push(bytes.toString()));
  victim.write("append 3");
  await lost;
  const other = await joined();
  assert.equal(await asked(other, "append 4"), "APPEND 4");
  assert.deepEqual([heard, victim.destroyed], [[], false]);
  victim.destroy();
  other.destroy();
});
