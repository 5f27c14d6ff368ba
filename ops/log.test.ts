import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "./log.ts";

interface Narrow {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

function recorded(level = "info"): { log: ReturnType<typeof createLog>; lines: string[] } {
  const lines: string[] = [];
  return { log: createLog({ level, destination: { write: (line) => void lines.push(line) } }), lines };
}

test("A line is JSON with an ISO time, the level as a word, the message and the fields.", () => {
  const { log, lines } = recorded();
  log.info({ connection: "c1" }, "opened");
  const line = JSON.parse(lines[0] as string);
  assert.equal(line.level, "info");
  assert.equal(line.msg, "opened");
  assert.equal(line.connection, "c1");
  assert.equal(new Date(line.time).toISOString(), line.time);
});

test("Lines below the level are not written, and actors can take the log as it is.", () => {
  const { log, lines } = recorded("warn");
  const narrow: Narrow = log;
  narrow.info({}, "quiet");
  narrow.warn({}, "heard");
  assert.equal(lines.length, 1);
});

test("Secrets and bodies are redacted at the top and inside of fields, in both spellings.", () => {
  const { log, lines } = recorded();
  const names = ["authorization", "passcode", "password", "token", "refreshToken", "accessToken", "cookie", "body"];
  for (const name of [...names, "Authorization", "set-cookie", "access_token"]) {
    log.info({ [name]: "hunter2", deep: { [name]: "hunter2", list: [{ [name]: "hunter2" }] } }, "said");
    log.child({ [name]: "hunter2" }).info({ a: { [name]: "hunter2", b: { [name]: "hunter2" } } }, "said");
  }
  for (const line of lines) {
    assert.ok(!line.includes("hunter2"), line);
    assert.equal(line.split("[redacted]").length, 4);
  }
});

test("Fields that lie too deep to be searched are left out, and what is given stays as it was.", () => {
  const { log, lines } = recorded();
  const fields = { a: { b: { c: { password: "hunter2" } } }, token: "hunter2" };
  log.info(fields, "said");
  assert.ok(!lines.join().includes("hunter2"));
  assert.equal(fields.token, "hunter2");
});

test("The query of a URL, where a token may stand, is left out.", () => {
  const { log, lines } = recorded();
  log.info({ url: "/ws/chat?access_token=hunter2" }, "handshake");
  log.info({ req: { id: 7, method: "GET", url: "/ws/chat?access_token=hunter2", ip: "::1" } }, "request");
  assert.ok(!lines.join().includes("hunter2"));
  assert.deepEqual(JSON.parse(lines[1] as string).req, { id: 7, method: "GET", url: "/ws/chat", address: "::1" });
});

test("An error in the field err is written with its message and stack.", () => {
  const { log, lines } = recorded();
  log.error({ err: new Error("disk full") }, "store failed");
  const { err } = JSON.parse(lines[0] as string);
  assert.equal(err.message, "disk full");
  assert.match(err.stack, /log\.test/);
});
