import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import { sparePort } from "./ports.ts";

test("A spare port can be listened on, and no other process is given it as long as this one lives.", async () => {
  const port = await sparePort();
  const rival = createSocket("udp4");
  rival.bind({ port, address: "127.0.0.1", exclusive: true });
  const [error] = await once(rival, "error");
  assert.equal(error.code, "EADDRINUSE", "the mark holds");
  rival.close();
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  server.close();
});

test("Many spare ports asked for at once are all different, and a process that only asked for one can end.", async () => {
  const ports = await Promise.all(Array.from({ length: 500 }, () => sparePort()));
  assert.equal(new Set(ports).size, ports.length);
  const script = `import { sparePort } from ${JSON.stringify(new URL("./ports.js", import.meta.url).href)}; await sparePort();`;
  await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { timeout: 20_000 });
});
